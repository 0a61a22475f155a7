"""Fig. 6: the same cells under several degradations, a few methods each (section 4.3).

Above, one cell of each control: HR, the degraded LR image that a method was given, and its
reconstruction. Below, per degradation and method: mean |D(SR) - clean LR|, the kernel distance to
HR on random convolutions, LPIPS where a VGG file is given, and the shift of each feature that was
kept. The numbers are read from Table 1 and the table of features; the drawing is in
analysis.drawing.degradations.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.drawing.command import figure_parser
from analysis.drawing.settings import Settings
from analysis.run.description import Run, add_run
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 6."""
    parser = figure_parser(__doc__, Settings)
    add_run(parser)
    parser.add_argument("--table1", type=Path, required=True, help="table1.csv")
    parser.add_argument("--features", type=Path, required=True, help="features.csv")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.comparison.long_table import read_long
    from analysis.drawing.degradations import draw
    from analysis.drawing.style import save_outputs

    figure, rows = draw(
        Run.read(args.run), read_long(args.table1), read_long(args.features), settings
    )
    paths = (args.output_pdf, args.output_png, args.output_csv)
    save_outputs(figure, rows, paths, "figure6")


if __name__ == "__main__":
    run(main)
