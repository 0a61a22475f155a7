"""One look for every figure: sizes, fonts and one colour per method."""

from __future__ import annotations

import colorsys
import string
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from operator import sub
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from analysis.comparison.long_table import Rows, long_table
from analysis.drawing.command import Outputs
from rls.io import atomic_path, write_table
from rls.io.names import AMORTISED, BICUBIC, HIGH_RESOLUTION, LOW_RESOLUTION, REGRESSION

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

Look = dict[str, Any]  # keyword arguments of a matplotlib artist

MM = 1 / 25.4
SINGLE_COLUMN = 89 * MM
"""Width of one column of a journal, in inches."""
DOUBLE_COLUMN = 183 * MM
"""Width of two columns of a journal, in inches."""
LARGEST_HEIGHT = 240 * MM
"""Height of a printed page, in inches; only grids of images may pass it."""
DPI = 200
SMALLEST_FONT = 6.0

RC: dict[RcKeyType, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.0,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}

# Three colours are Okabe and Ito's and two are greys. The others were searched for the largest
# smallest difference between any two (CIEDE2000) as seen by normal, protanopic and deuteranopic
# eyes, which is 11.7. Fourteen colours from well-known palettes together have pairs that differ by
# less than 2.
COLOURS: Mapping[str, str] = MappingProxyType(
    {
        HIGH_RESOLUTION: "#4D4D4D",
        LOW_RESOLUTION: "#A6A6A6",
        BICUBIC: "#1A3300",
        "rls": "#0072B2",
        "rls_unregularized": "#56B4E9",
        "rls_without_prior": "#001ACC",
        "rls_without_cross": "#804D00",
        "pulse": "#E69F00",
        "brgm": "#6680FF",
        "brgm_no_perceptual": "#66CC80",
        "pix2pix": "#669966",
        "unet_l1": "#663366",
        "robust_unsupervised": "#CC6600",
        "rls_released_code": "#008066",
        "rls_encoder": "#338899",
        "rls_mean": "#77CCDD",
        "encoder": "#550033",
        AMORTISED: "#995544",
        REGRESSION: "#2C0263",
    }
)

NEGATIVE = "#8C8C8C"
"""The negative control, where the positive one has its method's colour."""


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """Return one colour per method, all different; a known method always has its own.

    A method that :data:`COLOURS` does not know gets a colour by its rank among the unknown ones, in
    golden-ratio steps of the hue, so that adding a method changes no other method's colour.
    """
    colours = {m: COLOURS[m] for m in methods if m in COLOURS}
    taken = set(COLOURS.values())
    step = 0
    for method in methods:
        while method not in colours:
            hue = (0.08 + 0.6180339887 * step) % 1.0
            light = 0.38 + 0.22 * (step % 2)
            red, green, blue = colorsys.hls_to_rgb(hue, light, 0.75)
            candidate = f"#{round(red * 255):02X}{round(green * 255):02X}{round(blue * 255):02X}"
            step += 1
            if candidate not in taken:
                taken.add(candidate)
                colours[method] = candidate
    return colours


def in_style() -> AbstractContextManager[None]:
    """Return the context that figures are made, drawn and saved in."""
    return matplotlib.rc_context(RC)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` x ``height`` inches, without global state."""
    with in_style():
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        return figure


def new_stack(width: float, heights: Sequence[float]) -> tuple[Figure, list[float]]:
    """Return a figure for blocks under one another, and the upper edge of each block.

    Every length is in inches; edges are measured from the bottom of the figure.
    """
    edges = list(accumulate(heights, sub, initial=sum(heights)))
    return new_figure(width, edges[0]), edges[:-1]


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes at a place in inches from the lower left corner of the figure."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def new_blocks(titles: Sequence[str], heights: Sequence[float]) -> tuple[Figure, list[SubFigure]]:
    """Return a figure and its blocks under one another, titled, lettered where there are several.

    Arguments:
        heights: Height of every block in inches.
    """
    figure = new_figure(DOUBLE_COLUMN, sum(heights))
    parts = figure.subfigures(len(titles), 1, squeeze=False, height_ratios=list(heights))[:, 0]
    blocks = zip(parts, titles, heights, block_letters(len(titles)), strict=True)
    for part, title, height, letter in blocks:
        x, y = 0.035 if letter else 0.012, 1 - 1.5 * MM / height
        if letter:
            upper = 1 - 1.2 * MM / height
            part.text(0.012, upper, letter, fontsize=9.5, fontweight="bold", va="top")
        part.suptitle(title, x=x, y=y, ha="left", va="top", fontsize=8, fontweight="bold")
    return figure, list(parts)


def block_letters(count: int) -> list[str]:
    """Return the letters of blocks under one another; of one block, and after z, there are none."""
    letters = string.ascii_lowercase if count > 1 else ""
    return [letters[index : index + 1] for index in range(count)]


def label_panel(axes: Axes, letter: str) -> None:
    """Write a bold panel letter above the upper left corner of an axes."""
    axes.annotate(
        letter,
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(-4, 4),
        textcoords="offset points",
        fontsize=8.5,
        fontweight="bold",
        ha="right",
        va="bottom",
        annotation_clip=False,
    )


def save(
    figure: Figure, numbers: pd.DataFrame, *, pdf: Path, png: Path, csv: Path, written_by: str
) -> None:
    """Write a figure as PDF and PNG (200 dpi) and the numbers behind it as CSV."""
    with in_style():
        for path, kind in ((pdf, "pdf"), (png, "png")):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=DPI)
    write_table(csv, numbers, written_by=written_by)


def save_outputs(drawn: tuple[Figure, Rows], outputs: Outputs, written_by: str) -> None:
    """Write a figure and its numbers as a long CSV, and print where they are.

    Arguments:
        drawn: The figure and its numbers.
    """
    pdf, png, csv = outputs
    figure, rows = drawn
    save(figure, long_table(rows), pdf=pdf, png=png, csv=csv, written_by=written_by)
    print(f"{written_by}: {pdf}, {png}, {csv}")
