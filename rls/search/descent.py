"""Minimise the losses of a batch of images, independently of each other.

An optimiser's state is per element and the losses are summed over the batch, so an image takes the
same path whatever else is in its batch. Each image keeps its own iterate of least total loss. An
image whose loss or gradient becomes non-finite is frozen there, searched a second time from the
start at half the learning rate, and reported in its status.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rls.io.names import NON_FINITE, OK, RESTARTED
from rls.runtime.errors import InputError
from rls.search.optimisers import Adam, Optimiser, Variables
from rls.search.problem import BatchProgress
from rls.search.schedule import SCHEDULES
from rls.stylegan2.networks import Precision

Losses = dict[str, Tensor]  # Each (n,); loss_total is minimised.
Objective = Callable[[Variables, Precision], Losses]

# A search in bfloat16 ends with this share of its steps in float32, because the error of an image
# in bfloat16, 0.7 %, is as large as the fidelity that a good search reaches.
FLOAT32_SHARE = 0.1


@dataclass(frozen=True)
class Found:
    """The best iterates of a batch.

    Attributes:
        variables: Tensors (n, ...), as given.
        losses: Losses at the best iterates, evaluated in float32, each (n,).
        status: n strings: ``ok``; ``non_finite_restarted`` (the second search, at half the rate,
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
    """Return the iterates that minimise the total loss of each image.

    Arguments:
        start: The variables' first values, tensors (n, ...).
        objective: Returns the losses of a batch of variables; those of image i may depend on its
            own variables only.
        learning_rate: Peak learning rate; ``schedule`` names the function that scales it.
        precision: Passed to ``objective``; the last tenth of the steps is in float32.
        after_step: Projects the variables after each step (PULSE's spheres).
        optimiser: Turns gradients into steps.

    Raises:
        InputError: The schedule is unknown, or there is no step.
    """
    if steps < 1 or schedule not in SCHEDULES:
        raise InputError(
            f"Found {steps} steps and schedule '{schedule}', expected 1 or more steps and one of "
            f"{', '.join(SCHEDULES)}."
        )

    def once(rate: float) -> tuple[Variables, Tensor, Tensor]:
        x = tuple(tensor.detach().clone() for tensor in start)
        rates = [rate * SCHEDULES[schedule](step, steps) for step in range(steps)]
        return _descend(x, optimiser(x), objective, rates, precision, progress, after_step)

    best, total, alive = once(learning_rate)
    status = np.where(alive.cpu().numpy(), OK, NON_FINITE).astype(object)
    if not bool(alive.all()):
        again, total_again, alive_again = once(learning_rate / 2)
        # Images whose first search stayed finite keep its result.
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
    rates: Sequence[float],
    precision: Precision,
    progress: BatchProgress,
    after_step: Callable[[Variables], Variables] | None,
) -> tuple[Variables, Tensor, Tensor]:
    """Return (best variables, their total loss, which images stayed finite).

    Nothing here forces a synchronisation with a GPU.
    """
    steps = len(rates)
    best = x
    best_total = x[0].new_full((len(x[0]),), torch.inf)
    alive = torch.ones_like(best_total, dtype=torch.bool)
    switch = steps - max(1, round(FLOAT32_SHARE * steps)) if precision != "float32" else -1
    for step, rate in enumerate(rates):
        if step == switch:
            precision = "float32"
            # Total losses of the two precisions must not be compared with each other.
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
        moved = optimiser.step(x, gradients, rate, step)
        moved = after_step(moved) if after_step else moved
        x = tuple(_choose(alive, a, b) for a, b in zip(moved, x, strict=True))
        progress.step(step + 1, steps)
    return best, best_total, alive


def _choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Return ``yes`` where ``mask`` (n,) holds and ``no`` elsewhere, image by image."""
    return torch.where(mask.view(-1, *([1] * (yes.ndim - 1))), yes, no)


def loss_columns(losses: Losses, *optional: str) -> dict[str, np.ndarray]:
    """Return losses as columns of a table, each (n,) float32; absent ``optional`` ones are NaN."""
    absent = np.full(len(losses["loss_total"]), np.nan, dtype=np.float32)
    found = {name: value.cpu().numpy() for name, value in losses.items()}
    return dict.fromkeys(optional, absent) | found
