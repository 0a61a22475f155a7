"""Train generators one after the other, or side by side on one GPU, each by its own Snakemake.

Small trainings leave most of a GPU idle, so several processes share it. Every Snakemake has its own
run folder: what fails in one does not reach the others.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.plan.costs import Cost, costs_by_rule, hours, notes_on, table
from analysis.plan.jobs import planned_jobs
from analysis.run.keys import ROOT
from analysis.run.rates import Machine
from analysis.run.values import read_config
from analysis.shipped.listing import Generator
from rls.pretrained.export import export
from rls.runtime.errors import InputError
from rls.runtime.locks import Lock
from rls.runtime.stopping import MINUTES, Watch

LABEL = "generators"
LOOK_S = 0.5  # Time between two looks at the processes.


@dataclass(frozen=True)
class Plan:
    """How generators are trained.

    Attributes:
        runs: The folder that holds a run folder for each generator.
        device: ``cpu`` or ``cuda``, in place of the configurations' own.
        cores: CPU cores of all together.
        at_once: How many generators train at a time.
    """

    generators: Sequence[Generator]
    runs: Path
    device: str
    cores: int
    at_once: int

    def cost(self, one: Generator, machine: Machine) -> Cost:
        """Return the cost of what is left to do of a generator.

        Raises:
            InputError: Snakemake refuses its configuration, or an input is missing.
        """
        folder = self.runs / one.name
        with tempfile.TemporaryDirectory() as empty:
            jobs = planned_jobs(
                one.configfiles,
                folder if folder.is_dir() else Path(empty),
                one.targets,
                everything=False,
                device=self.device,
            )
        costs = costs_by_rule(jobs, read_config(one.configfiles), machine)
        return sum(costs.values(), Cost())

    def describe(self, costs: Mapping[str, Cost], machine: Machine) -> str:
        """Return what will run and for how long, from the costs by name, as lines to print."""
        each = [cost.wall_s for cost in costs.values()]
        lines = [*table(costs, "generator"), "", *notes_on(costs, machine)]
        lines.append("A training that was begun counts in full. Fits may end sooner.")
        if self.at_once == 1:
            lines.append(f"One after the other: {hours(sum(each))}.")
        else:
            lines.append(
                f"{self.at_once} side by side: {hours(max(each))} if they do not slow each other "
                f"down, and no more than {hours(sum(each))}."
            )
        return "\n".join(lines)


class Training:
    """The Snakemake of one generator in a session of its own; its lines carry the name."""

    def __init__(self, generator: Generator, plan: Plan) -> None:
        self.generator, self.folder = generator, plan.runs / generator.name
        self.folder.mkdir(parents=True, exist_ok=True)
        # A killed Snakemake leaves its own lock behind, and would have to be unlocked by hand.
        self.lock = Lock(self.folder / ".lock-generators", self.folder)
        self.lock.acquire()
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
            *("--workflow-profile", str(ROOT / "workflow" / "profiles" / "local")),
            *("--directory", str(self.folder), "--nolock", "--quiet", "all"),
            *("--cores", str(max(plan.cores // plan.at_once, 1))),
            *("--config", f"device={plan.device}"),
            *("--configfile", *map(str, generator.configfiles), "--", *generator.targets),
        ]
        # The time limit is that of all generators together: this process keeps it.
        environment = {name: value for name, value in os.environ.items() if name != MINUTES}
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env=environment,
        )
        self.reader = threading.Thread(target=self._show, daemon=True)
        self.reader.start()

    @property
    def ended(self) -> bool:
        """Whether Snakemake and all its jobs have ended, some of which may outlive it to save."""
        return self.process.poll() is not None and not _alive(self.process.pid)

    def stop(self) -> None:
        """Ask all its processes to save and end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)

    def wait(self) -> None:
        """Return once it has ended."""
        while not self.ended:
            time.sleep(LOOK_S)
        self.reader.join()
        self.lock.release()

    def finish(self) -> str:
        """Write the model folder of a training that ended; return a sentence on what failed."""
        self.wait()
        if self.process.returncode:
            return f"its logs are in {self.folder / 'logs'}."
        one = self.generator
        # The card shows the folder's path.
        output = Path(os.path.relpath(one.folder))
        results = (self.folder / one.targets[0]).parent
        try:
            export(results, output, one.title, one.about, f"make generators ONLY={one.name}")
        except (InputError, OSError) as error:  # as of a folder that cannot be written
            return str(error)
        print(f"{LABEL}: {one.name} is in {output}", flush=True)
        return ""

    def _show(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip():
                print(f"{self.generator.name}: {line.rstrip()}", flush=True)


def planned(plan: Plan, machine: Machine) -> tuple[Plan, list[str]]:
    """Print what a plan will do; return it without what cannot run, and a sentence on each of that.

    Raises:
        InputError: No generator can run.
    """
    costs, failed = dict[str, Cost](), list[str]()
    for one in plan.generators:
        try:
            costs[one.name] = plan.cost(one, machine)
        except InputError as error:
            failed.append(f"{one.name} cannot be trained: {error}")
            print(f"{LABEL}: {failed[-1]}", flush=True)
    if not costs:
        raise InputError(" ".join(failed))
    left = [one for one in plan.generators if one.name in costs]
    plan = replace(plan, generators=left, at_once=min(plan.at_once, len(left)))
    print(plan.describe(costs, machine), flush=True)
    return plan, failed


def train(plan: Plan) -> list[str]:
    """Train and export the generators of a plan; return a sentence for each that failed.

    Raises:
        Stopped: The time limit was reached, or a signal came. All trainings have saved and ended.
    """
    waiting, running, failed = list(plan.generators), list[Training](), list[str]()
    with Watch(LABEL) as watch:
        try:
            while waiting or running:
                while waiting and len(running) < plan.at_once:
                    running.append(Training(waiting.pop(0), plan))
                time.sleep(LOOK_S)
                for one in [one for one in running if one.ended]:
                    running.remove(one)
                    if sentence := one.finish():
                        failed.append(f"{one.generator.name} failed: {sentence}")
                        print(f"{LABEL}: {failed[-1]}", flush=True)
                if (waiting or running) and watch.due():
                    left = len(waiting) + len(running)
                    kept = f"with {left} of {len(plan.generators)} generators to go on with"
                    raise watch.stopped(kept)
        finally:
            for one in running:
                one.stop()
            for one in running:
                one.wait()
    return failed


def _alive(session: int) -> bool:
    """Return whether a process of a session lives; a dead one may stay listed as a zombie."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number, *_ = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if state != "Z" and int(number) == session:
            return True
    return False
