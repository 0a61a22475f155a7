"""Let one process at a time write a state folder or an output: a lock file with a heartbeat.

If its owner ran on this host and in this namespace of processes, a process sees at once whether
the owner is dead. Otherwise only the heartbeat tells, and the clocks of hosts differ. The file is
therefore watched, and its owner counts as dead when the file has not been touched for STALE_S
seconds of this host's clock.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rls.runtime.errors import InputError

HEARTBEAT_S = 10.0
STALE_S = 90.0
PATIENCE_S = 60.0  # How long to wait for another writer of an output; most jobs end sooner.
LOOK_S = 0.2  # Time between two checks of another process's lock.
_held: list[Lock] = []
active = False  # True if the command is a process of its own; tests run many in one process.


class Lock:
    """The lock file ``path``; messages call the folder or output that it guards ``what``."""

    def __init__(self, path: Path, what: Path | str) -> None:
        self.path, self.what = path, what
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, patience_s: float = 0.0) -> None:
        """Take the lock, from a dead process if need be, and start its heartbeat.

        Arguments:
            patience_s: How long to wait for a living owner to finish.

        Raises:
            InputError: A living process holds it.
        """
        end, told = time.monotonic() + patience_s, False
        while not self._create():
            owner = self._living_owner()
            if owner is None:
                continue
            who = f"Process {owner.get('pid')} on {owner.get('host')}"
            if time.monotonic() >= end:
                raise InputError(
                    f"{who} is already working on {self.what}. Wait for it, or stop it and run the "
                    "same command again."
                )
            if not told:
                print(f"{who} is working on {self.what}: waiting for it to end.", flush=True)
                told = True
            time.sleep(LOOK_S)
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Stop the heartbeat and remove the lock, unless another process has taken it over."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self.is_mine():
            self.path.unlink(missing_ok=True)

    def is_mine(self) -> bool:
        """Return whether this process still holds the lock."""
        return self._owner().get("token") == _token()

    def _create(self) -> bool:
        content = {"host": socket.gethostname(), "pid": os.getpid(), "space": _space()}
        text = json.dumps({**content, "token": _token()})
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        return True

    def _living_owner(self) -> dict[str, Any] | None:
        """Return the owner if it lives; else remove the lock and return None."""
        owner = self._owner()
        touched = self._touched()
        if touched is None:
            return None
        if not owner and time.time() - touched < 5.0:  # Another process is just writing it.
            time.sleep(0.1)
            return None
        if owner and self._is_alive(owner, touched):
            return owner
        # Two processes may find the same dead lock. The rename lets only one of them remove it, and
        # never a lock that was taken since.
        grave = self.path.with_name(f".tmp-lock-{os.getpid()}-{self.path.name}")
        try:
            os.rename(self.path, grave)
        except FileNotFoundError:
            return None
        grave.unlink(missing_ok=True)
        print(f"The lock of a dead process on {self.what} was taken over.", flush=True)
        return None

    def _is_alive(self, owner: Mapping[str, Any], touched: float) -> bool:
        if (owner.get("host"), owner.get("space")) == (socket.gethostname(), _space()):
            start = _process_start(owner["pid"])
            return bool(start) and owner["token"].endswith(f":{start}")
        if time.time() - touched > 10 * STALE_S:  # No two clocks differ so much.
            return False
        print(
            f"{self.what} is held by process {owner.get('pid')} on {owner.get('host')}, where this "
            f"one cannot look: watching its heartbeat for up to {STALE_S:.0f} s.",
            flush=True,
        )
        end = time.monotonic() + STALE_S
        while time.monotonic() < end:
            time.sleep(LOOK_S)
            now = self._touched()
            if now != touched:
                return now is not None
        return False

    def _touched(self) -> float | None:
        try:
            return self.path.stat().st_mtime
        except FileNotFoundError:
            return None

    def _owner(self) -> dict[str, Any]:
        try:
            return json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            if not self.is_mine():
                return
            try:
                os.utime(self.path)
            except OSError:
                return


def hold_outputs(arguments: Mapping[str, object]) -> None:
    """Lock every path whose argument is named ``output...`` until this process ends.

    A job that outlived its Snakemake may still write an output that the next run writes too,
    perhaps with other settings. The second job waits for the first, or stops with a sentence.

    Raises:
        InputError: Another process still works on one of them after PATIENCE_S.
    """
    # Among the processes of one training (torchrun) only the first writes.
    if not active or arguments.get("dry_run") or os.environ.get("RANK", "0") != "0":
        return
    paths = {
        path.resolve()
        for name, value in arguments.items()
        if name.startswith("output")
        for path in (value if isinstance(value, (list, tuple)) else [value])
        if isinstance(path, Path)
    }
    for path in sorted(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock(path.with_name(f".lock-{path.name}"), path)
        lock.acquire(PATIENCE_S)
        _held.append(lock)
        atexit.register(lock.release)


def release_outputs() -> None:
    """Give back the locks of :func:`hold_outputs`."""
    while _held:
        lock = _held.pop()
        atexit.unregister(lock.release)
        lock.release()


def _token() -> str:
    pid = os.getpid()
    return f"{socket.gethostname()}:{_space()}:{pid}:{_process_start(pid)}"


def _space() -> str:
    """Return the namespace of process numbers, which differs between containers of one host."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _process_start(pid: int) -> str:
    """Return the start time of a process, '' if it is dead; a reused number has another one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = text.rsplit(")", 1)[1].split()
    return "" if state == "Z" else rest[18]
