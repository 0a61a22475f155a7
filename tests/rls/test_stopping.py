"""Long work stops before a limit or on a signal, and asks Slurm to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from rls.runtime import stopping
from rls.runtime.errors import InputError
from rls.runtime.stopping import Stopped, Watch, parse_time_left, requeue, seconds_left
from tests.conftest import ROOT

COMMAND = """
import sys, time
from rls.runtime import command
from rls.runtime.stopping import Watch

def main():
    with Watch("work") as watch:
        print("at work", flush=True)
        for piece in range(1000):
            time.sleep(0.02)
            print("piece", piece, flush=True)
            if watch.due():
                raise watch.stopped(f"after piece {piece}")

command.run(main)
"""


def of_slurm(folder, monkeypatch, **programs):
    """Put programs with the names of Slurm's first in the PATH; each is a line of shell."""
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4:05", 245), ("03:04:05", 11045), ("2-03:04:05\n", 183845), ("0:00", 0),
     ("UNLIMITED", None), ("NOT_SET", None), ("INVALID", None), ("", None)],
)  # fmt: skip
def test_the_time_left_is_read_as_slurm_writes_it(text, seconds):
    assert parse_time_left(text) == seconds


def test_without_a_limit_work_is_never_due():
    assert seconds_left({}) == (None, "")
    with Watch("work") as watch:
        assert not watch.due()


def test_the_sooner_limit_holds(monkeypatch):
    monkeypatch.setattr(stopping, "STARTED", time.monotonic())
    end = str(int(time.time()) + 90)
    left, whose = seconds_left({"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": end})
    assert left == pytest.approx(90, abs=2) and "Slurm job 7" in whose
    both = {"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": end, stopping.MINUTES: "1"}
    left, whose = seconds_left(both)
    assert left == pytest.approx(60, abs=2) and "stop_after_minutes" in whose


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan"])
def test_a_limit_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="expected minutes above 0"):
        seconds_left({stopping.MINUTES: text})


def test_a_process_in_the_place_of_another_has_the_minutes_that_are_left(monkeypatch):
    monkeypatch.setattr(stopping, "STARTED", time.monotonic() - 120)
    monkeypatch.delenv(stopping.MINUTES, raising=False)
    assert stopping.environment_to_start_again() == dict(os.environ)
    for given, left in (("10", 8 * 60), ("1", 0.6)):
        monkeypatch.setenv(stopping.MINUTES, given)
        environment = stopping.environment_to_start_again()
        monkeypatch.setattr(stopping, "STARTED", time.monotonic())
        assert seconds_left(environment)[0] == pytest.approx(left, abs=0.1)
        monkeypatch.setattr(stopping, "STARTED", time.monotonic() - 120)


def test_older_slurm_is_asked_what_time_is_left(tmp_path, monkeypatch, capsys):
    of_slurm(tmp_path, monkeypatch, squeue='[ "$3" = 7 ] && echo 1:10')
    assert seconds_left({"SLURM_JOB_ID": "7"}) == (70.0, "time limit of Slurm job 7")
    assert seconds_left({"SLURM_JOB_ID": "8"}) == (None, "")
    assert "does not tell" in capsys.readouterr().out


def test_it_is_due_where_another_piece_would_reach_the_limit(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(stopping, "seconds_left", lambda: (100.0, "limit"))
    with Watch("work") as watch:
        due = []
        for _ in range(5):
            now[0] += 20
            due.append(watch.due())
    # A tenth of the time is kept free, and the next piece may take 30 s: after 60 s there are 40 s
    # left, after 80 s there are 20 s.
    assert due == [False, False, False, True, True]


def test_a_signal_asks_and_what_comes_after_the_watch_is_as_before():
    before = signal.getsignal(signal.SIGUSR1)
    with Watch("work") as watch:
        watch.stop_if_asked("after nothing")
        os.kill(os.getpid(), signal.SIGUSR1)
        assert watch.due()
        with pytest.raises(Stopped, match="on SIGUSR1, after epoch 3") as stopped:
            watch.stop_if_asked("after epoch 3")
    assert not stopped.value.at_limit
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_command_that_is_stopped_ends_with_its_own_status_though_nobody_reads():
    """Slurm's signal kills the `tee` behind a command as well."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COMMAND]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGTERM)
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait() == stopping.STATUS
    assert said.startswith("stopped: work stopped on SIGTERM, after piece")
    assert said.count("\n") == 1


def test_only_the_limit_of_a_job_of_snakemake_asks_slurm_to_run_it_again(tmp_path, monkeypatch):
    asked = tmp_path / "asked"
    of_slurm(tmp_path, monkeypatch, scontrol=f'echo "$@" >> {asked}')
    limit, by_hand = (Stopped("s", at_limit=at_limit) for at_limit in (True, False))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv(stopping.REQUEUE, raising=False)
    assert requeue(limit) == ""
    monkeypatch.setenv(stopping.REQUEUE, "1")
    assert requeue(by_hand) == "" and not asked.exists()
    assert "goes on by itself" in requeue(limit)
    assert asked.read_text() == "requeue 7\n"
    of_slurm(tmp_path, monkeypatch, scontrol="exit 1")
    assert "one of Snakemake's retries" in requeue(limit)
