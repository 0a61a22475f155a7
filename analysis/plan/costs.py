"""The cost of jobs, and the table that shows it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from analysis.plan.elapsed import Capacity, planned_s
from analysis.plan.jobs import Job
from analysis.run.rates import Machine, kind_of
from analysis.run.sizes import Sizes
from analysis.run.values import Config, section_values
from rls.runtime.progress import format_seconds

AT_MOST = ("fit_flow", "train_classifier", "train_low_resolution_classifier")  # they stop early
PLATE_MB = 840  # a plate of BBBC021 as it is downloaded
RAW_MB = 3000  # the same as it lies there until it is cropped
CHECKPOINTS = 3  # two are kept while a third is written


@dataclass(frozen=True)
class Cost:
    """The cost of some jobs: memory is the largest request, wall_s their time one by one."""

    jobs: int = 0
    processor_s: float = 0.0
    gpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: float = 0.0
    disk_mb: float = 0.0
    basis: str = ""

    def __add__(self, other: Cost) -> Cost:
        parts = [*self.basis.split(", "), *other.basis.split(", ")]
        return Cost(
            self.jobs + other.jobs,
            self.processor_s + other.processor_s,
            self.gpu_s + other.gpu_s,
            self.wall_s + other.wall_s,
            max(self.memory_mb, other.memory_mb),
            self.disk_mb + other.disk_mb,
            ", ".join(dict.fromkeys(filter(None, parts))),
        )


def cost_of(job: Job, config: Config, sizes: Sizes, machine: Machine) -> Cost:
    """Return the cost of a job."""
    kind = kind_of(job.rule, job.wildcards, config)
    units = sizes.units(job.rule, job.wildcards)
    on_gpu = job.on_gpu and machine.gpu is not None
    seconds, basis = machine.seconds(kind, units, on_gpu=on_gpu)
    disk = machine.processor.disk(kind, sizes.raw_mb(job.rule, job.wildcards))
    if job.rule == "train_gan":
        disk += CHECKPOINTS * sizes.of(job.wildcards["assay"]).networks.checkpoint_mb
    wall = seconds if on_gpu else seconds / job.threads
    return Cost(1, seconds, seconds if on_gpu else 0.0, wall, job.memory_mb, disk, basis)


def clock_of(jobs: Sequence[Job], config: Config, machine: Machine, capacity: Capacity) -> float:
    """Return the seconds on the clock of jobs side by side, downloads included."""
    sizes = Sizes(config)
    cores = capacity.get("cores", math.inf)

    def seconds(job: Job) -> float:
        cost = cost_of(job, config, sizes, machine)
        if job.rule == "fetch_plate":
            speed = section_values(config, job.rule, job.wildcards["assay"])["expected_mb_per_s"]
            return float(PLATE_MB / speed)
        # A job gets no more cores than there are.
        return cost.wall_s if cost.gpu_s else cost.wall_s * max(1.0, job.threads / cores)

    return planned_s(jobs, [seconds(job) for job in jobs], capacity)


def local_capacity(cores: int, machine: Machine) -> Capacity:
    """Return what one machine offers, as workflow/profiles/local has it: one GPU, one download."""
    return {"cores": cores, "downloads": 1, **({"gpu": 1} if machine.gpu is not None else {})}


def clock_sentence(seconds: float, capacity: Capacity) -> str:
    """Return a sentence on the time that a run takes on the clock."""
    if "cores" not in capacity:
        where = f"at most {capacity['jobs']:.0f} jobs at a time, waiting in queues not counted"
    else:
        gpus = f" and {capacity['gpu']:.0f} GPU" if capacity.get("gpu") else ""
        where = f"{capacity['cores']:.0f} cores{gpus}, if nothing else runs there"
    return f"Elapsed time: about {hours(seconds)} ({where})."


def costs_by_rule(jobs: Iterable[Job], config: Config, machine: Machine) -> dict[str, Cost]:
    """Return the cost of each rule, in the order of the dry run."""
    sizes, costs = Sizes(config), dict[str, Cost]()
    for job in jobs:
        costs[job.rule] = costs.get(job.rule, Cost()) + cost_of(job, config, sizes, machine)
    return costs


def describe(costs: Mapping[str, Cost], config: Config, machine: Machine) -> str:
    """Return the plan of a configuration as lines to print."""
    notes = ["Memory is what the largest job asks for; disk is what stays."]
    notes += notes_on(costs, machine)
    if any(rule in costs for rule in AT_MOST):
        notes.append("at most: stops by itself when it no longer improves, often long before.")
    for name in config["run"]["assays"]:
        if config["assays"][name]["source"] != "bbbc021":
            continue
        speed = section_values(config, "fetch_plate", name)["expected_mb_per_s"]
        n = costs["fetch_plate"].jobs if "fetch_plate" in costs else 0
        notes.append(
            f"Fetching {n} plates of {name}, about {PLATE_MB} MB each, {n * PLATE_MB / 1000:.0f} "
            f"GB: {hours(n * PLATE_MB / speed)} more at {speed:g} MB/s; {RAW_MB / 1000:.0f} GB of "
            "disk a plate until it is cropped."
        )
    return "\n".join([*table(costs, "stage"), "", *notes])


def table(costs: Mapping[str, Cost], what: str) -> list[str]:
    """Return the lines of a table of costs, headed by ``what`` its rows are, with their sum."""
    rows: list[tuple[str, ...]] = [(what, "jobs", "processor", "GPU", "memory", "disk", "from")]
    for name, cost in costs.items():
        basis = f"{cost.basis}, at most" if name in AT_MOST else cost.basis
        rows.append((name, *_cells(cost), basis))
    rows.append(("together", *_cells(sum(costs.values(), Cost())), ""))
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    lines = []
    for name, *cells, basis in rows:
        padded = (f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        lines.append(f"{name:{widths[0]}}{''.join(padded)}  {basis}".rstrip())
    return lines


def notes_on(costs: Mapping[str, Cost], machine: Machine) -> list[str]:
    """Return sentences on the machine behind a table of costs."""
    notes = [
        f"Processor: the time of one core, by rates measured on {machine.processor.machine}.",
    ]
    if machine.gpu is not None and any(cost.gpu_s for cost in costs.values()):
        notes.append(
            f"(GPU): the time on {machine.gpu.machine}, during which one core waits. "
            f"{machine.gpu.made_by}"
        )
    return notes


def hours(seconds: float) -> str:
    """Return seconds in words: from ten hours on as hours with one decimal."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 36000 else format_seconds(seconds)


def _cells(cost: Cost) -> tuple[str, ...]:
    gpu = hours(cost.gpu_s) if cost.gpu_s else "-"
    memory, disk = f"{cost.memory_mb / 1000:.1f} GB", f"{cost.disk_mb:.1f} MB"
    if cost.disk_mb >= 1000:
        disk = f"{cost.disk_mb / 1000:,.1f} GB"
    return (f"{cost.jobs:,}", hours(cost.processor_s), gpu, memory, disk)
