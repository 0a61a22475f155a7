"""Fig. 2: HR, LR and every method for a few cells of each treatment, on one intensity scale.

Rows are treatments (controls first), columns the methods; LR is drawn with nearest neighbours at
the size of HR. Cells are chosen by the hash of their id, never by eye.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.comparison.layout import HIGH_RESOLUTION, LOW_RESOLUTION, Inputs
from analysis.drawing.command import Rows, figure_main
from analysis.drawing.grids import choose_treatments, draw_grids
from analysis.drawing.panels import (
    chosen_cells,
    evaluation_table,
    make_grid,
    read_shown,
    shown_rows,
)
from analysis.drawing.settings import Settings
from analysis.drawing.style import DOUBLE_COLUMN
from rls.runtime.command import run


def columns_of(methods: Sequence[str]) -> tuple[str, ...]:
    """HR, LR, then the methods in the order of the configuration."""
    return tuple(dict.fromkeys((HIGH_RESOLUTION, LOW_RESOLUTION, *methods)))


def draw(inputs: Inputs, settings: Settings) -> tuple[Figure, Rows]:
    """Return the figure and its numbers, one row a panel."""
    grids, rows = [], []
    for at in inputs.comparisons():
        columns = columns_of(at.methods)
        treatments = choose_treatments(
            evaluation_table(at), at.assay.treatments, settings.treatments_shown
        )
        shown = read_shown(at, columns, chosen_cells(at, treatments, settings))
        grids.append(make_grid(at, shown, columns, settings, DOUBLE_COLUMN))
        rows += shown_rows(at, shown, columns)
    return draw_grids(grids, DOUBLE_COLUMN), rows


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 2."""
    figure_main(__doc__, draw, "figure2", argv)


if __name__ == "__main__":
    run(main)
