"""The files that a user lays over the program's configuration, by path or by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.runtime.places import CONFIG, shipped

OVERLAYS = "overlays of config.yaml: your files, or the program's by name, such as demo"
WHOLE = "paper"  # the run folder of the program's configuration without an overlay


def config_file(text: str) -> Path:
    """Return the overlay that a user named: a file of their own, or the program's of that name."""
    return shipped(Path(text), CONFIG.name, ".yaml")


def run_folder(overlays: Sequence[Path]) -> Path:
    """Return the folder of a run that was given none: ``runs/demo`` for ``demo.yaml``."""
    return Path("runs") / (overlays[-1].stem if overlays else WHOLE)
