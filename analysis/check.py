"""Check a configuration before anything runs, and say how many jobs it has.

    rls check --configfile my.yaml

Unknown keys, wrong types, and names and numbers that do not fit each other are each one sentence.
Then Snakemake plans the run, which finds files that are missing. Nothing is run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from analysis.plan.jobs import planned_jobs
from analysis.run.checks import check
from analysis.run.keys import ROOT
from analysis.run.overlays import OVERLAYS, config_file
from analysis.run.values import merged, read_files
from analysis.run.weights import settle
from rls.runtime.command import run
from rls.runtime.help import CommandParser


def main(argv: Sequence[str] | None = None) -> None:
    """Check the configuration."""
    parser = CommandParser(__doc__)
    parser.add_argument("targets", nargs="*", help="rules or files, such as golgi or table1")
    parser.add_argument(
        "--configfile", type=config_file, nargs="+", default=[], metavar="FILE", help=OVERLAYS
    )
    parser.add_argument("--directory", type=Path, help="run folder: what is done there is left out")
    args = parser.parse_args(argv)
    files = read_files(args.configfile)
    config = merged(files)
    check(config, files)
    settle(config, ROOT, {})
    with tempfile.TemporaryDirectory() as empty:
        folder = args.directory or Path(empty)
        jobs = planned_jobs(
            args.configfile, folder, args.targets, everything=args.directory is None
        )
    read = ", ".join(str(file.path) for file in files)
    print(f"The configuration is valid ({read}).")
    stages = len({job.rule for job in jobs})
    print(f"{len(jobs)} jobs of {stages} stages would run. rls plan says what they cost.")


if __name__ == "__main__":
    run(main)
