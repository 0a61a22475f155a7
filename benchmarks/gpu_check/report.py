"""What the parts of the check found: lines at once, and a file for the table at the end."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OK, FAILED, LEFT_OUT, MEASURED = "ok", "FAILED", "left out", "measured"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the last table.

    Attributes:
        work: What was timed.
        form: "directly", "recorded" or "compiled".
        ms: Milliseconds of a step.
        images_per_second: Images shown in training, or found by a search.
        floor_ms: The least time of a step on an H200 that was calculated; NaN where none was.
        kernels: Kernels of a step; on a CPU its operators. NaN where they were not counted.
        memory_gib: Peak memory.
    """

    work: str
    form: str
    ms: float
    images_per_second: float
    floor_ms: float = math.nan
    kernels: float = math.nan
    memory_gib: float = math.nan


class Report:
    """Prints what a part finds, and keeps it in a file, so that nothing is lost if the part dies.

    Arguments:
        file: JSON to write.
        seconds: What the part was planned to take.
    """

    def __init__(self, part: str, file: Path, seconds: float) -> None:
        self.part, self.file, self.seconds = part, file, seconds
        self.started = time.monotonic()
        self.found: list[dict[str, Any]] = []
        self.rows: list[Row] = []
        self.machine: dict[str, str] = {}
        self.save()

    @property
    def left(self) -> float:
        """Return the seconds that are left of the plan, below 0 beyond it."""
        return self.seconds - (time.monotonic() - self.started)

    def check(self, name: str, passed: bool, said: str = "", **numbers: float) -> None:
        """Note a check that passed or failed."""
        self._note(OK if passed else FAILED, name, said, numbers)

    def at_most(self, name: str, value: float, most: float, said: str = "") -> None:
        """Note a check that a number is at most another one; NaN fails."""
        text = f"{value:.2g}, at most {most:g}" + (f"; {said}" if said else "")
        self.check(name, value <= most, text, value=value, most=most)

    def measured(self, name: str, said: str, **numbers: float) -> None:
        """Note numbers that nothing is expected of."""
        self._note(MEASURED, name, said, numbers)

    def left_out(self, name: str, why: str) -> None:
        """Note what was not done."""
        self._note(LEFT_OUT, name, why, {})

    def row(self, row: Row) -> None:
        """Add a line to the last table."""
        self.rows.append(row)
        said = f"{row.ms:.2f} ms a step"
        if math.isfinite(row.images_per_second):
            said += f", {row.images_per_second:.4g} images/s"
        if math.isfinite(row.memory_gib):
            said += f", {row.memory_gib:.2f} GiB"
        self.measured(f"{row.work}, {row.form}", said)

    def save(self) -> None:
        """Write the file."""
        content = {
            "part": self.part,
            "seconds": time.monotonic() - self.started,
            "machine": self.machine,
            "found": self.found,
            "rows": [known(dataclasses.asdict(row)) for row in self.rows],
        }
        self.file.write_text(json.dumps(content))

    def _note(self, what: str, name: str, said: str, numbers: Mapping[str, float]) -> None:
        print(line(what, name, said), flush=True)
        self.found.append(entry(what, name, said, numbers))
        self.save()


def entry(what: str, name: str, said: str, numbers: Mapping[str, float]) -> dict[str, Any]:
    """Return a finding as the file has it."""
    return {"what": what, "name": name, "said": said, "numbers": known(numbers)}


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with None in place of numbers that JSON does not have."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


def line(what: str, name: str, said: str = "") -> str:
    """Return a finding as a line of text."""
    return f"{what:8s}  {name}" + (f": {said}" if said else "")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the last table; "-" stands for what was not measured or is not known."""
    head = ["work", "form", "ms a step", "images/s", "floor, ms", "share", "kernels", "GiB"]
    lines = [head]
    formats = (".2f", ".4g", ".2f", ".0f", ".0f", ".2f")
    for row in rows:
        floor = row["floor_ms"]
        share = None if floor is None else 100 * floor / row["ms"]
        numbers = row["ms"], row["images_per_second"], floor, share
        numbers += row["kernels"], row["memory_gib"]
        texts = ["-" if n is None else f"{n:{f}}" for n, f in zip(numbers, formats, strict=True)]
        texts[3] += " %" * (share is not None)
        lines.append([row["work"], row["form"], *texts])
    widths = [max(len(text) for text in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if i < 2 else text.rjust(width)
            for i, (text, width) in enumerate(zip(texts, widths, strict=True))
        )
        for texts in lines
    )
