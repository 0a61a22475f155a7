"""Dots with intervals: groups of methods side by side (Fig. 6), one metric a panel (Fig. 7)."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing.conditions import Found
from analysis.drawing.style import DOUBLE_COLUMN, MM, RC, method_label, new_figure

EMPTY = "#666666"


def sentence_figure(text: str) -> Figure:
    """Return a figure of one sentence: why there is nothing to draw."""
    with matplotlib.rc_context(dict(RC)):
        lines = textwrap.wrap(text, 130)
        height = (8 + 4 * len(lines)) * MM
        figure = new_figure(DOUBLE_COLUMN, height)
        figure.text(0.02, 0.5, "\n".join(lines), fontsize=7.5, va="center")
    return figure


def draw_groups(
    axes: Axes,
    numbers: Mapping[str, Mapping[str, Found]],
    colours: Mapping[str, str],
    title: str,
    *,
    scale: float = 1.0,
    from_zero: bool = False,
) -> None:
    """Draw a group of dots a condition, one a method, with their intervals.

    Arguments:
        numbers: By condition, then method.
        scale: Factor on every number.
    """
    methods = list(next(iter(numbers.values())))
    reasons = [found.reason for group in numbers.values() for found in group.values()]
    axes.set_title(title, fontsize=7.5, loc="left")
    axes.set_xticks(range(len(numbers)), [readable(name) for name in numbers])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(numbers) - 0.5)
    if all(math.isnan(found.value) for group in numbers.values() for found in group.values()):
        write_reason(axes, reasons[0])
        return
    step = 0.76 / max(len(methods), 1)
    for place, group in enumerate(numbers.values()):
        if place:
            axes.axvline(place - 0.5, color="#E0E0E0", linewidth=0.6, zorder=0)
        for rank, method in enumerate(methods):
            x, found = place + (rank - (len(methods) - 1) / 2) * step, group[method]
            if math.isnan(found.value):
                axes.annotate("n/a", (x, 0.02), xycoords=("data", "axes fraction"), fontsize=6,
                              color=EMPTY, ha="center", rotation=90)  # fmt: skip
                continue
            if math.isfinite(found.low):
                ends = [found.low * scale, found.high * scale]
                axes.plot([x, x], ends, color=colours[method], linewidth=1.2)
            axes.plot(x, found.value * scale, "o", color=colours[method], markersize=4)
    if from_zero:
        axes.set_ylim(bottom=0)


def draw_dots(
    axes: Axes,
    numbers: Mapping[str, Found],
    colours: Mapping[str, str],
    title: str,
    *,
    scale: float = 1.0,
    digits: int = 2,
    right: float | None = None,
    named: bool = True,
) -> None:
    """Draw one metric: a row a method, its number written beside the dot.

    Arguments:
        right: The value that is right, as a dashed line.
        named: Whether the methods' names stand at the left.
    """
    axes.set_title(title, fontsize=7, loc="left", pad=3)
    axes.set_ylim(len(numbers) - 0.4, -0.75)
    axes.set_yticks(range(len(numbers)), [method_label(name) for name in numbers])
    axes.tick_params(axis="y", length=0, labelleft=named, pad=2)
    axes.tick_params(axis="x", labelsize=6)
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=4)
    if all(math.isnan(found.value) for found in numbers.values()):
        write_reason(axes, next(iter(numbers.values())).reason, width=26)
        return
    for place, (method, found) in enumerate(numbers.items()):
        axes.axhline(place, color="#EEEEEE", linewidth=0.6, zorder=0)
        if math.isnan(found.value):
            axes.annotate("n/a", (0.5, place), xycoords=("axes fraction", "data"), fontsize=6,
                          color=EMPTY, ha="center", va="center")  # fmt: skip
            continue
        value = found.value * scale
        if math.isfinite(found.low):
            ends = [found.low * scale, found.high * scale]
            axes.plot(ends, [place, place], color=colours[method], linewidth=1.2)
        axes.plot(value, place, "o", color=colours[method], markersize=4)
        axes.annotate(f"{value:.{digits}f}", (value, place), xytext=(0, 4), fontsize=6,
                      textcoords="offset points", ha="center",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.2, "alpha": 0.85})  # fmt: skip  # noqa: E501
    if right is not None:
        axes.axvline(right, color="black", linestyle="--", linewidth=0.7, zorder=0)
    axes.margins(x=0.16)


def write_reason(axes: Axes, reason: str, width: int = 52) -> None:
    """Write into an empty panel why it is empty."""
    axes.text(0.5, 0.5, "\n".join(textwrap.wrap(f"Empty: {reason}.", width)), fontsize=6.5,
              color=EMPTY, ha="center", va="center", transform=axes.transAxes)  # fmt: skip
    axes.set_xticks([])
    axes.tick_params(labelleft=False, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def readable(names: str | Sequence[str]) -> str:
    """Return a name of the configuration for people."""
    return str(names).replace("_", " ")
