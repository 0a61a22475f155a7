"""Plant each fault of the lists into a copy of the program, and see its tests fail.

It says for every fault whether the tests that must fail do. A fault whose text is no longer in the
code is named too: then the list must follow the code. Without faults all tests must pass, or they
show nothing. It takes a few minutes, so `make test` does not run it.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.planted import Fault

LIMIT_S = 600  # A fault may keep a test from ending.
ROOT = Path(__file__).resolve().parents[2]
LISTS = ("classification", "figures", "inputs", "numbers", "prior", "search", "training", "wiring")
# Slow to import and the same for every fault, so they are imported once, before the forks.
SHARED = (
    *("torch", "pandas", "scipy.stats", "skimage.metrics", "sklearn.ensemble", "sklearn.pipeline"),
    *("matplotlib.pyplot", "torchmetrics", "nflows.flows.autoregressive", "safetensors.torch"),
)


class Failures:
    """A plugin of pytest that notes which tests failed."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test of which any part failed."""
        if report.failed:
            self.names.add(report.nodeid)


def all_faults(words: Sequence[str]) -> list[Fault]:
    """Return the faults of all lists whose name or file has one of ``words``, or all."""
    found = [f for name in LISTS for f in importlib.import_module(f"tests.planted.{name}").FAULTS]
    return [f for f in found if not words or any(w in f"{f.file} {f.name}" for w in words)]


def copy_program(folder: Path) -> None:
    """Copy all files that git knows or would add into ``folder``."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def run_tests(folder: Path, tests: Iterable[str]) -> set[str] | None:
    """Return which tests of the program in ``folder`` fail; None if pytest cannot run them all."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(folder, list(tests), there))
    child.start()
    there.close()
    try:
        return here.recv() if here.poll(LIMIT_S) else None
    except EOFError:
        return None
    finally:
        child.kill()
        child.join()


def _in_child(folder: Path, tests: list[str], answer: Connection) -> None:
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.dont_write_bytecode = True  # A fault may have the size and the second of another.
    sys.path[:] = [str(folder), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
    for name in [n for n in sys.modules if n == "tests" or n.startswith("tests.")]:
        del sys.modules[name]
    failures = Failures()
    with open(folder / "pytest.log", "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        code = pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[failures])
    if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        answer.send(failures.names)


def file_of(folder: Path, fault: Fault) -> Path | None:
    """Return the file with the text of a fault: the one named, or else the only one, as code moves.

    Returns:
        None if the text stands nowhere, or several times.
    """
    files = [p for root in ("rls", "analysis") for p in folder.glob(f"{root}/**/*.py")]
    found = [path for path in files if path.read_text().count(fault.old) == 1]
    if folder / fault.file in found:
        return folder / fault.file
    return found[0] if len(found) == 1 else None


def verdict(folder: Path, fault: Fault) -> str:
    """Return why a fault is not caught, empty if it is."""
    path = file_of(folder, fault)
    if path is None:
        return f"its text does not stand once in {fault.file}; bring the list up to date"
    text = path.read_text()
    path.write_text(text.replace(fault.old, fault.new))
    try:
        failed = run_tests(folder, fault.tests)
    finally:
        path.write_text(text)
    if failed is None:
        return "the tests cannot be run with it"
    passed = [t for t in fault.tests if not any(f"{f}[".startswith(f"{t}[") for f in failed)]
    return f"passed with it: {', '.join(passed)}" if passed else ""


def faulty(folder: Path, faults: Sequence[Fault]) -> Iterator[str]:
    """Print a line for every fault, and yield the names of those that are not caught."""
    tests = sorted({test for fault in faults for test in fault.tests})
    failed = run_tests(folder, tests)
    if failed is None or failed:
        log = (folder / "pytest.log").read_text()[-3000:]
        raise SystemExit(f"{log}\nThe tests fail without any fault; mend them first.")
    for fault in faults:
        why = verdict(folder, fault)
        print(
            f"{'NOT CAUGHT' if why else 'caught':<10} {fault.name}{why and f': {why}'}", flush=True
        )
        if why:
            yield fault.name


def main() -> None:
    """Plant the faults, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of names or files; all faults without")
    faults = all_faults(parser.parse_args().words)
    for name in SHARED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_program(folder)
        lost = list(faulty(folder, faults))
    print(f"{len(faults) - len(lost)} of {len(faults)} faults are caught")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
