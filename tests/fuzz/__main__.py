"""Try inputs of every kind at random, as many as wanted, and print how many came out how.

    python -m tests.fuzz --count 300 --seed 1          # some minutes
    python -m tests.fuzz --kinds sheet zip --count 5000

``right``: the result is the known one. ``read``: it was read, and the kind has no checksum by which
a changed value could be told. ``refused``: one sentence. The first input that ends otherwise stops
the command, with its seed and number.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.kinds import KINDS, READ, REFUSED, RIGHT


def main() -> int:
    """Print a row for each kind; return 1 if an input failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=300, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--kinds", nargs="*", default=[], help="only those that contain one of these"
    )
    args = parser.parse_args()
    print(f"| kind | tried | {RIGHT} | {READ} | {REFUSED} | s |")
    print("| --- " * 6 + "|")
    for name, attempt in KINDS.items():
        if args.kinds and not any(text in name for text in args.kinds):
            continue
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # what was assumed
                    found = attempt(args.seed, args.count, Path(folder))
            except AssertionError as error:
                print(f"error: {name}: {error}", file=sys.stderr)
                return 1
        took = time.process_time() - started
        numbers = " | ".join(str(found[outcome]) for outcome in (RIGHT, READ, REFUSED))
        print(f"| {name} | {sum(found.values())} | {numbers} | {took:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
