"""A method is a file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import rls.search
from rls.errors import InputError
from rls.search import load_method, method_names

NEW = """
from dataclasses import dataclass
from rls.command import option
from rls.search import Reconstruction


@dataclass(frozen=True)
class Settings:
    grey: float = option("Value of every pixel.")


def super_resolve(problem, settings, progress):
    n, c, m, _ = problem.y.shape
    size = m * problem.factor
    return Reconstruction(problem.y.new_full((n, c, size, size), settings.grey), None)
"""


@pytest.fixture
def new_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "all_grey.py").write_text(NEW)
    monkeypatch.setattr(rls.search, "__path__", [*rls.search.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "rls.search.all_grey", raising=False)
    return "all_grey"


def test_the_methods_are_the_files_of_the_folder() -> None:
    assert {"rls", "bicubic"} <= set(method_names())
    for name in method_names():
        load_method(name)


def test_a_new_file_is_found_without_any_other_change(new_method: str) -> None:
    assert new_method in method_names()
    assert load_method(new_method).Settings(grey=0.5).grey == 0.5


def test_an_unknown_method_and_a_module_that_is_none_are_refused() -> None:
    for name in ("pulsar", "loop"):
        with pytest.raises(InputError, match="bicubic"):
            load_method(name)
