"""Print the main results of a finished run: what was made, the report's path, the headline tables.

Make runs it after a workflow. The tables are Markdown, one for each assay, factor and feature.
Each method has a row with shift kept, sd ratio, correlation within treatments, accuracy, and the
number of cells behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.runtime.command import run
from rls.runtime.help import CommandParser


def main(argv: Sequence[str] | None = None) -> None:
    """Print the lines."""
    parser = CommandParser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of results")
    parser.add_argument("--report", type=Path, required=True, help="the report")
    args = parser.parse_args(argv)
    # Imported here, so that --help does not wait for scipy.
    from analysis.comparison.headline import lines

    for line in lines(args.results, args.report):
        print(line)


if __name__ == "__main__":
    run(main)
