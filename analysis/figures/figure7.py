"""Fig. 7: the full search beside its ablations, images left, numbers right (section 4.4).

The numbers: PSNR, MS-SSIM, kernel distance to HR on random convolutions, mean |D(SR) - LR|, mean
log p_F of the styles, their mean pair distance, and of each feature the shift kept and the
within-treatment correlation with HR.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure

from analysis.comparison.layout import (
    HIGH_RESOLUTION,
    LOW_RESOLUTION,
    NO_HIGH_RESOLUTION,
    Comparison,
    Inputs,
    long_row,
)
from analysis.drawing.boxes import readable as readable_feature
from analysis.drawing.command import Rows, figure_main
from analysis.drawing.conditions import (
    KERNEL_DISTANCE,
    LOG_PRIOR,
    PAIR_DISTANCE,
    condition_rows,
    lookup,
)
from analysis.drawing.dots import draw_dots, sentence_figure
from analysis.drawing.grids import Grid, choose_treatments, draw_grid, grid_height
from analysis.drawing.panels import chosen_cells, evaluation_table, make_grid, read_shown
from analysis.drawing.settings import Settings
from analysis.drawing.style import DOUBLE_COLUMN, MM, RC, method_colours, new_figure
from rls.runtime.command import run

COLUMNS = ("psnr_db", "ms_ssim", "fidelity_l1")
IMAGES_WIDTH = 97 * MM
PANEL_HEIGHT = 29 * MM


class Panel(NamedTuple):
    """One metric on the right."""

    metric: str
    title: str
    scale: float
    digits: int
    right: float | None = None
    feature: str = ""


PANELS = (
    Panel("psnr_db", "PSNR, dB ↑", 1.0, 1),
    Panel("ms_ssim", "MS-SSIM ↑", 1.0, 2),
    Panel(KERNEL_DISTANCE, "KD random conv., x1e3 ↓", 1.0, 1),
    Panel("fidelity_l1", "|D(SR) − LR|, x1e3 ↓", 1000.0, 1),
    Panel(LOG_PRIOR, "mean log p_F, nats", 1.0, 0),
    Panel(PAIR_DISTANCE, "pair distance of styles", 1.0, 1),
)
KEPT = {"shift_kept": "shift kept", "correlation_within_treatment": "r within treatments"}


def shown_methods(at: Comparison, settings: Settings) -> list[str]:
    """Return those of ``figures.ablations`` that ran here, in their order."""
    return [name for name in settings.ablations if name in at.methods]


def draw(inputs: Inputs, settings: Settings) -> tuple[Figure, Rows]:
    """Return the figure and its numbers, one block an assay and factor, clean LR alone."""
    blocks, rows = [], []
    for at in inputs.comparisons():
        methods = shown_methods(at, settings)
        if not at.clean:
            continue
        if not at.assay.has_high_resolution:
            rows.append({**long_row(at, "", "psnr_db", reason=NO_HIGH_RESOLUTION), "feature": ""})
            continue
        if len(methods) < 2:
            reason = f"of figures.ablations only {', '.join(methods) or 'none'} ran"
            rows.append({**long_row(at, "", "psnr_db", reason=reason), "feature": ""})
            continue
        numbers = condition_rows(at, methods, COLUMNS, settings, searched=True)
        columns = (HIGH_RESOLUTION, LOW_RESOLUTION, *methods)
        treatments = choose_treatments(evaluation_table(at), at.assay.treatments, 2)
        shown = read_shown(at, columns, chosen_cells(at, treatments, settings))
        grid = make_grid(at, shown, columns, settings, IMAGES_WIDTH)
        blocks.append((at, methods, grid, numbers))
        rows += numbers
    if not blocks:
        text = (
            f"Fig. 7 is empty: of figures.ablations ({', '.join(settings.ablations)}) fewer than "
            f"two are among the methods of this run, or no assay has high resolution."
        )
        return sentence_figure(text), rows
    with matplotlib.rc_context(dict(RC)):
        return _draw_blocks(blocks), rows


def panels_of(rows: Rows) -> list[Panel]:
    """Return the panels of the numbers: the fixed ones, and two a feature."""
    panels = list(PANELS)
    for name in dict.fromkeys(row["feature"] for row in rows if row["feature"]):
        short = readable_feature(name)
        panels.append(Panel("shift_kept", f"shift kept,\n{short}", 1.0, 2, 1.0, name))
        panels.append(
            Panel(
                "correlation_within_treatment", f"r within treatment,\n{short}", 1.0, 2, 1.0, name
            )
        )
    return panels


def _draw_blocks(blocks: Sequence[tuple[Comparison, Sequence[str], Grid, Rows]]) -> Figure:
    heights = []
    for _, _, grid, rows in blocks:
        right = math.ceil(len(panels_of(rows)) / 2) * PANEL_HEIGHT + 6 * MM
        heights.append(max(grid_height(grid, IMAGES_WIDTH), right))
    figure = new_figure(DOUBLE_COLUMN, sum(heights))
    top = sum(heights)
    for (at, methods, grid, rows), height in zip(blocks, heights, strict=True):
        draw_grid(figure, grid, top, IMAGES_WIDTH)
        _draw_panels(figure, at, methods, rows, top, height)
        top -= height
    return figure


def _draw_panels(
    figure: Figure,
    at: Comparison,
    methods: Sequence[str],
    rows: Rows,
    top: float,
    height: float,
) -> None:
    """Draw the numbers in two columns at the right of the images."""
    width, total = figure.get_size_inches()
    colours: Mapping[str, str] = method_colours(list(at.methods))
    panels = panels_of(rows)
    step = min((height - 6 * MM) / math.ceil(len(panels) / 2), 1.25 * PANEL_HEIGHT)
    for index, panel in enumerate(panels):
        left = IMAGES_WIDTH + (19 + 34 * (index % 2)) * MM
        bottom = top - 6 * MM - (index // 2 + 1) * step + 8 * MM
        place = (left / width, bottom / total, 30 * MM / width, (step - 13 * MM) / total)
        axes = figure.add_axes(place)
        found = {m: lookup(rows, at.degradation, m, panel.metric, panel.feature) for m in methods}
        draw_dots(
            axes, found, colours, panel.title, scale=panel.scale, digits=panel.digits,
            right=panel.right, named=index % 2 == 0,
        )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 7."""
    figure_main(__doc__, draw, "figure7", argv)


if __name__ == "__main__":
    run(main)
