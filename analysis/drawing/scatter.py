"""HR against SR per cell: a scatter above Bland-Altman's differences, one column per method."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from analysis.comparison.feature_values import FeatureValues
from analysis.comparison.kept_features import Kept, agreement_facts, read_kept, triple_facts
from analysis.comparison.labels import feature_label, method_label, unit_of
from analysis.comparison.long_table import (
    NO_HIGH_RESOLUTION,
    Rows,
    estimate_facts,
    long_row,
)
from analysis.comparison.wide_table import format_number
from analysis.drawing.boxes import NO_FEATURE
from analysis.drawing.dots import sentence_figure
from analysis.drawing.settings import Settings
from analysis.drawing.style import (
    DOUBLE_COLUMN,
    LARGEST_HEIGHT,
    MM,
    NEGATIVE,
    Look,
    in_style,
    method_colours,
    new_blocks,
)
from analysis.numbers.agreement import Agreement, correlation_of
from analysis.run.description import Run
from rls.io.names import HIGH_RESOLUTION
from rls.runtime.errors import InputError

# Lengths are in inches.
ACROSS = (5, 10)  # fewest and most methods side by side: the fewest with which it fits a page
LARGEST_SIDE = 34 * MM
LEFT, RIGHT, GAP = 15 * MM, 3 * MM, 4.5 * MM
HEAD = 11 * MM  # height of a block's title and legend
LINE = 2.5 * MM  # height of a line of text
NAMES = 5.5 * MM  # height of a row's method names; r and n have lines of their own
BETWEEN = 9.5 * MM  # from scatter to Bland-Altman: axis and label; bias and limits have own lines
NARROW = 18 * MM  # in narrower panels, r, n, bias and limits take twice the lines
BELOW = 9.5 * MM  # height of the lower axis and its label
LOWER = 0.8  # height of a Bland-Altman panel over its width
POINTS_SHOWN = 1000  # most cells of a treatment that are drawn
INSIDE = (0.5, 99.5)  # percentiles of all values that the axes span; other values lie at the edge


def draw(run: Run, settings: Settings, table: pd.DataFrame) -> tuple[Figure, Rows]:
    """Return the figure and its numbers, one block per assay, factor and feature.

    Arguments:
        table: The table of features.

    Raises:
        InputError: No assay names a feature.
    """
    blocks: list[Kept] = []
    rows: Rows = []
    for at in run.comparisons(clean_only=True):
        if not at.assay.has_high_resolution:
            empty = long_row(at, "", "correlation", reason=NO_HIGH_RESOLUTION)
            rows.append({**empty, "feature": ""})
            continue
        for block in read_kept(at, table):
            rows += numbers_of(block, settings)
            blocks.append(block)
    if rows and not blocks:
        return sentence_figure("Nothing is compared cell by cell: no assay has HR images."), rows
    if not blocks:
        raise InputError(NO_FEATURE)
    return draw_blocks(blocks), rows


def numbers_of(block: Kept, settings: Settings) -> Rows:
    """Return the numbers of a block: triple, limits, and r in each treatment."""
    feature, rows = block.feature, []
    for method, one in block.agreements.items():
        facts = [*triple_facts(one), *agreement_facts(one)]
        for treatment in feature.controls:
            r = correlation_of(
                feature.pairs(method), treatment, confidence=settings.confidence_level
            )
            facts.append({"metric": "correlation", "treatment": treatment, **estimate_facts(r)})
        rows += [long_row(feature.at, method, **fact) for fact in facts]
    return [{**row, "feature": feature.column} for row in rows]


# Drawing -----------------------------------------------------------------------------------------


def draw_blocks(blocks: Sequence[Kept]) -> Figure:
    """Return a figure with the blocks under one another, lettered where there are several."""
    counts = [len(block.agreements) for block in blocks]
    few, most = min(ACROSS[0], max(counts)), ACROSS[1]
    fitting = (n for n in range(few, most) if _height(counts, n) <= LARGEST_HEIGHT)
    across = next(fitting, most)
    heights = [_height([count], across) for count in counts]
    with in_style():
        figure, parts = new_blocks([block.feature.at.title for block in blocks], heights)
        for part, block, height in zip(parts, blocks, heights, strict=True):
            draw_block(part, block.feature, block.agreements, across, height)
    return figure


def _side(across: int) -> float:
    """Return the side of a panel in inches."""
    return min(LARGEST_SIDE, (DOUBLE_COLUMN - LEFT - RIGHT + GAP) / across - GAP)


def _height(counts: Sequence[int], across: int) -> float:
    """Return the height in inches of blocks with these numbers of methods."""
    return sum(HEAD + math.ceil(count / across) * _row(_side(across)) for count in counts)


def _row(side: float) -> float:
    """Return the height in inches of a row: names, scatter, Bland-Altman."""
    return NAMES + 3 * LINE * _lines(side) + BETWEEN + side * (1 + LOWER) + BELOW


def _lines(side: float) -> int:
    """Return the lines of text for each of r, the counts and the limits."""
    return 2 if side < NARROW else 1


def draw_block(
    part: SubFigure,
    feature: FeatureValues,
    found: Mapping[str, Agreement],
    across: int,
    height: float,
) -> None:
    """Draw a scatter and a Bland-Altman panel for every method of one feature."""
    colours = method_colours(list(feature.values))
    side, span = _side(across), _span(feature)
    finite = [values[np.isfinite(values)] for values in feature.values.values()]
    limits = _around(np.concatenate(finite))
    lines = LINE * _lines(side)
    for index, (method, one) in enumerate(found.items()):
        row, column = divmod(index, across)
        left = LEFT + column * (side + GAP)
        top = height - HEAD - row * _row(side) - NAMES - 2 * lines
        bottom = top - side - BETWEEN - lines - LOWER * side
        upper, lower = (
            part.add_axes((left / DOUBLE_COLUMN, y / height, side / DOUBLE_COLUMN, h / height))
            for y, h in ((top - side, side), (bottom, LOWER * side))
        )
        draw_scatter(upper, feature, method, colours[method], limits)
        draw_differences(lower, feature, method, colours[method], (limits, span), one)
        label = method_label(method, feature.n_solutions.get(method, 1))
        _write_caption(upper, label, colours[method], one, side)
        _label_axes(upper, lower, feature, first=column == 0)
    _legend(part, feature, height)


def _label_axes(upper: Axes, lower: Axes, feature: FeatureValues, *, first: bool) -> None:
    """Label the two panels of a method; only the first column has labels at the left."""
    if first:
        upper.set_ylabel(_axis_label("SR", feature))
        lower.set_ylabel(_axis_label("SR − HR", feature, between="\n"))
    for axes in (upper, lower):
        axes.tick_params(labelleft=first, pad=2)
        axes.set_gid("scatter")
    upper.set_xlabel(_axis_label("HR", feature), labelpad=1)
    lower.set_xlabel("mean", labelpad=1)


def draw_scatter(
    axes: Axes, feature: FeatureValues, method: str, colour: str, limits: tuple[float, float]
) -> None:
    """Draw SR over HR per cell, and the line of equality."""
    for high, super_, look in _controls(feature, method, colour):
        axes.scatter(np.clip(high, *limits), np.clip(super_, *limits), **look)
    axes.plot(limits, limits, color="black", linewidth=0.6, linestyle="--", zorder=3)
    axes.set(xlim=limits, ylim=limits)
    axes.locator_params(nbins=4)


def draw_differences(
    axes: Axes,
    feature: FeatureValues,
    method: str,
    colour: str,
    spans: tuple[tuple[float, float], tuple[float, float]],
    found: Agreement,
) -> None:
    """Draw SR - HR over the mean of both, with bias and limits of agreement.

    Arguments:
        spans: Lowest and highest value of the axes, across and up.
    """
    across, up = spans
    for high, super_, look in _controls(feature, method, colour):
        axes.scatter(np.clip((high + super_) / 2, *across), np.clip(super_ - high, *up), **look)
    axes.axhline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    for limit, style in ((found.bias, "-"), (found.lower_limit, "--"), (found.upper_limit, "--")):
        if math.isfinite(limit.value):
            axes.axhline(limit.value, color="black", linewidth=0.8, linestyle=style, zorder=3)
    if math.isfinite(found.bias.value):
        digits = 1 if max(map(abs, up)) >= 10 else 2
        three = (found.bias, found.lower_limit, found.upper_limit)
        bias, lower, upper = (format_number(one.value, digits) for one in three)
        between = "\n" if axes.bbox.width / axes.figure.dpi < NARROW else " "
        limits = f"{bias}{between}({lower}, {upper})"
        axes.set_title(limits.replace("-", "−"), fontsize=6, pad=2, linespacing=1.15)
    axes.set(xlim=across, ylim=up)
    axes.locator_params(nbins=4)


def _controls(
    feature: FeatureValues, method: str, colour: str
) -> Iterator[tuple[np.ndarray, np.ndarray, Look]]:
    """Yield the HR values, the SR values and the look of the markers of each control.

    At most :data:`POINTS_SHOWN` cells are shown, in even steps, so that every well is there.
    """
    high, super_ = feature.values[HIGH_RESOLUTION], feature.values[method]
    for positive, treatment in enumerate(feature.controls):
        here = (feature.cells["treatment"] == treatment).to_numpy()
        rows = np.flatnonzero(here & np.isfinite(high) & np.isfinite(super_))
        if len(rows) > POINTS_SHOWN:
            rows = rows[np.linspace(0, len(rows) - 1, POINTS_SHOWN).astype(int)]
        look = {
            "s": 5.0 if len(rows) < 200 else 2.5,
            "linewidths": 0,
            "clip_on": False,
            "alpha": 0.6,
            "rasterized": True,
            "color": colour if positive else NEGATIVE,
            "marker": "^" if positive else "o",
        }
        yield high[rows], super_[rows], look


def _write_caption(axes: Axes, label: str, colour: str, found: Agreement, side: float) -> None:
    """Write the method's label, r with its interval and the number of cells above a scatter."""
    r = found.correlation
    told = ["r n/a"]
    if math.isfinite(r.value):
        interval = [f"[{r.low:.2f}, {r.high:.2f}]"] if math.isfinite(r.low) else []
        told = [f"r {r.value:.2f}", *interval]
    counted = [f"{found.n_cells} cells", *([f"{r.n} {r.unit}{'s' * (r.n != 1)}"] if r.n else [])]
    narrow = side < NARROW
    parts = [*told, *counted] if narrow else [" ".join(told), ", ".join(counted)]
    above: Look = {
        "xy": (0.5, 1),
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "ha": "center",
        "va": "bottom",
    }
    text = "\n".join(parts).replace("-", "−")
    axes.annotate(text, xytext=(0, 2), fontsize=6, linespacing=1.15, **above)
    axes.annotate(
        label,
        xytext=(0, 2 + 2 * _lines(side) * 7.5),
        fontsize=6 if narrow else 7,
        color=colour,
        fontweight="bold",
        **above,
    )


def _legend(part: SubFigure, feature: FeatureValues, height: float) -> None:
    negative, positive = feature.controls
    dot: Look = {"linestyle": "", "markersize": 3}
    handles = [
        Line2D([], [], marker="o", color=NEGATIVE, label=f"{negative} (negative)", **dot),
        Line2D(
            [],
            [],
            marker="^",
            color="black",
            label=f"{positive} (positive, the method's colour)",
            **dot,
        ),
        Line2D([], [], linestyle="--", linewidth=0.6, color="black", label="equality; limits"),
    ]
    y = 1 - 7.4 * MM / height
    part.text(LEFT / DOUBLE_COLUMN, y, feature_label(feature.column), fontsize=7, va="center")
    part.legend(
        handles=handles,
        loc="center right",
        ncol=3,
        borderaxespad=0,
        handletextpad=0.3,
        bbox_to_anchor=(1 - RIGHT / DOUBLE_COLUMN, y),
        columnspacing=1.2,
    )


def _axis_label(what: str, feature: FeatureValues, between: str = " ") -> str:
    """Return an axis label with the feature's unit; the feature's name stands in the heading."""
    unit = unit_of(feature.column)
    return f"{what}{between}({unit})" if unit else what


def _span(feature: FeatureValues) -> tuple[float, float]:
    """Return the range of the differences of all methods; it includes 0."""
    high = feature.values[HIGH_RESOLUTION]
    differences = [v - high for name, v in feature.values.items() if name != HIGH_RESOLUTION]
    found = np.concatenate([d[np.isfinite(d)] for d in differences] or [np.zeros(1)])
    return _around(np.append(found, 0.0))


def _around(values: np.ndarray) -> tuple[float, float]:
    """Return the percentiles :data:`INSIDE` of some values, with a margin of 6 %."""
    low, high = np.percentile(values, INSIDE)
    margin = 0.06 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
