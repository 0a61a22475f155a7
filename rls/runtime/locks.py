"""One writer at a time: a lock file with a heartbeat, for state folders and for outputs.

On one host, in one namespace of processes, a dead owner is known at once. Elsewhere only its
heartbeat tells, and clocks of hosts differ: so it is watched, and taken for dead when the file has
not been touched for STALE_S of this host's own time.
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
PATIENCE_S = 60.0  # for a process that still writes the same output: most jobs end within it
LOOK_S = 0.2
active = False  # set where a command runs as a process of its own; a test calls many in one


class Lock:
    """The lock file ``path``; ``what`` names in sentences what it guards."""

    def __init__(self, path: Path, what: Path | str) -> None:
        self.path, self.what = path, what
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, patience_s: float = 0.0) -> None:
        """Take the lock, from a dead process too, and keep its heart beating.

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

    def give_back(self) -> None:
        """Remove the lock, unless another process has taken it over."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self.is_mine():
            self.path.unlink(missing_ok=True)

    def is_mine(self) -> bool:
        """Whether this process still holds it."""
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
        """Return the owner if it lives; None, the lock removed, if it is dead or gone."""
        owner = self._owner()
        touched = self._touched()
        if touched is None:
            return None
        if not owner and time.time() - touched < 5.0:  # just being written by somebody else
            time.sleep(0.1)
            return None
        if owner and self._is_alive(owner, touched):
            return owner
        # Two that find a dead lock: only one may remove it, and never a lock taken since.
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
        if time.time() - touched > 10 * STALE_S:  # no two clocks differ so much
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


def hold_outputs(arguments: Mapping[str, Any]) -> None:
    """Lock every path whose argument is named ``output...`` until this process ends.

    A job that outlived the Snakemake that started it may still write what the next run writes,
    perhaps with other settings: the second waits for it, or stops with a sentence.

    Raises:
        InputError: Another process still works on one after PATIENCE_S.
    """
    # Of several processes of one training (torchrun) the first writes.
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
        lock.take(PATIENCE_S)
        atexit.register(lock.give_back)


def _token() -> str:
    pid = os.getpid()
    return f"{socket.gethostname()}:{_space()}:{pid}:{_process_start(pid)}"


def _space() -> str:
    """Return the namespace of process numbers: containers of one host have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _process_start(pid: int) -> str:
    """Return the start time of a process (so that a reused pid is not mistaken), or ''."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = text.rsplit(")", 1)[1].split()
    return "" if state == "Z" else rest[18]
