"""One look for every figure: sizes, fonts, one colour and one name a method."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rls.io import atomic_path, write_table

MM = 1 / 25.4
SINGLE_COLUMN = 89 * MM
"""Width of one column of a journal, in inches."""
DOUBLE_COLUMN = 183 * MM
"""Width of two columns of a journal, in inches."""
LARGEST_HEIGHT = 240 * MM
"""Height of a printed page, in inches; only grids of images may pass it."""
DPI = 200
SMALLEST_FONT = 6.0

RC: Mapping[str, Any] = MappingProxyType(
    {
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
)

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "high_resolution": "HR",
        "low_resolution": "LR",
        "bicubic": "Bicubic",
        "rls": "RLS",
        "rls_unregularized": "w/o Regu.",
        "rls_without_prior": "w/o P_w",
        "rls_without_cross": "w/o P_cross",
        "rls_released_code": "RLS (code)",
        "pulse": "PULSE",
        "brgm": "BRGM",
        "brgm_no_perceptual": "BRGM (L2)",
        "pix2pix": "Pix2Pix",
        "unet_l1": "U-Net L1",
        "robust_unsupervised": "Robust Uns.",
    }
)

# Five of Okabe and Ito's and of grey; the others were searched for the greatest least difference of
# any two (CIEDE2000) as seen by normal, protanopic and deuteranopic eyes: it is 11.7. Fourteen
# colours of well-known palettes put together have pairs that differ by less than 2.
COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "high_resolution": "#4D4D4D",
        "low_resolution": "#A6A6A6",
        "bicubic": "#1A3300",
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
    }
)

NEGATIVE = "#8C8C8C"
"""The negative control, where the positive one has its method's colour."""


def method_label(method: str) -> str:
    """The name of a method in figures and tables; a new one is shown as config names it."""
    return LABELS.get(method, method.replace("_", " "))


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """Return one colour a method, all different; a known method always has its own.

    A method that this file does not know gets a colour by its rank among the unknown ones, a
    golden-ratio walk round the hues, so that adding a method changes no other method's colour.
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


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` x ``height`` inches, without global state."""
    with matplotlib.rc_context(dict(RC)):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        return figure


def label_panel(axes: Any, letter: str) -> None:  # noqa: ANN401
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
    with matplotlib.rc_context(dict(RC)):
        for path, kind in ((pdf, "pdf"), (png, "png")):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=DPI)
    write_table(csv, numbers, written_by=written_by)
