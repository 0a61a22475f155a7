from __future__ import annotations

import time

import pytest

from rls.runtime import progress
from rls.runtime.progress import Finished, Progress, format_seconds
from rls.search.problem import BatchProgress


def test_seconds_read_well():
    assert format_seconds(12.4) == "12 s"
    assert format_seconds(200) == "3 min 20 s"
    assert format_seconds(5 * 3600 + 600) == "5 h 10 min"
    assert format_seconds(float("inf")) == "?"


def test_a_line_has_percent_rate_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 20.0, 20.0, 21.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    bar = Progress(100, "super_resolve", "img", done=10)
    bar.advance(40, "loss 0.1")
    assert capsys.readouterr().out == (
        "super_resolve:  50 % (50/100 img), 2 img/s, 25 s left, loss 0.1\n"
    )


class Gpu:
    """A stand-in that finishes work only when somebody waits for it."""

    def __init__(self) -> None:
        self.given = self.finished = 0

    def event(self) -> Mark:
        return Mark(self)


class Mark:
    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.at = gpu, 0

    def record(self) -> None:
        self.at = self.gpu.given

    def synchronize(self) -> None:
        self.gpu.finished = max(self.gpu.finished, self.at)


def test_steps_are_reported_when_a_gpu_has_finished_them_and_at_most_30_are_ahead():
    gpu, told, ahead = Gpu(), [], []

    def report(done: int) -> None:
        assert gpu.finished == done
        told.append(done)

    finished = Finished(report, gpu.event)
    for step in range(1, 55):
        gpu.given = step
        ahead.append(gpu.given - gpu.finished)
        finished.given(step)
    assert told == [10, 20, 30] and max(ahead) == 30
    finished.wait(54)
    assert told == [10, 20, 30, 40, 50, 54] and gpu.finished == 54


@pytest.mark.parametrize("interval", [1, 10])
def test_the_time_of_all_batches_leaves_out_the_start_of_the_first(interval, monkeypatch, capsys):
    """The first steps take half a minute, each other one a fiftieth of a second."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    reports = BatchProgress(Progress(12, "search", "img"), 3)
    for done in range(interval, 201, interval):
        clock[0] = 30.0 + 0.02 * done
        reports.step(done, 200)
    said = capsys.readouterr().out
    assert said.count("a batch") == 1 and "about 4 s a batch, 3 batches: about 12 s" in said


def test_a_search_that_begins_again_before_the_time_is_known_says_nothing(capsys):
    reports = BatchProgress(Progress(12, "search", "img"), 3)
    for _ in range(2):
        reports.step(10, 10)
    assert "a batch" not in capsys.readouterr().out


def test_without_events_every_step_is_reported_at_once():
    told: list[int] = []
    finished = Finished(told.append)
    for step in (1, 2, 3):
        finished.given(step)
        assert told[-1] == step
    finished.wait(3)
    assert told == [1, 2, 3]
