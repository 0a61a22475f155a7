"""What Snakemake's own log tells of one start: jobs that run, jobs that failed and why."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LATER = "RLS_FAILURES_LATER"  # Set where another process prints what failed, after Snakemake.
LOGS = Path(".snakemake") / "log"
HEAD = re.compile(r"^\s*(Error in )?(?:local)?(?:rule|checkpoint) (\w+)(?:, jobid: (\d+))?:\s*$")
ENTRY = re.compile(r"^\s+(jobid|log): (.*)$")
FINISHED = re.compile(r"^\s*Finished jobid: (\d+)")
SAID = re.compile(r"^(error|stopped): .+", re.M)


@dataclass
class Failure:
    """A job that failed: its rule, and its log relative to the run folder; '' for none."""

    rule: str
    log: str = ""

    def sentence(self, folder: Path = Path()) -> str:
        """Return what the job's log says of the error, in one sentence."""
        path = folder / self.log
        if not self.log or not path.is_file():
            return "it left no log"
        text = path.read_text(encoding="utf-8", errors="replace")
        said = list(SAID.finditer(text))
        if said:
            return said[-1].group(0)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        last = f"; its log ends with: {lines[-1][:200]}" if lines else "; its log is empty"
        return f"it was killed, or has a fault of its own{last}"


@dataclass
class Session:
    """One start of Snakemake.

    Attributes:
        running: Rule of every job that was started and has not ended, by its number.
        failed: Jobs that failed and were not finished by a later try, by their number.
    """

    running: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)

    @property
    def running_by_rule(self) -> Counter[str]:
        """How many jobs of each rule run."""
        return Counter(self.running.values())


def latest_session(folder: Path) -> Session:
    """Return the last start of Snakemake in a run folder; an empty one if there was none."""
    logs = sorted((folder / LOGS).glob("*.snakemake.log"))
    if not logs:
        return Session()
    return read_session(logs[-1].read_text(encoding="utf-8", errors="replace").splitlines())


def read_session(lines: Iterable[str]) -> Session:
    """Return what the lines of Snakemake's log say."""
    session, rule, is_error, number = Session(), "", False, ""
    for line in lines:
        if head := HEAD.match(line):
            is_error, rule, number = bool(head[1]), head[2], head[3] or ""
        elif entry := ENTRY.match(line):
            if entry[1] == "jobid":
                number = entry[2].strip()
                if is_error:
                    session.running.pop(number, None)
                    session.failed[number] = Failure(rule)
                elif rule:
                    session.running[number] = rule
            elif is_error and number in session.failed:
                session.failed[number].log = entry[2].split(" (")[0]
        elif done := FINISHED.match(line):
            session.running.pop(done[1], None)
            session.failed.pop(done[1], None)
    return session


def failure_lines(session: Session, folder: Path = Path()) -> list[str]:
    """Return a line for each job that failed: its rule, its error in a sentence, and its log."""
    lines = []
    for failure in session.failed.values():
        log = f" ({folder / failure.log})" if failure.log else ""
        lines.append(f"  {failure.rule}{log}: {failure.sentence(folder)}")
    return lines


def print_failures(logs: Sequence[str]) -> None:
    """Print the errors of a run's jobs when Snakemake gives up, unless ``rls run`` does it later.

    Arguments:
        logs: The logs of Snakemake itself.
    """
    if LATER not in os.environ:
        text = [Path(log).read_text(encoding="utf-8", errors="replace") for log in logs]
        tell_failures(read_session("\n".join(text).splitlines()))


def tell_failures(session: Session, folder: Path = Path()) -> None:
    """Print the errors of the jobs of a run folder, one sentence each; nothing if none failed."""
    if lines := failure_lines(session, folder):
        jobs = "1 job failed" if len(lines) == 1 else f"{len(lines)} jobs failed"
        after = "What is done stays. Correct the cause, and run the same command again."
        print("\n".join(["", f"rls: {jobs}:", *lines, after, ""]), file=sys.stderr, flush=True)
