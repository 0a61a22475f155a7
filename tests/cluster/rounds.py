"""One round: a stage of a finished run made again, and what must hold before and after."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tests.cluster import runs
from tests.cluster.compare import differences
from tests.cluster.slurm import Cluster, wait_until
from tests.cluster.stages import STAGES, module

PATIENCE_S = 1800.0  # a round takes two minutes here, and a machine may be several times slower


class Lost(Exception):
    """What did not survive the round."""


@dataclass
class Round:
    """One fault on one stage, in a folder of its own."""

    stage: str
    where: str
    folder: Path
    reference: Path
    random: random.Random
    cluster: Cluster | None = None
    configs: tuple[Path, ...] = ()
    started: list[subprocess.Popen] = field(default_factory=list)
    usual_s: float = 0.0  # what the stage took in the undisturbed run

    @property
    def outputs(self) -> list[str]:
        """What the stage writes, relative to the run's folder."""
        return STAGES[self.stage]

    def prepare(self, template: Path) -> None:
        """Copy the finished run and remove what the stage made, checkpoints included."""
        shutil.rmtree(self.folder, ignore_errors=True)
        Path(f"{self.folder}.log").unlink(missing_ok=True)
        shutil.copytree(template, self.folder, symlinks=True)
        benchmarks = (self.folder / "benchmarks").rglob("*.tsv")
        tables = [pd.read_csv(path, sep="\t", na_values=["-"]).iloc[0] for path in benchmarks]
        self.usual_s = min(float(t["s"]) for t in tables if t["rule_name"] == self.stage)
        self.remove("state", *self.outputs)

    def remove(self, *paths: str) -> None:
        """Delete files or folders of the run."""
        for path in paths:
            target = self.folder / path
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)

    def start(self, *options: str, stage: str = "") -> subprocess.Popen:
        """Start Snakemake for the outputs of the stage."""
        targets = ("--", *STAGES[stage or self.stage])
        options = ("--notemp", *options)
        run = runs.start(self.folder, self.where, *options, *targets, configs=self.configs)
        self.started.append(run)
        return run

    def finish(self, process: subprocess.Popen, good: bool | None = True) -> int:
        """Wait for Snakemake; ``good`` says how it must end, None that it may end either way."""
        try:
            code = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Lost(f"Snakemake did not end within {PATIENCE_S:.0f} s") from None
        if good is not None and good != (code == 0):
            raise Lost(f"Snakemake ended with {code}: {last_error(runs.output(self.folder))}")
        return code

    def go_on(self, *options: str) -> None:
        """What a person does: the same command again, after unlocking if it says so."""
        before = len(runs.output(self.folder))
        failed = self.finish(self.start(*options), None)
        if failed and "--unlock" in runs.output(self.folder)[before:]:
            self.finish(self.start("--unlock"))
            self.finish(self.start(*options))
        elif failed or not self.complete():
            raise Lost(f"it did not go on: {last_error(runs.output(self.folder)[before:])}")

    def complete(self) -> bool:
        """Whether all outputs of the stage are there."""
        return all((self.folder / path).exists() for path in self.outputs)

    def running(self, stage: str = "") -> list[int]:
        """Processes of the stage's command in this folder."""
        wanted = f"-m\0{module(stage or self.stage)}\0"
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (path / "cmdline").read_bytes().decode(errors="replace")
                name = Path(line.split("\0")[0]).name
                here = Path(os.readlink(path / "cwd")) == self.folder
                if name.startswith("python") and wanted in line and here:
                    found.append(int(path.name))
        return found

    def wait_for_job(self, process: subprocess.Popen, most_share: float = 0.9) -> int:
        """Return a process of the stage, a random part of its usual time after it has begun."""
        begun = lambda: bool(self.running()) or process.poll() is not None  # noqa: E731
        wait_until(f"{self.stage} to begin", begun, 180)
        if process.poll():
            said = last_error(runs.output(self.folder))
            raise Lost(f"Snakemake ended with {process.poll()} before {self.stage} began: {said}")
        time.sleep(self.random.uniform(0, most_share) * self.usual_s)
        found = self.running()
        if not found:
            raise Missed(f"{self.stage} was over before the fault")
        return self.random.choice(found)

    def end(self) -> None:
        """Leave no process of the round behind."""
        for run in self.started:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
        for pid in self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def check_nothing_half_written(self) -> None:
        """Whatever lies under a final name must be whole, and what it should be."""
        _, said = differences(self.folder / "results", self.reference)
        wrong = [text for text in said if "absent" not in text]
        if wrong:
            raise Lost(f"half-written: {wrong[0]}")

    def check_equal(self) -> None:
        """Every array and table must equal the undisturbed run's."""
        n, said = differences(self.folder / "results", self.reference)
        if said or n < 60:
            raise Lost(f"not equal to the undisturbed run: {'; '.join(said[:3])}")


class Missed(Exception):
    """The stage was over before it could be disturbed: the round is repeated."""


def last_error(text: str) -> str:
    """The last sentence that begins with "error", or the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "lockexception"))]
    return (errors or lines or ["nothing was printed"])[-1][:400]
