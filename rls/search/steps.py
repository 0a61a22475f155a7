"""Steps of a search on tensors that never move, so that one can be recorded and replayed.

A recorded step (:mod:`rls.runtime.graphs`) reads the addresses and the Python numbers of its
recording. So everything that changes lies in tensors: the variables, their best values, the state
of the optimiser, the number of each row's step and the table of the rates. What differs from batch
to batch is an argument of the objective, ``given``, and is copied into tensors of its own.

Everything else that an objective uses must be the same for all batches. An objective is therefore a
frozen dataclass whose fields are networks and settings. Steps are used again only for an objective
that equals theirs, so one that holds something of its batch gets steps of its own.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from rls.runtime.device import tensor_float32
from rls.runtime.graphs import Recorder, Replayed
from rls.runtime.progress import Event
from rls.search.optimisers import Optimiser, Variables, per_row
from rls.stylegan2.networks import Precision

Losses = dict[str, Tensor]  # Each (n,); loss_total is minimised.
Given = Mapping[str, Variables]  # What differs from batch to batch, such as the images y.
Objective = Callable[[Variables, Given, Precision], Losses]
Projection = Callable[[Variables, Given], Variables]

MOST_KEPT = 3  # Steps that are kept for later batches: one search of a batch has three phases.


@dataclass(frozen=True)
class Walk:
    """Everything that determines a step, except its tensors.

    Attributes:
        objective: Returns the losses of a batch of variables; those of image i may depend on the
            variables and the rows of image i only.
        optimiser: Turns gradients into steps.
        after_step: Projects the variables after each step (PULSE's spheres).
        steps: Number of steps of a search.
        precision: Precision of the objective in all but the last steps.
    """

    objective: Objective
    optimiser: type[Optimiser]
    after_step: Projection | None
    steps: int
    precision: Precision


class Steps:
    """The steps of searches that follow each other, of batches of one size.

    Arguments:
        start, given: Tensors of the shapes of all batches.

    Attributes:
        x: The variables, each (n, ...).
        best: The variables at which the total loss of each image was least.
        best_total: (n,) that loss.
        alive: (n,) whether the loss and the gradient of an image have been finite so far.
        given: What belongs to the present batch.
        number: (n,) the number of the step that each image takes next, a row of ``table``.
    """

    def __init__(self, walk: Walk, start: Variables, given: Given, recorder: Recorder) -> None:
        self.walk = walk
        self.x, self.best = _copies(start), _copies(start)
        self.given: Given = {name: _copies(tensors) for name, tensors in given.items()}
        first = self.x[0]
        self.best_total = first.new_empty(len(first))
        self.alive = torch.ones_like(self.best_total, dtype=torch.bool)
        self.optimiser = walk.optimiser(self.x)
        columns = len(walk.optimiser.numbers([0.0])[0])
        self.table = first.new_empty((walk.steps, columns))
        self.number = torch.zeros_like(self.best_total, dtype=torch.int64)
        kinds: list[Precision] = ["float32"]
        if walk.precision != "float32":
            kinds.append(walk.precision)
        self.run = {
            kind: Replayed(f"a search step in {kind}", partial(self._step, kind), recorder)
            for kind in kinds
        }

    def fits(self, walk: Walk, start: Variables, given: Given) -> bool:
        """Return whether these steps can search such a batch."""
        return (
            walk == self.walk
            and given.keys() == self.given.keys()
            and _like(start, self.x)
            and all(_like(given[name], own) for name, own in self.given.items())
        )

    def take(self, given: Given) -> None:
        """Copy what belongs to the next batch."""
        for name, own in self.given.items():
            for mine, other in zip(own, given[name], strict=True):
                mine.copy_(other)

    def rewind(self, start: Variables, rates: Sequence[float]) -> None:
        """Go back to ``start``, for a search with these rates."""
        for x, best, first in zip(self.x, self.best, start, strict=True):
            x.copy_(first)
            best.copy_(first)
        self.best_total.fill_(torch.inf)
        self.alive.fill_(True)
        self.optimiser.reset()
        self.number.zero_()
        # In float64, as Python computes; the last conversion rounds once.
        self.table.copy_(torch.tensor(self.walk.optimiser.numbers(rates), dtype=torch.float64))

    @torch.no_grad()
    def judge_again(self, precision: Precision) -> None:
        """Evaluate the best variables again: losses of two precisions must not be compared."""
        with tensor_float32_of_step(self.walk.precision, precision):
            exact = self.walk.objective(self.best, self.given, precision)["loss_total"]
        self.best_total.copy_(torch.where(torch.isfinite(exact), exact, torch.inf))

    @property
    def moving(self) -> Tensor:
        """Return which images move, (n,): those that are alive."""
        return self.alive

    def _step(self, precision: Precision) -> None:
        """Move all variables by one step; nothing here waits for a GPU."""
        variables = tuple(x.detach().requires_grad_() for x in self.x)
        with tensor_float32_of_step(self.walk.precision, precision):
            losses = self.walk.objective(variables, self.given, precision)
            gradients = torch.autograd.grad(losses["loss_total"].sum(), variables)
        self._judge({name: loss.detach() for name, loss in losses.items()}, gradients)
        gradients = tuple(choose(self.moving, g, torch.zeros_like(g)) for g in gradients)
        numbers = self.table.index_select(0, self.number).unbind(dim=1)
        moved = self.optimiser.step(self.x, gradients, numbers)
        if self.walk.after_step is not None:
            moved = self.walk.after_step(moved, self.given)
        for x, after in zip(self.x, moved, strict=True):
            choose(self.moving, after, x, out=x)
        self.number.add_(self.moving)

    def _judge(self, losses: Losses, gradients: Variables) -> None:
        """Keep the variables that are better than all before; freeze what is not finite."""
        total = losses["loss_total"]
        finite = torch.isfinite(total)
        better = finite & (total < self.best_total)
        self._keep(better, total)
        self.alive.logical_and_(all_finite(total, gradients))

    def _keep(self, which: Tensor, total: Tensor) -> None:
        """Take the present variables of the images at the mask ``which`` as the best."""
        for x, best in zip(self.x, self.best, strict=True):
            choose(which, x, best, out=best)
        torch.where(which, total, self.best_total, out=self.best_total)


K = TypeVar("K", bound=Steps)


class Searches:
    """The steps of the last searches, kept for the batches to come.

    Arguments:
        recorder: Records the steps where it can; None calls them as they are.
        compile_setting: Whether long searches compile the generator: ``auto`` or ``off``.

    Attributes:
        event: Makes the marks from which progress tells what a GPU has finished; None on a CPU.
        compiler_failed: Why the compiled generator was refused, so that it is tried only once.
    """

    def __init__(self, recorder: Recorder | None = None, compile_setting: str = "off") -> None:
        self.compile_setting, self.compiler_failed = compile_setting, ""
        self.recorder = recorder or Recorder(torch.device("cpu"))
        on_gpu = self.recorder.device.type == "cuda"
        self.event: Callable[[], Event] | None = torch.cuda.Event if on_gpu else None
        self.kept: list[Steps] = []

    def steps(self, walk: Walk, start: Variables, given: Given) -> Steps:
        """Return steps that are ready to search a batch, those of an earlier batch if they fit."""
        return self.of_kind(Steps, walk, start, given)

    def of_kind(self, kind: type[K], walk: Walk, start: Variables, given: Given) -> K:
        """Return the same for steps of a class of their own."""
        fitting = (x for x in self.kept if type(x) is kind and x.fits(walk, start, given))
        found = next(fitting, None)
        if not isinstance(found, kind):
            del self.kept[: 1 - MOST_KEPT]
            found = kind(walk, start, given, self._recorder_of(walk.objective))
            self.kept.append(found)
        found.take(given)
        return found

    def _recorder_of(self, objective: Objective) -> Recorder:
        """Return the recorder, or one that never records if the objective says why not."""
        reason: str = getattr(objective, "not_recorded", "")
        if not reason or not self.recorder.active:
            return self.recorder
        print(f"search steps in CUDA graphs: no, {reason}", flush=True)
        return Recorder(self.recorder.device, "off")

    def forget(self) -> None:
        """Drop all steps, and with them the memory of their recordings."""
        self.kept.clear()
        gc.collect()  # Steps refer to themselves through the functions that they run.


def tensor_float32_of_step(
    of_search: Precision, of_step: Precision
) -> AbstractContextManager[None]:
    """Return the context of a step, in which CUDA may use TF32.

    A search in float32 has none. In one that begins in bfloat16 the convolutions that are left in
    float32 use TF32, whose error of an image, 5e-4, is far below bfloat16's 8e-3; so do all matrix
    products (the flow's above all) until the last steps, which decide.
    """
    rough = of_search != "float32"
    return tensor_float32(rough, products=rough and of_step != "float32")


def choose(mask: Tensor, yes: Tensor, no: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return ``yes`` where ``mask`` (n,) holds and ``no`` elsewhere, image by image."""
    return torch.where(per_row(mask, yes), yes, no, out=out)


def all_finite(total: Tensor, gradients: Variables) -> Tensor:
    """Return which images have a finite loss and a finite gradient, (n,)."""
    finite = torch.isfinite(total)
    for gradient in gradients:
        finite = finite & torch.isfinite(gradient).flatten(1).all(dim=1)
    return finite


def _copies(tensors: Sequence[Tensor]) -> Variables:
    return tuple(tensor.detach().clone() for tensor in tensors)


def _like(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Return whether two lists of tensors have the same shapes and types."""
    kinds = [[(x.shape, x.dtype, x.device) for x in some] for some in (tensors, others)]
    return kinds[0] == kinds[1]
