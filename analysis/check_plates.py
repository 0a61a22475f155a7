"""Check a configuration and the plates that it names, before anything runs.

    python -m analysis.check_plates --configfile config/my_plates.yaml

Says at once all that is wrong or contradictory, what should be looked at, what was assumed and what
was found: keys, tables, files and their channels, pixel sizes, counts, the diameter of nuclei, the
wells and cells of each split, and whether the generator fits. The headers of all images are read,
and the pixels of six fields. Nothing is written. Exits with 1 if something is wrong, else with 0
and the commands that come next.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Print what is found."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.check_plates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--configfile", type=Path, nargs="+", required=True, help="as Snakemake's")
    args = parser.parse_args(argv)
    # Imported here, so that --help does not wait for scikit-image.
    from analysis.checking.check import check
    from analysis.checking.findings import FAULT, described, next_steps

    findings = check(args.configfile)
    for line in described(findings):
        print(line)
    faults = sum(finding.kind == FAULT for finding in findings)
    if faults:
        print(f"Correct what is wrong ({faults}), and run this command again.")
        sys.exit(1)
    for line in next_steps(args.configfile):
        print(line)


if __name__ == "__main__":
    run(main)
