"""Say what a run will fetch, cost and need, check that it can start, and ask once for a yes.

    python -m analysis.preflight --configfile config/article.yaml --directory runs/article

Runs nothing. What is done in the folder is left out of the plan. Disk, device, network and the
weights of other people's networks are looked at, and what is missing is an error before the first
job. On a terminal the question is answered there; elsewhere --yes is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.run.overlays import OVERLAYS, config_file
from rls.runtime.command import run
from rls.runtime.errors import InputError
from rls.runtime.help import CommandParser

LOCAL = Path("workflow/profiles/local")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the plan and the checks, and ask."""
    parser = CommandParser(__doc__)
    parser.add_argument(
        "--configfile", type=config_file, nargs="+", default=[], metavar="FILE", help=OVERLAYS
    )
    parser.add_argument("--directory", type=Path, required=True, help="run folder")
    parser.add_argument("--profile", type=Path, default=LOCAL, help="folder of Snakemake's profile")
    parser.add_argument(
        "--cores", type=int, default=os.cpu_count() or 1, help="cores of this machine"
    )
    parser.add_argument("--machine", default="", help="a machine of workflow/rates.json: H200")
    parser.add_argument("--yes", action="store_true", help="start without asking")
    parser.add_argument(
        "--plan", action="store_true", help="print the plan alone, without checks or question"
    )
    args = parser.parse_args(argv)
    # Imported here, so that --help waits for nothing.
    from analysis.plan.preflight import Asked, prepare

    asked = Asked(args.configfile, args.directory, args.profile, args.cores, args.machine)
    prepared = prepare(asked)
    for line in prepared.lines(checks=not args.plan):
        print(line, flush=True)
    if prepared.jobs and not args.plan:
        _ask(yes=args.yes)


def _ask(*, yes: bool) -> None:
    """Return if the user agrees.

    Raises:
        InputError: The user does not, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(
            "Found no terminal to ask on, expected a yes to the plan above. Run it again with "
            "YES=1 behind make, or --yes."
        )
    if input("Start? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("Found no yes, so nothing was started. Run it again when it may start.")


if __name__ == "__main__":
    run(main)
