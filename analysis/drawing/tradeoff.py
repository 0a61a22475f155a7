"""The trade-off between fidelity and realism along the lambdas of Eq. 5: one point a pair."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.comparison.image_metrics import FIDELITY, KERNEL_DISTANCE, mean_fact
from analysis.comparison.long_table import Rows, long_row, long_table
from analysis.comparison.swept import high_resolution_of, kernel_fact
from analysis.drawing.dots import write_reason
from analysis.drawing.settings import Settings
from analysis.drawing.style import (
    DOUBLE_COLUMN,
    MM,
    Look,
    axes_at,
    in_style,
    label_panel,
    new_stack,
)
from analysis.drawing.sweep import CLAIMED, SYMBOLS, draw_heading, points_along
from analysis.run.description import Comparison, Run
from rls.io import read_table
from rls.io.names import HIGH_RESOLUTION
from rls.io.splits import CHOOSE, check

LOG_PRIOR = "log_prior"
# Realism -> the title of its panel.
PANELS: Mapping[str, str] = {
    LOG_PRIOR: "mean log p_F, nats ↑",
    KERNEL_DISTANCE: "KD to HR, random convolutions, x1e3 ↓",
}
# Weight -> colour, line, and the side of a point on which its value stands.
LINES: Mapping[str, tuple[str, str, int]] = {
    "lambda_w": ("#0072B2", "-", -1),
    "lambda_c": ("#CC6600", "--", 1),
}
FIDELITY_SCALE = 1000.0
LINEAR = 100.0  # both realisms are drawn linearly up to here, and logarithmically beyond
PANEL_HEIGHT = 66 * MM


@dataclass(frozen=True)
class Block:
    """The numbers of one assay and factor, a long table with swept, weight, own and n_cells."""

    at: Comparison
    method: str
    numbers: pd.DataFrame


def draw(run: Run, method: str, settings: Settings) -> tuple[Figure, Rows]:
    """Return the figure, one block per assay and factor, and its numbers."""
    blocks: list[Block] = []
    rows: Rows = []
    for at in run.comparisons(clean_only=True):
        own = numbers_of(at, method, settings)
        blocks.append(Block(at, method, long_table(own)))
        rows += own
    with in_style():
        figure, tops = new_stack(DOUBLE_COLUMN, [PANEL_HEIGHT] * len(blocks))
        for block, top in zip(blocks, tops, strict=True):
            _draw_block(figure, block, top)
    return figure, rows


def numbers_of(at: Comparison, method: str, settings: Settings) -> Rows:
    """Return fidelity, log p_F and KD of every pair of weights, and the floor of KD."""
    columns = ["cell_id", "lambda_w", "lambda_c", "own", FIDELITY, LOG_PRIOR]
    table = read_table(at.sweep(method), columns=[*columns, "split"])
    check(CHOOSE, table["split"])
    high = high_resolution_of(table[table["own"]].reset_index(drop=True))
    rows: Rows = []
    for swept in CLAIMED:
        for value, part in points_along(table, swept):
            more = {
                "swept": swept,
                "weight": value,
                "own": bool(part["own"].iloc[0]),
                "n_cells": len(part),
            }
            facts = [mean_fact(part, name, settings) for name in (FIDELITY, LOG_PRIOR)]
            facts.append(kernel_fact(part, high, settings))
            rows += [{**long_row(at, method, **fact), **more} for fact in facts]
    # What a perfect method would reach: the same images on both sides.
    perfect = {**long_row(at, HIGH_RESOLUTION, **kernel_fact(high, high, settings))}
    return [*rows, {**perfect, "swept": "", "own": False, "n_cells": len(high)}]


# Drawing -----------------------------------------------------------------------------------------


def _draw_block(figure: Figure, block: Block, top: float) -> None:
    """Draw a block whose upper edge is ``top`` inches above the bottom."""
    draw_heading(figure, block.at, block.method, block.numbers, top)
    for index, metric in enumerate(PANELS):
        left, bottom = (15 + 90 * index) * MM, top - PANEL_HEIGHT + 10 * MM
        axes = axes_at(figure, left, bottom, 74 * MM, PANEL_HEIGHT - 26 * MM)
        draw_panel(axes, block.numbers, metric)
        label_panel(axes, "ab"[index])
    handles, labels = axes.get_legend_handles_labels()
    place = (0.99, (top - 4 * MM) / figure.get_size_inches()[1])
    figure.legend(handles, labels, loc="upper right", bbox_to_anchor=place, ncol=4, fontsize=6)


def draw_panel(axes: Axes, numbers: pd.DataFrame, metric: str) -> None:
    """Draw one measure of realism over fidelity: a line a weight, a point a pair of weights."""
    axes.set_title(PANELS[metric], fontsize=7, loc="left", pad=3)
    axes.set_xlabel("|D(SR) − LR|, x1e3 ↓", fontsize=7)
    shown = numbers[numbers["metric"] == metric]
    if shown["value"].isna().all():
        write_reason(axes, str(shown["reason"].iloc[0]))
        return
    axes.set_yscale("symlog", linthresh=LINEAR)
    axes.axhline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    for swept, (colour, style, side) in LINES.items():
        here = numbers[numbers["swept"] == swept]
        x, y = (
            here[here["metric"] == name].set_index("weight").sort_index()
            for name in (FIDELITY, metric)
        )
        label = f"{SYMBOLS[swept]} varied"
        across = x["value"] * FIDELITY_SCALE
        axes.plot(across, y["value"], color=colour, linestyle=style, linewidth=0.8, label=label)
        for rank, weight in enumerate(x.index):
            _draw_point(axes, x.loc[weight], y.loc[weight], colour)
            place = (across[weight], y.loc[weight, "value"])
            look: Look = {"color": colour, "ha": "right" if side < 0 else "left", "fontsize": 6}
            offset = (4 * side, 2 if (rank + (side > 0)) % 2 else -7)
            axes.annotate(f"{weight:g}", place, xytext=offset, textcoords="offset points", **look)
    for level in shown.loc[shown["method"] == HIGH_RESOLUTION, "value"]:
        axes.axhline(level, color="#4D4D4D", linewidth=0.8, linestyle=":", label="SR = HR")


def _draw_point(axes: Axes, x: pd.Series, y: pd.Series, colour: str) -> None:
    """Draw a pair of weights with both intervals; the method's own is a black square."""
    value, low, high = (x[name] * FIDELITY_SCALE for name in ("value", "low", "high"))
    bar: Look = {"color": colour, "linewidth": 0.7, "alpha": 0.6}
    if math.isfinite(low):
        axes.plot([low, high], [y["value"]] * 2, **bar)
    if math.isfinite(y["low"]):
        axes.plot([value] * 2, [y["low"], y["high"]], **bar)
    marker: Look = {"marker": "o", "color": colour}
    if y["own"]:
        marker = {"marker": "s", "color": "black"}
    axes.plot(value, y["value"], markersize=4, zorder=3, **marker)
