"""Ctrl-C on a run: nothing half-written, nothing locked, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from analysis.watching.started import Started, is_locked
from tests.conftest import ROOT

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
TARGET = "results/translocation/plates/P1.sheet.csv"
PATIENCE_S = 600


def start(folder):
    command = [sys.executable, "-m", "rls", "run", TARGET, "--configfile", "smoke", "--cores", "1"]
    return subprocess.Popen(
        [*command, "--directory", str(folder)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        start_new_session=True,  # so that the signal reaches the group, as a terminal's does
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(path):
    end = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.05)


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path):
    process = start(tmp_path)
    wait_for(tmp_path / "logs" / "simulate_plate" / "translocation_P1.log")
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 130, said
    assert "stopped: what is done stays" in said and "Traceback" not in said
    assert not is_locked(tmp_path)
    assert not (tmp_path / "data" / "translocation" / "P1").exists(), "half a plate"
    assert Started.read(tmp_path).targets == (TARGET,)
    again = start(tmp_path)
    said = again.communicate(timeout=PATIENCE_S)[1]
    assert again.returncode == 0 and (tmp_path / TARGET).is_file(), said
    assert "of 2 jobs" in said, "the line over the whole run"
