"""Fig. 6: the same cells under several degradations, a few methods each (section 4.3).

Above, one cell of each control: HR, the degraded LR image that a method was given, what it made of
it. Below, per degradation and method: mean |D(SR) - clean LR|, the kernel distance to HR on random
convolutions, LPIPS where a VGG file is given, and the shift of each feature that was kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.comparison.layout import HIGH_RESOLUTION, LOW_RESOLUTION, Comparison, Inputs, long_row
from analysis.comparison.measured import FIDELITY_CLEAN
from analysis.drawing.boxes import readable as readable_feature
from analysis.drawing.command import Rows, figure_main
from analysis.drawing.conditions import (
    KERNEL_DISTANCE,
    condition_rows,
    floor_rows,
    lookup,
    mean_row,
)
from analysis.drawing.dots import draw_groups, readable, sentence_figure
from analysis.drawing.grids import (
    Grid,
    Row,
    cells_across,
    channel_colours,
    choose_cells,
    composite,
    draw_grid,
    grid_height,
)
from analysis.drawing.panels import evaluation_table, read_shown
from analysis.drawing.settings import Settings
from analysis.drawing.style import (
    DOUBLE_COLUMN,
    MM,
    RC,
    label_panel,
    method_colours,
    method_label,
    new_figure,
)
from analysis.tables.table1 import FLOOR
from rls.runtime.command import run

COLUMNS = (FIDELITY_CLEAN, "fidelity_l1", "lpips")
PANEL_HEIGHT = 40 * MM
LEGEND_HEIGHT = 6 * MM
ONE_DEGRADATION = "no degradation but the first ran here"
Conditions = Sequence[Comparison]


def conditions_of(inputs: Inputs) -> list[list[Comparison]]:
    """Return the degradations of every assay and factor, the first (clean) in front."""
    found: dict[tuple[str, int], list[Comparison]] = {}
    for at in inputs.comparisons():
        found.setdefault((at.assay.name, at.factor), []).append(at)
    return list(found.values())


def rows_of(conditions: Conditions, methods: Sequence[str], settings: Settings) -> Rows:
    """Return every number of an assay and factor; LR's row is its own distance to the clean LR."""
    rows: Rows = []
    for at in conditions:
        rows.append(dict(mean_row(at, LOW_RESOLUTION, FIDELITY_CLEAN, settings)))
        rows += condition_rows(at, methods, COLUMNS, settings)
    return rows + floor_rows(conditions[0], settings)


def images_of(conditions: Conditions, methods: Sequence[str], settings: Settings) -> Grid:
    """Return one cell of each control under every degradation, the same cells throughout."""
    first = conditions[0]
    assay = first.assay
    table = evaluation_table(first)
    treatments = assay.treatments or sorted(set(table["treatment"]))[:1]
    chosen = choose_cells(table, treatments, 1, settings.seed)
    ids = [name for names in chosen.values() for name in names]
    columns = (HIGH_RESOLUTION, LOW_RESOLUTION, *methods)
    across = cells_across(len(columns), len(ids), DOUBLE_COLUMN)
    rows = []
    for at in conditions:
        shown = read_shown(at, columns, chosen)
        colours = channel_colours(
            shown.channels, assay.nucleus_channel, assay.marker_channel, settings.palette
        )
        for start in range(0, len(ids), across):
            cells = tuple(
                tuple(composite(shown.unit[m][name], shown.channels, colours) for m in columns)
                for name in ids[start : start + across]
            )
            rows.append(Row(readable(at.degradation), cells))
    place = "left to right" if across > 1 else "top to bottom"
    note = f"{place}: {', '.join(chosen)}. One scale a channel; cells by hash of their id."
    title = f"{assay.label}, {first.factor}x"
    headings = tuple(map(method_label, columns))
    return Grid(title, headings, tuple(rows), colours, shown.image_um, note)


def draw(inputs: Inputs, settings: Settings) -> tuple[Figure, Rows]:
    """Return the figure and its numbers, one block an assay and factor with degradations."""
    blocks, rows = [], []
    for conditions in conditions_of(inputs):
        if len(conditions) < 2:
            empty = long_row(conditions[0], "", FIDELITY_CLEAN, reason=ONE_DEGRADATION)
            rows.append({**empty, "feature": ""})
            continue
        methods = conditions[1].methods
        numbers = rows_of(conditions, methods, settings)
        blocks.append((conditions, methods, images_of(conditions, methods, settings), numbers))
        rows += numbers
    if not blocks:
        text = (
            f"Fig. 6 is empty: run.degradations has only '{inputs.degradations[0]}', or "
            f"run.degraded_factors none of the factors that ran."
        )
        return sentence_figure(text), rows
    with matplotlib.rc_context(dict(RC)):
        return _draw_blocks(blocks), rows


def _draw_blocks(blocks: Sequence[tuple[Conditions, Sequence[str], Grid, Rows]]) -> Figure:
    heights = []
    for conditions, _, grid, _ in blocks:
        below = math.ceil((3 + len(_features(conditions[0]))) / 2) * PANEL_HEIGHT
        heights.append(grid_height(grid, DOUBLE_COLUMN) + LEGEND_HEIGHT + below)
    figure = new_figure(DOUBLE_COLUMN, sum(heights))
    top = sum(heights)
    for (conditions, methods, grid, rows), height in zip(blocks, heights, strict=True):
        draw_grid(figure, grid, top, DOUBLE_COLUMN)
        below = top - grid_height(grid, DOUBLE_COLUMN)
        _draw_panels(figure, conditions, methods, rows, below)
        top -= height
    return figure


def _features(at: Comparison) -> Sequence[str]:
    return at.assay.features if len(at.assay.treatments) == 2 else ()


def _draw_panels(
    figure: Figure, conditions: Conditions, methods: Sequence[str], rows: Rows, top: float
) -> None:
    """Draw legend and panels under ``top`` inches."""
    width, height = figure.get_size_inches()
    everyone = method_colours([LOW_RESOLUTION, *conditions[0].methods])
    names = [at.degradation for at in conditions]
    features = list(dict.fromkeys(row["feature"] for row in rows if row["feature"]))
    panels = [
        (FIDELITY_CLEAN, "", "mean |D(SR) − clean LR|, x1e3 ↓", 1000.0),
        (KERNEL_DISTANCE, "", "KD to HR, random convolutions, x1e3 ↓", 1.0),
        ("lpips", "", "LPIPS to HR ↓", 1.0),
        *(("shift_kept", name, f"shift kept: {readable_feature(name)}", 1.0) for name in features),
    ]
    for index, (metric, feature, title, scale) in enumerate(panels):
        left, lowest = (13 + 88 * (index % 2)) * MM, top - LEGEND_HEIGHT
        bottom = lowest - (index // 2 + 1) * PANEL_HEIGHT + 7 * MM
        place = (left / width, bottom / height, 78 * MM / width, (PANEL_HEIGHT - 14 * MM) / height)
        axes = figure.add_axes(place)
        numbers = {
            name: {m: lookup(rows, name, m, metric, feature) for m in methods} for name in names
        }
        draw_groups(
            axes,
            numbers,
            everyone,
            title,
            scale=scale,
            from_zero=metric in (FIDELITY_CLEAN, "lpips"),
        )
        label_panel(axes, "abcdefgh"[index])
        if metric == FIDELITY_CLEAN:
            for x, name in enumerate(names):
                own = lookup(rows, name, LOW_RESOLUTION, FIDELITY_CLEAN).value * scale
                axes.plot([x - 0.45, x + 0.45], [own, own], color=everyone[LOW_RESOLUTION],
                          linewidth=1.2, linestyle="--", zorder=0)  # fmt: skip
        floor = lookup(rows, names[0], FLOOR, metric).value
        if math.isfinite(floor):  # there is one of KD alone
            axes.axhline(floor, color="#4D4D4D", linewidth=0.8, linestyle=":", zorder=0)
            _symmetric_scale(axes, floor)
        if metric == "shift_kept":
            axes.axhline(1, color="black", linewidth=0.7, linestyle="--", zorder=0)
            axes.axhline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    _legend(figure, methods, everyone, top)


def _symmetric_scale(axes: Axes, floor: float) -> None:
    """Make an axis of KD linear around 0 and logarithmic beyond the decade above the floor.

    Blurred images are hundreds of times as far from HR as clean ones, and KD may be negative.
    """
    low, high = axes.get_ylim()
    linear = 10.0 ** math.ceil(math.log10(max(abs(floor), 1.0)))
    axes.set_yscale("symlog", linthresh=linear)
    axes.set_ylim(min(low, -0.2 * linear), 2 * max(high, linear))
    decades = 10.0 ** np.arange(math.log10(linear), math.log10(axes.get_ylim()[1]))
    axes.yaxis.set_major_locator(FixedLocator([-linear, 0.0, *decades]))
    axes.yaxis.set_minor_locator(NullLocator())


def _legend(figure: Figure, methods: Sequence[str], colours: dict[str, str], top: float) -> None:
    width, height = figure.get_size_inches()
    handles = [
        Line2D([], [], marker="o", markersize=4, color=colours[m], label=method_label(m))
        for m in methods
    ]
    handles += [
        Line2D([], [], color=colours[LOW_RESOLUTION], linestyle="--", label="the LR given (a)"),
        Line2D([], [], color="#4D4D4D", linestyle=":", linewidth=0.8, label="HR, other cells (b)"),
    ]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(8 * MM / width, (top + MM) / height),
        ncol=len(handles), handlelength=1.6, columnspacing=1.4, fontsize=6.5,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 6."""
    figure_main(__doc__, draw, "figure6", argv)


if __name__ == "__main__":
    run(main)
