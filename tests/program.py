"""A copy of the program to which one method was added, as a file and a block.

What the documentation promises of an added method is what the tests of the workflow run.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import ROOT

PROGRAM = ("Snakefile", "config", "workflow", "rls", "analysis", "environment.yml", "models")


METHOD = '''"""Nearest neighbour: each low-resolution pixel becomes a square."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option
from rls.search.problem import BatchProgress, Problem, Reconstruction

NEEDS_GENERATOR = False


@dataclass(frozen=True)
class Settings:
    """What the block in the configuration may hold."""

    gain: float = option("Factor on the intensities.")


def super_resolve(problem: Problem, settings: Settings, progress: BatchProgress) -> Reconstruction:
    """Repeat every pixel."""
    images = (problem.y * settings.gain).repeat_interleave(problem.factor, 2)
    return Reconstruction(images.repeat_interleave(problem.factor, 3), None, {})
'''


class Program:
    """A copy of the program and one run folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "program"
        self.run_folder = folder / "run"
        self.root.mkdir()
        ignore = shutil.ignore_patterns("__pycache__", "runs")
        for name in PROGRAM:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.root / name, ignore=ignore)
            elif source.is_file():
                shutil.copy(source, self.root / name)
        (self.root / "rls" / "search" / "nearest.py").write_text(METHOD)
        added = {
            "run": {"methods": ["bicubic", "rls_unregularized", "rls", "nearest"]},
            "methods": {"nearest": {"search": "nearest", "gain": 1.0}},
        }
        self.overlay("added.yaml", added)

    def overlay(self, name, content):
        path = self.root / name
        path.write_text(yaml.safe_dump(content))
        return path

    def snakemake(self, *arguments, configs=("config/smoke.yaml", "added.yaml"), run_folder=None):
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(self.root / "Snakefile")),
            *("--workflow-profile", str(self.root / "workflow/profiles/local")),
            *("--cores", "2", "--directory", str(run_folder or self.run_folder)),
            *("--configfile", *(str(self.root / config) for config in configs)),
            *(argument for argument in arguments if argument.startswith("-")),
            *("--", *(argument for argument in arguments if not argument.startswith("-"))),
        ]
        environment = {**os.environ, "RLS_REAL_DATA": str(self.root), "COLUMNS": "200"}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=self.root
        )

    def planned(self, *arguments, **options):
        """Rules that a dry run would run, with the number of jobs."""
        result = self.snakemake("--dry-run", *arguments, **options)
        assert result.returncode == 0, result.stderr + result.stdout
        text = result.stdout + result.stderr
        if "Nothing to be done" in text:
            return {}
        table = re.search(r"^job\s+count\n[-\s]+\n(.*?)^total", text, re.S | re.M)
        assert table, text
        pairs = (line.rsplit(maxsplit=1) for line in table.group(1).strip().splitlines())
        return {name: int(count) for name, count in pairs}
