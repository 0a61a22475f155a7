"""One line now and then on the whole run: the stage that ended, the share done, the time left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rls.runtime.progress import format_seconds

PLAN = "RLS_PLANNED_SECONDS"  # The environment's path of the file that write_plan wrote.
EVERY_S = 10.0
# Before this share of the plan is done, the plan's own speed counts more than the run's.
FIRST_SHARE = 0.05


def key_of(rule: str, wildcards: Mapping[str, str]) -> str:
    """Return the name of a job in the file of planned seconds."""
    return json.dumps([rule, dict(sorted(wildcards.items()))])


def read_plan(path: str) -> dict[str, float]:
    """Return the planned seconds of jobs; none where no plan was made."""
    if not path or not Path(path).is_file():
        return {}
    content: dict[str, float] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


@dataclass
class Progress:
    """The progress of one start of Snakemake, told by its events.

    The time left is the planned seconds that are left, times the time gone by over the planned
    seconds that are done, both as if FIRST_SHARE of the plan had been done at its own speed before.
    So the speed of the machine and jobs side by side are in it. Without a plan all jobs count
    alike. A job that was not planned counts nothing.

    Attributes:
        planned_s: Planned seconds of each job by :func:`key_of`.
        total: How many jobs there are.
        clock: Seconds, from any moment on.
    """

    planned_s: Mapping[str, float] = field(default_factory=dict)
    total: int = 0
    clock: Callable[[], float] = time.monotonic
    jobs: dict[int, str] = field(default_factory=dict)
    done: int = 0
    done_s: float = 0.0

    def __post_init__(self) -> None:
        self.begun = self.clock()
        self.said = float("-inf")

    def starts(self, number: int, rule: str, wildcards: Mapping[str, str]) -> None:
        """Note a job that begins, or will."""
        self.jobs[number] = key_of(rule, wildcards)

    def ends(self, number: int) -> str:
        """Note a finished job; return the line to print, '' if the last one was just now."""
        key = self.jobs.get(number, "")
        self.done += 1
        self.done_s += self._seconds(key)
        now, last = self.clock(), self.done >= self.total
        if not key or (now - self.said < EVERY_S and not last):
            return ""
        self.said = now
        rule = json.loads(key)[0]
        return f"rls: {rule} ended; {self.done} of {self.total} jobs{self._time(now)}"

    def _seconds(self, key: str) -> float:
        return self.planned_s.get(key, 0.0) if self.planned_s else 1.0

    def _time(self, now: float) -> str:
        if self.done >= self.total:
            return f" in {format_seconds(now - self.begun)}"
        whole = sum(self.planned_s.values()) or float(self.total)
        share = min(self.done_s / whole, 1.0)
        before = FIRST_SHARE * whole if self.planned_s else 0.0
        if not self.planned_s and share < FIRST_SHARE:
            return ""
        gone = now - self.begun
        left = (whole - share * whole) * (gone + before) / (self.done_s + before)
        return f", {share:.0%} of the work; about {format_seconds(left)} left"
