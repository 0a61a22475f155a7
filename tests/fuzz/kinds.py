"""Kinds of inputs that are tried at random; each tries ``count`` of them from a seed.

A kind returns how many of its inputs came out how, and raises AssertionError, with seed and number,
at the first that gave a wrong result, another exception than one sentence, or left a file behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.analysis import fuzzed_tables
from tests.analysis.test_mutated_images import readers_of
from tests.fuzz import archives, configurations, weights
from tests.rls.io import mutated

RIGHT, READ, REFUSED = "right", "read", "refused"
Kind = Callable[[int, int, Path], Counter[str]]

OF_TABLES = {
    "right and read": RIGHT,
    "faulty and refused": REFUSED,
    "damaged and read": READ,
    "damaged and refused": REFUSED,
}


def sheets(seed: int, count: int, folder: Path) -> Counter[str]:
    """Sheets in every dialect, with faults, and damaged: ``count`` of each."""
    found: Counter[str] = Counter()
    for name, n in fuzzed_tables.run(seed, count, folder).items():
        found[OF_TABLES[name]] += n
    return found


def images(kind: str, seed: int, count: int, folder: Path) -> Counter[str]:
    """Damaged image files, each by all readers that take such a file."""
    found = mutated.check(kind, seed, count, folder, readers_of(kind))
    known = RIGHT if kind in ("png", "npy.xz") else READ
    return Counter({known: found["array"], REFUSED: found["sentence"]})


KINDS: dict[str, Kind] = {
    "sheet (CSV)": sheets,
    **{
        f"{'TIFF, ' if kind in mutated.TIFFS else ''}{kind}": partial(images, kind)
        for kind in mutated.KINDS
    },
    "zip of PNG": archives.attempt,
    "configuration (YAML)": configurations.attempt,
    "safetensors": weights.attempt,
}
