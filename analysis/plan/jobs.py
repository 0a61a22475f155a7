"""The jobs of a configuration, as Snakemake's dry run lists them. Nothing is run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis.run.keys import ROOT
from rls.runtime.errors import InputError
from rls.runtime.places import environment

RULE = re.compile(r"^\s*(?:local)?(?:rule|checkpoint) (\w+):\s*$")
ENTRY = re.compile(r"^\s+(input|output|log|benchmark|wildcards|threads|resources): (.*)$")
PAIR = re.compile(r"(\w+)=(.*?)(?=, \w+=|$)")
NO_WORK = ("all",)  # rules that only collect


@dataclass(frozen=True)
class Job:
    """One job: its rule, its files and its requests."""

    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    log: str = ""
    benchmark: str = ""
    threads: int = 1
    resources: Mapping[str, str] = field(default_factory=dict)

    @property
    def memory_mb(self) -> float:
        """MB that it asks for."""
        return float(self.resources.get("mem_mb", 0) or 0)

    @property
    def on_gpu(self) -> bool:
        """Whether it asks for a GPU."""
        return float(self.resources.get("gpu", 0) or 0) > 0


def planned_jobs(
    configs: Sequence[Path],
    folder: Path,
    targets: Sequence[str] = (),
    *,
    everything: bool = True,
    device: str = "",
    config: Mapping[str, object] | None = None,
) -> list[Job]:
    """Return the jobs that Snakemake would run in ``folder``.

    Arguments:
        everything: Whether jobs whose files are there and up to date are listed too.
        device: The device in place of the configuration's; '' keeps that.
        config: Values in place of the configuration's, as Snakemake's ``--config`` takes them.

    Raises:
        InputError: Snakemake refuses the configuration.
    """
    given = {**(config or {}), **({"device": device} if device else {})}
    files = [str(path.resolve()) for path in configs] or [str(ROOT / "config" / "config.yaml")]
    command = [
        *(sys.executable, "-P", "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
        *("--directory", str(folder), "--cores", "all", "--dry-run", "--nolock"),
        "--rerun-incomplete",  # A run that goes on now, or was stopped, is planned too.
        *(("--forceall",) if everything else ()),
        *(("--config", *config_words(given)) if given else ()),
        *("--configfile", *files, "--", *targets),
    ]
    # Snakemake colours its output as the terminal allows; escape codes would hide the lines.
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment({"NO_COLOR": "1"})
    )
    text = done.stdout + done.stderr
    if done.returncode:
        said = "weights: "  # What the workflow says of weights is no reason.
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith(said)]
        raise InputError(f"Snakemake refuses this configuration: {' '.join(lines[-3:])}")
    return parse(text)


def config_words(config: Mapping[str, object]) -> list[str]:
    """Return values as words behind Snakemake's ``--config``."""
    return [f"{key}={json.dumps(value)}" for key, value in config.items()]


def parse(text: str) -> list[Job]:
    """Return the jobs in the text of a dry run, without those that only collect."""
    jobs, rule, found = [], "", dict[str, str]()
    for line in [*text.splitlines(), "rule end:"]:
        if start := RULE.match(line):
            if rule and rule not in NO_WORK:
                jobs.append(_job(rule, found))
            rule, found = start.group(1), {}
        elif entry := ENTRY.match(line):
            found[entry.group(1)] = entry.group(2)
    return jobs


def _job(rule: str, found: Mapping[str, str]) -> Job:
    return Job(
        rule,
        dict(PAIR.findall(found.get("wildcards", ""))),
        _paths(found.get("output", "")),
        _paths(found.get("input", "")),
        found.get("log", "").split(" (")[0],
        found.get("benchmark", "").split(" (")[0],
        int(found.get("threads", "1")),
        dict(PAIR.findall(found.get("resources", ""))),
    )


def _paths(text: str) -> tuple[str, ...]:
    return tuple(part.split(" (")[0] for part in text.split(", ") if part)
