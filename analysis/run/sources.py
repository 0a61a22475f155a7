"""The source files behind a command, for rules that run again when code is edited."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from analysis.run.keys import ROOT

# `from analysis.x import a, b` or `from analysis.x import (a, b)`, at the top or in a function.
IMPORT = re.compile(r"^\s*from (analysis[\w.]*) import (\([^)]*\)|[^\n]*)", re.M)
PACKAGE = "analysis"


def sources(*commands: str) -> list[str]:
    """Return the files of ``analysis`` that commands import, directly or by another module.

    Cheap stages depend on their code: an edited file makes them run again. Training and searching
    do not, and what they share with the cheap stages (``rls``) is left out for that reason.

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
    return tuple(file for module in _modules(text) for file in _files(module))


def _modules(text: str) -> Iterator[str]:
    for module, names in IMPORT.findall(text):
        yield module
        for name in re.findall(r"\w+", names):
            yield f"{module}.{name}"


def _files(module: str) -> list[Path]:
    """Return the file of a module; of a package all files, since it may look them up by name."""
    path = ROOT / module.replace(".", "/")
    if path.is_dir() and module != PACKAGE:
        return sorted(path.glob("*.py"))
    file = path.with_suffix(".py")
    return [file] if file.is_file() else []
