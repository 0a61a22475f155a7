"""Rates: the time of each kind of job for a unit of its work, fitted to jobs that ran.

A job takes t = sum_k b_k u_k with b_k >= 0, where u are its units (:mod:`analysis.plan.sizes`) and
u_start = 1; the b minimise sum_i ((t_i - t^_i) / t_i)^2 over the jobs of a kind, so that short and
long ones count alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from analysis.plan.jobs import Job
from analysis.plan.sizes import SEARCHES, Units
from rls.io import write_text
from rls.runtime.errors import InputError
from rls.runtime.progress import format_seconds

START = "start"
FASTEST_GFLOP_S = 100.0  # of one core; a fit to small jobs must not promise more for large ones
LAUNCH_S = 0.006  # a step of a small network on a GPU takes no less, however little it computes
LIKE = "train_gan"  # networks that were not measured are taken to be as fast as this one
Rate = dict[str, float]


@dataclass(frozen=True)
class Rates:
    """What was measured.

    Attributes:
        machine: In words.
        made_by: The command that made it.
        seconds: Processor seconds of a job by kind and unit.
        n_jobs: Jobs behind each kind.
        disk_mb: MB left on the disk by kind: constant, and for each MB of raw pixels.
    """

    machine: str
    made_by: str
    seconds: dict[str, Rate]
    n_jobs: dict[str, int]
    disk_mb: dict[str, Rate]

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def read(path: Path) -> Rates:
        """Read what :meth:`write` wrote.

        Raises:
            InputError: It is missing or of another form.
        """
        try:
            return Rates(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{path} holds no rates ({error}). Make it by benchmarks/plan/run.sh: a quarter of "
                "an hour."
            ) from error

    def processor_seconds(self, kind: str, units: Units) -> tuple[float, str]:
        """Return (seconds of one core, ``measured`` or how else they were found)."""
        rate = self.seconds.get(kind)
        if rate is not None:
            return predict(rate, units), "measured"
        starts = [rate[START] for rate in self.seconds.values()]
        start = float(np.median(starts)) if starts else 0.0
        if "gflop" in units and LIKE in self.seconds:
            like = {name: v for name, v in self.seconds[LIKE].items() if name != START}
            return start + predict(like, units), f"as fast as {LIKE}"
        return start, "its start alone"

    def disk(self, kind: str, raw_mb: float) -> float:
        """Return the MB that a job leaves."""
        rate = self.disk_mb.get(kind)
        return raw_mb if rate is None else predict(rate, {"raw": raw_mb})


def kind_of(job: Job, config: Mapping[str, Any]) -> str:
    """Return what a job's rate stands under: its rule, and of searches the method's file too."""
    method = config["methods"].get(job.wildcards.get("method", ""), {})
    return f"{job.rule} {method['search']}" if job.rule in SEARCHES and method else job.rule


def predict(rate: Rate, units: Units) -> float:
    """Return sum_k b_k u_k; a unit that no rate knows adds nothing."""
    return rate.get(START, 0.0) + sum(rate.get(name, 0.0) * u for name, u in units.items())


def fit(units: Sequence[Units], found: Sequence[float]) -> Rate:
    """Return the rates of jobs with these units that took ``found`` (all above 0)."""
    names = sorted({name for one in units for name in one})
    floor = {"gflop": 1 / FASTEST_GFLOP_S} if "gflop" in names else {}
    t = np.asarray(found, dtype=float)
    left = np.maximum([a - predict(floor, u) for a, u in zip(t, units, strict=True)], 0.0)
    table = np.array([[1.0, *(one.get(name, 0.0) for name in names)] for one in units])
    weighted = table / t[:, None]
    scale = np.maximum(np.abs(weighted).max(axis=0), 1e-300)
    values, _ = nnls(weighted / scale, left / t)
    rate = dict(zip([START, *names], (float(v) for v in values / scale), strict=True))
    return {name: value + floor.get(name, 0.0) for name, value in rate.items()}


def gpu_seconds(units: Units, tflop_s: float) -> float:
    """Return the time of a job on a GPU of so many sustained TFLOP/s: an estimate."""
    return max(units.get("gflop", 0.0) / (1000 * tflop_s), units.get("steps", 0.0) * LAUNCH_S)


def hours(seconds: float) -> str:
    """Return seconds as hours with two digits, or what is shorter as it is said."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 36000 else format_seconds(seconds)
