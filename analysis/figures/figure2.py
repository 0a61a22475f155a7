"""Draw Fig. 2: HR, LR and every method for a few cells of each treatment, on one intensity scale.

Rows are treatments (controls first), columns the methods; LR is drawn with nearest neighbours at
the size of HR. Cells are chosen by the hash of their id, never by eye. Only the clean degradation
is shown. The drawing is in analysis.drawing.example_cells.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import parse_figure
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 2."""
    given = parse_figure(__doc__, argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.example_cells import draw_methods
    from analysis.drawing.style import save_outputs

    save_outputs(draw_methods(given.run, given.settings), given.outputs, "figure2")


if __name__ == "__main__":
    run(main)
