"""How a run stands: the line over the whole run, Snakemake's log, failures, what was started."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.watching import sessions, status
from analysis.watching.progress import Progress, key_of
from analysis.watching.snakemake import PROFILES, Request, profile_folder, unlock_if_dead
from analysis.watching.started import FILE, Started, is_locked, is_running
from analysis.watching.status import Stage
from rls.runtime.errors import InputError

LOG = """\
[Sun Nov 29 04:50:00 2026]
rule simulate_plate:
    output: data/a/P1
    log: logs/simulate_plate/a_P1.log
    jobid: 4
    wildcards: assay=a, plate=P1
[Sun Nov 29 04:50:10 2026]
Finished jobid: 4 (Rule: simulate_plate)
localrule list_plate:
    log: logs/list_plate/a_P1.log
    jobid: 5
rule train_gan:
    log: logs/train_gan/a.log
    jobid: 6
rule fit_flow:
    log: logs/fit_flow/a.log
    jobid: 7
[Sun Nov 29 04:50:20 2026]
Error in rule train_gan:
    message: None
    jobid: 6
    log: logs/train_gan/a.log (check log file(s) for error details)
Error in rule fit_flow:
    jobid: 7
    log: logs/fit_flow/a.log (check log file(s) for error details)
Finished jobid: 7 (Rule: fit_flow)
"""


def test_the_log_of_snakemake_says_what_runs_and_what_failed(tmp_path):
    session = sessions.read_session(LOG.splitlines())
    assert session.running_by_rule == {"list_plate": 1}
    assert [failure.rule for failure in session.failed.values()] == ["train_gan"]
    assert sessions.failure_lines(session, tmp_path) == [
        f"  train_gan ({tmp_path / 'logs/train_gan/a.log'}): it left no log"
    ]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("step 1\nerror: Found 3, expected 4. Do this.\nused: 1 s\n", "error: Found 3, expected 4"),
        ("error: first\nerror: last\n", "error: last"),
        ("step 1\nKilled\n", "it was killed, or has a fault of its own; its log ends with: Killed"),
        ("", "its log is empty"),
    ],
)
def test_a_failed_job_is_one_sentence(tmp_path, log, said):
    (tmp_path / "a.log").write_text(log)
    assert said in sessions.Failure("train_gan", "a.log").sentence(tmp_path)


def test_the_failures_are_printed_with_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("logs/train_gan").mkdir(parents=True)
    Path("logs/train_gan/a.log").write_text("error: Found no cell, expected one. Add it.\n")
    Path("snakemake.log").write_text(LOG)
    sessions.print_failures(["snakemake.log"])
    said = capsys.readouterr().err
    assert "rls: 1 job failed:\n  train_gan (logs/train_gan/a.log): error: Found no cell" in said
    sessions.print_failures([])
    assert capsys.readouterr().err == ""


# ---- the line over the whole run --------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_time_left_is_the_plan_at_the_speed_so_far():
    clock = Clock()
    planned = {key_of("a", {"x": "1"}): 10.0, key_of("a", {"x": "2"}): 10.0, key_of("b", {}): 60.0}
    progress = Progress(planned, total=4, clock=clock)
    progress.starts(1, "a", {"x": "1"})
    progress.starts(2, "a", {"x": "2"})
    progress.starts(3, "b", {})
    progress.starts(4, "all", {})
    clock.now += 30
    line = "rls: a ended; 1 of 4 jobs, 12% of the work; about 2 min 50 s left"
    assert progress.ends(1) == line, "70 s times (30 s + 5% of 80 s) over (10 s + 5% of 80 s)"
    clock.now += 3
    assert progress.ends(2) == "", "the last line was just now"
    clock.now += 57
    assert progress.ends(3) == "rls: b ended; 3 of 4 jobs, 100% of the work; about 0 s left"
    assert progress.ends(4) == "rls: all ended; 4 of 4 jobs in 1 min 30 s"


def test_without_a_plan_jobs_count_alike():
    clock = Clock()
    progress = Progress(total=4, clock=clock)
    progress.starts(1, "a", {})
    clock.now += 20
    assert progress.ends(1) == "rls: a ended; 1 of 4 jobs, 25% of the work; about 1 min 00 s left"
    assert progress.ends(9) == "", "a job that was never announced"


def test_the_summary_scales_the_plan_by_what_jobs_took():
    stages = {
        "a": Stage(jobs=2, used_s=40.0, planned_used_s=20.0),
        "b": Stage(jobs=1, left=1, running=1, left_s=30.0),
    }
    said = status.summary(Path("run"), stages)
    assert said == (
        "run: 2 of 3 jobs done, 40% of the time; about 1 min 00 s left, one job after the other."
    )
    rows = [line.split() for line in status.table(stages)]
    assert rows[1] == ["a", "2", "-", "-", "40", "s", "-"]
    assert rows[2] == ["b", "-", "1", "-", "-", "1", "min", "00", "s"]
    stages["b"] = Stage(jobs=1)
    assert "all 3 jobs are done" in status.summary(Path("run"), stages)


# ---- what was started -------------------------------------------------------------------------


def started_in(folder, **values):
    content = {"configfiles": ["/a/b.yaml"], "config": {}, "targets": ["golgi"]}
    content |= {"host": socket.gethostname(), "pid": os.getpid(), **values}
    (folder / FILE).parent.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(content))
    return Started.read(folder)


def lock(folder):
    (folder / ".snakemake/locks").mkdir(parents=True)
    (folder / ".snakemake/locks/0.output.lock").write_text("results/a\n")


def test_a_run_folder_says_how_it_goes_on(tmp_path):
    assert Started.read(tmp_path) is None
    started = started_in(tmp_path, config={"device": "cpu"})
    assert started.paths == [Path("/a/b.yaml")] and started.targets == ("golgi",)
    assert started.command(Path("runs/a")) == (
        "rls run golgi --configfile /a/b.yaml --directory runs/a --config 'device=\"cpu\"'"
    )
    (tmp_path / FILE).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        Started.read(tmp_path)


def request(folder, *words):
    return Request([], folder, None, profile_folder(PROFILES[0]), words)


def test_the_locks_of_a_dead_run_are_taken_away_and_those_of_a_living_one_are_not(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lock(tmp_path)
    unlock_if_dead(request(tmp_path))
    assert is_locked(tmp_path), "nothing says who holds them"
    started = started_in(tmp_path, pid=gone.pid, host="another host")
    with pytest.raises(InputError, match="on another host runs .* already"):
        unlock_if_dead(request(tmp_path))
    assert is_locked(tmp_path) and is_running(tmp_path, started)
    started = started_in(tmp_path, pid=gone.pid)
    assert not is_running(tmp_path, started)
    unlock_if_dead(request(tmp_path))
    assert not is_locked(tmp_path)


def test_a_living_snakemake_is_told_from_another_process_of_its_number(tmp_path):
    lock(tmp_path)
    code = "import time; time.sleep(60)  # snakemake"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        time.sleep(0.2)
        assert is_running(tmp_path, started_in(tmp_path, pid=process.pid))
    finally:
        process.kill()
        process.wait()
    assert not is_running(tmp_path, started_in(tmp_path, pid=process.pid))


def test_what_is_not_ours_goes_to_snakemake(tmp_path):
    asked = request(tmp_path, "golgi", "table1", "--forcerun", "measure", "--keep-going")
    command = asked.command()
    assert asked.targets == ["golgi", "table1"] and asked.runs_jobs
    assert command[-6:] == ["--forcerun", "measure", "--keep-going", "--", "golgi", "table1"]
    assert command[command.index("--cores") + 1] == "all" and "--logger" in command
    asked = request(tmp_path, "--dry-run")
    assert not asked.runs_jobs and "--logger" not in asked.command()
