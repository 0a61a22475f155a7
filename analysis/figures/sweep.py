"""The lambdas of Eq. 5 on cells of split tune: image metrics, prior and features (section 4.1).

Each weight is walked with the other at the method's own value (dashed). The article says that
results are best and stable for lambda_w of 1e-6 to 5e-4 and lambda_c of 0.005 to 0.05 (shaded); its
images have 128 px and three channels. A filled dot differs from the method's own weights on the
same cells: the interval of the paired difference, in the CSV, leaves out 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from analysis.comparison.layout import Comparison, Inputs, add_inputs, inputs_from, long_row
from analysis.comparison.measured import estimate_facts, feature_column
from analysis.drawing.boxes import readable as readable_feature
from analysis.drawing.command import Rows, figure_parser, save_outputs
from analysis.drawing.dots import write_reason
from analysis.drawing.settings import Settings
from analysis.drawing.style import DOUBLE_COLUMN, MM, RC, method_colours, method_label, new_figure
from analysis.measuring.columns import HIGH
from analysis.numbers.statistics import Estimate, bootstrap
from rls.io import read_table
from rls.runtime.command import run

CLAIMED: Mapping[str, tuple[float, float]] = {
    "lambda_w": (1.0e-6, 5.0e-4),
    "lambda_c": (0.005, 0.05),
}  # article 4.1
SYMBOLS = {"lambda_w": "λ_w", "lambda_c": "λ_c"}
METRICS: Mapping[str, tuple[str, float]] = {
    "psnr_db": ("PSNR, dB ↑", 1.0),
    "ms_ssim": ("MS-SSIM ↑", 1.0),
    "fidelity_l1": ("|D(SR) − LR|, x1e3 ↓", 1000.0),
    "log_prior": ("mean log p_F, nats", 1.0),
    "mean_pair_distance": ("pair distance of styles", 1.0),
}
ERROR = "error_of_"
ROW_HEIGHT = 33 * MM
ACROSS = 3


def sweep_table(at: Comparison, method: str) -> Path:
    """Return where measure_sweep wrote the sweep of an assay and factor."""
    return at.folder.parent / "sweep" / f"{method}.metrics.parquet"


def read_sweep(at: Comparison, method: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the table, with the error |SR - HR| of every feature beside it, and its metrics."""
    path = sweep_table(at, method)
    table = read_table(path, columns=["cell_id", "lambda_w", "lambda_c", "own", *METRICS])
    metrics = list(METRICS)
    for feature in at.assay.features:
        column = feature_column(table, feature, path)
        metrics.append(ERROR + column)
        table[ERROR + column] = (table[column] - table[column + HIGH]).abs()
    return table, metrics


def points_along(table: pd.DataFrame, swept: str) -> list[tuple[float, pd.DataFrame]]:
    """Return (value, its rows sorted by cell) where the other weight is the method's own."""
    other = next(name for name in CLAIMED if name != swept)
    own = table.loc[table["own"], other].iloc[0]
    here = table[table[other] == own]
    return [
        (float(value), part.sort_values("cell_id").reset_index(drop=True))
        for value, part in here.groupby(swept, sort=True)
    ]


def estimate(values: np.ndarray, cells: pd.DataFrame, settings: Settings) -> Estimate:
    """Return the mean of finite values with its interval over wells (fields under six wells)."""
    finite = np.isfinite(values)
    if not finite.any():
        return Estimate.empty("no cell has a finite value")
    kept, cells = values[finite], cells[finite].reset_index(drop=True)
    return bootstrap(
        lambda rows: float(kept[rows].mean()), cells, n_resamples=settings.n_bootstrap,
        confidence=settings.confidence_level, seed=settings.seed,
    )  # fmt: skip


def rows_of(at: Comparison, method: str, settings: Settings) -> Rows:
    """Return mean and paired difference to the method's own weights, per metric and point."""
    table, metrics = read_sweep(at, method)
    own = table[table["own"]].sort_values("cell_id").reset_index(drop=True)
    rows: Rows = []
    for swept in CLAIMED:
        for value, part in points_along(table, swept):
            extra = {"swept": swept, "weight": value, "own": bool(part["own"].iloc[0])}
            for metric in metrics:
                here, there = (one[metric].to_numpy(dtype=float) for one in (part, own))
                for name, found in (
                    (metric, estimate(here, part, settings)),
                    (f"{metric}_minus_own", estimate(here - there, part, settings)),
                ):
                    row = long_row(at, method, name, **estimate_facts(found))
                    rows.append({**row, "n_cells": int(np.isfinite(here).sum()), **extra})
    return rows


def draw(inputs: Inputs, method: str, settings: Settings) -> tuple[Figure, Rows]:
    """Return the figure, one block an assay and factor, and its numbers."""
    blocks, rows = [], []
    for at in inputs.comparisons():
        if at.clean:
            numbers = rows_of(at, method, settings)
            blocks.append((at, numbers))
            rows += numbers
    heights = [
        2 * math.ceil(len(_metrics(numbers)) / ACROSS) * ROW_HEIGHT + 8 * MM
        for _, numbers in blocks
    ]
    with matplotlib.rc_context(dict(RC)):
        figure = new_figure(DOUBLE_COLUMN, sum(heights))
        top = sum(heights)
        for (at, numbers), height in zip(blocks, heights, strict=True):
            _draw_block(figure, at, method, pd.DataFrame(numbers), top)
            top -= height
    return figure, rows


def _metrics(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(str(row["metric"]) for row in rows)
    return [name for name in names if not name.endswith("_minus_own")]


def _draw_block(
    figure: Figure, at: Comparison, method: str, numbers: pd.DataFrame, top: float
) -> None:
    width, total = figure.get_size_inches()
    cells = int(numbers["n_cells"].max())
    units = "wells" if "well" in set(numbers["unit_of_replication"]) else "fields"
    title = f"{at.assay.label}, {at.factor}x: {method_label(method)} on {cells} cells of tune"
    figure.text(2 * MM / width, (top - 1.5 * MM) / total, title, fontsize=8, weight="bold",
                va="top")  # fmt: skip
    figure.text(0.99, (top - 1.5 * MM) / total, f"intervals resample {units}", fontsize=6,
                va="top", ha="right")  # fmt: skip
    metrics = _metrics(numbers.to_dict("records"))
    lines = math.ceil(len(metrics) / ACROSS)
    for block, swept in enumerate(CLAIMED):
        for index, metric in enumerate(metrics):
            line = block * lines + index // ACROSS
            left = (13 + 59 * (index % ACROSS)) * MM
            bottom = top - 8 * MM - (line + 1) * ROW_HEIGHT + 10 * MM
            place = (left / width, bottom / total, 49 * MM / width, (ROW_HEIGHT - 15 * MM) / total)
            axes = figure.add_axes(place)
            part = numbers[numbers["swept"] == swept]
            draw_walk(axes, part, metric, swept, method_colours([method])[method])


def draw_walk(axes: Axes, part: pd.DataFrame, metric: str, swept: str, colour: str) -> None:
    """Draw one metric along one weight; 0 stands at the left of a logarithmic axis."""
    title, scale = METRICS.get(metric, (_error_title(metric), 1.0))
    axes.set_title(title, fontsize=7, loc="left", pad=3)
    means = part[part["metric"] == metric].sort_values("weight")
    changes = part[part["metric"] == f"{metric}_minus_own"].sort_values("weight")
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
        if math.isfinite(row["low"]):
            ends = [row["low"] * scale, row["high"] * scale]
            axes.plot([x, x], ends, color=colour, linewidth=1.1)
        axes.plot(x, row["value"] * scale, "o", markersize=4, markeredgecolor=colour,
                  markerfacecolor=colour if apart else "white")  # fmt: skip
        if row["own"]:
            axes.axvline(x, color="black", linestyle="--", linewidth=0.6, zorder=0)
    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{weight:g}" for weight in weights]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=6, rotation=35, pad=1)
    axes.set_xlabel(SYMBOLS[swept], fontsize=7, labelpad=0)
    axes.locator_params(axis="y", nbins=4)


def positions(weights: np.ndarray) -> np.ndarray:
    """Return log10 of the weights; 0 lies a little left of the least that is not 0."""
    positive = weights[weights > 0]
    least = np.log10(positive.min()) if len(positive) else 0.0
    return np.log10(np.where(weights > 0, weights, 10.0 ** (least - 0.7)))


def _error_title(metric: str) -> str:
    return f"|SR − HR|, {readable_feature(metric.removeprefix(ERROR))} ↓"


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the sweep."""
    parser = figure_parser(__doc__)
    add_inputs(parser)
    parser.add_argument("--method", required=True, help="the method that was swept")
    args, settings = parser.parse(argv)
    figure, rows = draw(inputs_from(args), args.method, settings)
    save_outputs(figure, rows, args, "sweep")


if __name__ == "__main__":
    run(main)
