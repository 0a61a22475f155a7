"""Run a campaign: every mutant in a fork of its own, against the tests that reach its function."""

import csv
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.mutation.forks import import_heavy, run_in_forks, run_pytest
from tests.mutation.mutants import MODULE, Mutant

COLUMNS = (
    *("file", "function", "source", "operator", "place", "line", "mutation"),
    *("outcome", "found_by", "n_tests", "seconds"),
)
UNIT_FILES = 2
NARROW_S = 15.0  # The quickest unit tests of a function, together, run first.
WIDE_S = 240.0  # A mutant that survives them meets further tests of the function and its file.
EXIT_PASSED, EXIT_FAILED = 0, 1


class Selection:
    """A plugin of pytest: keep the chosen tests, quickest first, and note the first that fails."""

    def __init__(self, tests: Sequence[str], note: Path):
        self.order = {test: place for place, test in enumerate(tests)}
        self.note = note
        note.unlink(missing_ok=True)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self.order]
        items.sort(key=lambda item: self.order[item.nodeid])

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.note.write_text(report.nodeid)


class Planted(importlib.abc.MetaPathFinder):
    """Import one module of the program from a mutated source, and all others as they are."""

    def __init__(self, file: str, source: str):
        self.module = file.removesuffix(".py").replace("/", ".")
        self.path, self.source = str(ROOT / file), source

    def find_spec(self, fullname, path, target=None):
        if fullname != self.module:
            return None
        loader = importlib.machinery.SourceFileLoader(fullname, self.path)
        loader.get_code = lambda name: compile(self.source, self.path, "exec", dont_inherit=True)
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


def choose_tests(mutant: Mutant, reach: Mapping[str, dict]) -> tuple[list[str], list[str]]:
    """Return the tests to run first, and those to run if they all pass; quickest first.

    The first are of the files whose tests reach the function and little else: its unit tests.
    """
    exact, near = [], []
    for test, found in sorted(reach.items(), key=lambda item: item[1]["seconds"]):
        functions = found["functions"]
        if f"{mutant.file}::{mutant.function}" in functions:
            exact.append(test)
        elif any(function.startswith(f"{mutant.file}::") for function in functions):
            near.append(test)
    if mutant.function == MODULE:
        exact, near = near, []
    breadth: dict[str, int] = {}
    for test in exact:
        file, size = test.partition("::")[0], len(reach[test]["functions"])
        breadth[file] = min(size, breadth.get(file, size))
    units = sorted(breadth, key=lambda file: breadth[file])[:UNIT_FILES]
    first = [test for test in exact if test.partition("::")[0] in units]
    first = _within(first, reach, NARROW_S)
    rest = [test for test in exact if test not in first] + near
    return first, _within(rest, reach, WIDE_S)


def _within(tests: Sequence[str], reach: Mapping[str, dict], limit: float) -> list[str]:
    total, kept = 0.0, []
    for test in tests:
        total += reach[test]["seconds"]
        if total > limit and kept:
            break
        kept.append(test)
    return kept


def _work(mutant: Mutant | None, tests: Sequence[str], log: Path) -> int:
    if mutant:
        sys.meta_path.insert(0, Planted(mutant.file, mutant.mutated()))
    files = list(dict.fromkeys(str(ROOT / test.partition("::")[0]) for test in tests))
    return run_pytest(["-x", *files], Selection(tests, log.with_suffix(".failed")), log)


def run(
    mutants: Sequence[Mutant], reach: Mapping[str, dict], folder: Path, jobs: int, *, wide: bool
) -> None:
    """Append a row for every mutant to ``folder``'s results.csv; those already there are kept."""
    table = folder / f"results{'_wide' if wide else ''}.csv"
    done = {tuple(row[name] for name in COLUMNS[:5]) for row in read(table)}
    import_heavy()
    tasks, tests_of = [], {}
    for number, mutant in enumerate(mutants):
        if mutant.name in done:
            continue
        tests = choose_tests(mutant, reach)[wide]
        tests_of[mutant] = (number, tests)
        if not tests:
            _append(table, mutant, "unreached" if not wide else "survived", "", 0, 0.0)
            continue
        log = folder / ("wide" if wide else "narrow") / f"{number}.log"
        limit = 20 + 3 * sum(reach[test]["seconds"] for test in tests)
        tasks.append((mutant, partial(_work, mutant, tests, log), limit))
    for mutant, status, seconds in run_in_forks(tasks, jobs):
        number, tests = tests_of[mutant]
        note = folder / ("wide" if wide else "narrow") / f"{number}.failed"
        found_by = note.read_text() if note.exists() else ""
        outcome = {EXIT_PASSED: "survived", None: "timeout"}.get(status, "killed")
        _append(table, mutant, outcome, found_by, len(tests), seconds)
        print(
            f"{outcome} {seconds:.0f} s {mutant.file}:{mutant.line} {mutant.change()}", flush=True
        )


def read(table: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, none where there is no file."""
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def _append(
    table: Path, mutant: Mutant, outcome: str, found_by: str, n_tests: int, seconds: float
) -> None:
    fresh = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        named = (*mutant.name, mutant.line, mutant.change())
        writer.writerow([*named, outcome, found_by, n_tests, f"{seconds:.1f}"])
