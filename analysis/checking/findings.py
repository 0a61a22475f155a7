"""Collect what is found of a configuration and its plates, each as a full sentence."""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rls.runtime.errors import InputError

T = TypeVar("T")
FAULT, DOUBT, ASSUMED, FACT = "wrong", "to look at", "assumed", "found"
KINDS = (FAULT, DOUBT, ASSUMED, FACT)


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Attributes:
        kind: One of :data:`KINDS`. A fault stops a run or makes its result meaningless, and a doubt
            may do so.
    """

    kind: str
    text: str


@dataclass
class Findings:
    """The findings so far, in the order in which they were made."""

    all: list[Finding] = field(default_factory=list)

    def add(self, kind: str, text: str) -> None:
        """Add a sentence, once."""
        finding = Finding(kind, text.strip())
        if finding not in self.all:
            self.all.append(finding)

    def attempt(self, call: Callable[..., T], *args: object, **named: object) -> T | None:
        """Return what ``call`` returns; None after a fault, which is added.

        What it prints on its way are assumptions.
        """
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                return call(*args, **named)
            except InputError as error:
                self.add(FAULT, str(error))
                return None
            finally:
                for line in printed.getvalue().splitlines():
                    self.add(ASSUMED, _sentence(line))

    def of_kind(self, kind: str) -> list[str]:
        """Return the sentences of one kind."""
        return [finding.text for finding in self.all if finding.kind == kind]


def described(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the lines of a report on findings: faults first, then doubts, assumptions, facts."""
    for kind in KINDS:
        texts = [finding.text for finding in findings if finding.kind == kind]
        if texts:
            yield f"{kind[0].upper()}{kind[1:]} ({len(texts)}):"
            for text in texts:
                first, *more = text.splitlines()
                yield f"  - {first}"
                yield from (f"    {line}" for line in more)
            yield ""


def _sentence(line: str) -> str:
    """Return a printed line as a sentence, without the name of the command that prints it."""
    text = line.removeprefix("list_plate: ").removeprefix("select_cells: ").strip()
    return text if text.endswith((".", ":")) else f"{text}."


def next_steps(configfiles: Sequence[Path]) -> Iterator[str]:
    """Yield the commands that come after a check without a fault."""
    names = " ".join(shlex.quote(str(path)) for path in configfiles)
    run = f"runs/{configfiles[-1].stem}"
    yield f"  rls plan --configfile {names}    # jobs, hours, memory, disk"
    yield f"  rls run --configfile {names} --directory {run}"
    yield f"and then open {run}/results/report.html. (Without the command rls: python -m rls.)"
