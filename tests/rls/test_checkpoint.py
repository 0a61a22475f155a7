import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest
import torch

from rls.runtime import checkpoint, locks
from rls.runtime.checkpoint import StateFolder
from rls.runtime.errors import InputError
from rls.runtime.stopping import Stopped
from tests.conftest import ROOT


def state(tmp_path, **identity):
    return StateFolder(tmp_path / "state", "train", identity)


def test_a_payload_comes_back_with_its_types(tmp_path):
    payload = {"w": torch.randn(3), "n": {"big": 2**100, "list": [1, None, "a", 0.1]}, "flag": True}
    with state(tmp_path) as folder:
        assert folder.load() is None
        folder.save(3, payload)
        found = folder.load()
    assert torch.equal(found.pop("w"), payload.pop("w"))
    assert found == payload


def test_the_last_two_are_kept_and_the_newest_is_loaded(tmp_path):
    with state(tmp_path) as folder:
        for step in range(5):
            folder.save(step, {"step": step})
        assert len(list(folder.folder.glob("checkpoint-*.pt"))) == 2
        assert folder.load() == {"step": 4}


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tmp_path, capsys, damage):
    with state(tmp_path) as folder:
        folder.save(1, {"step": 1})
        folder.save(2, {"step": 2})
        path = sorted(folder.folder.glob("checkpoint-*.pt"))[-1]
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(
            {"flip": content, "cut": content[: len(content) // 2], "empty": b""}[damage]
        )
        assert folder.load() == {"step": 1}
    assert "is damaged and was set aside" in capsys.readouterr().out


def test_other_settings_have_another_folder(tmp_path):
    assert state(tmp_path, rate=0.1).folder != state(tmp_path, rate=0.2).folder
    assert state(tmp_path, rate=0.1).folder == state(tmp_path, rate=0.1).folder


def test_a_second_writer_stops_with_a_sentence(tmp_path):
    with state(tmp_path), pytest.raises(InputError, match="is already working on"), state(tmp_path):
        pass
    with state(tmp_path):  # The lock is given back at the end.
        pass


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    code = (
        "import os, sys; from rls.runtime.checkpoint import StateFolder\n"
        f"folder = StateFolder({str(tmp_path / 'state')!r}, 'train', {{}}).__enter__()\n"
        "folder.save(1, {'step': 1})\n"
        "os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == -9
    with state(tmp_path) as folder:
        assert folder.load() == {"step": 1}


def foreign_lock(tmp_path, host="elsewhere", pid=1):
    """A lock of another host, or of another container on this one."""
    folder = state(tmp_path)
    folder.folder.mkdir(parents=True)
    owner = {"host": host, "pid": pid, "space": "pid:[1]", "token": f"{host}:pid:[1]:{pid}:1"}
    lock = folder.folder / "lock.json"
    lock.write_text(json.dumps(owner))
    return folder, lock


@pytest.mark.parametrize("clock", [0.0, -200.0, 200.0])
@pytest.mark.parametrize("host", ["elsewhere", socket.gethostname()])
def test_the_lock_of_another_host_holds_while_its_heart_beats(tmp_path, monkeypatch, clock, host):
    """The other host's clock may be wrong, and its process number means nothing here."""
    monkeypatch.setattr(locks, "STALE_S", 60.0)
    folder, lock = foreign_lock(tmp_path, host)
    stopped = threading.Event()

    def beat():
        for i in itertools.count():
            os.utime(lock, (time.time() + clock + i,) * 2)
            if stopped.wait(0.05):
                return

    heart = threading.Thread(target=beat)
    heart.start()
    with pytest.raises(InputError, match=f"Process 1 on {host}"), folder:
        pass
    stopped.set()
    heart.join()


def test_the_lock_of_another_host_is_taken_over_when_its_heart_stands_still(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(locks, "STALE_S", 0.5)
    folder, lock = foreign_lock(tmp_path)
    before = time.monotonic()
    with folder:
        assert json.loads(lock.read_text())["host"] == socket.gethostname()
    assert time.monotonic() - before >= 0.5
    assert "watching its heartbeat" in capsys.readouterr().out


def test_a_fault_is_met_twice_by_one_run_and_not_a_third_time(tmp_path, monkeypatch):
    def attempt(step=None):
        with state(tmp_path) as folder:
            if step is not None:
                folder.save(step, {})
            raise InputError("the loss is not finite")

    monkeypatch.setenv(checkpoint.RUN, "monday")
    for step in (1, None):  # The second attempt makes no progress.
        with pytest.raises(InputError, match="^the loss is not finite"):
            attempt(step)
    with pytest.raises(InputError, match="has failed 2 times at the same point .*not finite"):
        attempt()
    monkeypatch.setenv(checkpoint.RUN, "tuesday")  # Another run of Snakemake.
    with pytest.raises(InputError, match="^the loss is not finite"):
        attempt()
    with pytest.raises(InputError, match="^the loss is not finite"):
        attempt(2)


def test_stopping_on_purpose_is_no_fault(tmp_path, monkeypatch):
    monkeypatch.setenv(checkpoint.RUN, "monday")
    for _ in range(4):
        with pytest.raises(Stopped), state(tmp_path):
            raise Stopped("in time", at_limit=True)


def test_without_a_run_of_snakemake_a_person_may_fail_as_often_as_they_like(tmp_path, monkeypatch):
    monkeypatch.delenv(checkpoint.RUN, raising=False)
    for _ in range(4):
        with pytest.raises(RuntimeError), state(tmp_path):
            raise RuntimeError("again")


def test_a_process_that_was_taken_over_does_not_write(tmp_path):
    with state(tmp_path) as folder:
        (folder.folder / "lock.json").write_text(json.dumps({"token": "another"}))
        with pytest.raises(InputError, match="taken over"):
            folder.save(1, {})


def test_a_full_disk_stops_with_a_sentence_and_keeps_the_checkpoints(tmp_path, monkeypatch):
    with state(tmp_path) as folder:
        folder.save(1, {"step": 1})

        def full(handle):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoint.os, "fsync", full)
        with pytest.raises(InputError, match="The disk is full"):
            folder.save(2, {"step": 2})
        monkeypatch.undo()
        assert folder.load() == {"step": 1}
        assert not list(folder.folder.glob(".tmp-*"))
