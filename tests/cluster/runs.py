"""Runs of the smoke configuration, on this machine or through the profile for Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
CONFIGS = (ROOT / "config/smoke.yaml", HERE / "cluster.yaml")
# What a test changes of the profile: its own partitions, and asking for states every few seconds.
QUICKLY = (
    *(
        "--slurm-partition-config",
        str(HERE / "partitions.yaml"),
        "--slurm-status-command",
        "squeue",
    ),
    *("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"),
    *("--latency-wait", "10", "--max-jobs-per-timespan", "100/1s"),
)


def command(
    folder: Path,
    where: str,
    *options: str,
    configs: tuple[Path, ...] = (),
    base: tuple[Path, ...] = CONFIGS,
) -> list[str]:
    """The command line of a run; ``where`` is local or slurm, the name of the profile.

    ``options`` that do not begin with a dash at the end are targets, behind "--". ``configs`` lie
    over ``base``.
    """
    near = QUICKLY if where == "slurm" else ("--cores", "2")
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
        *("--workflow-profile", str(ROOT / "workflow/profiles" / where), *near),
        *("--directory", str(folder), "--configfile", *map(str, (*base, *configs)), *options),
    ]


def environment() -> dict[str, str]:
    """The caller's, without a GPU and without Slurm's variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return kept | {"CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}


def start(folder: Path, where: str, *options: str, **more: tuple[Path, ...]) -> subprocess.Popen:
    """Start a run; its output goes to ``folder``.log, in a process group of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.log", "a") as log:
        return subprocess.Popen(
            command(folder, where, *options, **more), stdout=log, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, env=environment(), cwd=ROOT, start_new_session=True,
        )  # fmt: skip


def output(folder: Path) -> str:
    """What all runs of a folder have printed."""
    path = Path(f"{folder}.log")
    return path.read_text(errors="replace") if path.exists() else ""
