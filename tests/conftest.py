"""What several tests share."""

import os
from pathlib import Path

import pytest

from rls.networks.weights_settings import FOLDER, weights_folder

ROOT = Path(__file__).resolve().parent.parent
REAL_WEIGHTS = weights_folder()
# No result of a test depends on what the user fetched; what needs it asks for the fixture.
os.environ[FOLDER] = str(ROOT / "tests" / "no_weights")


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
def real_weights(monkeypatch) -> Path:
    """The folder of the weights that make weights fetched, or a visible skip."""
    if not (REAL_WEIGHTS / "vgg16.safetensors").is_file():
        pytest.skip(f"no weights of LPIPS in {REAL_WEIGHTS}: run make weights, or set {FOLDER}")
    monkeypatch.setenv(FOLDER, str(REAL_WEIGHTS))
    return REAL_WEIGHTS


@pytest.fixture
def golden() -> Path:
    """The folder of arrays that the reference programs gave, or a visible skip."""
    return _folder("RLS_GOLDEN")


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """A copy of the program to which one method was added."""
    from tests.program import Program

    return Program(tmp_path_factory.mktemp("workflow"))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tests compute on one thread: small networks gain nothing from more, and results are equal."""
    import torch

    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Begin with the workflow: it takes longest, and beside it the rest is done."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)
