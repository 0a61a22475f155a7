"""Draw real cells left and simulated ones right at one grey scale, and the statistics of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.drawing.grids import GAP, draw_scale_bar
from analysis.drawing.style import DOUBLE_COLUMN, MM, new_figure

CELLS_SHOWN = 6  # Cells shown on each side.
LEFT, TOP, MIDDLE, BLOCK_GAP = 15 * MM, 9 * MM, 4 * MM, 2.5 * MM
GREY_PERCENTILES = (0.5, 99.8)
GAMMA = 0.7  # Gamma of the display, the same on both sides; dim fibres stay visible.
ROW_HEIGHT = 3.1 * MM
# (shift of the line in its row, name, colour, position of the median in shares of the axes)
SIDES = ((-0.17, "real", "#4D4D4D", 1.10), (0.17, "simulated", "#D55E00", 1.38))


def draw_cells(
    images: Mapping[str, tuple[np.ndarray, np.ndarray]],
    channels: Sequence[str],
    pixel_size_um: float,
    scale: str,
) -> Figure:
    """Draw one row of cells per treatment and channel.

    Arguments:
        images: {treatment: (real, simulated)}, each (n, c, y, x) counts.
        scale: ``shared``: both sides of a row have the grey scale of the real cells. ``own``: each
            side has its own.
    """
    side = (DOUBLE_COLUMN - LEFT - MIDDLE) / (2 * CELLS_SHOWN) - GAP
    rows = len(images) * len(channels)
    height = TOP + rows * (side + GAP) + (len(images) - 1) * BLOCK_GAP + 1 * MM
    figure = new_figure(DOUBLE_COLUMN, height)
    edges = [LEFT + i * (CELLS_SHOWN * (side + GAP) + MIDDLE) for i in range(2)]
    titles = ("real", "simulated" if scale == "shared" else "simulated (grey scale of its own)")
    for x, title in zip(edges, titles, strict=True):
        figure.text(x / DOUBLE_COLUMN, 1 - 3 * MM / height, title, fontsize=8, weight="bold")
    label: dict[str, Any] = {"fontsize": 6.5, "rotation": 90, "va": "center"}
    y = height - TOP
    for block, (treatment, pair) in enumerate(images.items()):
        y -= BLOCK_GAP if block else 0
        middle = (y - len(channels) * side / 2) / height
        figure.text(3 * MM / DOUBLE_COLUMN, middle, treatment, ha="center", weight="bold", **label)
        for index, channel in enumerate(channels):
            y -= side + GAP
            beside = (LEFT - 1.5 * MM) / DOUBLE_COLUMN
            figure.text(beside, (y + side / 2) / height, channel, ha="right", **label)
            greys = [np.percentile(part[:, index], GREY_PERCENTILES) for part in pair]
            greys = [greys[0], greys[0]] if scale == "shared" else greys
            for left, part, grey in zip(edges, pair, greys, strict=True):
                low, high = grey
                for j, image in enumerate(part[:CELLS_SHOWN]):
                    x = left + j * (side + GAP)
                    box = (x / DOUBLE_COLUMN, y / height, side / DOUBLE_COLUMN, side / height)
                    axes = figure.add_axes(box)
                    unit = np.clip((image[index] - low) / max(high - low, 1e-9), 0, 1)
                    axes.imshow(unit**GAMMA, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                    axes.set_axis_off()
                    if block == index == j == 0:
                        draw_scale_bar(axes, image.shape[-1] * pixel_size_um, text_at=0.1)
    return figure


def draw_statistics(table: pd.DataFrame) -> Figure:
    """Draw every statistic of the first pair: real and simulated, 5th to 95th percentile.

    Each row has its own scale, from the lowest to the highest of the four ends, because the units
    of the rows differ; medians are written at the right. The scale of a statistic with one number a
    stack begins at 0.
    """
    first = table["treatment"].iloc[0]
    table = table[table["treatment"] == first]
    rows = table.to_dict("records")
    height = 14 * MM + ROW_HEIGHT * len(rows)
    figure = new_figure(DOUBLE_COLUMN, height)
    axes = figure.add_axes((0.36, 4 * MM / height, 0.36, 1 - 14 * MM / height))
    names = []
    for i, row in enumerate(rows):
        unit = f" ({row['unit']})" if row["unit"] else ""
        names.append(f"{row['statistic']}, {row['channel']}".rstrip(", ") + unit)
        ends = pd.Series([row[f"{end}_{side}"] for end in ("low", "high") for _, side, *_ in SIDES])
        low, high = ends.min(), ends.max()
        if max(row["n_real"], row["n_simulated"]) == 1:
            low, high = min(low, 0.0), max(high, 0.0)
        span = high - low if high > low else max(abs(high), 1e-9)
        for shift, side, colour, x in SIDES:
            left, middle, right = (
                (float(row[f"{end}_{side}"]) - low) / span for end in ("low", "median", "high")
            )
            axes.plot([left, right], [i + shift] * 2, color=colour, linewidth=1.2)
            axes.plot([middle], [i + shift], marker="o", markersize=2.6, color=colour)
            axes.annotate(
                f"{row[f'median_{side}']:.3g}",
                (x, i),
                xycoords=("axes fraction", "data"),
                color=colour,
                fontsize=6,
                va="center",
                annotation_clip=False,
            )
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-0.03, 1.03)
    axes.set_xticks([])
    axes.set_yticks(range(len(rows)), names, fontsize=6)
    for _, side, colour, x in SIDES:
        count = int(table[f"n_{side}"].max())
        axes.annotate(
            f"{side}\nn = {count}",
            (x, 1.0),
            xycoords="axes fraction",
            color=colour,
            fontsize=6.5,
            va="bottom",
            annotation_clip=False,
        )
    title = f"{first}: median, 5th to 95th percentile over cells"
    figure.text(0.36, 1 - 5 * MM / height, title, fontsize=7.5)
    return figure
