"""Write what the spread and the mean of several solutions of an image are worth (section 4.5).

For every assay, factor, kind of solutions and feature, on evaluation cells: how often HR lies
inside the raw quantiles of the solutions and inside intervals calibrated on split calibration, how
wide they are, and the error of one solution, of the mean over them, and of the method's single
search. Intervals are over wells. Only the clean degradation has solutions. The kind ``searches`` is
that of the methods with ``n_solutions`` above 1, whose single search is the one of least loss.

Width is relative to the 5-95 % range of HR, and the least spread is a share of that range. The
range comes from the split classifier, so that neither calibration nor evaluation decides it. In
expectation, the mean errs less than one solution (Jensen's inequality), so that is no discovery;
a smaller error than the single search's would be one. The numbers are computed in
analysis.comparison.solutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.comparison.solutions_settings import Settings
from analysis.run.description import Run, add_run
from rls.io import write_table
from rls.runtime.command import Parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of solutions."""
    parser = Parser(__doc__, Settings, "solutions")
    add_run(parser)
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for scikit-image.
    from analysis.comparison.long_table import long_table
    from analysis.comparison.solutions import solution_rows, summary_lines

    table = long_table(solution_rows(Run.read(args.run), settings))
    write_table(args.output_csv, table, written_by="solutions")
    for line in summary_lines(table):
        print(line)
    print(f"solutions: {len(table)} numbers, {args.output_csv}")


if __name__ == "__main__":
    run(main)
