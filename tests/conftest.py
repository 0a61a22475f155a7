"""What several tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    return Path(value)


@pytest.fixture
def real_data() -> Path:
    """The folder of real images (BBBC014 fields, BBBC021 crops), or a visible skip."""
    return _folder("RLS_REAL_DATA")


@pytest.fixture
def golden() -> Path:
    """The folder of arrays that the reference programs gave, or a visible skip."""
    return _folder("RLS_GOLDEN")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tests compute on one thread: small networks gain nothing from more, and results are equal."""
    import torch

    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Begin with the workflow: it takes longest, and beside it the rest is done."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)
