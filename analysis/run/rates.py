"""Rates: the time that each kind of job takes per unit of work.

A job takes t = sum_k b_k u_k, where u are its units (:mod:`analysis.run.sizes`) and u_start = 1.
The rates b were fitted to jobs that ran (:mod:`analysis.plan.measure`) and come with the program.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from analysis.run.keys import ROOT
from analysis.run.sizes import Units, Wildcards
from analysis.run.values import Config, section_values
from rls.runtime.errors import InputError

FILE = ROOT / "workflow" / "rates.json"
START = "start"
LAUNCH_S = 0.006  # a step of a small network on a GPU takes no less, however little it computes
GPU_TFLOP_S = 30.0  # sustained; the peak of a card is several times what a training reaches
LIKE = "train_gan"  # networks without a measurement are assumed to be as fast as this one
SAME = {  # kinds that no small run measures, and the measured kind that does the same work
    "sample_solutions rls": "super_resolve rls",
    "sweep_lambdas rls": "super_resolve rls",
    "measure_trust": "super_resolve rls",
    "measure_without_reference": "measure",
    "measure_solutions": "measure",
    "measure_sweep": "measure",
    "classify_without_reference": "classify",
}
SEARCHES = ("super_resolve", "sample_solutions", "sweep_lambdas", "measure_trust")
Rate = dict[str, float]
# Kinds that no small run measures, in processor seconds. Training Cellpose once took 1.25 s of two
# threads for a patch of 128 px; the other rates are assumptions on the safe side.
ASSUMED: dict[str, Rate] = {
    "train_segmenter": {START: 5.0, "megapixels": 150.0},
    "crop_cells cellpose": {START: 5.0, "megapixels": 1.0, "nuclear_megapixels": 30.0},
}


@dataclass(frozen=True)
class Rates:
    """The measured rates.

    Attributes:
        machine: The machine, in words.
        made_by: The command that measured it.
        seconds: Processor seconds of a job, by kind and unit.
        n_jobs: Number of jobs behind each kind.
        disk_mb: MB left on the disk by kind: a constant, and for each MB of raw pixels.
    """

    machine: str
    made_by: str
    seconds: dict[str, Rate]
    n_jobs: dict[str, int]
    disk_mb: dict[str, Rate]

    def to_json(self) -> str:
        """Return the text of the file."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @staticmethod
    def read(path: Path = FILE) -> Rates:
        """Read the file that :meth:`to_json` made.

        Raises:
            InputError: The file is missing or of another form.
        """
        try:
            return Rates(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{path} holds no rates ({error}). Make it by benchmarks/plan/run.sh: a quarter of "
                "an hour."
            ) from error

    def processor_seconds(self, kind: str, units: Units) -> tuple[float, str]:
        """Return the seconds of one core, and ``measured`` or how else they were found."""
        rate = self.seconds.get(kind)
        if rate is not None:
            return predict(rate, units), "measured"
        if kind in SAME and SAME[kind] in self.seconds:
            return predict(self.seconds[SAME[kind]], units), f"as {SAME[kind]}"
        if kind in ASSUMED:
            return predict(ASSUMED[kind], units), "assumed"
        starts = [rate[START] for rate in self.seconds.values()]
        start = median(starts) if starts else 0.0
        if "gflop" in units and LIKE in self.seconds:
            like = {name: v for name, v in self.seconds[LIKE].items() if name != START}
            return start + predict(like, units), f"as fast as {LIKE}"
        return start, "its start alone"

    def gpu_seconds(self, kind: str, units: Units, tflop_s: float) -> float:
        """Return the estimated time of a job on a GPU that sustains ``tflop_s``."""
        start, _ = self.processor_seconds(kind, {})
        work = units.get("gflop", 0.0) / (1000 * tflop_s)
        return start + max(work, units.get("steps", 0.0) * LAUNCH_S)

    def disk(self, kind: str, raw_mb: float) -> float:
        """Return the MB that a job leaves on the disk."""
        rate = self.disk_mb.get(kind)
        return raw_mb if rate is None else predict(rate, {"raw": raw_mb})


def kind_of(rule: str, wildcards: Wildcards, config: Config) -> str:
    """Return the kind of a job: its rule, and for searches the file of the method too."""
    method: Mapping[str, str] = config["methods"].get(wildcards.get("method", ""), {})
    if rule in SEARCHES and method:
        return f"{rule} {method['search']}"
    if rule == "crop_cells":
        segmenter = section_values(config, "crop_cells", wildcards["assay"])["segmenter"]
        return rule if segmenter == "threshold" else f"{rule} {segmenter}"
    return rule


def predict(rate: Rate, units: Units) -> float:
    """Return sum_k b_k u_k; a unit without a rate adds nothing."""
    return rate.get(START, 0.0) + sum(rate.get(name, 0.0) * u for name, u in units.items())
