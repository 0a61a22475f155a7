"""Fig. 4: Fig. 3 of the assays that measure the Golgi: LR left, super-resolved middle, HR right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from analysis.comparison.layout import Inputs
from analysis.drawing.command import Rows, figure_main
from analysis.drawing.settings import Settings
from analysis.figures.figure3 import GOLGI, draw_controls
from rls.runtime.command import run
from rls.runtime.errors import InputError


def draw(inputs: Inputs, settings: Settings) -> tuple[Figure, Rows]:
    """Return Fig. 4 and its numbers, one row a panel.

    Raises:
        InputError: No assay measures the Golgi.
    """
    assays = tuple(assay for assay in inputs.assays if GOLGI in assay.features)
    if not assays:
        raise InputError(
            f"No assay given ({', '.join(a.name for a in inputs.assays)}) measures the feature "
            f"'{GOLGI}', which Fig. 4 is about. Add such an assay to run.assays, or make figure3."
        )
    return draw_controls(replace(inputs, assays=assays), settings)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 4."""
    figure_main(__doc__, draw, "figure4", argv)


if __name__ == "__main__":
    run(main)
