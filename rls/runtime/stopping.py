"""Stop long work before a time limit or on a signal, and keep all that was done.

The limit is RLS_STOP_AFTER_MINUTES (configuration: stop_after_minutes) or the time that Slurm has
left for the job, whichever is sooner. The signals are SIGTERM and SIGUSR1. The command then exits
with status 75, "try again" (EX_TEMPFAIL of sysexits.h), whereas a fault exits with 1. When it is
run again, it resumes.

A job that Snakemake submitted (RLS_REQUEUE is set) asks Slurm to put it back into the queue. It
keeps its number, Snakemake goes on waiting for it, and no retry is spent, so that a few retries
are enough and serve faults alone. If Slurm refuses, one retry is spent. Only the time limit leads
to a requeue, because a job that was cancelled must stay cancelled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any, TextIO

from rls.runtime.errors import InputError
from rls.runtime.progress import format_seconds

STATUS = 75
MINUTES, REQUEUE = "RLS_STOP_AFTER_MINUTES", "RLS_REQUEUE"
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
RESERVE_S = 120.0  # Time kept free before the limit, for a checkpoint on a slow disk.
RESERVE_SHARE = 0.1  # The reserve's largest share of the time until the limit.
SLACK = 1.5  # Safety factor over the slowest piece of work so far.
STARTED = time.monotonic()
ASK_TIMEOUT_S = 30
LEAST_MINUTES = 0.01  # A limit that has passed; 0 would be refused.


class Stopped(Exception):
    """Long work was stopped on purpose, and its progress is kept.

    Attributes:
        at_limit: Whether the time limit was the reason, and not a signal.
    """

    def __init__(self, sentence: str, *, at_limit: bool) -> None:
        super().__init__(sentence)
        self.at_limit = at_limit


class Watch:
    """Tell when to stop; inside its ``with`` block a signal only asks the work to stop.

    Arguments:
        label: The command's name, for printed lines.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.signal = ""
        self.limit_s, self.limit_from = seconds_left()
        self.entered = self.last = time.monotonic()
        self.longest = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Watch:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._asked)
        if self.limit_s is not None:
            print(
                f"{self.label}: stops in time for the {self.limit_from}, "
                f"{format_seconds(max(self.limit_s, 0))} from now, and can go on later",
                flush=True,
            )
        self.last = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def due(self) -> bool:
        """Return whether to save and stop; call it after every piece of work.

        It is time to stop after a signal, or if another piece as long as the longest so far would
        reach into the reserve before the limit.
        """
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now
        return bool(self.signal) or self.at_limit

    @property
    def at_limit(self) -> bool:
        """Return whether the time limit leaves no room for another piece of work."""
        if self.limit_s is None:
            return False
        reserve = min(RESERVE_S, RESERVE_SHARE * self.limit_s)
        left = self.limit_s - (time.monotonic() - self.entered)
        return left - reserve < SLACK * self.longest

    def stop_if_asked(self, kept: str) -> None:
        """Raise :class:`Stopped` after a signal, in work that has nothing new to save."""
        if self.signal:
            raise self.stopped(kept)

    def stopped(self, kept: str) -> Stopped:
        """Return the exception to raise; ``kept`` names the progress, e.g. ``after epoch 3``."""
        reason = f"on {self.signal}" if self.signal else f"before the {self.limit_from}"
        return Stopped(
            f"{self.label} stopped {reason}, {kept}; all of that is kept. The same command goes "
            "on from there and ends as if it had never stopped.",
            at_limit=self.at_limit,
        )

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name
        # A signal to the whole job also kills the `tee` that reads a rule's output.
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if not isinstance(stream, Unbreakable):
                setattr(sys, name, Unbreakable(stream))


class Unbreakable:
    """A text stream that drops its text if nobody reads it any more, instead of raising."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text``, or drop it if nobody reads it."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            return self._drop(len(text))

    def flush(self) -> None:
        """Flush the stream, or drop the rest if nobody reads it."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop(0)

    def _drop(self, n: int) -> int:
        # The rest of the buffer must not fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        return n


def seconds_left(environment: Mapping[str, str] | None = None) -> tuple[float | None, str]:
    """Return (seconds until this process must have stopped, the name of that limit).

    Without a limit it returns (None, '').

    Arguments:
        environment: The variables to read; None for those of this process.

    Raises:
        InputError: RLS_STOP_AFTER_MINUTES is not a positive number.
    """
    given = os.environ if environment is None else environment
    limits: list[tuple[float, str]] = []
    if text := given.get(MINUTES, ""):
        try:
            minutes = float(text)
        except ValueError:
            minutes = 0.0
        if not minutes > 0:
            raise InputError(
                f"Found {MINUTES} = '{text}' in the environment, expected minutes above 0. Set "
                "stop_after_minutes in the configuration, or unset the variable."
            )
        limits.append((minutes * 60 - (time.monotonic() - STARTED), "limit stop_after_minutes"))
    if job := given.get("SLURM_JOB_ID", ""):
        left = slurm_seconds_left(job, given.get("SLURM_JOB_END_TIME", ""))
        if left is not None:
            limits.append((left, f"time limit of Slurm job {job}"))
    return min(limits, default=(None, ""))


def environment_to_start_again() -> dict[str, str]:
    """Return the environment for a process that takes the place of this one.

    It counts the minutes of its limit anew, so it gets those that are left.
    """
    environment = dict(os.environ)
    if text := environment.get(MINUTES, ""):
        left = float(text) - (time.monotonic() - STARTED) / 60
        environment[MINUTES] = f"{max(left, LEAST_MINUTES):.3f}"
    return environment


def slurm_seconds_left(job: str, end: str) -> float | None:
    """Return the seconds that a Slurm job has left, None if it has no limit or Slurm does not tell.

    Arguments:
        job: The job's number, with which squeue is asked.
        end: The end of the job in Unix seconds (SLURM_JOB_END_TIME of newer versions of Slurm).
    """
    if end.isdigit():
        return int(end) - time.time()
    found = _ask("squeue", "--noheader", "--jobs", job, "--format", "%L")
    if found is None:
        print(
            f"squeue does not tell what time is left for the Slurm job {job}; set "
            "stop_after_minutes, or the job is killed at its limit and goes on from its last "
            "checkpoint.",
            flush=True,
        )
        return None
    return parse_time_left(found)


def parse_time_left(text: str) -> float | None:
    """Return the seconds of Slurm's ``2-03:04:05``, ``03:04:05`` or ``4:05``; None for words."""
    days, _, clock = text.strip().rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts) or not (days.isdigit() or not days):
        return None  # UNLIMITED, NOT_SET, INVALID, or an empty text.
    seconds = sum(int(part) * 60**i for i, part in enumerate(reversed(parts)))
    return float(seconds + 86400 * int(days or 0))


def requeue(stop: Stopped) -> str:
    """Ask Slurm to requeue this job if Snakemake submitted it; return a sentence about it."""
    job = os.environ.get("SLURM_JOB_ID", "")
    if not (stop.at_limit and job and os.environ.get(REQUEUE)):
        return ""
    if _ask("scontrol", "requeue", job) is None:
        return (
            f" Slurm does not put job {job} back into the queue; one of Snakemake's retries goes "
            "on with it, or the next run."
        )
    return f" Slurm job {job} was put back into the queue and goes on by itself."


def _ask(*command: str) -> str | None:
    """Return the output of a Slurm command, None if it is missing or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
