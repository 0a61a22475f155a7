"""Measure how fast your machine is, so that plans hold for it, or compare a plan with a run.

    python -m analysis.plan.measure --machine "two cores of 2.5 GHz" \\
        --run runs/a config/smoke.yaml --run runs/b config/smoke.yaml more.yaml
    python -m analysis.plan.measure --check runs/c config/smoke.yaml other.yaml

Give small runs whose rates are to be measured, of two sizes or more, because one size cannot tell
the time of a start from that of the work. How long a job took is in the last line of its log, which
every command writes in a run of Snakemake. On a GPU only the jobs that used it count, by the time
in their benchmark files, and the machine is the card. Other machines in the file stay as they are.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analysis.plan.elapsed import measured_s
from analysis.plan.jobs import Job, planned_jobs
from analysis.run.assay_sizes import Units
from analysis.run.rates import (
    FILE,
    START,
    Machine,
    Rate,
    Rates,
    kind_of,
    machines_json,
    predict,
    read_machines,
)
from analysis.run.sizes import Sizes
from analysis.run.values import read_config
from rls.io import write_text
from rls.runtime.command import run
from rls.runtime.errors import InputError
from rls.runtime.help import CommandParser
from rls.runtime.progress import format_seconds

USED = re.compile(r"^used: ([\d.]+) s of processor time", re.MULTILINE)
ON_GPU = re.compile(r"^device: cuda", re.MULTILINE)  # printed by rls.runtime.device
LEAST_MB = 1e-6
FASTEST_GFLOP_S = {"cpu": 100.0, "cuda": 1e6}  # the most that a fit may promise


@dataclass(frozen=True)
class Done:
    """A job that ran: its kind, units, seconds, MB of raw pixels, and whether it used a GPU."""

    job: Job
    kind: str
    units: Units
    seconds: float
    raw_mb: float
    on_gpu: bool


def ran(folder: Path, configs: Sequence[Path]) -> list[Done]:
    """Return all jobs of a run with a log.

    Raises:
        InputError: The folder holds no run of this configuration.
    """
    config = read_config(configs)
    sizes, rows = Sizes(config), []
    for job in planned_jobs(configs, folder):
        log = folder / job.log
        text = log.read_text(errors="replace") if job.log and log.is_file() else ""
        if used := USED.findall(text):
            what = (job.rule, job.wildcards)
            on_gpu = bool(ON_GPU.search(text))
            seconds = _clock(folder / job.benchmark) if on_gpu else float(used[-1])
            found = (sizes.units(*what), seconds, sizes.raw_mb(*what), on_gpu)
            rows.append(Done(job, kind_of(*what, config), *found))
    if not rows:
        raise InputError(
            f"Found no log of a job of this configuration in {folder} that ends with what it used. "
            "Run it first, with the same configuration files."
        )
    return rows


def _clock(benchmark: Path) -> float:
    """Return the seconds of the clock that a job took, from its benchmark file."""
    with benchmark.open(encoding="utf-8", newline="") as file:
        return float(list(csv.DictReader(file, delimiter="\t"))[-1]["s"])


def fit(units: Sequence[Units], found: Sequence[float], *, device: str = "cpu") -> Rate:
    """Return the rates of jobs with these units that took ``found`` seconds (all above 0).

    The rates b >= 0 minimise sum_i ((t_i - t^_i) / t_i)^2 over the jobs of a kind, so that short
    and long ones count alike.
    """
    from scipy.optimize import nnls  # here, since --help need not wait for it

    names = sorted({name for one in units for name in one})
    floor = {"gflop": 1 / FASTEST_GFLOP_S[device]} if "gflop" in names else {}
    t = np.asarray(found, dtype=float)
    left = np.maximum([a - predict(floor, u) for a, u in zip(t, units, strict=True)], 0.0)
    table = np.array([[1.0, *(one.get(name, 0.0) for name in names)] for one in units])
    weighted = table / t[:, None]
    scale = np.maximum(np.abs(weighted).max(axis=0), 1e-300)
    values, _ = nnls(weighted / scale, left / t)
    rate = dict(zip([START, *names], (float(v) for v in values / scale), strict=True))
    return {name: value + floor.get(name, 0.0) for name, value in rate.items()}


def measure(runs: Sequence[tuple[Path, Sequence[Path]]], machine: str, made_by: str) -> Rates:
    """Return the rates of some runs, each a folder and its configuration files."""
    done = [(folder, one) for folder, configs in runs for one in ran(folder, configs)]
    device = "cuda" if any(one.on_gpu for _, one in done) else "cpu"
    seconds: dict[str, list[tuple[Units, float]]] = defaultdict(list)
    disk: dict[str, list[tuple[Units, float]]] = defaultdict(list)
    for folder, one in done:
        if one.on_gpu != (device == "cuda"):
            continue
        seconds[one.kind].append((one.units, one.seconds))
        paths = (folder / name for name in one.job.outputs)
        left_mb = sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
        disk[one.kind].append(({"raw": one.raw_mb}, max(left_mb, LEAST_MB)))
    return Rates(
        machine,
        made_by,
        {
            kind: fit(*zip(*rows, strict=True), device=device)
            for kind, rows in sorted(seconds.items())
        },
        {kind: len(rows) for kind, rows in sorted(seconds.items())},
        {kind: fit(*zip(*rows, strict=True)) for kind, rows in sorted(disk.items())},
        device,
    )


def with_machine(machines: Mapping[str, Rates], rates: Rates) -> dict[str, Rates]:
    """Return the machines with one added or replaced; what it assumed and now knows goes."""
    known = machines.get(rates.machine)
    assumed = known.assumed if known else {}
    left = {kind: rate for kind, rate in assumed.items() if kind not in rates.seconds}
    return {**machines, rates.machine: replace(rates, assumed=left)}


def check(folder: Path, configs: Sequence[Path], machine: Machine) -> str:
    """Return a table of planned over used time, by kind of job and together."""
    planned: dict[str, float] = defaultdict(float)
    used: dict[str, float] = defaultdict(float)
    for one in ran(folder, configs):
        planned[one.kind] += machine.seconds(one.kind, one.units, on_gpu=one.on_gpu)[0]
        used[one.kind] += one.seconds
    kinds = sorted(used, key=lambda kind: -used[kind])
    planned["together"], used["together"] = sum(planned.values()), sum(used.values())
    lines = [f"{'':36}{'planned s':>10}{'used s':>10}{'ratio':>8}"]
    for name in (*kinds, "together"):
        ratio = planned[name] / used[name]
        lines.append(f"{name:36}{planned[name]:10.1f}{used[name]:10.1f}{ratio:8.2f}")
    if clock := measured_s(folder / "benchmarks"):
        text = "on the clock, while any job ran, by the files in benchmarks/"
        lines.append(f"{text}: {format_seconds(clock)}")
    return "\n".join(lines)


def _folder_and_configs(values: Sequence[str]) -> tuple[Path, list[Path]]:
    return Path(values[0]), [Path(value) for value in values[1:]]


def main(argv: Sequence[str] | None = None) -> None:
    """Write rates, or print a check."""
    parser = CommandParser(__doc__)
    run_of = ("FOLDER", "CONFIG")
    parser.add_argument("--run", nargs="+", action="append", default=[], metavar=run_of)
    parser.add_argument("--check", nargs="+", metavar=run_of, help="compare the plan with a run")
    parser.add_argument("--machine", default="", help="what it ran on, in words")
    parser.add_argument("--output", type=Path, default=FILE, help="JSON to write, or to check with")
    args = parser.parse_args(argv)
    if args.check:
        folder, configs = _folder_and_configs(args.check)
        machine = Machine.read(args.output, args.machine, read_config(configs)["device"])
        print(check(folder, configs, machine))
        return
    if len(args.run) < 2:
        raise InputError(
            f"Found {len(args.run)} runs, expected --run twice or more, of different sizes. One "
            "size does not tell the start of a job from its work."
        )
    runs = [_folder_and_configs(values) for values in args.run]
    name = args.machine or "an unnamed machine"
    rates = measure(runs, name, "python -m analysis.plan.measure")
    machines = read_machines(args.output) if args.output.is_file() else {}
    write_text(args.output, machines_json(with_machine(machines, rates)))
    print(f"{args.output}: {len(rates.seconds)} kinds of jobs from {len(runs)} runs")
    for kind, rate in rates.seconds.items():
        shown = ", ".join(f"{unit} {value:.3g} s" for unit, value in rate.items() if value)
        print(f"  {kind:32} {shown}  (n = {rates.n_jobs[kind]})")


if __name__ == "__main__":
    run(main)
