"""Fig. 3: LR left, super-resolved middle, HR right, for both controls of an assay.

The form is the article's. Every assay that runs is here but those that measure the Golgi, which
are Fig. 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from analysis.comparison.layout import HIGH_RESOLUTION, LOW_RESOLUTION, Inputs
from analysis.drawing.command import Rows, figure_main
from analysis.drawing.grids import draw_grids
from analysis.drawing.panels import chosen_cells, make_grid, read_shown, shown_rows
from analysis.drawing.settings import Settings
from analysis.drawing.style import DOUBLE_COLUMN
from rls.runtime.command import run
from rls.runtime.errors import InputError

GOLGI = "golgi"  # the feature whose assays Fig. 4 shows


def draw(inputs: Inputs, settings: Settings) -> tuple[Figure, Rows]:
    """Return Fig. 3 and its numbers, one row a panel.

    Raises:
        InputError: Every assay measures the Golgi.
    """
    assays = tuple(assay for assay in inputs.assays if GOLGI not in assay.features)
    if not assays:
        raise InputError(
            f"Every assay given ({', '.join(a.name for a in inputs.assays)}) measures the feature "
            f"'{GOLGI}' and is shown in Fig. 4. Make figure4 instead."
        )
    return draw_controls(replace(inputs, assays=assays), settings)


def draw_controls(inputs: Inputs, settings: Settings) -> tuple[Figure, Rows]:
    """Return a figure of LR, SR and HR for both controls of every assay, and its numbers."""
    method = settings.super_resolution
    if method not in inputs.methods:
        raise InputError(
            f"figures.super_resolution is '{method}', which is not among the methods of this run: "
            f"{', '.join(inputs.methods)}. Name one of them."
        )
    columns = (LOW_RESOLUTION, method, HIGH_RESOLUTION)
    grids, rows = [], []
    for at in inputs.comparisons():
        if method not in at.methods:
            continue  # it did not run on this degradation
        if len(at.assay.treatments) < 2:
            raise InputError(
                f"Fig. 3 and 4 show a negative and a positive control; assay '{at.assay.name}' "
                f"names {len(at.assay.treatments)}. Leave it out of --assay, or name both."
            )
        shown = read_shown(at, columns, chosen_cells(at, at.assay.treatments, settings))
        grids.append(make_grid(at, shown, columns, settings, DOUBLE_COLUMN))
        rows += shown_rows(at, shown, columns)
    return draw_grids(grids, DOUBLE_COLUMN), rows


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 3."""
    figure_main(__doc__, draw, "figure3", argv)


if __name__ == "__main__":
    run(main)
