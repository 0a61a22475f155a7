"""Fig. 4: Fig. 3 of the assays that measure the Golgi: LR left, super-resolved middle, HR right.

The drawing is in analysis.drawing.example_cells.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import figure_parser
from analysis.drawing.settings import Settings
from analysis.run.description import Run, add_run
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 4."""
    parser = figure_parser(__doc__, Settings)
    add_run(parser)
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.example_cells import draw_golgi
    from analysis.drawing.style import save_outputs

    figure, rows = draw_golgi(Run.read(args.run), settings)
    paths = (args.output_pdf, args.output_png, args.output_csv)
    save_outputs(figure, rows, paths, "figure4")


if __name__ == "__main__":
    run(main)
