"""Descent over the variables of a batch of images that know nothing of each other.

An optimiser's state is per element and losses are summed over the batch, so an image's path is
the same in any company. The iterate with the least total loss is kept for each image on its own.
An image whose loss or gradient is not finite stands still, is searched once more from the start at
half the learning rate, and is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rls.runtime.errors import InputError
from rls.search.optimisers import Adam, Optimiser, Variables
from rls.search.problem import BatchProgress
from rls.search.schedule import SCHEDULES
from rls.stylegan2.networks import Precision

Losses = dict[str, Tensor]  # each (n,); loss_total is minimised
Objective = Callable[[Variables, Precision], Losses]

# A search in bfloat16 ends with this share of its steps in float32: an image's error of 0.7 % is
# as large as the fidelity that a good search reaches.
FLOAT32_SHARE = 0.1
OK, RESTARTED, NON_FINITE = "ok", "non_finite_restarted", "non_finite"


@dataclass(frozen=True)
class Found:
    """The best iterates of a batch.

    Attributes:
        variables: As given, each (n, ...).
        losses: Evaluated in float32 at the best iterates, each (n,).
        status: n strings: ``ok``; ``non_finite_restarted`` (the second search at half the rate
            stayed finite); ``non_finite`` (neither did; the best finite iterate of both).
    """

    variables: Variables
    losses: Losses
    status: np.ndarray


def search(
    start: Sequence[Tensor],
    objective: Objective,
    *,
    steps: int,
    learning_rate: float,
    schedule: str,
    precision: Precision,
    progress: BatchProgress,
    after_step: Callable[[Variables], Variables] | None = None,
    optimiser: type[Optimiser] = Adam,
) -> Found:
    """Minimise the total loss of each image.

    Arguments:
        start: Tensors (n, ...) that are varied.
        objective: Losses of a batch of variables; image i's depend on its own variables only.
        learning_rate: Peak; ``schedule`` names what multiplies it.
        precision: Passed to ``objective``; the last tenth of the steps is in float32.
        after_step: Projects the variables after each step (PULSE's sphere).
        optimiser: What makes a step of a gradient.

    Raises:
        InputError: An unknown schedule or no step.
    """
    if steps < 1 or schedule not in SCHEDULES:
        raise InputError(
            f"Found {steps} steps and schedule '{schedule}', expected 1 or more steps and one of "
            f"{', '.join(SCHEDULES)}."
        )

    def once(rate: float) -> tuple[Variables, Tensor, Tensor]:
        x = tuple(tensor.detach().clone() for tensor in start)
        makes_step = optimiser(x)
        return _descend(
            x, makes_step, objective, steps, rate, schedule, precision, progress, after_step
        )

    best, total, alive = once(learning_rate)
    status = np.where(alive.cpu().numpy(), OK, NON_FINITE).astype(object)
    if not bool(alive.all()):
        again, total_again, alive_again = once(learning_rate / 2)
        # what went well at the full rate stays as it is
        use = ~alive & (alive_again | (total_again < total))
        best = tuple(_choose(use, a, b) for a, b in zip(again, best, strict=True))
        status[(~alive & alive_again).cpu().numpy()] = RESTARTED
    with torch.no_grad():
        losses = {name: value.detach() for name, value in objective(best, "float32").items()}
    return Found(best, losses, status)


def _descend(
    x: Variables,
    optimiser: Optimiser,
    objective: Objective,
    steps: int,
    rate: float,
    schedule: str,
    precision: Precision,
    progress: BatchProgress,
    after_step: Callable[[Variables], Variables] | None,
) -> tuple[Variables, Tensor, Tensor]:
    """Return (best variables, their total loss, which images stayed finite). No wait for a GPU."""
    best = x
    best_total = x[0].new_full((len(x[0]),), torch.inf)
    alive = torch.ones_like(best_total, dtype=torch.bool)
    switch = steps - max(1, round(FLOAT32_SHARE * steps)) if precision != "float32" else -1
    for step in range(steps):
        if step == switch:
            precision = "float32"
            # totals of the two precisions are not to be compared
            with torch.no_grad():
                exact = objective(best, precision)["loss_total"]
            best_total = torch.where(torch.isfinite(exact), exact, torch.inf)
        variables = tuple(tensor.detach().requires_grad_() for tensor in x)
        total = objective(variables, precision)["loss_total"]
        gradients = torch.autograd.grad(total.sum(), variables)
        total = total.detach()
        better = torch.isfinite(total) & (total < best_total)
        best = tuple(_choose(better, a, b) for a, b in zip(x, best, strict=True))
        best_total = torch.where(better, total, best_total)
        alive = alive & torch.isfinite(total)
        for gradient in gradients:
            alive = alive & torch.isfinite(gradient).flatten(1).all(dim=1)
        gradients = tuple(_choose(alive, g, torch.zeros_like(g)) for g in gradients)
        moved = optimiser.step(x, gradients, rate * SCHEDULES[schedule](step, steps), step)
        moved = after_step(moved) if after_step else moved
        x = tuple(_choose(alive, a, b) for a, b in zip(moved, x, strict=True))
        progress.step(step + 1, steps)
    return best, best_total, alive


def _choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Return, image by image, ``yes`` where ``mask`` (n,) holds and ``no`` elsewhere."""
    return torch.where(mask.view(-1, *([1] * (yes.ndim - 1))), yes, no)
