"""Check a configuration and the plates that it names, before anything runs.

    rls check --configfile my.yaml

Prints everything that is wrong or contradictory, that you should look at, that was assumed, and
that was found. The keys and numbers of the configuration are checked against each other. For plates
that a sheet lists, the check covers tables, files and their channels, pixel sizes, counts, the
diameter of nuclei, the wells and cells of each split, and whether the generator fits. It reads the
headers of all images and the pixels of six fields. Then Snakemake plans the run, and its jobs are
counted. Nothing is run or written. The exit code is 1 if something is wrong; otherwise it is 0, and
the commands that come next are printed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from analysis.run.overlays import OVERLAYS, config_file
from rls.runtime.command import run
from rls.runtime.help import CommandParser


def main(argv: Sequence[str] | None = None) -> None:
    """Print what is found."""
    parser = CommandParser(__doc__)
    parser.add_argument("targets", nargs="*", help="rules or files, such as golgi or table1")
    parser.add_argument(
        "--configfile", type=config_file, nargs="+", default=[], metavar="FILE", help=OVERLAYS
    )
    parser.add_argument("--directory", type=Path, help="run folder: what is done there is left out")
    args = parser.parse_args(argv)
    # Imported here, so that --help does not wait for scikit-image.
    from analysis.checking.check import check
    from analysis.checking.findings import FAULT, described, next_steps
    from analysis.plan.jobs import planned_jobs
    from analysis.run.values import read_files

    read_files(args.configfile)  # A file that is none is an error of the command line.
    findings = check(args.configfile)
    for line in described(findings):
        print(line)
    faults = sum(finding.kind == FAULT for finding in findings)
    if faults:
        print(f"Correct what is wrong ({faults}), and run this command again.")
        sys.exit(1)
    with tempfile.TemporaryDirectory() as empty:
        folder = args.directory or Path(empty)
        jobs = planned_jobs(
            args.configfile, folder, args.targets, everything=args.directory is None
        )
    stages = len({job.rule for job in jobs})
    print(f"Nothing is wrong. {len(jobs)} jobs of {stages} stages would run. Next:")
    for line in next_steps(args.configfile):
        print(line)


if __name__ == "__main__":
    run(main)
