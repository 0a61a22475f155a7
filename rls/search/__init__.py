"""Searches, one file a method.

A method is a module ``rls/search/NAME.py`` with a frozen dataclass ``Settings`` (all fields in its
own body, each made by :func:`rls.runtime.command.option`) and a function
``super_resolve(problem, settings, progress) -> Reconstruction``. A block in the configuration's
``methods`` with ``search: NAME`` is then a row of every table. Nothing else knows the names.
A method that uses no generator says ``NEEDS_GENERATOR = False``; one with a network of its own
names the command that trains it, ``TRAINED_BY = "train_pix2pix"``.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any, Protocol, cast

from rls.runtime.errors import InputError
from rls.search.problem import BatchProgress, Problem, Reconstruction, Styles

__all__ = [
    "BatchProgress",
    "Method",
    "Problem",
    "Reconstruction",
    "Styles",
    "load_method",
    "method_names",
]


class Method(Protocol):
    """A module under ``rls/search``."""

    Settings: type[Any]

    def super_resolve(
        self, problem: Problem, settings: Any, progress: BatchProgress  # noqa: ANN401
    ) -> Reconstruction:  # fmt: skip
        """Return the reconstruction of one batch."""


def method_names() -> list[str]:
    """Return the names that ``search:`` may have, without importing them."""
    names = (m.name for m in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if _defines_a_method(name))


def load_method(name: str) -> Method:
    """Return the module of a method.

    Raises:
        InputError: There is no such file, or it lacks ``super_resolve`` or ``Settings``.
    """
    if name not in method_names():
        raise InputError(
            f"There is no search '{name}'; found {', '.join(method_names())}. Write "
            f"rls/search/{name}.py or correct 'search:' in the method's block."
        )
    module = importlib.import_module(f"{__name__}.{name}")
    if not hasattr(module, "Settings"):
        raise InputError(f"rls/search/{name}.py lacks the dataclass Settings.")
    return cast(Method, module)


def _defines_a_method(name: str) -> bool:
    files = (Path(folder) / f"{name}.py" for folder in __path__)
    return any("\ndef super_resolve(" in f.read_text("utf-8") for f in files if f.is_file())
