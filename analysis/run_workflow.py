"""Run the workflow from plates to report, or only the targets that you name.

    rls run --configfile demo.yaml
    rls run golgi table1 --configfile my.yaml --directory runs/mine --cores 4

First prints what will be done and how long it will take, then starts Snakemake with the program's
profile. Targets come first. Every argument that is not named below goes to Snakemake: --dry-run,
--forcerun RULE, --set-resources ... Ctrl-C stops the run and leaves nothing half-written. To
continue after that, or after anything else that stopped it, run the same command again.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from analysis.run.overlays import OVERLAYS, config_file, run_folder
from analysis.watching.snakemake import PROFILES, Request, profile_folder, run_snakemake
from rls.runtime.command import run
from rls.runtime.help import CommandParser
from rls.runtime.outputs import need_writable


def main(argv: Sequence[str] | None = None) -> None:
    """Run the workflow."""
    args, rest = make_parser().parse_known_args(argv)
    folder = args.directory or run_folder(args.configfile)
    need_writable(folder, "--directory", folder=True)
    words = [word for word in rest if word != "--"]
    request = Request(
        args.configfile, folder, args.cores, profile_folder(args.workflow_profile), tuple(words)
    )
    with tempfile.TemporaryDirectory(prefix="rls-run-") as scratch:
        raise SystemExit(run_snakemake(request, Path(scratch)))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments that are not Snakemake's."""
    parser = CommandParser(__doc__)
    parser.add_argument(
        "--configfile", type=config_file, nargs="+", default=[], metavar="FILE", help=OVERLAYS
    )
    parser.add_argument(
        "--directory",
        type=Path,
        help="run folder (default runs/NAME, of the last --configfile NAME.yaml)",
    )
    parser.add_argument("--cores", help="how many cores jobs share (default: all of this machine)")
    parser.add_argument(
        "--workflow-profile",
        default=PROFILES[0],
        metavar="PROFILE",
        help=f"{' or '.join(PROFILES)}, or a folder with config.yaml",
    )
    return parser


if __name__ == "__main__":
    run(main)
