"""Record which functions of the program every fast test calls, and how long it takes."""

import json
import re
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.mutation.forks import import_heavy, run_in_forks, run_pytest

FOLDERS = ("tests/rls", "tests/analysis")
LIMIT_S = 300.0
STOP_AFTER_S = 100.0  # A file's later tests are left out: it would take too long for a mutant.
# Files of tests of other parts of the program.
OTHERS = re.compile(
    "test_(checkpoint|command|compiled|device|distributed|graphs|host_looks|locks|import_nvlabs"
    "|progress|siblings|stopping|streams|transfer|moving|trust|stylegan2_(dry|fir|inert|oper|conv)"
    "|download|fetch|list_plate|plates|plan|simulat|segment|quality|report|train_segmenter|import"
    "|crop_cells|features|generators|png|named|describe|acquired|illumination|compare_simulation)"
)


class Recorder:
    """A plugin of pytest that traces calls; a fixture's calls count for every test that uses it."""

    def __init__(self, path: Path):
        self.path = path
        self.current: set[tuple[str, str]] = set()
        self.calls: dict[str, set[tuple[str, str]]] = {}
        self.seconds: dict[str, float] = {}
        self.fixtures: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self.start = time.process_time()

    def trace(self, frame, event, argument):
        code = frame.f_code
        if code.co_filename.startswith(self.roots):
            self.current.add((code.co_filename, code.co_qualname))

    roots = (f"{ROOT}/rls/", f"{ROOT}/analysis/")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        outer, self.current = self.current, set()
        yield
        if fixturedef.scope != "function":
            self.fixtures[fixturedef.argname] |= self.current
        self.current |= outer

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        if time.process_time() - self.start > STOP_AFTER_S:
            item.session.shouldstop = "the time for this file is over"
        self.current, start = set(), time.process_time()
        threading.settrace(self.trace)
        sys.settrace(self.trace)
        yield
        sys.settrace(None)
        threading.settrace(None)
        for name in item.fixturenames:
            self.current |= self.fixtures.get(name, set())
        self.calls[item.nodeid] = self.current
        self.seconds[item.nodeid] = time.process_time() - start

    def pytest_sessionfinish(self):
        prefix = len(str(ROOT)) + 1
        found = {
            test: {
                "seconds": round(self.seconds[test], 3),
                "functions": sorted({f"{name[prefix:]}::{function}" for name, function in calls}),
            }
            for test, calls in self.calls.items()
        }
        self.path.write_text(json.dumps(found))


def record(folder: Path, jobs: int) -> dict:
    """Return {test: seconds, functions} of all fast tests; run the files that changed since."""
    parts = folder / "reach"
    parts.mkdir(parents=True, exist_ok=True)
    files = [path for name in FOLDERS for path in sorted((ROOT / name).glob("test_*.py"))]
    part_of = {path: parts / f"{path.stem}.json" for path in files if not OTHERS.match(path.stem)}

    def task(path: Path, part: Path):
        return (
            path.name,
            lambda: run_pytest([str(path)], Recorder(part), part.with_suffix(".log")),
            LIMIT_S,
        )

    left = [task(*pair) for pair in part_of.items() if not _is_newer(pair[1], pair[0])]
    if left:
        import_heavy()
    for name, status, seconds in run_in_forks(left, jobs):
        print(f"{name}: status {status}, {seconds:.0f} s", flush=True)
    tests: dict = {}
    for part in part_of.values():
        if part.exists():  # A file that could not be run reaches nothing.
            tests.update(json.loads(part.read_text()))
    return tests


def _is_newer(part: Path, path: Path) -> bool:
    return part.exists() and part.stat().st_mtime > path.stat().st_mtime
