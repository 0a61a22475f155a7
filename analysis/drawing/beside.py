"""Real cells left, simulated ones right, at one grey scale; and the statistics of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.drawing.grids import GAP, scale_bar_um
from analysis.drawing.style import DOUBLE_COLUMN, MM, new_figure

CELLS_SHOWN = 6  # a side
LEFT, TOP, MIDDLE, BLOCK_GAP = 15 * MM, 9 * MM, 4 * MM, 2.5 * MM
GREY_PERCENTILES = (0.5, 99.8)
GAMMA = 0.7  # of the display, the same for both sides: dim fibres stay visible
ROW_HEIGHT = 3.1 * MM
REAL, SIMULATED = "#4D4D4D", "#D55E00"


def draw_cells(
    images: Mapping[str, tuple[np.ndarray, np.ndarray]],
    channels: Sequence[str],
    pixel_size_um: float,
    scale: str,
) -> Figure:
    """Draw a row a treatment and channel.

    Arguments:
        images: {treatment: (real, simulated)}, each (n, c, y, x) counts.
        scale: ``shared``: both sides of a row have the grey scale of the real cells. ``own``: each
            side has its own.
    """
    side = (DOUBLE_COLUMN - LEFT - MIDDLE) / (2 * CELLS_SHOWN) - GAP
    rows = len(images) * len(channels)
    height = TOP + rows * (side + GAP) + (len(images) - 1) * BLOCK_GAP + 1 * MM
    figure = new_figure(DOUBLE_COLUMN, height)
    y = height - TOP
    titles = ("real", "simulated" if scale == "shared" else "simulated (grey scale of its own)")
    for i, title in enumerate(titles):
        x = LEFT + i * (CELLS_SHOWN * (side + GAP) + MIDDLE)
        figure.text(x / DOUBLE_COLUMN, 1 - 3 * MM / height, title, fontsize=8, weight="bold")
    for block, (treatment, pair) in enumerate(images.items()):
        y -= BLOCK_GAP if block else 0
        figure.text(
            3 * MM / DOUBLE_COLUMN, (y - len(channels) * side / 2) / height, treatment,
            fontsize=6.5, rotation=90, ha="center", va="center", weight="bold",
        )  # fmt: skip
        for index, channel in enumerate(channels):
            y -= side + GAP
            figure.text(
                (LEFT - 1.5 * MM) / DOUBLE_COLUMN, (y + side / 2) / height, channel,
                fontsize=6.5, rotation=90, ha="right", va="center",
            )  # fmt: skip
            greys = [np.percentile(part[:, index], GREY_PERCENTILES) for part in pair]
            greys = [greys[0], greys[0]] if scale == "shared" else greys
            for i, (part, grey) in enumerate(zip(pair, greys, strict=True)):
                for j, image in enumerate(part[:CELLS_SHOWN]):
                    x = LEFT + i * (CELLS_SHOWN * (side + GAP) + MIDDLE) + j * (side + GAP)
                    box = (x / DOUBLE_COLUMN, y / height, side / DOUBLE_COLUMN, side / height)
                    axes = figure.add_axes(box)
                    axes.imshow(_grey(image[index], grey), cmap="gray", vmin=0, vmax=1,
                                interpolation="nearest")  # fmt: skip
                    axes.set_axis_off()
                    if block == index == j == 0:
                        _scale_bar(axes, image.shape[-1] * pixel_size_um)
    return figure


def draw_statistics(table: pd.DataFrame) -> Figure:
    """Draw every statistic of the first pair: real and simulated, 5th to 95th percentile.

    Each row has its own scale, from the lowest to the highest of the four ends, so that rows of
    other units stand under one another; medians are written at the right. What is measured once a
    stack stands on a scale that begins at 0.
    """
    first = table["treatment"].iloc[0]
    rows = table[table["treatment"] == first].reset_index(drop=True)
    height = 14 * MM + ROW_HEIGHT * len(rows)
    figure = new_figure(DOUBLE_COLUMN, height)
    axes = figure.add_axes((0.36, 4 * MM / height, 0.36, 1 - 14 * MM / height))
    for i, row in rows.iterrows():
        ends = row[["low_real", "high_real", "low_simulated", "high_simulated"]].astype(float)
        low, high = ends.min(), ends.max()
        if max(row["n_real"], row["n_simulated"]) == 1:  # two numbers: their scale begins at 0
            low, high = min(low, 0.0), max(high, 0.0)
        span = high - low if high > low else max(abs(high), 1e-9)
        for shift, name, colour in ((-0.17, "real", REAL), (0.17, "simulated", SIMULATED)):
            left, middle, right = (
                (float(row[f"{end}_{name}"]) - low) / span for end in ("low", "median", "high")
            )
            axes.plot([left, right], [i + shift] * 2, color=colour, linewidth=1.2)
            axes.plot([middle], [i + shift], marker="o", markersize=2.6, color=colour)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-0.03, 1.03)
    axes.set_xticks([])
    names = [
        f"{row.statistic}, {row.channel}".rstrip(", ") + (f" ({row.unit})" if row.unit else "")
        for row in rows.itertuples()
    ]
    axes.set_yticks(range(len(rows)), names, fontsize=6)
    for i, row in rows.iterrows():
        for x, name, colour in ((1.10, "real", REAL), (1.38, "simulated", SIMULATED)):
            axes.annotate(
                f"{row[f'median_{name}']:.3g}", (x, i), xycoords=("axes fraction", "data"),
                color=colour, fontsize=6, va="center", annotation_clip=False,
            )  # fmt: skip
    for x, name, colour in ((1.10, "real", REAL), (1.38, "simulated", SIMULATED)):
        count = int(rows[f"n_{name}"].max())
        axes.annotate(
            f"{name}\nn = {count}", (x, 1.0), xycoords="axes fraction", color=colour, fontsize=6.5,
            va="bottom", annotation_clip=False,
        )  # fmt: skip
    figure.text(
        0.36, 1 - 5 * MM / height, f"{first}: median, 5th to 95th percentile over cells",
        fontsize=7.5,
    )  # fmt: skip
    return figure


def _grey(image: np.ndarray, grey: np.ndarray) -> np.ndarray:
    low, high = grey
    return np.asarray(np.clip((image - low) / max(high - low, 1e-9), 0, 1) ** GAMMA)


def _scale_bar(axes, image_um: float) -> None:  # noqa: ANN001
    length = scale_bar_um(image_um) / image_um
    axes.plot([0.94 - length, 0.94], [0.07, 0.07], transform=axes.transAxes, color="white",
              linewidth=1.6, solid_capstyle="butt")  # fmt: skip
    axes.text(0.94, 0.1, f"{length * image_um:g} µm", transform=axes.transAxes, color="white",
              fontsize=6, ha="right", va="bottom")  # fmt: skip
