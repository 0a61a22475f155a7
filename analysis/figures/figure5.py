"""Fig. 5: a feature measured on HR and on every method, both controls, and whether it survived.

One block an assay, factor and feature, lettered: (a) translocation, (b) Golgi where both run.
Boxes: negative control solid, positive control dotted. Beside them the triple: shift kept
(SR over HR difference of medians), within-treatment sd ratio, within-treatment correlation of SR
and HR. An effect size alone can be large with no information per cell, so the three stand
together. The single cells are in the figure 'scatter'. Only the clean degradation is shown. The
triple and the effect sizes are read from the table of features; the drawing is in
analysis.drawing.boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.drawing.command import figure_parser
from analysis.drawing.settings import Settings
from analysis.run.description import Run, add_run
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 5."""
    parser = figure_parser(__doc__, Settings)
    add_run(parser)
    parser.add_argument("--features", type=Path, required=True, help="features.csv")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.comparison.long_table import read_long
    from analysis.drawing.boxes import draw
    from analysis.drawing.style import save_outputs

    figure, rows = draw(Run.read(args.run), read_long(args.features), settings)
    paths = (args.output_pdf, args.output_png, args.output_csv)
    save_outputs(figure, rows, paths, "figure5")


if __name__ == "__main__":
    run(main)
