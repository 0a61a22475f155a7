"""Searches, one file a method.

A method is a module ``rls/search/NAME.py`` with a frozen dataclass ``Settings`` (all fields in its
own body, each made by :func:`rls.command.option`) and a function
``super_resolve(problem, settings, progress) -> Reconstruction``. A block in the configuration's
``methods`` with ``search: NAME`` is then a row of every table. Nothing else knows the names.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, Protocol, cast

from rls.errors import InputError
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

SHARED = ("loop", "objective", "problem", "schedule")  # modules here that are no methods


class Method(Protocol):
    """A module under ``rls/search``."""

    Settings: type[Any]

    def super_resolve(
        self, problem: Problem, settings: Any, progress: BatchProgress  # noqa: ANN401
    ) -> Reconstruction:  # fmt: skip
        """Return the reconstruction of one batch."""


def method_names() -> list[str]:
    """Return the names that ``search:`` may have, without importing them."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in SHARED)


def load_method(name: str) -> Method:
    """Return the module of a method.

    Raises:
        InputError: There is no such file, or it lacks ``Settings`` or ``super_resolve``.
    """
    if name not in method_names():
        raise InputError(
            f"There is no search '{name}'; found {', '.join(method_names())}. Write "
            f"rls/search/{name}.py or correct 'search:' in the method's block."
        )
    module = importlib.import_module(f"{__name__}.{name}")
    missing = [part for part in ("Settings", "super_resolve") if not hasattr(module, part)]
    if missing:
        raise InputError(f"rls/search/{name}.py lacks {' and '.join(missing)}.")
    return cast(Method, module)
