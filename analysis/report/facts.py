"""The facts of a run that no table holds: versions, times, selection, generator."""

from __future__ import annotations

import platform
import re
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

from analysis.run.description import Assay
from rls import __version__
from rls.io import read_table
from rls.io.names import GAN, OK
from rls.runtime.places import PROGRAM

ROOT = PROGRAM
PACKAGES = ("torch", "numpy", "pandas", "scikit-image", "scikit-learn", "snakemake")


def versions() -> str:
    """Return the versions of the program and of the packages that compute."""
    parts = [f"rls {__version__}", f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            parts.append(f"{name} absent")
    return ", ".join(parts)


def commit() -> str:
    """Return the commit of the program and whether files were changed; '' outside a repository."""
    if not (ROOT / ".git").exists():  # An installed program may lie within another repository.
        return ""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name + (" with uncommitted changes" if changed else "")


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def devices(logs: Path | None) -> str:
    """Return the devices that the logs of the run name, as rls.runtime.device prints them."""
    if logs is None or not logs.is_dir():
        return ""
    found: dict[str, None] = {}
    for path in sorted(logs.rglob("*.log")):
        text = path.read_text(encoding="utf-8", errors="replace")
        found |= dict.fromkeys(re.findall(r"^device: (.+)", text, re.M))
    return "; ".join(found)


def job_times(benchmarks: Path | None) -> pd.DataFrame:
    """Return the number of jobs per rule, their total seconds and the largest memory.

    Arguments:
        benchmarks: Snakemake's benchmark files: one folder or file a rule, tab-separated, with
            seconds in ``s`` and the largest resident memory in MB in ``max_rss``.
    """
    columns = ["rule", "jobs", "seconds", "max_rss_mb"]
    if benchmarks is None or not benchmarks.is_dir():
        return pd.DataFrame(columns=columns)
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        table = pd.read_csv(path, sep="\t", na_values=["-"])
        if "s" not in table.columns or table.empty:
            continue
        parts = path.relative_to(benchmarks).parts
        rule = parts[0] if len(parts) > 1 else path.stem
        memory = table["max_rss"].max() if "max_rss" in table.columns else float("nan")
        rows.append({"rule": rule, "jobs": 1, "seconds": table["s"].sum(), "max_rss_mb": memory})
    if not rows:
        return pd.DataFrame(columns=columns)
    grouped = pd.DataFrame(rows).groupby("rule", as_index=False)
    summed = grouped.agg({"jobs": "sum", "seconds": "sum", "max_rss_mb": "max"})
    return summed.sort_values("seconds", ascending=False).reset_index(drop=True)


def readable_time(seconds: float) -> str:
    """Return seconds as '2 h 05 min', '3 min 20 s' or '12 s'."""
    whole = int(round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


@dataclass(frozen=True)
class Selection:
    """The cells that an assay used.

    Attributes:
        table: selection.csv.
        skipped: Number of fields left out by plate and reason.
    """

    table: pd.DataFrame
    skipped: pd.DataFrame

    @property
    def split_by(self) -> str:
        """The finest unit that splits never share."""
        return ", ".join(sorted(set(self.table["split_by"].astype(str))))


def read_selection(results: Path, assay: Assay) -> Selection:
    """Read what select_cells and crop_cells wrote of an assay."""
    table = read_table(
        results / assay.name / "selection.csv",
        columns=["treatment", "split", "split_by", "n_wells", "n_fields", "n_cells"],
    )
    frames = [
        read_table(path, columns=["plate", "status", "reason"])
        for path in sorted((results / assay.name / "plates").glob("*.fields.csv"))
    ]
    skipped = pd.DataFrame(columns=["plate", "reason", "fields"])
    if frames:
        fields = pd.concat(frames)
        left_out = fields[fields["status"] != OK]
        skipped = (
            left_out.fillna({"reason": "no reason given"})
            .groupby(["plate", "reason"], as_index=False)
            .size()
            .rename(columns={"size": "fields"})
        )
    return Selection(table, skipped)


def treated_share(selection: Selection, negative_control: str) -> float:
    """Return the share of the generator's training cells that are not negative control."""
    gan = selection.table[selection.table["split"] == GAN]
    total = gan["n_cells"].sum()
    if total == 0:
        return float("nan")
    return float(gan.loc[gan["treatment"] != negative_control, "n_cells"].sum() / total)
