"""Draw Fig. 8: several solutions for one LR image, and what they say about the feature.

(a) Rows are cells of each control, columns LR, HR and the solutions of one kind. (b) The calibrated
interval of each evaluation cell against its HR value. (c) How often an interval holds HR, (d) how
wide it is, (e) the error of one solution, of their mean and of the single search, for every kind.
Cells are chosen by the hash of their id; (c) to (e) show numbers of the table of solutions. Only
the clean degradation has solutions. The drawing is in analysis.drawing.solutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.drawing.command import figure_parser, outputs_of
from analysis.drawing.settings import Figure8Settings
from analysis.run.description import Run, add_run
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 8."""
    parser = figure_parser(__doc__, Figure8Settings)
    add_run(parser)
    parser.add_argument("--table", type=Path, required=True, help="the table of solutions, *.csv")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.solutions import draw
    from analysis.drawing.style import save_outputs
    from rls.io import read_table

    table = read_table(args.table, columns=["assay", "factor", "feature", "kind"])
    save_outputs(draw(Run.read(args.run), table, settings), outputs_of(args), "figure8")


if __name__ == "__main__":
    run(main)
