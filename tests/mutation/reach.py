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
        self.start = time.monotonic()

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
        if time.monotonic() - self.start > STOP_AFTER_S:
            item.session.shouldstop = "the time for this file is over"
        self.current, start = set(), time.monotonic()
        threading.settrace(self.trace)
        sys.settrace(self.trace)
        yield
        sys.settrace(None)
        threading.settrace(None)
        for name in item.fixturenames:
            self.current |= self.fixtures.get(name, set())
        self.calls[item.nodeid] = self.current
        self.seconds[item.nodeid] = time.monotonic() - start

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
    """Return {test: seconds, functions}, from ``folder``'s file or by running every test file."""
    whole = folder / "reach.json"
    if whole.exists():
        return json.loads(whole.read_text())
    import_heavy()
    parts = folder / "reach"
    parts.mkdir(parents=True, exist_ok=True)
    files = [path for name in FOLDERS for path in sorted((ROOT / name).glob("test_*.py"))]
    files = [path for path in files if not OTHERS.match(path.stem)]

    def task(path: Path):
        part = parts / f"{path.stem}.json"
        return (
            path.name,
            lambda: run_pytest([str(path)], Recorder(part), parts / f"{path.stem}.log"),
            LIMIT_S,
        )

    left = [path for path in files if not (parts / f"{path.stem}.json").exists()]
    for name, status, seconds in run_in_forks([task(path) for path in left], jobs):
        print(f"{name}: status {status}, {seconds:.0f} s", flush=True)
    tests: dict = {}
    for part in sorted(parts.glob("*.json")):
        tests.update(json.loads(part.read_text()))
    whole.write_text(json.dumps(tests))
    return tests
