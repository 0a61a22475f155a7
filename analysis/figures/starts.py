"""Draw loss and features against steps and seconds: starts, coordinates and rates of a search.

Each line is one method of section trace_search on the same cells of split tune, each point a search
of so many steps. Shown are mean |D(SR) - LR|, and of one feature the correlation
within treatments, the shift kept and the ratio of the standard deviations, each 1 for a perfect
reconstruction. The drawing is in analysis.drawing.starts, the numbers in
analysis.comparison.traced.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import figure_parser, outputs_of
from analysis.drawing.settings import Settings
from analysis.run.description import Run, add_run
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the traces."""
    parser = figure_parser(__doc__, Settings)
    add_run(parser)
    parser.add_argument("--methods", nargs="+", required=True, help="the methods that were traced")
    parser.add_argument(
        "--columns",
        nargs="*",
        default=[],
        metavar="ASSAY=COLUMN",
        help="columns of the features to draw",
    )
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.starts import draw
    from analysis.drawing.style import save_outputs

    columns = dict(pair.split("=", 1) for pair in args.columns)
    drawn = draw(Run.read(args.run), args.methods, settings, columns)
    save_outputs(drawn, outputs_of(args), "starts")


if __name__ == "__main__":
    run(main)
