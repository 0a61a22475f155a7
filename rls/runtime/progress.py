"""Show progress: a bar with rate and time left on a terminal, occasional lines in a log."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
STEPS_BETWEEN_EVENTS, EVENTS_AHEAD = 10, 2


class Progress:
    """Count ``total`` units of work.

    Arguments:
        total: Number of units in all.
        label: Name of the work, usually the command's.
        unit: Name of the unit, e.g. ``img``.
        done: Units that an interrupted run has done before; they do not enter the rate.
    """

    def __init__(self, total: int, label: str, unit: str, done: int = 0) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = self.done_at_start = done
        self.started = self.last_line = time.monotonic()
        self.bar: tqdm | None = None

    def __enter__(self) -> Progress:
        # Without a terminal, or without tqdm, lines take the place of the bar.
        with contextlib.suppress(ImportError):
            if sys.stderr.isatty():
                from tqdm import tqdm

                self.bar = tqdm(
                    total=self.total,
                    initial=self.done,
                    desc=self.label,
                    unit=self.unit,
                    dynamic_ncols=True,
                    smoothing=0.1,
                )
        return self

    def advance(self, n: int, note: str = "") -> None:
        """Add ``n`` finished units, and show ``note`` after the rate."""
        self.done += n
        if self.bar is not None:
            if note:
                self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(n)
            return
        now = time.monotonic()
        if now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            print(self.line(note), flush=True)

    def line(self, note: str = "") -> str:
        """Return a line with percent, count, rate and time left."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = (self.done - self.done_at_start) / seconds
        left = (self.total - self.done) / rate if rate > 0 else float("nan")
        percent = 100.0 * self.done / max(self.total, 1)
        text = (
            f"{self.label}: {percent:3.0f} % ({self.done}/{self.total} {self.unit}), "
            f"{rate:.3g} {self.unit}/s, {format_seconds(left)} left"
        )
        return f"{text}, {note}" if note else text

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
        elif kind is None:
            took = format_seconds(time.monotonic() - self.started)
            count = self.done - self.done_at_start
            print(f"{self.label}: {count} {self.unit} in {took}", flush=True)


class Event(Protocol):
    """A mark among the work that was given to a GPU; torch.cuda.Event is one."""

    def record(self) -> None:
        """Put the mark behind all work given so far."""

    def synchronize(self) -> None:
        """Wait until the GPU has reached the mark."""


class Finished:
    """Report steps when a GPU has finished them, not when they were given to it.

    A step is given in microseconds and takes milliseconds. After every tenth step the process waits
    until all but the last twenty are finished. So the GPU always has work, the progress is true,
    and a signal to stop is answered within twenty steps.

    Arguments:
        report: Called with the number of finished steps.
        event: Makes an event; None where a step that returns is finished, as on a CPU.
    """

    def __init__(
        self, report: Callable[[int], None], event: Callable[[], Event] | None = None
    ) -> None:
        self.report, self.event = report, event
        self.marks: deque[tuple[int, Event]] = deque()

    def given(self, done: int) -> None:
        """Take note that the GPU was given ``done`` steps so far."""
        if self.event is None:
            self.report(done)
        elif done % STEPS_BETWEEN_EVENTS == 0:
            self._mark(done, self.event())
            if len(self.marks) > EVENTS_AHEAD:
                self._wait()

    def wait(self, done: int) -> None:
        """Wait for all of the ``done`` steps that were given."""
        if self.event is None:
            return
        if not self.marks or self.marks[-1][0] != done:
            self._mark(done, self.event())
        while self.marks:
            self._wait()

    def _mark(self, done: int, event: Event) -> None:
        event.record()
        self.marks.append((done, event))

    def _wait(self) -> None:
        done, event = self.marks.popleft()
        event.synchronize()
        self.report(done)


def format_seconds(seconds: float) -> str:
    """Return seconds as ``12 s``, ``3 min 20 s`` or ``5 h 10 min``; ``?`` if not finite."""
    if not seconds < float("inf"):
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
