"""Minimise the losses of a batch of images, independently of each other.

An optimiser's state is per element and the losses are summed over the batch, so an image takes the
same path whatever else is in its batch. Each image keeps its own iterate of least total loss. An
image whose loss or gradient becomes non-finite is frozen there, searched a second time from the
start at half the learning rate, and reported in its status.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rls.io.names import NON_FINITE, OK, RESTARTED
from rls.runtime.device import tensor_float32
from rls.runtime.progress import Finished
from rls.search.optimisers import Adam, Optimiser, Variables
from rls.search.problem import BatchProgress
from rls.search.schedule import course
from rls.search.steps import Given, Losses, Objective, Projection, Searches, Steps, Walk, choose
from rls.stylegan2.networks import Precision

# A search in bfloat16 ends with this share of its steps in float32, because the error of an image
# in bfloat16, 0.7 %, is as large as the fidelity that a good search reaches. On CUDA their
# convolutions use TF32, whose error is 0.05 %; what they find is evaluated in IEEE float32.
FLOAT32_SHARE = 0.1
SEVERITY = (OK, RESTARTED, NON_FINITE)  # Values of ``search_status``, the worst last.


@dataclass(frozen=True)
class Found:
    """The best iterates of a batch.

    Attributes:
        variables: Tensors (n, ...), as given.
        losses: Losses at the best iterates, evaluated in float32, each (n,).
        status: n strings: ``ok``; ``non_finite_restarted`` (the second search, at half the rate,
            stayed finite); ``non_finite`` (neither did; the best finite iterate of both).
        steps_taken: (n,) steps of each image, where images stop by themselves
            (:mod:`rls.search.lanes`); None where all take the same.
    """

    variables: Variables
    losses: Losses
    status: np.ndarray
    steps_taken: np.ndarray | None = None


def search(
    start: Sequence[Tensor],
    objective: Objective,
    *,
    given: Given,
    steps: int,
    learning_rate: float,
    schedule: str,
    precision: Precision,
    progress: BatchProgress,
    searches: Searches | None = None,
    before_step: Callable[[Given], None] | None = None,
    after_step: Projection | None = None,
    optimiser: type[Optimiser] = Adam,
) -> Found:
    """Return the iterates that minimise the total loss of each image.

    Arguments:
        start: The variables' first values, tensors (n, ...).
        objective: Returns the losses of a batch of variables; those of image i may depend on its
            own variables only. What it uses beside ``given`` is the same for all batches.
        given: The tensors of this batch that the objective uses.
        learning_rate: Peak learning rate; ``schedule`` names the function that scales it.
        precision: Passed to ``objective``; the last tenth of the steps is in float32.
        searches: Keeps the steps for the next batch; None makes them anew.
        before_step: Changes the copy of ``given`` in place before each step.
        after_step: Projects the variables after each step (PULSE's spheres).
        optimiser: Turns gradients into steps.

    Raises:
        InputError: The schedule is unknown, or there is no step.
    """
    first, second = (course(schedule, rate, steps) for rate in (learning_rate, learning_rate / 2))
    walk = Walk(objective, optimiser, after_step, steps, precision)
    start = tuple(start)
    searches = searches or Searches()
    kept = searches.steps(walk, start, given)

    def once(rates: Sequence[float]) -> tuple[Variables, Tensor, Tensor]:
        kept.rewind(start, rates)
        _descend(kept, Finished(partial(progress.step, steps=steps), searches.event), before_step)
        best = tuple(x.clone() for x in kept.best)
        return best, kept.best_total.clone(), kept.alive.clone()

    best, total, alive = once(first)
    status = np.where(alive.cpu().numpy(), OK, NON_FINITE).astype(object)
    if not bool(alive.all()):
        again, total_again, alive_again = once(second)
        # Images whose first search stayed finite keep its result.
        use = ~alive & (alive_again | (total_again < total))
        best = tuple(choose(use, a, b) for a, b in zip(again, best, strict=True))
        status[(~alive & alive_again).cpu().numpy()] = RESTARTED
    with exactly():
        losses = {k: value.detach() for k, value in objective(best, kept.given, "float32").items()}
    return Found(best, losses, status)


@contextlib.contextmanager
def exactly() -> Iterator[None]:
    """Compute in float32 as IEEE defines it and without gradients: final losses and images."""
    with torch.no_grad(), tensor_float32(False):
        yield


def _descend(kept: Steps, finished: Finished, before_step: Callable[[Given], None] | None) -> None:
    """Walk all steps of a search, and wait for a GPU only as ``finished`` does."""
    precision, steps = kept.walk.precision, kept.walk.steps
    switch = steps - max(1, round(FLOAT32_SHARE * steps)) if precision != "float32" else -1
    for step in range(steps):
        if step == switch:
            precision = "float32"
            kept.judge_again(precision)
        if before_step is not None:
            before_step(kept.given)
        kept.run[precision]()
        finished.given(step + 1)
    finished.wait(steps)


def worst(status: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the worse of two statuses, image by image, for searches of several phases."""
    pairs = zip(status, other, strict=True)
    return np.array([max(pair, key=SEVERITY.index) for pair in pairs], dtype=object)


def loss_columns(losses: Losses, *optional: str) -> dict[str, np.ndarray]:
    """Return losses as columns of a table, each (n,) float32; absent ``optional`` ones are NaN."""
    absent = np.full(len(losses["loss_total"]), np.nan, dtype=np.float32)
    found = {name: value.cpu().numpy() for name, value in losses.items()}
    return dict.fromkeys(optional, absent) | found
