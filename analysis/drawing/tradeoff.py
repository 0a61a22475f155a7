"""The trade-off between fidelity and realism along the lambdas of Eq. 5: one point a pair."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.comparison.image_metrics import FIDELITY, FLOOR, KERNEL_DISTANCE, mean_fact
from analysis.comparison.image_quality import distance_facts, floor_sets
from analysis.comparison.labels import method_label
from analysis.comparison.long_table import Row, Rows, long_row, long_table
from analysis.drawing.dots import write_reason
from analysis.drawing.settings import Settings
from analysis.drawing.style import DOUBLE_COLUMN, MM, axes_at, in_style, label_panel, new_stack
from analysis.drawing.sweep import CLAIMED, SYMBOLS, points_along
from analysis.measuring.columns import HIGH
from analysis.run.description import Comparison, Run
from rls.io import read_table
from rls.runtime.errors import InputError

LOG_PRIOR = "log_prior"
KIND = "random"  # the features of the kernel distance, which know nothing of treatments
# Realism -> the title of its panel.
PANELS: Mapping[str, str] = {
    LOG_PRIOR: "mean log p_F, nats ↑",
    KERNEL_DISTANCE: "KD to HR, random convolutions, x1e3 ↓",
}
LINES: Mapping[str, tuple[str, str]] = {"lambda_w": ("#0072B2", "-"), "lambda_c": ("#CC6600", "--")}
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
    table = read_table(at.sweep(method), columns=columns)
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
            facts.append(kernel_fact(part, high, high, settings))
            rows += [{**long_row(at, method, **fact), **more} for fact in facts]
    floor = {"swept": "", "own": False, "n_cells": len(high)}
    return [*rows, {**floor_row(at, high, settings), **floor}]


def high_resolution_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of one point with the random features of their HR images.

    Raises:
        InputError: The sweep was measured before these features were.
    """
    names = [name for name in table.columns if name.startswith(f"{KIND}_feature_")]
    if not names:
        raise InputError(
            "The measured sweep has no features of random convolutions, which the kernel distance "
            "needs. Run the rule measure_sweep again."
        )
    kept = table.drop(columns=[name for name in names if not name.endswith(HIGH)])
    return kept.rename(columns={name: name.removesuffix(HIGH) for name in names})


def kernel_fact(
    here: pd.DataFrame, there: pd.DataFrame, reference: pd.DataFrame, settings: Settings
) -> Row:
    """Return KD x 1e3 of two sets of images on random convolutions, in units of the reference."""
    facts = distance_facts(KIND, here, there, reference, settings)
    return next(fact for fact in facts if fact["metric"] == KERNEL_DISTANCE)


def floor_row(at: Comparison, high: pd.DataFrame, settings: Settings) -> Row:
    """Return KD between two halves of the HR images, which a perfect method would reach."""
    cells = high.assign(image_id=high["cell_id"])
    first, second, note = floor_sets(cells, cells, (), settings.seed)
    fact = kernel_fact(first, second, cells, settings)
    return long_row(at, FLOOR, **{**fact, "reason": fact["reason"] or note})


# Drawing -----------------------------------------------------------------------------------------


def _draw_block(figure: Figure, block: Block, top: float) -> None:
    """Draw a block whose upper edge is ``top`` inches above the bottom."""
    width, total = figure.get_size_inches()
    cells = int(block.numbers["n_cells"].max())
    units = "wells" if "well" in set(block.numbers["unit_of_replication"]) else "fields"
    what = f"{method_label(block.method)} on {cells} cells of tune"
    title = f"{block.at.assay.label}, {block.at.factor}x: {what}"
    y = (top - 1.5 * MM) / total
    figure.text(2 * MM / width, y, title, fontsize=8, weight="bold", va="top")
    figure.text(0.99, y, f"intervals resample {units}", fontsize=6, va="top", ha="right")
    for index, metric in enumerate(PANELS):
        left, bottom = (15 + 90 * index) * MM, top - PANEL_HEIGHT + 10 * MM
        axes = axes_at(figure, left, bottom, 74 * MM, PANEL_HEIGHT - 22 * MM)
        draw_panel(axes, block.numbers, metric)
        label_panel(axes, "ab"[index])


def draw_panel(axes: Axes, numbers: pd.DataFrame, metric: str) -> None:
    """Draw one measure of realism over fidelity: a line a weight, a point a pair of weights."""
    axes.set_title(PANELS[metric], fontsize=7, loc="left", pad=3)
    axes.set_xlabel("|D(SR) − LR|, x1e3 ↓", fontsize=7)
    if numbers.loc[numbers["metric"] == metric, "value"].isna().all():
        write_reason(axes, str(numbers.loc[numbers["metric"] == metric, "reason"].iloc[0]))
        return
    axes.set_yscale("symlog", linthresh=LINEAR)
    for swept, (colour, style) in LINES.items():
        here = numbers[numbers["swept"] == swept]
        x, y = (
            here[here["metric"] == name].set_index("weight").sort_index()
            for name in (FIDELITY, metric)
        )
        label = f"{SYMBOLS[swept]} varied"
        across = x["value"] * FIDELITY_SCALE
        axes.plot(across, y["value"], color=colour, linestyle=style, linewidth=0.8, label=label)
        for weight in x.index:
            _draw_point(axes, x.loc[weight], y.loc[weight], colour, f"{weight:g}")
    floor = numbers[(numbers["method"] == FLOOR) & (numbers["metric"] == metric)]
    if len(floor):
        level, look = floor["value"].iloc[0], {"color": "#4D4D4D", "linewidth": 0.8}
        axes.axhline(level, linestyle=":", zorder=0, label="HR, other half of the cells", **look)
    axes.legend(loc="best", fontsize=6)


def _draw_point(axes: Axes, x: pd.Series, y: pd.Series, colour: str, label: str) -> None:
    """Draw a pair of weights with both intervals; the method's own is a black square."""
    scaled = {name: x[name] * FIDELITY_SCALE for name in ("value", "low", "high")}
    if math.isfinite(scaled["low"]):
        ends = [scaled["low"], scaled["high"]]
        axes.plot(ends, [y["value"]] * 2, color=colour, linewidth=0.7, alpha=0.6)
    if math.isfinite(y["low"]):
        ends = [y["low"], y["high"]]
        axes.plot([scaled["value"]] * 2, ends, color=colour, linewidth=0.7, alpha=0.6)
    marker = {"marker": "s", "color": "black"} if y["own"] else {"marker": "o", "color": colour}
    axes.plot(scaled["value"], y["value"], markersize=4, zorder=3, **marker)
    place = (scaled["value"], y["value"])
    axes.annotate(label, place, xytext=(3, 3), textcoords="offset points", fontsize=6)
