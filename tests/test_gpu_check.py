"""The check of a GPU, with tiny networks on a CPU: it runs, and it can fail."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys

import pytest
import torch

from benchmarks.gpu_check import __main__ as command
from benchmarks.gpu_check import cases, fir, small
from benchmarks.gpu_check.cases import Machine
from benchmarks.gpu_check.report import FAILED, LEFT_OUT, MEASURED, OK, Report, Row, table
from rls.stylegan2 import augment
from rls.stylegan2.augment_warp import warp
from rls.stylegan2.trainer import Trainer
from tests.conftest import ROOT
from tests.rls.recorded_on_cpu import RecordedOnCpu

CPU = Machine(torch.device("cpu"), tiny=True, quick=True)
# small starts a process, and compiling takes long; search and article have processes of their own
# in another test.
PARTS = ["fir", "convolutions", "article128"]


@pytest.fixture
def report(tmp_path):
    return Report("test", tmp_path / "report.json", 60)


def said(report, what):
    return [f"{one['name']}: {one['said']}" for one in report.found if one["what"] == what]


def run(name, report):
    part = command.PARTS[name]
    module = importlib.import_module(f"benchmarks.gpu_check.{part.module}")
    getattr(module, part.function)(CPU, report)


@pytest.mark.parametrize("name", PARTS)
def test_every_part_runs_on_a_cpu(name, report):
    run(name, report)
    assert said(report, FAILED) == [] and said(report, OK) and said(report, MEASURED)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "compiled_small", "compiled_search"])
def test_long_parts_run_on_a_cpu(name, report):
    run(name, report)
    assert said(report, FAILED) == [] and said(report, OK) and report.rows


@pytest.fixture
def recorded_on_cpu(monkeypatch):
    """Record what a GPU would record."""

    def trainer(settings, *facts):
        recorder = RecordedOnCpu() if settings.cuda_graphs == "auto" else None
        return Trainer(settings, *facts, recorder=recorder)

    monkeypatch.setattr(cases, "Trainer", trainer)
    monkeypatch.setattr(augment, "warp", functools.partial(warp, look=False))


def test_replays_pass(recorded_on_cpu, report):
    trainer = small.bit_for_bit(CPU, report)
    small.waits(CPU, report, trainer)
    assert said(report, FAILED) == [] and len(said(report, OK)) == 4 and not said(report, LEFT_OUT)


def test_a_recording_that_froze_a_number_fails(recorded_on_cpu, report, monkeypatch):
    plain = Trainer.image_phase

    def frozen(trainer):
        plain(trainer)
        trainer.real.mul_(1 + 1e-3 * trainer.step)

    monkeypatch.setattr(Trainer, "image_phase", frozen)
    small.bit_for_bit(CPU, report)
    (first, *_) = said(report, FAILED)
    assert first.startswith("20 recorded steps = direct ones (color): ") and "weights by" in first


def test_a_wrong_filter_fails(report, monkeypatch):
    plain = fir.fir.low_pass
    monkeypatch.setattr(fir.fir, "low_pass", lambda x, **arguments: 1.00001 * plain(x, **arguments))
    fir.check(CPU, report, "convolution", torch.float32)
    assert "1e-05, at most 1e-06" in said(report, FAILED)[0]


def test_what_is_not_a_number_fails(report):
    report.at_most("a", float("nan"), 1.0)
    report.at_most("b", 0.5, 1.0)
    assert [one["what"] for one in report.found] == [FAILED, OK]
    assert report.found[0]["numbers"]["value"] is None


def test_the_table_has_shares_and_dashes(report):
    report.row(Row("search", "recorded", 12.0, 30.0, floor_ms=6.0))
    report.row(Row("training", "directly", 100.0, 320.0, memory_gib=1.5))
    rows = command.read_report(report.file, "test")["rows"]
    lines = [line.split() for line in table(rows).splitlines()[1:]]
    assert lines[0] == ["search", "recorded", "12.00", "30", "6.00", "50", "%", "-", "-"]
    assert lines[1] == ["training", "directly", "100.00", "320", "-", "-", "-", "1.50"]


def test_the_planned_times_are_within_the_promised_ones():
    for compiled, most in ((False, 4 * 60), (True, 10 * 60)):
        planned = [part.seconds for part in command.PARTS.values() if part.compiled == compiled]
        assert sum(planned) <= command.LIMIT_S[compiled] < most


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_check_says_so():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_check"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1 and not done.stdout
    assert "finds no CUDA device here, so nothing can be checked" in done.stderr
    assert len(done.stderr.splitlines()) == 1
