"""Whether two runs are equal: their arrays and tables, not the bytes of their files.

    python -m tests.cluster.compare runs/after/results runs/before/results

prints each file that differs and exits with 1 if there is one. ``--apart NAME ...`` leaves out
files that only one of the two programs writes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from matplotlib.image import imread
from safetensors.numpy import load_file

# Columns of training curves that say what it took, not what came out.
CLOCK = ("images_per_second", "memory_gib")


def _frame(table: pd.DataFrame) -> pd.DataFrame:
    return table[[name for name in table.columns if name not in CLOCK]]


READERS: dict[str, Callable[[Path], Any]] = {
    ".tif": tifffile.imread,
    ".png": imread,
    ".safetensors": load_file,
    ".parquet": lambda path: _frame(pd.read_parquet(path)),
    ".csv": lambda path: _frame(pd.read_csv(path, comment="#")),
    ".json": lambda path: json.loads(path.read_text()),
}


def equal(one: Any, other: Any) -> bool:
    """Whether two contents are the same, bit for bit; NaN equals NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, pd.DataFrame):
        return list(one.columns) == list(other.columns) and one.equals(other)
    if isinstance(one, np.ndarray):
        same = one.dtype == other.dtype and one.shape == other.shape
        return same and bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
    return bool(one == other)


def same_content(one: Path, other: Path) -> bool:
    """Whether two files hold the same; False where one cannot be read."""
    read = READERS[other.suffix]
    try:
        return equal(read(one), read(other))
    except Exception:  # whatever damage makes of a reader
        return False


def contents(results: Path) -> dict[str, Path]:
    """Every array and table below a folder, by its path within; none that begins with a dot."""
    return {
        str(path.relative_to(results)): path
        for path in sorted(results.rglob("*"))
        if path.suffix in READERS and path.is_file() and not path.name.startswith(".")
    }


def differences(results: Path, reference: Path) -> tuple[int, list[str]]:
    """Return the number of files that were compared, and a sentence on each that differs."""
    found, wanted = contents(results), contents(reference)
    said = [f"{name} is absent" for name in sorted(set(wanted) - set(found))]
    said += [f"{name} should not be there" for name in sorted(set(found) - set(wanted))]
    both = sorted(set(found) & set(wanted))
    for name in both:
        read = READERS[found[name].suffix]
        try:
            if not equal(read(found[name]), read(wanted[name])):
                said.append(f"{name} differs")
        except Exception as error:  # whatever a half-written file makes of its reader
            said.append(f"{name} cannot be read: {error}")
    return len(both), said


def main() -> None:
    """Compare two folders of results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--apart", nargs="*", default=[], help="names of files to leave out")
    args = parser.parse_args()
    n, said = differences(args.results, args.reference)
    said = [sentence for sentence in said if Path(sentence.split()[0]).name not in args.apart]
    print("\n".join([*said, f"{n} files compared, {len(said)} sentences of difference"]))
    sys.exit(bool(said))


if __name__ == "__main__":
    main()
