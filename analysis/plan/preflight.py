"""The lines that stand before a run: its plan for the machine at hand, and what was checked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.plan.costs import (
    clock_of,
    clock_sentence,
    costs_by_rule,
    describe,
    local_capacity,
)
from analysis.plan.elapsed import Capacity
from analysis.plan.jobs import Job, planned_jobs
from analysis.plan.readiness import archives_found, device_found, disk_found, read_profile
from analysis.run.checks import check
from analysis.run.keys import ROOT
from analysis.run.rates import Machine
from analysis.run.values import Config, merged, read_files
from analysis.run.weights import settle

AT_ONCE = 100  # jobs of a cluster, where its profile names no number


@dataclass(frozen=True)
class Asked:
    """What is to be run, and where.

    Attributes:
        machine: A machine of workflow/rates.json; '' for the GPU found here, or for a cluster.
    """

    configs: Sequence[Path]
    folder: Path
    profile: Path
    cores: int
    machine: str


@dataclass(frozen=True)
class Prepared:
    """A run that is about to start.

    Attributes:
        jobs: What is left to do; none where everything is made.
        weights: A sentence on each network of other people.
    """

    asked: Asked
    config: Config
    jobs: Sequence[Job]
    machine: Machine
    profile: Mapping[str, object]
    weights: Sequence[str]

    @property
    def on_cluster(self) -> bool:
        """Whether the profile hands jobs to a cluster."""
        return _on_cluster(self.profile)

    def lines(self, *, checks: bool) -> Iterator[str]:
        """Yield the lines of the plan, then those of the checks.

        Raises:
            InputError: This machine does not allow the run.
        """
        folder = self.asked.folder
        if not self.jobs:
            yield f"Everything in {folder} is made."
            return
        costs = costs_by_rule(self.jobs, self.config, self.machine)
        yield describe(costs, self.config, self.machine)
        capacity = self._capacity()
        clock = clock_of(self.jobs, self.config, self.machine, capacity)
        yield clock_sentence(clock, capacity)
        yield from self.weights
        if checks:
            yield device_found(self.config, self.machine, cluster=self.on_cluster)
            yield disk_found(folder, costs)
            yield from archives_found(self.config, self.jobs)
        yield f"What is made lies in {folder}; after any stop the same command goes on there."

    def _capacity(self) -> Capacity:
        if not self.on_cluster:
            return local_capacity(self.asked.cores, self.machine)
        return {"jobs": float(str(self.profile.get("jobs", AT_ONCE))), "downloads": 1}


def prepare(asked: Asked) -> Prepared:
    """Return the jobs that are left, and the machine on which they are planned.

    Raises:
        InputError: The configuration or the profile does not allow the run.
    """
    profile = read_profile(asked.profile)
    files = read_files(asked.configs)
    config = merged(files)
    check(config, files)
    weights = settle(config, ROOT, {})
    machine = Machine.here(config["device"], asked.machine, on_cluster=_on_cluster(profile))
    with tempfile.TemporaryDirectory() as empty:  # A dry run would make the folder.
        folder = asked.folder if asked.folder.is_dir() else Path(empty)
        jobs = planned_jobs(asked.configs, folder, everything=False)
    return Prepared(asked, config, jobs, machine, profile, weights)


def _on_cluster(profile: Mapping[str, object]) -> bool:
    return profile.get("executor", "local") != "local"
