"""Find the methods among the files of ``rls/search``, and load one by its name."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

import rls.search
from rls.runtime.command import VARIABLES
from rls.runtime.errors import InputError

if TYPE_CHECKING:  # These import torch, for which --help need not wait.
    from rls.search.problem import BatchProgress, Problem, Reconstruction


class AnySettings(Protocol):
    """The settings of any command or method: a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


S = TypeVar("S", bound=AnySettings)


class Method(Protocol[S]):
    """A module under ``rls/search``, or an object that stands in for one."""

    Settings: type[S]

    def super_resolve(
        self, problem: Problem, settings: S, progress: BatchProgress
    ) -> Reconstruction:
        """Return the reconstruction of one batch."""


@dataclass(frozen=True)
class ChosenMethod:
    """A row of every table: a method with its settings.

    Attributes:
        name: Name of the row.
        search: Name of the method's file.
    """

    name: str
    search: str
    module: Method[AnySettings]
    settings: AnySettings

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the result."""
        own = {field.name for field in dataclasses.fields(self.settings)} - set(VARIABLES)
        return {name: getattr(self.settings, name) for name in sorted(own)}


def method_names() -> list[str]:
    """Return the names that ``search:`` may have, without importing the methods."""
    files = (file for folder in rls.search.__path__ for file in Path(folder).glob("*.py"))
    return sorted(file.stem for file in files if "\ndef super_resolve(" in file.read_text("utf-8"))


def load_method(name: str) -> Method[AnySettings]:
    """Return the module of a method.

    Raises:
        InputError: There is no such file, or it lacks ``super_resolve`` or ``Settings``.
    """
    if name not in method_names():
        raise InputError(
            f"There is no search '{name}'; found {', '.join(method_names())}. Write "
            f"rls/search/{name}.py or correct 'search:' in the method's block."
        )
    module = importlib.import_module(f"rls.search.{name}")
    if not hasattr(module, "Settings"):
        raise InputError(f"rls/search/{name}.py lacks the dataclass Settings.")
    return cast("Method[AnySettings]", module)
