"""Checkpoints that survive a kill at any moment.

Each is whole or absent, its folder is locked, and the last two are kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from rls.io.files import DIGEST_BYTES, atomic_path, write_text
from rls.runtime.command import RUN
from rls.runtime.errors import GraphError, InputError
from rls.runtime.locks import Lock
from rls.runtime.siblings import (
    IDENTITY,
    begins_anew,
    differences,
    named,
    progress,
    relative_output,
    write_identity_text,
)
from rls.runtime.stopping import Stopped

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

KEPT = 2  # Checkpoints that stay in a folder.
MACHINE = "machine"  # Key of a checkpoint: the machine that computed it.
MOST_FAILURES = 2  # Failures at the same point within one run of Snakemake.


def identity(
    settings: DataclassInstance, may_change: Collection[str], **facts: object
) -> dict[str, object]:
    """Return what determines a result: the settings without ``may_change``, and other facts."""
    kept = {name: value for name, value in asdict(settings).items() if name not in may_change}
    return {**kept, **facts}


def identity_digest(identity: Mapping[str, object]) -> str:
    """Return 20 hexadecimal digits of blake2b over the JSON of ``identity``."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a state folder, the newest last."""
    return sorted(folder.glob("checkpoint-*.pt"))


def checkpoint_step(path: Path) -> int:
    """Return the step in the name of a checkpoint."""
    return int(path.stem.removeprefix("checkpoint-"))


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return what a checkpoint holds, or None if it is damaged."""
    content = path.read_bytes()
    digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest() != digest:
        return None
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


class Resumable:
    """A base for the state of a training, which a checkpoint holds.

    Attributes:
        modules: Names of the attributes that have a ``state_dict``; None is left out.
        plain: Names of the attributes that are kept as they are.
    """

    modules: ClassVar[tuple[str, ...]] = ()
    plain: ClassVar[tuple[str, ...]] = ()

    def payload(self) -> dict[str, object]:
        """Return what a checkpoint holds."""
        parts = {name: getattr(self, name) for name in self.modules}
        return {
            **{name: part.state_dict() for name, part in parts.items() if part is not None},
            **{name: getattr(self, name) for name in self.plain},
        }

    def restore(self, payload: Mapping[str, Any]) -> None:
        """Take over the content of a checkpoint."""
        for name in self.modules:
            if (part := getattr(self, name)) is not None:
                part.load_state_dict(payload[name])
        for name in self.plain:
            setattr(self, name, payload[name])


class StateFolder:
    """The folder ``root/name-digest`` of one computation, held by one process at a time.

    The folder's name holds a digest of everything that determines the result, so that changed
    settings start afresh and the same settings resume. The total length does not belong in
    ``identity``: without it, a longer training resumes a shorter one. A computation that begins
    anew beside an older state of the same output says what differs.

    In a run of Snakemake (RLS_RUN is set) a computation that failed twice with the same error and
    no progress between is not tried a third time, because retries are for faults that another
    attempt can mend. A new run tries again.

    Arguments:
        root: Usually ``state`` in the run folder.
        name: The command's name.
        identity: Settings, data digest and seed, as values that JSON can hold.
        writes: False for a process that only reads beside the one that holds the folder.
        output: The file that this computation leads to, with more words where several do.
        machine: What changes the last bits of a result and nothing else, such as threads. Each
            checkpoint holds it, and a computation that goes on with other values says so.

    Raises:
        InputError: On entering, if a living process holds the folder, or after two such failures.
    """

    def __init__(
        self,
        root: Path | str,
        name: str,
        identity: Mapping[str, object],
        *,
        writes: bool = True,
        output: Path | str | None = None,
        machine: Mapping[str, object] | None = None,
    ) -> None:
        self.folder = Path(root) / f"{name}-{identity_digest(identity)}"
        self.name, self.identity, self.machine = name, dict(identity), dict(machine or {})
        self.output = None if output is None else relative_output(output, Path(root))
        self.writes = writes
        self._failure_file = self.folder / "failures.json"
        self._lock = Lock(self.folder / "lock.json", self.folder)

    def __enter__(self) -> StateFolder:
        if not self.writes:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        last = self._last_failure()
        count, sentence = last.pop("count", 0), last.get("sentence", "")
        if last.get("run") and count >= MOST_FAILURES and last == self._failure_facts(sentence):
            self._lock.release()
            raise InputError(
                f"This run has failed {count} times at the same point ({sentence}) and does not "
                "try again. Mend the cause and start Snakemake again."
            )
        for leftover in self.folder.glob(".tmp-*"):
            leftover.unlink(missing_ok=True)
        write_text(self.folder / IDENTITY, write_identity_text(self.identity, self.output))
        if not progress(self.folder) and (
            sentence := begins_anew(self.folder, self.identity, self.output, name=self.name)
        ):
            print(sentence, flush=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.writes:
            return
        if isinstance(error, Exception) and not isinstance(
            error, (Stopped, MemoryError, GraphError)
        ):
            failure = self._failure_facts(f"{type(error).__name__}: {error}")
            last = self._last_failure()
            count = last.pop("count", 0)
            failure["count"] = count + 1 if last == failure else 1
            # The original error already reports a full disk.
            with contextlib.suppress(OSError, InputError):
                write_text(self._failure_file, json.dumps(failure) + "\n")
        self._lock.release()

    def save(self, step: int, payload: Mapping[str, object]) -> None:
        """Write a checkpoint and delete all but the last two.

        Arguments:
            step: Non-negative number that grows with progress.
            payload: Nested dicts and lists of tensors, numbers, strings and None. A key
                ``machine`` stands for another machine than this one.

        Raises:
            InputError: The disk is full (existing checkpoints are kept), or another process has
                taken the folder over.
        """
        if not self._lock.is_mine():
            raise InputError(
                f"Another process has taken over {self.folder}; this one stops so that it does "
                f"not write over its work."
            )
        buffer = io.BytesIO()
        torch.save({MACHINE: self.machine, **payload}, buffer)
        content = buffer.getvalue()
        digest = hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
        path = self.folder / f"checkpoint-{step:012d}.pt"
        with atomic_path(path) as temporary, open(temporary, "wb") as handle:
            handle.write(digest)
            handle.write(content)
        for old in checkpoints(self.folder)[:-KEPT]:
            old.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """Return the payload of the newest undamaged checkpoint, or None if there is none.

        A damaged checkpoint is named and set aside, and the one before it is used.
        """
        for path in reversed(checkpoints(self.folder)):
            payload = read_checkpoint(path)
            if payload is not None:
                changed = differences(payload.pop(MACHINE, self.machine), self.machine)
                if changed and self.writes:
                    print(
                        f"{self.name}: {named(changed)} at the last checkpoint: the rest is not "
                        "bit-equal to a training that had stayed",
                        flush=True,
                    )
                return payload
            if not self.writes:
                continue
            path.rename(path.with_suffix(".damaged"))
            print(
                f"The checkpoint {path} is damaged and was set aside; the one before it is used.",
                flush=True,
            )
        return None

    def clear(self) -> None:
        """Delete all checkpoints, once the result that they led to has been written."""
        for path in checkpoints(self.folder):
            path.unlink(missing_ok=True)

    def _failure_facts(self, sentence: str) -> dict[str, Any]:
        """Return the facts that two equal failures share: the run, the progress and the error."""
        newest = checkpoints(self.folder)[-1:]
        progress = newest[0].name if newest else ""
        return {"run": os.environ.get(RUN, ""), "progress": progress, "sentence": sentence}

    def _last_failure(self) -> dict[str, Any]:
        try:
            return json.loads(self._failure_file.read_text())
        except (OSError, ValueError):
            return {}
