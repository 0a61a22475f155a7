"""Say what a configuration would cost: jobs, processor and GPU hours, memory and disk by stage.

    make plan CONFIG=config/demo.yaml

Runs nothing. Jobs are those of Snakemake's dry run; their time is sum_k rate_k units_k with the
rates of workflow/rates.json, measured in small runs, and units from the configuration. Jobs on a
GPU are estimated from their arithmetic at a stated speed, not measured.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.plan.jobs import Job, planned_jobs
from analysis.run.rates import FILE, GPU_TFLOP_S, Rates, kind_of
from analysis.run.sizes import Sizes
from analysis.run.values import Config, read_config, section_values
from rls.runtime.command import run
from rls.runtime.errors import InputError
from rls.runtime.progress import format_seconds

AT_MOST = ("fit_flow", "train_classifier", "train_low_resolution_classifier")  # they stop early
CHECKPOINTS = 3  # two are kept while a third is written


@dataclass(frozen=True)
class Cost:
    """The cost of all jobs of a rule; memory is the largest job's request."""

    jobs: int = 0
    processor_s: float = 0.0
    gpu_s: float = 0.0
    memory_mb: float = 0.0
    disk_mb: float = 0.0
    basis: str = ""

    def __add__(self, other: Cost) -> Cost:
        parts = [*self.basis.split(", "), *other.basis.split(", ")]
        return Cost(
            self.jobs + other.jobs,
            self.processor_s + other.processor_s,
            self.gpu_s + other.gpu_s,
            max(self.memory_mb, other.memory_mb),
            self.disk_mb + other.disk_mb,
            ", ".join(dict.fromkeys(filter(None, parts))),
        )


def cost_of(job: Job, config: Config, sizes: Sizes, rates: Rates, tflop_s: float) -> Cost:
    """Return the cost of a job."""
    kind = kind_of(job.rule, job.wildcards, config)
    units = sizes.units(job.rule, job.wildcards)
    seconds, basis = rates.processor_seconds(kind, units)
    disk = rates.disk(kind, sizes.raw_mb(job.rule, job.wildcards))
    if job.rule == "train_gan":
        disk += CHECKPOINTS * sizes.of(job.wildcards["assay"]).networks.checkpoint_mb
    cost = Cost(1, seconds, 0.0, job.memory_mb, disk, basis)
    if not job.on_gpu:
        return cost
    on_gpu = rates.gpu_seconds(kind, units, tflop_s)
    return replace(cost, processor_s=on_gpu, gpu_s=on_gpu, basis="estimate (GPU)")


def costs_by_rule(
    jobs: Iterable[Job], config: Config, rates: Rates, tflop_s: float
) -> dict[str, Cost]:
    """Return the cost of each rule, in the order of the dry run."""
    sizes, costs = Sizes(config), dict[str, Cost]()
    for job in jobs:
        cost = cost_of(job, config, sizes, rates, tflop_s)
        costs[job.rule] = costs.get(job.rule, Cost()) + cost
    return costs


def describe(costs: Mapping[str, Cost], config: Config, rates: Rates, tflop_s: float) -> str:
    """Return the plan as lines to print."""
    total = sum(costs.values(), Cost())
    rows: list[tuple[str, ...]] = [("stage", "jobs", "processor", "GPU", "memory", "disk", "from")]
    for rule, cost in costs.items():
        basis = f"{cost.basis}, at most" if rule in AT_MOST else cost.basis
        rows.append((rule, *_cells(cost), basis))
    rows.append(("together", *_cells(total), ""))
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    lines = []
    for name, *cells, basis in rows:
        padded = (f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        lines.append(f"{name:{widths[0]}}{''.join(padded)}  {basis}")
    notes = [
        "Nothing was run. Memory is what the largest job asks for; disk is what stays.",
        f"measured: processor time of one core, by rates from {rates.machine}.",
    ]
    if any(cost.gpu_s for cost in costs.values()):
        notes.append(
            f"estimate (GPU): the arithmetic at {tflop_s:g} TFLOP/s sustained, never measured; say "
            "what yours does with --gpu-tflop-s. Its processor time is one core that waits."
        )
    if any(rule in costs for rule in AT_MOST):
        notes.append("at most: stops by itself when it no longer improves, often long before.")
    fetched = [n for n in config["run"]["assays"] if config["assays"][n]["source"] == "bbbc021"]
    for name in fetched:
        speed = section_values(config, "fetch_plate", name)["expected_mb_per_s"]
        n = len(config["assays"][name]["plates"])
        notes.append(
            f"Fetching {n} plates of {name}, about 840 MB each: {hours(n * 840 / speed)} more at "
            f"{speed:g} MB/s; 3 GB of disk a plate until it is cropped."
        )
    return "\n".join([*lines, "", *notes])


def hours(seconds: float) -> str:
    """Return seconds in words: from ten hours on as hours with one decimal."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 36000 else format_seconds(seconds)


def _cells(cost: Cost) -> tuple[str, ...]:
    gpu = hours(cost.gpu_s) if cost.gpu_s else "-"
    memory, disk = f"{cost.memory_mb / 1000:.1f} GB", f"{cost.disk_mb:.1f} MB"
    if cost.disk_mb >= 1000:
        disk = f"{cost.disk_mb / 1000:,.1f} GB"
    return (f"{cost.jobs:,}", hours(cost.processor_s), gpu, memory, disk)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.plan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], help="as Snakemake's")
    parser.add_argument("--target", nargs="+", default=[], help="as Snakemake's: golgi, table1 ...")
    parser.add_argument("--directory", type=Path, help="run folder: what is done there is left out")
    parser.add_argument("--rates", type=Path, default=FILE, help="by analysis.plan.measure")
    parser.add_argument(
        "--gpu-tflop-s", type=float, default=GPU_TFLOP_S, help="sustained speed of your GPU"
    )
    args = parser.parse_args(argv)
    if not args.gpu_tflop_s > 0:
        raise InputError(f"Found --gpu-tflop-s {args.gpu_tflop_s:g}, expected more than 0.")
    config, rates = read_config(args.configfile), Rates.read(args.rates)
    with tempfile.TemporaryDirectory() as empty:
        folder, everything = args.directory or Path(empty), args.directory is None
        jobs = planned_jobs(args.configfile, folder, args.target, everything=everything)
    costs = costs_by_rule(jobs, config, rates, args.gpu_tflop_s)
    print(describe(costs, config, rates, args.gpu_tflop_s))


if __name__ == "__main__":
    run(main)
