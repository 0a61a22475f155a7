"""The figure of a sweep over the lambdas of Eq. 5: a metric along one weight a panel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from analysis.comparison.image_metrics import mean_of_cells
from analysis.comparison.labels import feature_label, method_label
from analysis.comparison.long_table import Rows, estimate_facts, long_row, long_table
from analysis.comparison.measured import feature_column
from analysis.drawing.dots import write_reason
from analysis.drawing.settings import Settings
from analysis.drawing.style import (
    DOUBLE_COLUMN,
    MM,
    axes_at,
    in_style,
    method_colours,
    new_stack,
)
from analysis.run.description import Comparison, Run
from rls.io import read_table
from rls.io.names import HIGH_RESOLUTION
from rls.io.splits import CHOOSE, check

# Ranges in which the article says that results are best and stable (section 4.1).
CLAIMED: Mapping[str, tuple[float, float]] = {
    "lambda_w": (1.0e-6, 5.0e-4),
    "lambda_c": (0.005, 0.05),
}
SYMBOLS = {"lambda_w": "λ_w", "lambda_c": "λ_c"}
# Metric -> title and factor of its panels.
METRICS: Mapping[str, tuple[str, float]] = {
    "psnr_db": ("PSNR, dB ↑", 1.0),
    "ms_ssim": ("MS-SSIM ↑", 1.0),
    "fidelity_l1": ("|D(SR) − LR|, x1e3 ↓", 1000.0),
    "log_prior": ("mean log p_F, nats", 1.0),
    "mean_pair_distance": ("pair distance of styles", 1.0),
}
ERROR = "error_of_"  # before a feature's column: |SR - HR|
CHANGE = "_minus_own"  # behind a metric: the paired difference to the method's own weights
ROW_HEIGHT = 33 * MM
HEADING = 8 * MM
ACROSS = 3


@dataclass(frozen=True)
class Block:
    """The numbers of one assay and factor, a long table with swept, weight, own and n_cells."""

    at: Comparison
    method: str
    numbers: pd.DataFrame

    @property
    def metrics(self) -> list[str]:
        """The metrics shown, in order."""
        names = dict.fromkeys(self.numbers["metric"])
        return [name for name in names if not name.endswith(CHANGE)]

    @property
    def lines(self) -> int:
        """Lines of panels a weight."""
        return math.ceil(len(self.metrics) / ACROSS)

    @property
    def height(self) -> float:
        """Height in inches."""
        return len(CLAIMED) * self.lines * ROW_HEIGHT + HEADING


def draw(run: Run, method: str, settings: Settings) -> tuple[Figure, Rows]:
    """Return the figure, one block per assay and factor, and its numbers."""
    blocks: list[Block] = []
    rows: Rows = []
    for at in run.comparisons(clean_only=True):
        own = numbers_of(at, method, settings)
        blocks.append(Block(at, method, long_table(own)))
        rows += own
    with in_style():
        figure, tops = new_stack(DOUBLE_COLUMN, [block.height for block in blocks])
        for block, top in zip(blocks, tops, strict=True):
            _draw_block(figure, block, top)
    return figure, rows


def numbers_of(at: Comparison, method: str, settings: Settings) -> Rows:
    """Return mean and paired difference to the method's own weights, per metric and point."""
    table, metrics = read_sweep(at, method)
    own = table[table["own"]].sort_values("cell_id").reset_index(drop=True)
    rows: Rows = []
    for swept in CLAIMED:
        for value, part in points_along(table, swept):
            point = {"swept": swept, "weight": value, "own": bool(part["own"].iloc[0])}
            for metric in metrics:
                here, there = (one[metric].to_numpy(dtype=float) for one in (part, own))
                more = {"n_cells": int(np.isfinite(here).sum()), **point}
                for name, values in ((metric, here), (f"{metric}{CHANGE}", here - there)):
                    facts = estimate_facts(mean_of_cells(values, part, settings))
                    rows.append({**long_row(at, method, name, **facts), **more})
    return rows


def read_sweep(at: Comparison, method: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the sweep's table with the error |SR - HR| of every feature, and its metrics."""
    path = at.sweep(method)
    table = read_table(path, columns=["cell_id", "lambda_w", "lambda_c", "own", "split", *METRICS])
    check(CHOOSE, table["split"])
    metrics = list(METRICS)
    for feature in at.assay.features:
        column = feature_column(table, feature, path)
        metrics.append(ERROR + column)
        table[ERROR + column] = (table[column] - table[f"{column}_{HIGH_RESOLUTION}"]).abs()
    return table, metrics


def points_along(table: pd.DataFrame, swept: str) -> list[tuple[float, pd.DataFrame]]:
    """Return (weight, its rows sorted by cell) where the other weight is the method's own."""
    other = next(name for name in CLAIMED if name != swept)
    own = table.loc[table["own"], other].iloc[0]
    here = table[table[other] == own]
    return [
        (float(part[swept].iloc[0]), part.sort_values("cell_id").reset_index(drop=True))
        for _, part in here.groupby(swept, sort=True)
    ]


# Drawing -----------------------------------------------------------------------------------------


def draw_heading(
    figure: Figure, at: Comparison, method: str, numbers: pd.DataFrame, top: float
) -> None:
    """Write what was searched and what intervals are over, ``top`` inches above the bottom."""
    width, total = figure.get_size_inches()
    cells = int(numbers["n_cells"].max())
    units = "wells" if "well" in set(numbers["unit_of_replication"]) else "fields"
    what = f"{method_label(method)} on {cells} cells of tune"
    y = (top - 1.5 * MM) / total
    title = f"{at.assay.label}, {at.factor}x: {what}"
    figure.text(2 * MM / width, y, title, fontsize=8, weight="bold", va="top")
    figure.text(0.99, y, f"intervals over {units}", fontsize=6, va="top", ha="right")


def _draw_block(figure: Figure, block: Block, top: float) -> None:
    """Draw a block whose upper edge is ``top`` inches above the bottom."""
    draw_heading(figure, block.at, block.method, block.numbers, top)
    colour = method_colours([block.method])[block.method]
    for group, swept in enumerate(CLAIMED):
        part = block.numbers[block.numbers["swept"] == swept]
        for index, metric in enumerate(block.metrics):
            line = group * block.lines + index // ACROSS
            left = (13 + 59 * (index % ACROSS)) * MM
            bottom = top - HEADING - (line + 1) * ROW_HEIGHT + 10 * MM
            axes = axes_at(figure, left, bottom, 49 * MM, ROW_HEIGHT - 15 * MM)
            draw_walk(axes, part, metric, swept, colour)


def draw_walk(axes: Axes, part: pd.DataFrame, metric: str, swept: str, colour: str) -> None:
    """Draw one metric along one weight, on a logarithmic axis with 0 at its left.

    A filled dot is distinguishable from the method's own weights.
    """
    error = f"|SR − HR|, {feature_label(metric.removeprefix(ERROR))} ↓"
    title, scale = METRICS.get(metric, (error, 1.0))
    axes.set_title(title, fontsize=7, loc="left", pad=3)
    means = part[part["metric"] == metric].sort_values("weight")
    changes = part[part["metric"] == f"{metric}{CHANGE}"].sort_values("weight")
    if means["value"].isna().all():
        write_reason(axes, str(means["reason"].iloc[0]), width=34)
        return
    weights = means["weight"].to_numpy()
    places = positions(weights)
    shown = places[weights > 0]
    if len(shown):
        low, high = np.clip(np.log10(CLAIMED[swept]), shown.min(), shown.max())
        axes.axvspan(low, high, color="#F0E9D2", zorder=0, linewidth=0)
    axes.plot(places, means["value"] * scale, color=colour, linewidth=0.7, zorder=1)
    told = (changes["low"] > 0).to_numpy() | (changes["high"] < 0).to_numpy()
    for x, (_, row), apart in zip(places, means.iterrows(), told, strict=True):
        _draw_point(axes, x, row, scale, colour, filled=bool(apart))
    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{weight:g}" for weight in weights]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=6, rotation=35, pad=1)
    axes.set_xlabel(SYMBOLS[swept], fontsize=7, labelpad=0)
    axes.locator_params(axis="y", nbins=4)


def _draw_point(
    axes: Axes, x: float, row: pd.Series, scale: float, colour: str, *, filled: bool
) -> None:
    """Draw a mean with its interval, and a dashed line at the method's own weight."""
    if math.isfinite(row["low"]):
        axes.plot([x, x], [row["low"] * scale, row["high"] * scale], color=colour, linewidth=1.1)
    face = colour if filled else "white"
    axes.plot(x, row["value"] * scale, "o", color=colour, markersize=4, markerfacecolor=face)
    if row["own"]:
        axes.axvline(x, color="black", linestyle="--", linewidth=0.6, zorder=0)


def positions(weights: np.ndarray) -> np.ndarray:
    """Return log10 of the weights; 0 lies a little left of the smallest that is not 0."""
    positive = weights[weights > 0]
    least = np.log10(positive.min()) if len(positive) else 0.0
    return np.log10(np.where(weights > 0, weights, 10.0 ** (least - 0.7)))
