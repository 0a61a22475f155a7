"""Run pytest in forks of one process that has already imported what takes long to import."""

import contextlib
import gc
import importlib
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

HEAVY = (
    "torch",
    "numpy",
    "pandas",
    "scipy.stats",
    "scipy.ndimage",
    "matplotlib.pyplot",
    "skimage.measure",
    "skimage.segmentation",
    "skimage.filters",
    "sklearn.linear_model",
    "sklearn.ensemble",
    "torchmetrics.image",
    "nflows.flows",
    "nflows.transforms",
    "torch.utils.tensorboard",
    "torch._dynamo",
    "tifffile",
    "PIL.Image",
    "yaml",
    "jsonschema",
    "pyarrow",
    "safetensors.torch",
    "torch.utils.checkpoint",
    "pyarrow.parquet",
    "imagecodecs",
    "_pytest.junitxml",
)
SLOWEST = 10
FAST = "not slow and not workflow and not gpu"
PLUGINS = ("-p", "no:cacheprovider", "-p", "no:xdist")
ARGUMENTS = ("-q", *PLUGINS, "--no-header", "--tb=line", "-m", FAST)


def import_heavy() -> None:
    """Import what all children need, on one thread, and nothing of the project."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["MPLBACKEND"] = "agg"
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    gc.collect()
    gc.freeze()  # A child's collections leave alone what all children share.


def run_pytest(arguments: list[str], plugin: object, log: Path) -> int:
    """Return pytest's exit status; what it prints goes into ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        base = log.parent / "tmp" / log.stem
        base.parent.mkdir(exist_ok=True)
        plugins = [plugin] if plugin else []
        options = [*ARGUMENTS, f"--basetemp={base}", *arguments]
        return int(pytest.main(options, plugins=plugins))


def _fork(work: Callable[[], int], limit: float) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 5))
    status = 70
    try:
        status = work()
    finally:
        sys.stdout.flush()
        os._exit(status)


def run_in_forks(
    tasks: Iterable[tuple[object, Callable[[], int], float]], jobs: int
) -> Iterator[tuple[object, int | None, float]]:
    """Yield (name, exit status, seconds) of every task (name, work, limit in seconds) as it ends.

    The limit counts the processor's time, so that a busy machine ends nothing early, and ten times
    as much time on the clock. The status is None for a task that its limit, or a signal, ended.
    """
    waiting, running = iter(tasks), {}
    while True:
        while len(running) < jobs and (task := next(waiting, None)):
            name, work, limit = task
            running[_fork(work, limit)] = (name, time.monotonic(), SLOWEST * limit)
        if not running:
            return
        pid, code = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            name, start, _ = running.pop(pid)
            _end_group(pid)
            status = os.waitstatus_to_exitcode(code)
            yield name, (status if status >= 0 else None), time.monotonic() - start
            continue
        for late, (_, start, limit) in running.items():
            if time.monotonic() - start > limit:
                _end_group(late)
        time.sleep(0.05)


def _end_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
