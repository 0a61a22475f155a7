"""Fig. 6: a block per assay and factor, images above, the numbers of every degradation below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.comparison.image_metrics import (
    FIDELITY,
    FIDELITY_CLEAN,
    FLOOR,
    KERNEL_DISTANCE,
    LPIPS,
    mean_fact,
)
from analysis.comparison.kept_features import triple_rows
from analysis.comparison.labels import feature_label, method_label
from analysis.comparison.long_table import (
    Rows,
    estimate_of,
    long_row,
    long_table,
    rows_at,
    rows_of,
)
from analysis.comparison.measured import read_evaluation
from analysis.drawing.dots import draw_groups, sentence_figure
from analysis.drawing.example_cells import (
    evaluation_table,
    grid_rows,
    read_shown,
    shown_colours,
)
from analysis.drawing.grids import Grid, GridRow, cells_across, choose_cells, draw_grid, grid_height
from analysis.drawing.settings import Settings
from analysis.drawing.style import (
    DOUBLE_COLUMN,
    MM,
    Look,
    axes_at,
    in_style,
    label_panel,
    method_colours,
    new_stack,
)
from analysis.run.description import Comparison, Run
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION

PANEL_HEIGHT = 40 * MM
LEGEND_HEIGHT = 6 * MM
ONE_DEGRADATION = "no degradation but the first ran here"


@dataclass(frozen=True)
class Block:
    """One block of the figure: an assay and factor.

    Attributes:
        conditions: Its degradations, the clean one first.
        methods: The methods that ran on any degradation after the first.
        numbers: Long table with a column ``feature``.
    """

    conditions: Sequence[Comparison]
    methods: Sequence[str]
    grid: Grid
    numbers: pd.DataFrame

    @property
    def features(self) -> list[str]:
        """Columns of the features whose shift is shown."""
        return [name for name in dict.fromkeys(self.numbers["feature"]) if name]


def draw(
    run: Run, settings: Settings, table1: pd.DataFrame, features: pd.DataFrame
) -> tuple[Figure, Rows]:
    """Return the figure and its numbers, one block per assay and factor with degradations.

    Arguments:
        table1, features: Table 1 and the table of features.
    """
    blocks: list[Block] = []
    rows: Rows = []
    for conditions in conditions_of(run):
        if len(conditions) < 2:
            empty = long_row(conditions[0], "", FIDELITY_CLEAN, reason=ONE_DEGRADATION)
            rows.append({**empty, "feature": ""})
            continue
        methods = tuple(dict.fromkeys(m for at in conditions[1:] for m in at.methods_with_images))
        numbers = numbers_of(conditions, methods, table1, features, settings)
        grid = images_of(conditions, methods, settings)
        blocks.append(Block(conditions, methods, grid, long_table(numbers)))
        rows += numbers
    if not blocks:
        text = (
            f"Fig. 6 is empty: run.degradations has only '{run.degradations[0]}', or "
            f"run.degraded_factors none of the factors that ran."
        )
        return sentence_figure(text), rows
    with in_style():
        return _draw_blocks(blocks), rows


def conditions_of(run: Run) -> list[list[Comparison]]:
    """Return the degradations of every assay and factor, the clean one in front."""
    found: dict[tuple[str, int], list[Comparison]] = {}
    for at in run.comparisons():
        found.setdefault((at.assay.name, at.factor), []).append(at)
    return list(found.values())


def numbers_of(
    conditions: Sequence[Comparison],
    methods: Sequence[str],
    table1: pd.DataFrame,
    features: pd.DataFrame,
    settings: Settings,
) -> Rows:
    """Return every number of an assay and factor.

    The row of LR is its own distance to the clean LR, which Table 1 has of degraded LR only.
    """
    rows: Rows = []
    for at in conditions:
        low = read_evaluation(at.measured(LOW_RESOLUTION, "metrics"), columns=[FIDELITY_CLEAN])
        rows.append(long_row(at, LOW_RESOLUTION, **mean_fact(low, FIDELITY_CLEAN, settings)))
        # On clean LR the two fidelities are one number, which Table 1 has once.
        first = FIDELITY if at.clean else FIDELITY_CLEAN
        quality = rows_at(table1, at, "table1")
        ran = [method for method in methods if method in at.methods]
        for method in ran:
            own = rows_of(quality, method, (first, FIDELITY, LPIPS, KERNEL_DISTANCE))
            rows += [{**own[0], "metric": FIDELITY_CLEAN}, *own[1:]]
        rows += triple_rows(features, at, ran)
    rows += rows_of(rows_at(table1, conditions[0], "table1"), FLOOR, (KERNEL_DISTANCE,))
    return [{"feature": "", **row} for row in rows]


def images_of(conditions: Sequence[Comparison], methods: Sequence[str], settings: Settings) -> Grid:
    """Return one cell of each control under every degradation, the same cells throughout."""
    first = conditions[0]
    chosen = choose_cells(evaluation_table(first), first.assay.treatments, 1, settings.seed)
    ids = [name for names in chosen.values() for name in names]
    columns = (HIGH_RESOLUTION, LOW_RESOLUTION, *methods)
    across = cells_across(len(columns), len(ids), DOUBLE_COLUMN)
    rows: list[GridRow] = []
    for at in conditions:
        ran = [name for name in columns if name not in methods or name in at.methods]
        shown = read_shown(at, ran, chosen)
        colours = shown_colours(at, shown, settings)
        label = at.degradation.replace("_", " ")
        rows += grid_rows(label, ids, shown, columns, colours, across)
    place = "left to right" if across > 1 else "top to bottom"
    note = f"{place}: {', '.join(chosen)}. One scale per channel; cells chosen by hash of their id."
    title = f"{first.assay.label}, {first.factor}x"
    headings = tuple(map(method_label, columns))
    return Grid(title, headings, tuple(rows), colours, shown.image_um, note)


# Drawing -----------------------------------------------------------------------------------------


def _draw_blocks(blocks: Sequence[Block]) -> Figure:
    heights = [
        grid_height(block.grid, DOUBLE_COLUMN)
        + LEGEND_HEIGHT
        + math.ceil((3 + len(block.features)) / 2) * PANEL_HEIGHT
        for block in blocks
    ]
    figure, tops = new_stack(DOUBLE_COLUMN, heights)
    for block, top in zip(blocks, tops, strict=True):
        draw_grid(figure, block.grid, top, DOUBLE_COLUMN)
        _draw_panels(figure, block, top - grid_height(block.grid, DOUBLE_COLUMN))
    return figure


def _draw_panels(figure: Figure, block: Block, top: float) -> None:
    """Draw legend and panels under ``top`` inches."""
    colours = method_colours([LOW_RESOLUTION, *block.conditions[0].methods, *block.methods])
    panels = [
        (FIDELITY_CLEAN, "", "mean |D(SR) − clean LR|, x1e3 ↓"),
        (KERNEL_DISTANCE, "", "KD to HR, random convolutions, x1e3 ↓"),
        (LPIPS, "", "LPIPS (VGG16) to HR ↓"),
        *(("shift_kept", name, f"shift kept: {feature_label(name)}") for name in block.features),
    ]
    for index, (metric, feature, title) in enumerate(panels):
        left, lowest = (13 + 88 * (index % 2)) * MM, top - LEGEND_HEIGHT
        bottom = lowest - (index // 2 + 1) * PANEL_HEIGHT + 7 * MM
        axes = axes_at(figure, left, bottom, 78 * MM, PANEL_HEIGHT - 14 * MM)
        numbers = {}
        for at in block.conditions:
            here = block.numbers[block.numbers["degradation"] == at.degradation]
            numbers[at.degradation] = {
                method: estimate_of(here, method, metric, feature=feature)
                for method in block.methods
                if method in at.methods
            }
        from_zero = metric in (FIDELITY_CLEAN, LPIPS)
        scale = 1000.0 if metric == FIDELITY_CLEAN else 1.0
        draw_groups(axes, numbers, colours, title, scale=scale, from_zero=from_zero)
        label_panel(axes, "abcdefgh"[index])
        _draw_references(axes, block, metric, colours[LOW_RESOLUTION])
    _legend(figure, block.methods, colours, top)


def _draw_references(axes: Axes, block: Block, metric: str, colour: str) -> None:
    """Draw the reference of a panel: the LR given, the floor of KD, or 1 and 0."""
    if metric == FIDELITY_CLEAN:
        for x, at in enumerate(block.conditions):
            here = block.numbers[block.numbers["degradation"] == at.degradation]
            own = estimate_of(here, LOW_RESOLUTION, FIDELITY_CLEAN).value * 1000.0
            line: Look = {"color": colour, "linewidth": 1.2, "linestyle": "--", "zorder": 0}
            axes.plot([x - 0.45, x + 0.45], [own, own], **line)
    if metric == KERNEL_DISTANCE:
        floor = estimate_of(block.numbers, FLOOR, metric).value
        if math.isfinite(floor):
            axes.axhline(floor, color="#4D4D4D", linewidth=0.8, linestyle=":", zorder=0)
            _symmetric_scale(axes, floor)
    if metric == "shift_kept":
        axes.axhline(1, color="black", linewidth=0.7, linestyle="--", zorder=0)
        axes.axhline(0, color="#BBBBBB", linewidth=0.6, zorder=0)


def _symmetric_scale(axes: Axes, floor: float) -> None:
    """Make an axis of KD linear around 0 and logarithmic beyond the decade above the floor."""
    # Blurred images are hundreds of times as far from HR as clean ones, and KD may be negative.
    low, high = axes.get_ylim()
    linear = 10.0 ** math.ceil(math.log10(max(abs(floor), 1.0)))
    axes.set_yscale("symlog", linthresh=linear)
    axes.set_ylim(min(low, -0.2 * linear), 2 * max(high, linear))
    decades = 10.0 ** np.arange(math.log10(linear), math.log10(axes.get_ylim()[1]))
    axes.yaxis.set_major_locator(FixedLocator([-linear, 0.0, *decades]))
    axes.yaxis.set_minor_locator(NullLocator())


def _legend(figure: Figure, methods: Sequence[str], colours: Mapping[str, str], top: float) -> None:
    width, height = figure.get_size_inches()
    handles = [
        Line2D([], [], marker="o", markersize=4, color=colours[m], label=method_label(m))
        for m in methods
    ]
    handles += [
        Line2D([], [], color=colours[LOW_RESOLUTION], linestyle="--", label="the given LR (a)"),
        Line2D([], [], color="#4D4D4D", linestyle=":", linewidth=0.8, label="HR, other cells (b)"),
    ]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(8 * MM / width, (top + MM) / height),
        ncol=len(handles),
        handlelength=1.6 if len(handles) < 8 else 1.0,
        columnspacing=1.4 if len(handles) < 8 else 0.8,
        fontsize=6.5 if len(handles) < 8 else 5.5,
    )
