"""The points of a trace of a search: numbers of steps, and the time that each of them takes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from rls.runtime.errors import InputError
from rls.search.methods import AnySettings, ChosenMethod, Method
from rls.search.problem import BatchProgress, Problem, Reconstruction

SECONDS, PROCESSOR = "seconds_per_cell", "processor_seconds_per_cell"


@dataclass(frozen=True)
class Checkpoint:
    """A number of steps after which a search ends, a point of a trace.

    Attributes:
        steps: The setting of the method, with ``steps_w`` None its only steps.
        steps_w: The steps in W before them, for a method that has this setting.
    """

    steps: int
    steps_w: int | None = None

    @property
    def name(self) -> str:
        """Return the point's name, such as ``steps40``."""
        return f"steps{self.steps + (self.steps_w or 0)}"

    @property
    def changes(self) -> dict[str, Any]:
        """Return the settings of a search that ends here."""
        found = {"steps": self.steps, "steps_w": self.steps_w}
        return {name: value for name, value in found.items() if value is not None}


def checkpoints_of(method: ChosenMethod, totals: Sequence[int]) -> list[Checkpoint]:
    """Return the checkpoints of a method, in ascending order and each once.

    A search of N steps is not the beginning of a longer one where its schedule depends on its
    length. Each checkpoint is therefore a search of its own. One whose first steps are in W
    (``steps_w``) keeps their share of all steps.

    Arguments:
        totals: Numbers of steps, those in W included; without any, the method's own number.

    Raises:
        InputError: The search has no steps, or a number is negative.
    """
    own = {field.name: getattr(method.settings, field.name) for field in fields(method.settings)}
    if "steps" not in own:
        raise InputError(
            f"The search '{method.search}' of {method.name} has no steps to follow. Give a method "
            f"that has, such as rls."
        )
    if min(totals, default=0) < 0:
        raise InputError(
            f"Found the checkpoints {', '.join(map(str, totals))}, expected numbers of steps from "
            f"0 on."
        )
    totals = sorted(set(totals)) or [own["steps"] + own.get("steps_w", 0)]
    if "steps_w" not in own:
        return [Checkpoint(total) for total in totals]
    share = own["steps_w"] / max(own["steps"] + own["steps_w"], 1)
    first = [round(share * total) for total in totals]
    return [Checkpoint(total - w, w) for total, w in zip(totals, first, strict=True)]


class Timed:
    """A method whose reconstructions tell their time, that of a whole batch over its images.

    The column :data:`SECONDS` is wall time, and :data:`PROCESSOR` that of this process on a CPU,
    which other processes on the machine change little (NaN on a GPU). Both are NaN in the first
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
        n, on_gpu = len(problem.y), problem.device.type == "cuda"
        begin, used = time.perf_counter(), time.process_time()
        found = self.method.super_resolve(problem, settings, progress)
        if on_gpu:
            torch.cuda.synchronize(problem.device)
        wall, used = time.perf_counter() - begin, time.process_time() - used
        warm = settings == self._last
        self._last = settings
        times = {
            SECONDS: wall / n if warm else math.nan,
            PROCESSOR: used / n if warm and not on_gpu else math.nan,
        }
        columns = {name: np.full(n, value) for name, value in times.items()}
        return replace(found, columns={**found.columns, **columns})


def timed(method: ChosenMethod) -> ChosenMethod:
    """Return the same row of a table whose reconstructions say how long they took."""
    return replace(method, module=Timed(method.module))
