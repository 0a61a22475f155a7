"""How a run folder stands, from dry runs, benchmarks and Snakemake's last log."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.plan.costs import cost_of, hours
from analysis.plan.jobs import Job, planned_jobs
from analysis.run.rates import Machine
from analysis.run.sizes import Sizes
from analysis.run.values import Config, lay_over, read_config
from analysis.watching.progress import key_of
from analysis.watching.sessions import failure_lines, latest_session
from analysis.watching.started import Started, is_locked, is_running
from rls.runtime.errors import InputError

HEAD = ("stage", "done", "running", "left", "time used", "time left")


@dataclass
class Stage:
    """The jobs of one rule.

    Attributes:
        used_s, planned_used_s: What the jobs took that are done, and what the plan says of them.
        left_s: What the plan says of those that are left.
    """

    jobs: int = 0
    left: int = 0
    running: int = 0
    used_s: float = 0.0
    planned_used_s: float = 0.0
    left_s: float = 0.0


def read_status(folder: Path, configfiles: Sequence[Path] = ()) -> str:
    """Return how a run stands, as lines to print.

    Arguments:
        configfiles: Its overlays, where the folder does not say what it was started with.

    Raises:
        InputError: The folder is no run folder, or nothing says what it was started with.
    """
    started = Started.read(folder)
    if started is None or configfiles:
        if not (folder / ".snakemake").is_dir():
            raise InputError(
                f"{folder} is no run folder: nothing was started there. Give one such as "
                "runs/demo, or start a run by rls run."
            )
        if not configfiles:
            raise InputError(
                f"{folder} does not say with which configuration it was started. Give it as "
                "--configfile."
            )
        started = Started(tuple(str(path.resolve()) for path in configfiles))
    config = read_config(started.paths)
    lay_over(config, dict(started.config or {}))
    stages = stages_of(folder, started, config)
    session, alive = latest_session(folder), is_running(folder, started)
    for rule, n in session.running_by_rule.items():
        if alive and rule in stages:
            stages[rule].running = min(n, stages[rule].left)
    lines = [summary(folder, stages), "", *table(stages), ""]
    lines.append(who_runs(folder, started, alive, any(stage.left for stage in stages.values())))
    if failed := failure_lines(session, folder):
        lines += ["", "Jobs that failed in the last start:", *failed]
    return "\n".join(lines)


def stages_of(folder: Path, started: Started, config: Config) -> dict[str, Stage]:
    """Return what is done and left of each rule, in the order of the dry run."""
    asked = (started.paths, folder, started.targets)
    everything = planned_jobs(*asked, everything=True, config=started.config)
    left = planned_jobs(*asked, everything=False, config=started.config)
    keys_left = {key_of(job.rule, job.wildcards) for job in left}
    sizes, machine = Sizes(config), Machine.here(config["device"])
    stages: dict[str, Stage] = {}
    for job in everything:
        stage = stages.setdefault(job.rule, Stage())
        planned = cost_of(job, config, sizes, machine).wall_s
        stage.jobs += 1
        if key_of(job.rule, job.wildcards) in keys_left:
            stage.left += 1
            stage.left_s += planned
            continue
        seconds = measured_seconds(folder, job)
        if seconds is not None:
            stage.used_s += seconds
            stage.planned_used_s += planned
    return stages


def measured_seconds(folder: Path, job: Job) -> float | None:
    """Return how long a job took, by its benchmark; None where it has none."""
    path = folder / job.benchmark
    if not job.benchmark or not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    try:
        return sum(float(row["s"]) for row in rows)
    except (KeyError, ValueError):
        return None


def slowness(stages: Mapping[str, Stage]) -> float:
    """Return how much longer than planned the jobs took that are done; 1 before there are any."""
    planned = sum(stage.planned_used_s for stage in stages.values())
    used = sum(stage.used_s for stage in stages.values())
    return used / planned if planned and used else 1.0


def summary(folder: Path, stages: Mapping[str, Stage]) -> str:
    """Return the line over the whole run."""
    jobs, left = (sum(getattr(s, name) for s in stages.values()) for name in ("jobs", "left"))
    used = sum(stage.used_s for stage in stages.values())
    left_s = slowness(stages) * sum(stage.left_s for stage in stages.values())
    if not left:
        return f"{folder}: all {jobs} jobs are done, in {hours(used)} of their time."
    share = used / (used + left_s) if used + left_s else 0.0
    return (
        f"{folder}: {jobs - left} of {jobs} jobs done, {share:.0%} of the time; about "
        f"{hours(left_s)} left, one job after the other."
    )


def table(stages: Mapping[str, Stage]) -> list[str]:
    """Return the lines of the table of stages."""
    factor = slowness(stages)
    rows: list[tuple[str, ...]] = [HEAD]
    for rule, stage in stages.items():
        used = hours(stage.used_s) if stage.used_s else "-"
        left = hours(stage.left_s * factor) if stage.left else "-"
        numbers = (stage.jobs - stage.left, stage.running, stage.left - stage.running)
        rows.append((rule, *(str(n or "-") for n in numbers), used, left))
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    return [
        f"{name:{widths[0]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        for name, *cells in rows
    ]


def who_runs(folder: Path, started: Started, alive: bool, is_left: bool) -> str:
    """Return a sentence on the Snakemake of the folder."""
    if alive:
        return f"It runs as process {started.pid} on {started.host}."
    if not is_left:
        return "Nothing runs, and nothing is left to do."
    lock = " The last start was killed." if is_locked(folder) else ""
    return f"Nothing runs.{lock} It goes on with: {started.command(folder)}"
