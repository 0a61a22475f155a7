"""Rates: the time that each kind of job takes per unit of work, on each machine that was measured.

A job takes t = sum_k b_k u_k, where u are its units (:mod:`analysis.run.sizes`) and u_start = 1.
The rates b were fitted to jobs that ran (:mod:`analysis.plan.measure`) and come with the program.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from analysis.run.assay_sizes import Units
from analysis.run.keys import ROOT
from analysis.run.sizes import Wildcards
from analysis.run.values import Config, section_values
from rls.runtime.errors import InputError

FILE = ROOT / "workflow" / "rates.json"
GPU_FILES = (Path("/dev/nvidia0"), Path("/dev/dxg"))  # on Linux, and on Linux under Windows
START = "start"
LIKE = "train_gan"  # networks without a measurement are assumed to be as fast as this one
SAME = {  # kinds that no small run measures, and the measured kind that does the same work
    "sample_solutions rls": "super_resolve rls",
    "sweep_lambdas rls": "super_resolve rls",
    "trace_search rls": "super_resolve rls",
    "fit_prior": "fit_flow",
    "search_with_prior": "super_resolve rls",
    "measure_prior": "measure",
    "measure_trace": "measure",
    "measure_trust rls": "super_resolve rls",
    "measure_without_reference": "measure",
    "measure_solutions": "measure",
    "gather_solutions": "gather_shards",
    "measure_sweep": "measure",
    "measure_predicted": "measure",
    "measure_gan": "measure",
    "describe_generator": "measure",
    "cut_gan": "high_resolution",
    "train_all_cells_classifier": "train_low_resolution_classifier",
    "classify_all_cells": "classify",
    "degrade_gan": "degrade",
    "classify_without_reference": "classify",
}
SEARCH = "super_resolve rls"  # on a card a search without a measurement is as fast as this one
SEARCHES = ("super_resolve", "sample_solutions", "sweep_lambdas", "trace_search", "measure_trust")
Rate = dict[str, float]
# Kinds that no small run measures, in processor seconds. Training Cellpose once took 1.25 s of two
# threads for a patch of 128 px; the other rates are assumptions on the safe side.
ANY = "any"  # the kind under which a card's rates stand for all kinds without their own
ON_PAIRS = {START: 5.0, "images": 0.0035, "megapixels": 0.77, "gflop": 0.0175, "steps": 0.005}
ASSUMED: dict[str, Rate] = {
    "train_segmenter": {START: 5.0, "megapixels": 150.0},
    # Images cost what measure and train_gan cost; a step of the small network takes some ms.
    "train_amortised": ON_PAIRS,
    "evaluate_generator": ON_PAIRS,
    "train_regression": {START: 5.0, "gflop": 0.0175, "steps": 0.005},
    # Measured once, on 95 megapixels of compressed crops: 3.5 s to unpack, 27 s to judge them.
    "import_crops": {START: 2.0, "megapixels": 0.4},
    "crop_cells cellpose": {START: 5.0, "megapixels": 1.0, "nuclear_megapixels": 30.0},
}


@dataclass(frozen=True)
class Rates:
    """The rates of one machine: of a processor, or of a GPU.

    Attributes:
        machine: The machine, in words.
        made_by: The command that measured it, or the source of the numbers.
        seconds: Measured rates by kind and unit, in processor seconds, or for a GPU in seconds.
        n_jobs: Number of jobs, or of sizes, behind each kind.
        disk_mb: MB left on the disk by kind: a constant, and for each MB of raw pixels.
        device: ``cpu`` or ``cuda``.
        assumed: Rates that were not measured. The units of a kind that is in ``seconds`` too
            complete that rate.
    """

    machine: str
    made_by: str
    seconds: dict[str, Rate]
    n_jobs: dict[str, int]
    disk_mb: dict[str, Rate]
    device: str = "cpu"
    assumed: dict[str, Rate] = field(default_factory=dict)

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

    def gpu_rate(self, kind: str) -> tuple[Rate, str]:
        """Return the rate of a kind on this GPU, empty if it has none, and how it was found."""
        name = SAME.get(kind, kind)
        if name not in self.seconds and name.split()[0] in SEARCHES:
            name = SEARCH
        measured, assumed = self.seconds.get(name, {}), self.assumed.get(name, {})
        if not measured and not assumed:
            assumed = self.assumed.get(ANY, {})
        basis = "measured" if name == kind else f"as {name}"
        if assumed:
            basis = "partly assumed" if measured else "assumed"
        return {**assumed, **measured}, f"{basis} (GPU)"

    def disk(self, kind: str, raw_mb: float) -> float:
        """Return the MB that a job leaves on the disk."""
        rate = self.disk_mb.get(kind)
        return raw_mb if rate is None else predict(rate, {"raw": raw_mb})


@dataclass(frozen=True)
class Machine:
    """The machine of a run: its processor, and its GPU if jobs that ask for one are to have it."""

    processor: Rates
    gpu: Rates | None = None

    @staticmethod
    def read(path: Path = FILE, name: str = "", device: str = "cpu") -> Machine:
        """Return a machine of the file.

        Arguments:
            name: The machine, or a part of its name that no other one has, whatever the case of
                its letters; '' for the first
                processor, and for the first GPU unless ``device`` is ``cpu``.
            device: The device of the configuration.

        Raises:
            InputError: The file holds no such machine, or no processor.
        """
        machines = read_machines(path)
        processors = [rates for rates in machines.values() if rates.device == "cpu"]
        gpus = [rates for rates in machines.values() if rates.device != "cpu"]
        if not processors:
            raise InputError(f"{path} holds no rates of a processor, which every plan needs.")
        if not name:
            return Machine(processors[0], gpus[0] if gpus and device != "cpu" else None)
        found = [m for m in machines if m == name]
        found = found or [m for m in machines if name.lower() in m.lower()]
        if len(found) != 1:
            raise InputError(
                f"Found {len(found)} machines named '{name}' in {path}, expected one of: "
                f"{'; '.join(machines)}. Name one of them by a part that no other one has."
            )
        rates = machines[found[0]]
        return Machine(rates) if rates.device == "cpu" else Machine(processors[0], rates)

    @staticmethod
    def here(
        device: str, name: str = "", *, on_cluster: bool = False, path: Path = FILE
    ) -> Machine:
        """Return the machine for a plan: as named, or one with a GPU only where there is a GPU.

        Arguments:
            device: The device of the configuration.
            name: As in :meth:`read`.
            on_cluster: Whether jobs run elsewhere; then a GPU of this machine does not matter.

        Raises:
            InputError: As :meth:`read`.
        """
        if device == "auto" and not (name or on_cluster or any(f.exists() for f in GPU_FILES)):
            device = "cpu"
        return Machine.read(path, name, device)

    @property
    def device(self) -> str:
        """The device of a run on this machine."""
        return "cpu" if self.gpu is None else self.gpu.device

    def seconds(self, kind: str, units: Units, *, on_gpu: bool) -> tuple[float, str]:
        """Return the time of a job and how it was found: processor seconds, or those of a GPU."""
        if not on_gpu or self.gpu is None:
            return self.processor.processor_seconds(kind, units)
        rate, basis = self.gpu.gpu_rate(kind)
        if not rate:
            seconds, basis = self.processor.processor_seconds(kind, units)
            return seconds, f"{basis} on the processor"
        start, _ = self.processor.processor_seconds(kind, {})
        # Work that is not the card's, such as measuring images, stays on the processor.
        host = ASSUMED.get(kind, {})
        return predict({START: start, **host, **rate}, units), basis


def read_machines(path: Path = FILE) -> dict[str, Rates]:
    """Return the rates of every machine in a file, by its name.

    A file of one machine, as programs before several machines wrote it, is read too.

    Raises:
        InputError: The file is missing or of another form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if "machines" not in content:
            content = {"machines": {content.pop("machine"): content}}
        return {name: Rates(name, **values) for name, values in content["machines"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} holds no rates ({error}). Make it by benchmarks/plan/run.sh: a quarter of "
            "an hour."
        ) from error


def machines_json(machines: Mapping[str, Rates]) -> str:
    """Return the text of the file that :func:`read_machines` reads."""
    content = {name: asdict(rates) for name, rates in machines.items()}
    for values in content.values():
        del values["machine"]
    return json.dumps({"machines": content}, indent=1) + "\n"


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
