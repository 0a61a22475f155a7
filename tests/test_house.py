"""What holds the house together: imports run one way, and the three lists of packages agree."""

import ast
import re
import tomllib

import pytest
import yaml

from tests.conftest import ROOT


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("rls", {"analysis", "snakemake", "workflow", "tests"}),
        ("analysis", {"snakemake", "workflow", "tests"}),
    ],
)
def test_imports_run_from_analysis_to_rls_and_no_further(package, forbidden):
    paths = list((ROOT / package).rglob("*.py"))
    assert len(paths) > 5
    for path in paths:
        assert not forbidden & set(imports_of(path)), path


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def locked():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs)
    return {normal(name): version.strip() for name, version in pairs}


def test_the_lock_holds_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for wanted in project["dependencies"] + project["optional-dependencies"]["test"]:
        name, _, version = wanted.partition("==")
        assert normal(name) in locked(), wanted
        assert not version or locked()[normal(name)] == version, wanted


def test_the_lock_names_no_local_build_and_no_cuda_package():
    for name, version in locked().items():
        assert "+" not in version, name
        assert not name.startswith(("nvidia", "cuda", "triton")), name


def test_the_conda_environment_installs_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(item for item in environment["dependencies"] if isinstance(item, dict))["pip"]
    assert pip == ["-r requirements.lock"]
    python = next(item for item in environment["dependencies"] if str(item).startswith("python="))
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert python == "python=3.11" and requires == ">=3.11,<3.13"


def test_no_name_is_called_lr():
    for path in [*(ROOT / "rls").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [getattr(node, key, None) for key in ("id", "arg", "name")]
            # torch's optimisers name their argument so; a keyword handed to them is not ours.
            assert isinstance(node, ast.keyword) or "lr" not in names, f"{path}: lr"
