"""Show how far a run is: jobs done, running and left by stage, the time left, and the last error.

    rls status runs/demo

Dry runs of Snakemake show what is done and what is left, and its last log shows what runs and what
failed. The time left is the planned time of the remaining jobs, one after the other, multiplied by
the ratio of measured (benchmarks/) to planned time of the finished jobs. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.run.overlays import OVERLAYS, config_file
from analysis.watching.status import read_status
from rls.runtime.command import run
from rls.runtime.help import CommandParser


def main(argv: Sequence[str] | None = None) -> None:
    """Print how a run stands."""
    parser = CommandParser(__doc__)
    parser.add_argument("folder", type=Path, help="run folder, such as runs/demo")
    parser.add_argument(
        "--configfile",
        type=config_file,
        nargs="+",
        default=[],
        metavar="FILE",
        help=f"{OVERLAYS}; needed only where the run folder does not name them",
    )
    args = parser.parse_args(argv)
    print(read_status(args.folder, args.configfile))


if __name__ == "__main__":
    run(main)
