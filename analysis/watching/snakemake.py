"""Start Snakemake with the program's profile, wait for it, and leave a run that goes on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.plan.costs import cost_of
from analysis.plan.jobs import planned_jobs
from analysis.run.checks import check
from analysis.run.keys import ROOT
from analysis.run.rates import Machine
from analysis.run.sizes import Sizes
from analysis.run.values import merged, read_config, read_files
from analysis.watching.progress import PLAN, key_of
from analysis.watching.sessions import LATER, latest_session, tell_failures
from analysis.watching.started import Started, is_locked, is_running
from rls.runtime.errors import InputError
from rls.runtime.places import environment
from rls.runtime.progress import format_seconds

PROFILES = ("local", "slurm")
PLUGINS = ROOT / "workflow" / "plugins"
# With these Snakemake runs no job, or other jobs than a plan without them has.
NO_PLAN = ("-n", "--dry-run", "--unlock", "--lint", "--dag", "--rulegraph", "--list", "--summary")
INTERRUPTED = 130


@dataclass(frozen=True)
class Request:
    """What a user asked for.

    Attributes:
        cores: The text behind ``--cores``; None where it was not given.
        profile: The folder of the profile.
        words: Targets first, then arguments of Snakemake.
    """

    configfiles: Sequence[Path]
    folder: Path
    cores: str | None
    profile: Path
    words: tuple[str, ...] = ()

    @property
    def targets(self) -> list[str]:
        """The words before the first flag."""
        first = next((i for i, word in enumerate(self.words) if word.startswith("-")), None)
        return list(self.words[:first])

    @property
    def runs_jobs(self) -> bool:
        """Whether Snakemake is to run jobs, and not only to tell something."""
        return not any(word in NO_PLAN or word.startswith("--list") for word in self.words)

    @property
    def on_cluster(self) -> bool:
        """Whether jobs run on other machines than this one."""
        return "slurm" in self.profile.name

    def command(self) -> list[str]:
        """Return the command that starts Snakemake."""
        flags = self.words[len(self.targets) :]
        cores = self.cores or (None if self.on_cluster else "all")
        return [
            *(sys.executable, "-P", "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
            *("--workflow-profile", str(self.profile), "--directory", str(self.folder)),
            *(("--cores", cores) if cores else ()),
            *(("--configfile", *map(str, self.configfiles)) if self.configfiles else ()),
            *(("--logger", "rls") if self.runs_jobs else ()),
            *flags,
            *(("--", *self.targets) if self.targets else ()),
        ]


def profile_folder(name: str) -> Path:
    """Return the folder of a profile: the program's of that name, or a user's.

    Raises:
        InputError: It holds no config.yaml, which Snakemake would not say.
    """
    folder = ROOT / "workflow" / "profiles" / name if name in PROFILES else Path(name)
    if not (folder / "config.yaml").is_file():
        raise InputError(
            f"The profile {name} has no config.yaml. Give {' or '.join(PROFILES)}, or a folder "
            "with that file."
        )
    return folder


def run_snakemake(request: Request, scratch: Path) -> int:
    """Run Snakemake and return its exit status; 130 after Ctrl-C.

    Arguments:
        scratch: An empty folder for the plan.

    Raises:
        InputError: A file of the configuration is missing or wrong, or the folder is in use.
    """
    files = read_files(request.configfiles)
    if "--config" not in request.words:  # Its values may be what makes the configuration whole.
        check(merged(files), files)
    if request.runs_jobs:
        unlock_if_dead(request)
    plan = scratch / "planned.json"
    if request.runs_jobs and (planned := plan_of(request)):
        plan.write_text(json.dumps(planned), encoding="utf-8")
    paths = environment()["PYTHONPATH"]
    added = {"PYTHONPATH": f"{paths}:{PLUGINS}", PLAN: str(plan), LATER: "1"}
    process = subprocess.Popen(request.command(), env=environment(added))
    interrupted = False
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt:  # The terminal sends it to Snakemake and its jobs, too.
            interrupted = True
    if interrupted or status == -signal.SIGINT:
        print(
            "stopped: what is done stays, and nothing is half-written. Run the same command again "
            "to go on.",
            file=sys.stderr,
        )
        return INTERRUPTED
    if status and request.runs_jobs:
        tell_failures(latest_session(request.folder), request.folder)
    return status


def plan_of(request: Request) -> dict[str, float]:
    """Print what is to be done and return the planned seconds of each job.

    Where Snakemake refuses the run, nothing is planned: it says so itself when it is started.
    """
    try:
        config = read_config(request.configfiles)
        jobs = planned_jobs(request.configfiles, request.folder, request.targets, everything=False)
    except InputError:
        return {}
    machine, sizes = Machine.here(config["device"], on_cluster=request.on_cluster), Sizes(config)
    costs = {key_of(j.rule, j.wildcards): cost_of(j, config, sizes, machine).wall_s for j in jobs}
    n_stages = len({job.rule for job in jobs})
    print(
        f"rls: {len(jobs)} jobs of {n_stages} stages in {request.folder}; one after the other they "
        f"take {format_seconds(sum(costs.values()))} by the rates of {rated(machine)}.",
        file=sys.stderr,
        flush=True,
    )
    return costs


def rated(machine: Machine) -> str:
    """Return the machine in words."""
    return machine.processor.machine if machine.gpu is None else machine.gpu.machine


def unlock_if_dead(request: Request) -> None:
    """Take the locks of a Snakemake that was killed off its run folder.

    Raises:
        InputError: It still runs.
    """
    folder = request.folder
    started = Started.read(folder)
    if started is None or not is_locked(folder):
        return
    if is_running(folder, started):
        raise InputError(
            f"Process {started.pid} on {started.host} runs {folder} already. Wait for it, or stop "
            "it and run the same command again. If it is dead, rls run ... --unlock frees the "
            "folder."
        )
    shutil.rmtree(folder / ".snakemake" / "locks", ignore_errors=True)
    print(f"rls: the last run of {folder} was killed; it is unlocked and goes on", file=sys.stderr)
