"""A wheel: what it holds, and that the program runs from it in a folder of its own."""

import fnmatch
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("hatchling", reason="hatchling builds the wheel: it is in the extra [test]")
pytestmark = pytest.mark.workflow
PROGRAM = "rls/_program/"
LARGEST_MB = 40
WANTED = (
    "rls/__main__.py",
    *(PROGRAM + name for name in ("Snakefile", "config/config.yaml", "config/bbbc014.csv")),
    *(PROGRAM + f"workflow/profiles/{name}/config.yaml" for name in ("local", "slurm")),
    *(PROGRAM + f"workflow/{name}" for name in ("rates.json", "rules/common.smk")),
    *(PROGRAM + f"analysis/{name}" for name in ("report/page.html", "plan/__main__.py")),
    PROGRAM + "workflow/schemas/sections.schema.yaml",
    PROGRAM + "workflow/report/table1.rst",
    PROGRAM + "models/models.yaml",
    *(PROGRAM + f"models/translocation_32px/{name}.json" for name in ("search", "trust")),
)
UNWANTED = ("*training.safetensors", "*candidates/*", "*__pycache__*", "*/tests/*", "*.pyc")


def pip(*words):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", ROOT, "--no-build-isolation", "--no-deps", "--wheel-dir", folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-compile", "--target", folder, wheel)
    return folder


def rls(installed, folder, *words):
    """Run the installed command in a folder, with no checkout on its path."""
    outside = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    outside = [p for p in outside if not (Path(p) / "Snakefile").exists()]
    path = os.pathsep.join([str(installed), *outside])
    return subprocess.run(
        [str(installed / "bin" / "rls"), *map(str, words)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_the_wheel_holds_one_package_and_the_whole_program(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "rls",
        "rls_super_resolution",
    }
    assert [name for name in WANTED if name not in names] == []
    assert [n for n in names for pattern in UNWANTED if fnmatch.fnmatch(n, pattern)] == []
    tracked = {
        *ROOT.glob("workflow/rules/*.smk"),
        *ROOT.glob("config/*"),
        *ROOT.glob("models/*/generator.safetensors"),
        *ROOT.glob("analysis/**/*.py"),
    }
    program = {ROOT / name.removeprefix(PROGRAM) for name in names if name.startswith(PROGRAM)}
    assert tracked - program == set()
    assert wheel.stat().st_size < LARGEST_MB * 1e6


def test_the_installed_command_finds_everything(installed, tmp_path):
    done = rls(installed, tmp_path, "--version")
    assert str(installed / "rls" / "_program") in done.stdout, done.stderr
    assert "Super-resolve your own images:" in rls(installed, tmp_path, "--help").stdout
    done = rls(installed, tmp_path, "models")
    assert "translocation_32px" in done.stdout, done.stderr
    done = rls(installed, tmp_path, "plan", "--configfile", "smoke")
    assert "train_gan" in done.stdout and done.returncode == 0, done.stderr


def test_a_dry_run_from_the_wheel_plans_every_stage(installed, tmp_path):
    done = rls(installed, tmp_path, "run", "--configfile", "smoke.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout + done.stderr
    assert "python -m rls.train_gan" in said and "This was a dry-run" in said
    said = said.replace(f"{sys.prefix}/", "")  # an environment may lie within the checkout
    assert f"{ROOT}/" not in said, "a path of the checkout"
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.slow
def test_the_smoke_run_from_the_wheel_ends_with_a_report(installed, tmp_path):
    done = rls(installed, tmp_path, "run", "--configfile", "smoke.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    report = tmp_path / "runs" / "smoke" / "results" / "report.html"
    assert report.stat().st_size > 10_000
    assert " jobs in " in done.stderr.rpartition("rls: ")[2]
    done = rls(installed, tmp_path, "status", "runs/smoke")
    assert "jobs are done" in done.stdout, done.stderr
    shutil.rmtree(tmp_path / "runs")
