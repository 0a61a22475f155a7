"""Checkpoints that survive a kill at any moment: whole or absent, locked, the last two kept."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from rls.errors import InputError
from rls.io.files import DIGEST_BYTES, atomic_path, write_text

KEPT = 2
HEARTBEAT_S = 10.0
STALE_S = 90.0


def identity_digest(identity: Mapping[str, Any]) -> str:
    """Return 20 hexadecimal digits of blake2b over the JSON of ``identity``."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


class StateFolder:
    """The folder ``root/name-digest`` of one computation, held by one process at a time.

    Its name holds a digest of everything that determines the result, so changed settings start
    afresh and the same settings go on. Leave the total length out of ``identity``: then training
    longer continues.

    Arguments:
        root: Usually ``state`` in the run folder.
        name: The command's name.
        identity: Settings, data digest, seed; values that JSON can hold.
        writes: False for a process that only reads beside the one that holds the folder.

    Raises:
        InputError: On entering, when a living process holds the folder.
    """

    def __init__(
        self, root: Path | str, name: str, identity: Mapping[str, Any], *, writes: bool = True
    ) -> None:
        self.folder = Path(root) / f"{name}-{identity_digest(identity)}"
        self.identity = dict(identity)
        self.writes = writes
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> StateFolder:
        if not self.writes:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        for leftover in self.folder.glob(".tmp-*"):
            leftover.unlink(missing_ok=True)
        write_text(self.folder / "identity.json", json.dumps(self.identity, indent=2) + "\n")
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self.writes and self._owner().get("token") == self._token:
            self._lock.unlink(missing_ok=True)

    def save(self, step: int, payload: Mapping[str, Any]) -> None:
        """Write a checkpoint and drop all but the last two.

        Arguments:
            step: Non-negative; later steps have larger numbers.
            payload: Nested dicts and lists of tensors, numbers, strings and None.

        Raises:
            InputError: The disk is full (the checkpoints there stay), or another process has
                taken the folder over.
        """
        if self._owner().get("token") != self._token:
            raise InputError(
                f"Another process has taken over {self.folder}; this one stops so that it does "
                f"not write over its work."
            )
        buffer = io.BytesIO()
        torch.save(dict(payload), buffer)
        content = buffer.getvalue()
        digest = hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
        with atomic_path(self._path(step)) as temporary, open(temporary, "wb") as handle:
            handle.write(digest)
            handle.write(content)
        for path in self._checkpoints()[:-KEPT]:
            path.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """Return the payload of the newest good checkpoint, or None when there is none.

        A damaged one is named, set aside and the one before it used.
        """
        for path in reversed(self._checkpoints()):
            content = path.read_bytes()
            digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
            if hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest() == digest:
                return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if not self.writes:
                continue
            path.rename(path.with_suffix(".damaged"))
            print(
                f"The checkpoint {path} is damaged and was set aside; the one before it is used.",
                flush=True,
            )
        return None

    def clear(self) -> None:
        """Remove all checkpoints: the result that they led to has been written."""
        for path in self._checkpoints():
            path.unlink(missing_ok=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"checkpoint-{step:012d}.pt"

    def _checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint-*.pt"))

    @property
    def _lock(self) -> Path:
        return self.folder / "lock.json"

    @property
    def _token(self) -> str:
        return f"{socket.gethostname()}:{os.getpid()}:{_process_start(os.getpid())}"

    def _owner(self) -> dict[str, Any]:
        try:
            return json.loads(self._lock.read_text())
        except (OSError, ValueError):
            return {}

    def _take_lock(self) -> None:
        content = json.dumps(
            {"host": socket.gethostname(), "pid": os.getpid(), "token": self._token}
        )
        for _ in range(100):
            try:
                handle = os.open(self._lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                self._refuse_or_remove()
                continue
            with os.fdopen(handle, "w") as file:
                file.write(content)
            return
        raise InputError(f"The lock {self._lock} could not be taken. Remove it by hand.")

    def _refuse_or_remove(self) -> None:
        """Raise when the lock's owner lives; remove the lock when it is dead."""
        owner = self._owner()
        try:
            age = time.time() - self._lock.stat().st_mtime
        except FileNotFoundError:
            return
        if not owner and age < 5.0:  # Just being written by somebody else.
            time.sleep(0.1)
            return
        if owner and self._is_alive(owner, age):
            raise InputError(
                f"Process {owner['pid']} on {owner['host']} is already working on {self.folder}. "
                f"Wait for it, or stop it and run the same command again."
            )
        # Two that find a dead lock: only one may remove it, and never a lock taken since.
        grave = self._lock.with_name(f".tmp-lock-{os.getpid()}")
        try:
            os.rename(self._lock, grave)
        except FileNotFoundError:
            return
        grave.unlink(missing_ok=True)
        print(f"The lock of a dead process on {self.folder} was taken over.", flush=True)

    @staticmethod
    def _is_alive(owner: Mapping[str, Any], age: float) -> bool:
        if owner["host"] == socket.gethostname():
            return owner["token"].endswith(f":{_process_start(owner['pid'])}") and bool(
                _process_start(owner["pid"])
            )
        # On another host only the heartbeat tells.
        return age < STALE_S

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            if self._owner().get("token") != self._token:
                return
            try:
                os.utime(self._lock)
            except OSError:
                return


def _process_start(pid: int) -> str:
    """Return the start time of a process (so that a reused pid is not mistaken), or ''."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = text.rsplit(")", 1)[1].split()
    return "" if state == "Z" else rest[18]
