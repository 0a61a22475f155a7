"""Commands of a machine that has torch, numpy, pandas, tifffile, safetensors, PyYAML and Pillow."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from tests.bare_machine import ABSENT, environment
from tests.conftest import ROOT
from tests.rls.test_train_gan import arguments
from tests.rls.test_train_gan import cells as cells  # a fixture

# Modules of the method that need one of ABSENT, and which.
NEED = {
    "rls.encoder.pairs": "scipy",
    "rls.encoder.pool": "scipy",
    "rls.encoder.regression": "scipy",
    "rls.encoder.regression_training": "scipy",
    "rls.encoder.ridge": "scipy",
    "rls.encoder.training": "scipy",
    "rls.prior.fitting": "nflows",
    "rls.prior.flows": "nflows",
    "rls.pretrained.application": "scipy",
    "rls.pretrained.reference": "scipy",
    "rls.pretrained.side_by_side": "scipy",
    "rls.pretrained.trust": "scipy",
    "rls.search.degradation": "scipy",
}
IMPORT_ALL = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except (ModuleNotFoundError, ValueError) as error:  # a ValueError says it in a sentence
        found[name] = (error.__cause__ or error).name.partition(".")[0]
print(json.dumps(found))
"""


def run(tmp_path, *command, present=()):
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, cwd=tmp_path,
        env=environment(tmp_path, present=present),
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_the_hidden_packages_are_hidden(tmp_path):
    code = "import importlib.util as u, sys; print([u.find_spec(n) for n in sys.argv[1:]])"
    assert run(tmp_path, "-c", code, *ABSENT)[1].strip() == str([None] * len(ABSENT))
    for name in ("tqdm", "tqdm.auto"):
        assert "ModuleNotFoundError" in run(tmp_path, "-c", f"import {name}")[2]


def test_modules_that_need_more_are_known(tmp_path):
    paths = sorted((ROOT / "rls").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    names = [name for name in names if not name.endswith(("__init__", "__main__", "fir_kernel"))]
    _, out, errors = run(tmp_path, "-c", IMPORT_ALL, *names)
    assert errors == "" and json.loads(out) == NEED


def test_a_training_goes_on_without_curves_and_says_so(cells, tmp_path):
    command = ["-m", "rls.train_gan", *arguments(cells, tmp_path)]
    status, out, errors = run(tmp_path, *command, present=("pyarrow",))
    assert status == 0, errors
    assert out.count("TensorBoard curves: no, the package tensorboard is not installed") == 1
    curve = pd.read_csv(tmp_path / "generator.training.csv")
    assert curve["kimg"].tolist() == [0.016, 0.032] and (tmp_path / "generator.png").exists()
    (state,) = (tmp_path / "state").iterdir()
    assert len(list((state / "grids").iterdir())) == 2 and not (state / "tensorboard").exists()


def test_a_stack_without_pyarrow_is_a_sentence(cells, tmp_path):
    status, _, errors = run(tmp_path, "-m", "rls.train_gan", *arguments(cells, tmp_path))
    assert status == 1
    assert errors.startswith("error: Found no package pyarrow, expected it for the table ")


def test_the_check_of_a_gpu_runs_in_processes_of_its_own(tmp_path):
    output = tmp_path / "found.json"
    command = ["-m", "benchmarks.gpu_check", "--device", "cpu", "--parts", "search,article32"]
    status, out, errors = run(tmp_path, *command, "--quick", "--output", output)
    assert status == 0, errors + out
    found = json.loads(output.read_text())
    assert [part["part"] for part in found["parts"]] == ["search", "article32"]
    assert {row["form"] for part in found["parts"] for row in part["rows"]} == {
        "recorded", "directly",
    }  # fmt: skip
    counts = [one["what"] for part in found["parts"] for one in part["found"]]
    assert f"{counts.count('ok')} checks ok, 0 failed, 1 left out" in out.splitlines()[-1]


@pytest.mark.parametrize(("seconds", "what"), [("0.1", "left out"), ("40", "FAILED")])
def test_a_part_without_time_is_left_out_and_one_that_dies_fails(seconds, what, tmp_path):
    """Without numpy no part can run."""
    environ = environment(tmp_path)
    site = tmp_path / "sitecustomize.py"
    site.write_text(site.read_text().replace("'cellpose'", "'cellpose', 'numpy'"))
    command = ["-m", "benchmarks.gpu_check", "--device", "cpu", "--parts", "search"]
    done = subprocess.run(
        [sys.executable, *command, "--seconds", seconds], capture_output=True, text=True,
        env=environ,
    )  # fmt: skip
    assert done.returncode == (what == "FAILED"), done.stdout
    assert any(line.startswith(what) for line in done.stdout.splitlines()), done.stdout


@pytest.mark.slow
def test_the_tests_for_a_gpu_run_there(tmp_path):
    environ = {**environment(tmp_path), "RLS_GPU_TESTS_ON": "cpu"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu"], capture_output=True,
        text=True, cwd=ROOT, env=environ,
    )  # fmt: skip
    assert done.returncode == 0 and "11 passed, 3 skipped" in done.stdout, done.stdout
