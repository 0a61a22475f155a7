"""The points of a trace of a search: numbers of steps, and the time that each of them takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from rls.runtime.errors import InputError
from rls.search.methods import AnySettings, ChosenMethod, Method
from rls.search.problem import BatchProgress, Problem, Reconstruction

SECONDS = "seconds_per_cell"


@dataclass(frozen=True)
class Checkpoint:
    """A number of steps after which a search ends, a point of a trace."""

    steps: int

    @property
    def name(self) -> str:
        """Return the point's name, such as ``steps40``."""
        return f"steps{self.steps}"

    @property
    def changes(self) -> dict[str, Any]:
        """Return the settings of a search that ends here."""
        return {"steps": self.steps}


def checkpoints_of(method: ChosenMethod, steps: Sequence[int]) -> list[Checkpoint]:
    """Return the checkpoints of a method, in ascending order and each once.

    A search of N steps is not the beginning of a longer one where its schedule depends on its
    length. Each checkpoint is therefore a search of its own.

    Raises:
        InputError: The search has no steps, or a number is negative, or there is none.
    """
    if "steps" not in {field.name for field in fields(method.settings)}:
        raise InputError(
            f"The search '{method.search}' of {method.name} has no steps to follow. Give a method "
            f"that has, such as rls."
        )
    if not steps or min(steps) < 0:
        raise InputError(
            f"Found the checkpoints {', '.join(map(str, steps)) or 'none'}, expected one or more "
            f"numbers of steps from 0 on."
        )
    return [Checkpoint(number) for number in sorted(set(steps))]


class Timed:
    """A method whose reconstructions have a column :data:`SECONDS`: the wall time of a batch.

    The time is that of a whole batch over its images, repeats included. It is NaN in the first
    batch with other settings than the last one's, which also loads, allocates and records.
    """

    def __init__(self, method: Method[AnySettings]) -> None:
        self.method, self.Settings = method, method.Settings
        self.NOT_COMPILED: str = getattr(method, "NOT_COMPILED", "")
        self._last: AnySettings | None = None

    def super_resolve(
        self, problem: Problem, settings: AnySettings, progress: BatchProgress
    ) -> Reconstruction:
        """Return the method's reconstruction of one batch, with its time."""
        begin = time.perf_counter()
        found = self.method.super_resolve(problem, settings, progress)
        if problem.device.type == "cuda":
            torch.cuda.synchronize(problem.device)
        seconds = (time.perf_counter() - begin) / len(problem.y)
        column = np.full(len(problem.y), seconds if settings == self._last else np.nan)
        self._last = settings
        return replace(found, columns={**found.columns, SECONDS: column})


def timed(method: ChosenMethod) -> ChosenMethod:
    """Return the same row of a table whose reconstructions say how long they took."""
    return replace(method, module=Timed(method.module))
