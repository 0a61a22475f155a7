"""The source files behind a command, for rules that run again when code is edited."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from analysis.run.keys import ROOT

# `from analysis.x import a, b` or `from analysis.x import (a, b)`, at the top or in a function.
IMPORT = re.compile(r"^\s*from (analysis[\w.]*) import (\([^)]*\)|[^\n]*)", re.M)


def sources(*commands: str) -> list[str]:
    """Return the files of ``analysis`` that commands import, directly or by another module.

    Cheap stages depend on their code: an edited file makes them run again. Training and searching
    do not, so ``rls``, which they share with the cheap stages, is left out.

    Arguments:
        commands: Modules such as ``analysis.measure``.
    """
    found: set[Path] = set()
    waiting = [path for command in commands for path in _files(command)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    return sorted(map(str, found))


@cache
def _imported(path: Path) -> tuple[Path, ...]:
    text = path.read_text(encoding="utf-8")
    modules = []
    for module, names in IMPORT.findall(text):
        modules += [module, *(f"{module}.{name}" for name in re.findall(r"\w+", names))]
    found = [file for module in modules for file in _files(module)]
    # A module that looks its neighbours up by name may import any of them.
    return (*found, *(path.parent.glob("*.py") if "iter_modules" in text else ()))


def _files(module: str) -> list[Path]:
    """Return the file of a module, and for a package that is run its ``__main__``."""
    path = ROOT / module.replace(".", "/")
    files = (path.with_suffix(".py"), path / "__init__.py", path / "__main__.py")
    return [file for file in files if file.is_file()]
