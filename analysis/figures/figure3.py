"""Fig. 3: LR left, super-resolved middle, HR right, for both controls of an assay.

The form is the article's. It shows every assay that runs except those that measure the Golgi, which
are Fig. 4. Only the clean degradation is shown. The drawing is in analysis.drawing.example_cells.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import figure_parser
from analysis.drawing.settings import Settings
from analysis.run.description import Run, add_run
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 3."""
    parser = figure_parser(__doc__, Settings)
    add_run(parser)
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.example_cells import draw_without_golgi
    from analysis.drawing.style import save_outputs

    figure, rows = draw_without_golgi(Run.read(args.run), settings)
    paths = (args.output_pdf, args.output_png, args.output_csv)
    save_outputs(figure, rows, paths, "figure3")


if __name__ == "__main__":
    run(main)
