"""One writer of an output at a time, even if its Snakemake is dead."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rls.runtime import locks
from rls.runtime.errors import InputError
from tests.conftest import ROOT

# Writes its own name to --output in two steps, a while apart: the file tells who wrote what.
WRITER = """
import sys, time
from dataclasses import dataclass
from pathlib import Path
from rls.runtime import command, locks
from rls.runtime.command import Parser, option

locks.PATIENCE_S, go = float(sys.argv.pop()), Path(sys.argv.pop())

@dataclass(frozen=True)
class Settings:
    name: str = option("What to write.")

def main():
    parser = Parser("Write.", Settings, "write")
    parser.add_argument("--output", type=Path, required=True)
    args, settings = parser.parse(None)
    print("begins", flush=True)
    for _ in range(2):
        with open(args.output, "a") as file:
            file.write(settings.name + "\\\\n")
        while settings.name == "orphan" and not go.exists():
            time.sleep(0.01)

command.run(main)
"""


def writer(output: Path, name: str, patience: float = 60.0) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("RLS_RUN", None)
    code = WRITER.replace("\\\\n", "\\n")
    return subprocess.Popen(
        [sys.executable, "-c", code, "--output", str(output), "--name", name,
         str(output.parent.parent / "go"), str(patience)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def test_a_second_writer_of_an_output_waits_for_an_orphan_and_never_mixes(tmp_path):
    output = tmp_path / "made" / "table.txt"
    with writer(output, "orphan") as orphan:
        assert orphan.stdout.readline() == "begins\n"
        with writer(output, "second") as second:
            said = second.stdout.readline()
            (tmp_path / "go").touch()
            _, faults = second.communicate()
            assert second.returncode == 0, faults
        assert orphan.wait() == 0
    assert f"Process {orphan.pid} on" in said and "waiting for it to end" in said
    assert output.read_text().split() == ["orphan", "orphan", "second", "second"]
    assert list(output.parent.iterdir()) == [output], "no lock stays"


def test_it_says_so_where_the_orphan_does_not_end_and_takes_over_from_a_dead_one(tmp_path):
    output = tmp_path / "made" / "table.txt"
    with writer(output, "orphan") as orphan:
        assert orphan.stdout.readline() == "begins\n"
        with writer(output, "second", patience=0.0) as second:
            _, faults = second.communicate()
        assert second.returncode == 1
        assert faults.startswith(f"error: Process {orphan.pid} on")
        assert "is already working on" in faults and faults.count("\n") == 1
        orphan.send_signal(signal.SIGKILL)
    with writer(output, "third") as third:
        said, faults = third.communicate()
    assert third.returncode == 0, faults
    assert "lock of a dead process" in said
    assert output.read_text().split() == ["orphan", "third", "third"]


def test_only_a_process_of_its_own_locks_and_of_several_of_one_training_the_first(
    tmp_path, monkeypatch
):
    arguments = {"output": tmp_path / "a" / "x", "state": tmp_path / "state"}
    locks.hold_outputs(arguments)
    monkeypatch.setattr(locks, "active", True)
    locks.hold_outputs({**arguments, "dry_run": True})
    monkeypatch.setenv("RANK", "1")
    locks.hold_outputs(arguments)
    assert not list(tmp_path.iterdir())


def test_two_that_find_a_dead_lock_do_not_both_take_it(tmp_path):
    path = tmp_path / "lock.json"
    path.write_text("{}")
    os.utime(path, (time.time() - 60,) * 2)
    first, second = locks.Lock(path, "it"), locks.Lock(path, "it")
    first.acquire()
    with pytest.raises(InputError, match="already working on it"):
        second.acquire()
    first.release()
    assert not list(tmp_path.iterdir())
