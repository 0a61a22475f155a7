"""Where the files of the program lie: in a checkout, and as a wheel installs them.

In a checkout ``rls`` stands beside ``analysis``, ``workflow``, ``config``, ``models`` and the
Snakefile. A wheel puts all of these into ``rls/_program``, so that ``rls`` is the only package that
it installs. ``PROGRAM`` is the folder that holds them in either case.
"""

from __future__ import annotations

import os
import site
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = PACKAGE / "_program"
PROGRAM = INSTALLED if INSTALLED.is_dir() else PACKAGE.parent
CONFIG = PROGRAM / "config"


def source(path: str) -> Path:
    """Return the place of a source file that is named from the root of a checkout."""
    return (PACKAGE.parent if path.startswith("rls/") else PROGRAM) / path


def python_path() -> str:
    """Return the PYTHONPATH with which a command finds ``rls`` and ``analysis`` from any folder."""
    folders = [str(PROGRAM)]
    found_anyway = {*site.getsitepackages(), site.getusersitepackages(), *folders}
    if str(PACKAGE.parent) not in found_anyway:
        folders.append(str(PACKAGE.parent))
    return os.pathsep.join(folders)


def environment(added: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a process that runs Snakemake or a command of the program."""
    return {**os.environ, "PYTHONPATH": python_path(), **(added or {})}


def shipped(path: Path, folder: str, suffix: str = "") -> Path:
    """Return the file or folder of the program that ``path`` names, if no file of the user is it.

    ``demo``, ``demo.yaml`` and ``config/demo.yaml`` all name the program's ``config/demo.yaml``.

    Arguments:
        path: What a user typed.
        folder: The folder of the program in which it may lie: ``config`` or ``models``.
        suffix: The ending of a file that a user may leave out; '' where a folder is asked for.
    """
    is_users = path.is_file() if suffix else path.is_dir()
    if is_users or path.is_absolute() or path.parent not in (Path(), Path(folder)):
        return path
    for name in (path.name, path.name + suffix):
        if (PROGRAM / folder / name).exists():
            return PROGRAM / folder / name
    return path
