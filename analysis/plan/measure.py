"""Measure rates for plans from small runs, or hold a plan against what a run took.

    python -m analysis.plan.measure --machine "two cores of 2.5 GHz" \\
        --run runs/a config/smoke.yaml --run runs/b config/smoke.yaml more.yaml
    python -m analysis.plan.measure --check runs/c config/smoke.yaml other.yaml

What a job took stands in the last line of its log, which every command writes in a run of
Snakemake. Rates need runs of two sizes or more: one size does not tell a start from work.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.plan.jobs import Job, planned_jobs
from analysis.run.rates import FILE, START, Rate, Rates, kind_of, predict
from analysis.run.sizes import Sizes, Units
from analysis.run.values import read_config
from rls.io import write_text
from rls.runtime.command import run
from rls.runtime.errors import InputError

USED = re.compile(r"^used: ([\d.]+) s of processor time", re.MULTILINE)
LEAST_MB = 1e-6
FASTEST_GFLOP_S = 100.0  # the most of one core; a fit to small jobs must not promise more


def ran(folder: Path, configs: Sequence[Path]) -> list[tuple[Job, str, Units, float, float]]:
    """Return (job, kind, units, seconds, MB of raw pixels) of all jobs of a run with a log.

    Raises:
        InputError: The folder holds no run of this configuration.
    """
    config = read_config(configs)
    sizes, rows = Sizes(config), []
    for job in planned_jobs(configs, folder):
        log = folder / job.log
        used = USED.findall(log.read_text(errors="replace")) if job.log and log.is_file() else []
        if used:
            what = (job.rule, job.wildcards)
            units, raw = sizes.units(*what), sizes.raw_mb(*what)
            rows.append((job, kind_of(*what, config), units, float(used[-1]), raw))
    if not rows:
        raise InputError(
            f"Found no log of a job of this configuration in {folder} that ends with what it used. "
            "Run it first, with the same configuration files."
        )
    return rows


def fit(units: Sequence[Units], found: Sequence[float]) -> Rate:
    """Return the rates of jobs with these units that took ``found`` seconds (all above 0).

    The rates b >= 0 minimise sum_i ((t_i - t^_i) / t_i)^2 over the jobs of a kind, so that short
    and long ones count alike.
    """
    from scipy.optimize import nnls  # here, since --help need not wait for it

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


def measure(runs: Sequence[tuple[Path, Sequence[Path]]], machine: str, made_by: str) -> Rates:
    """Return the rates of some runs, each a folder and its configuration files."""
    seconds: dict[str, list[tuple[Units, float]]] = defaultdict(list)
    disk: dict[str, list[tuple[Units, float]]] = defaultdict(list)
    for folder, configs in runs:
        for job, kind, units, taken, raw in ran(folder, configs):
            seconds[kind].append((units, taken))
            paths = (folder / name for name in job.outputs)
            left_mb = sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
            disk[kind].append(({"raw": raw}, max(left_mb, LEAST_MB)))
    return Rates(
        machine,
        made_by,
        {kind: fit(*zip(*rows, strict=True)) for kind, rows in sorted(seconds.items())},
        {kind: len(rows) for kind, rows in sorted(seconds.items())},
        {kind: fit(*zip(*rows, strict=True)) for kind, rows in sorted(disk.items())},
    )


def check(folder: Path, configs: Sequence[Path], rates: Rates) -> str:
    """Return a table of planned over used processor time, by kind of job and together."""
    planned: dict[str, float] = defaultdict(float)
    used: dict[str, float] = defaultdict(float)
    for _, kind, units, taken, _ in ran(folder, configs):
        planned[kind] += rates.processor_seconds(kind, units)[0]
        used[kind] += taken
    kinds = sorted(used, key=lambda kind: -used[kind])
    planned["together"], used["together"] = sum(planned.values()), sum(used.values())
    lines = [f"{'':36}{'planned s':>10}{'used s':>10}{'ratio':>8}"]
    for name in (*kinds, "together"):
        ratio = planned[name] / used[name]
        lines.append(f"{name:36}{planned[name]:10.1f}{used[name]:10.1f}{ratio:8.2f}")
    return "\n".join(lines)


def _folder_and_configs(values: Sequence[str]) -> tuple[Path, list[Path]]:
    return Path(values[0]), [Path(value) for value in values[1:]]


def main(argv: Sequence[str] | None = None) -> None:
    """Write rates, or print a check."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.plan.measure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    name = ("FOLDER", "CONFIG")
    parser.add_argument("--run", nargs="+", action="append", default=[], metavar=name)
    parser.add_argument("--check", nargs="+", metavar=name, help="hold the plan against a run")
    parser.add_argument("--machine", default="an unnamed machine", help="what it ran on, in words")
    parser.add_argument("--output", type=Path, default=FILE, help="JSON to write")
    args = parser.parse_args(argv)
    if args.check:
        print(check(*_folder_and_configs(args.check), Rates.read(args.output)))
        return
    if len(args.run) < 2:
        raise InputError(
            f"Found {len(args.run)} runs, expected --run twice or more, of different sizes. One "
            "size does not tell the start of a job from its work."
        )
    runs = [_folder_and_configs(values) for values in args.run]
    rates = measure(runs, args.machine, "python -m analysis.plan.measure")
    write_text(args.output, rates.to_json())
    print(f"{args.output}: {len(rates.seconds)} kinds of jobs from {len(runs)} runs")
    for kind, rate in rates.seconds.items():
        shown = ", ".join(f"{unit} {value:.3g} s" for unit, value in rate.items() if value)
        print(f"  {kind:32} {shown}  (n = {rates.n_jobs[kind]})")


if __name__ == "__main__":
    run(main)
