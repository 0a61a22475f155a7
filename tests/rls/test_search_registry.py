"""Test that a method is a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from rls.runtime.errors import InputError
from rls.search.methods import load_method, method_names
from tests.rls.search_stand_ins import add_method


@pytest.fixture
def new_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return add_method(tmp_path, monkeypatch)


def test_the_methods_are_the_files_of_the_folder() -> None:
    assert {"rls", "bicubic", "robust_unsupervised"} <= set(method_names())
    for name in method_names():
        load_method(name)


def test_a_new_file_is_found_without_any_other_change(new_method: str) -> None:
    assert new_method in method_names()
    assert load_method(new_method).Settings(grey=0.5).grey == 0.5


def test_an_unknown_method_and_a_module_that_is_none_are_refused() -> None:
    for name in ("pulsar", "loop"):
        with pytest.raises(InputError, match="bicubic"):
            load_method(name)
