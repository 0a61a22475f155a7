"""Choose how many images a GPU searches at a time, from its memory."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from rls.io.files import write_text
from rls.runtime.checkpoint import StateFolder
from rls.search.methods import Method, S
from rls.search.problem import BatchProgress, Problem, select_rows
from rls.search.settings import MOST_AT_ONCE, ON_A_CPU
from rls.search.steps import Searches

BatchSize = int | Literal["auto"]
CHOSEN = "batch_size.txt"  # in the folder of finished batches
# The share of the free memory that a search may take. Recorded steps have memory of their own
# beside that of other work, so a search may take twice what one step needs.
SHARE, COPIES = 0.8, 2


def batch_size_of(
    setting: BatchSize, state: StateFolder, label: str, choose: Callable[[], int]
) -> int:
    """Return the setting, or for ``auto`` the size with which ``state`` was begun.

    Some matrix products round differently at other batch sizes, so finished batches of another size
    are not used.

    Arguments:
        choose: Returns the size for a new state.
    """
    if isinstance(setting, int):
        return setting
    file = state.folder / CHOSEN
    try:
        size = int(file.read_text())
    except (OSError, ValueError):
        size = 0
    found = list(state.folder.glob("batch-*.safetensors"))
    if size < 1:
        if found:
            print(f"{label}: {file} is missing or damaged; the search begins anew", flush=True)
        for path in found:
            path.unlink()
        size = choose()
        write_text(file, f"{size}\n")
    before = ", as the batches found were" if found else ""
    print(f"{label}: batch_size {size}{before} (auto)", flush=True)
    return size


def choose_size(method: Method[S], settings: S, problem: Problem, group: int) -> int:
    """Return the number of images that fit the device's memory, 64 at most; 4 on a CPU.

    Each image of the article's network takes 0.13 GB of a step (calculated), and 0.1 GB of one in
    bfloat16. The memory is measured in float32, in which every search ends.

    Arguments:
        group: Images that belong together; the number holds whole groups, at least one.
    """
    if problem.device.type != "cuda":
        return max(1, ON_A_CPU // group) * group
    # The first search is for what every later one finds in place, such as a network of its own.
    _, two, four = (peak_bytes(method, settings, problem, n * group) for n in (2, 2, 4))
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(problem.device)
    return group * largest_size(two, four, free, max(1, MOST_AT_ONCE // group))


def largest_size(two: int, four: int, free: int, most: int) -> int:
    """Return ``most`` groups of images, or half, a quarter ... of that, to fit ``free`` bytes.

    Arguments:
        two, four: Bytes that searches of two and of four groups need. From two on, each further
            group needs as many; a single one may spend most elsewhere.
    """
    size = most
    while size > 1 and COPIES * expected_bytes(two, four, size) > SHARE * free:
        size //= 2
    return size


def expected_bytes(two: int, four: int, size: int) -> int:
    """Return the bytes of a search of ``size`` groups, from those of two and of four."""
    return two + (size - 2) * (four - two) // 2


def peak_bytes(method: Method[S], settings: S, problem: Problem, n: int) -> int:
    """Return the most bytes at one time on a GPU of a search of ``n`` images in one step."""
    part = select_rows(problem, np.zeros(n, dtype=np.int64))
    part = dataclasses.replace(part, searches=Searches())
    if "steps" in settings.__dataclass_fields__:
        settings = dataclasses.replace(settings, steps=1)
    gc.collect()
    torch.cuda.reset_peak_memory_stats(problem.device)
    before = torch.cuda.memory_allocated(problem.device)
    method.super_resolve(part, settings, Unseen())
    return torch.cuda.max_memory_allocated(problem.device) - before


class Unseen(BatchProgress):
    """Progress that nobody sees."""

    def __init__(self) -> None:
        """Show nothing."""

    def step(self, done: int, steps: int) -> None:
        """Report nothing."""
