"""Dots with intervals: groups of methods side by side (Fig. 6), or one metric a panel (Fig. 7)."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.comparison.labels import method_label
from analysis.drawing.style import DOUBLE_COLUMN, MM, in_style, new_figure
from analysis.numbers.statistics import Estimate

EMPTY = "#666666"


def sentence_figure(text: str) -> Figure:
    """Return a figure of one sentence, which says why there is nothing to draw."""
    with in_style():
        lines = textwrap.wrap(text, 130)
        height = (8 + 4 * len(lines)) * MM
        figure = new_figure(DOUBLE_COLUMN, height)
        figure.text(0.02, 0.5, "\n".join(lines), fontsize=7.5, va="center")
    return figure


def draw_groups(
    axes: Axes,
    numbers: Mapping[str, Mapping[str, Estimate]],
    colours: Mapping[str, str],
    title: str,
    *,
    scale: float = 1.0,
    from_zero: bool = False,
) -> None:
    """Draw a group of dots per condition, one per method, with their intervals.

    Arguments:
        numbers: By condition, then method.
        scale: Factor on every number.
        from_zero: Whether the axis begins at 0.
    """
    found = [one for group in numbers.values() for one in group.values()]
    axes.set_title(title, fontsize=7.5, loc="left")
    width = 99 if len(numbers) < 5 else 10  # letters a line, so that five names do not overlap
    named = [textwrap.fill(name.replace("_", " "), width) for name in numbers]
    axes.set_xticks(range(len(numbers)), named)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(numbers) - 0.5)
    if all(math.isnan(one.value) for one in found):
        write_reason(axes, found[0].reason)
        return
    for place, group in enumerate(numbers.values()):
        if place:
            axes.axvline(place - 0.5, color="#E0E0E0", linewidth=0.6, zorder=0)
        step = 0.76 / max(len(group), 1)
        for rank, (method, one) in enumerate(group.items()):
            _draw_dot(
                axes, place + (rank - (len(group) - 1) / 2) * step, one, colours[method], scale
            )
    if from_zero:
        axes.set_ylim(bottom=0)


def _draw_dot(axes: Axes, x: float, found: Estimate, colour: str, scale: float) -> None:
    if math.isnan(found.value):
        axes.annotate(
            "n/a",
            (x, 0.02),
            xycoords=("data", "axes fraction"),
            fontsize=6,
            color=EMPTY,
            ha="center",
            rotation=90,
        )
        return
    if math.isfinite(found.low):
        ends = [found.low * scale, found.high * scale]
        axes.plot([x, x], ends, color=colour, linewidth=1.2)
    axes.plot(x, found.value * scale, "o", color=colour, markersize=4)


def draw_dots(
    axes: Axes,
    numbers: Mapping[str, Estimate],
    colours: Mapping[str, str],
    title: str,
    *,
    scale: float = 1.0,
    digits: int = 2,
    right: float | None = None,
    named: bool = True,
) -> None:
    """Draw one metric: a row per method, with its number beside the dot.

    Arguments:
        numbers: By method.
        scale: Factor on every number.
        right: The value that is right, drawn as a dashed line.
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
        _draw_row(axes, place, found, colours[method], scale, digits)
    if right is not None:
        axes.axvline(right, color="black", linestyle="--", linewidth=0.7, zorder=0)
    axes.margins(x=0.16)


def _draw_row(
    axes: Axes, place: int, found: Estimate, colour: str, scale: float, digits: int
) -> None:
    if math.isnan(found.value):
        axes.annotate(
            "n/a",
            (0.5, place),
            xycoords=("axes fraction", "data"),
            fontsize=6,
            color=EMPTY,
            ha="center",
            va="center",
        )
        return
    value = found.value * scale
    if math.isfinite(found.low):
        ends = [found.low * scale, found.high * scale]
        axes.plot(ends, [place, place], color=colour, linewidth=1.2)
    axes.plot(value, place, "o", color=colour, markersize=4)
    write_number(axes, f"{value:.{digits}f}", (value, place), above=4)


def write_number(axes: Axes, text: str, at: tuple[float, float], *, above: float) -> None:
    """Write a number over a dot, ``above`` points from it, on a white ground."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.2, "alpha": 0.85}
    axes.annotate(
        text,
        at,
        xytext=(0, above),
        textcoords="offset points",
        ha="center",
        fontsize=6,
        bbox=ground,
    )


def write_reason(axes: Axes, reason: str, width: int = 52) -> None:
    """Write into an empty panel why it is empty, in lines of ``width`` characters."""
    axes.text(
        0.5,
        0.5,
        "\n".join(textwrap.wrap(f"Empty: {reason}.", width)),
        fontsize=6.5,
        color=EMPTY,
        ha="center",
        va="center",
        transform=axes.transAxes,
    )
    axes.set_xticks([])
    axes.tick_params(labelleft=False, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
