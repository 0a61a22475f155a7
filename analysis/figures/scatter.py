"""HR against SR per cell, with Bland-Altman below: whether single cells kept their feature.

One block an assay, factor and feature, a column a method. Above, each cell's value on SR over that
on HR; dashed: equality; r is the correlation inside treatments, with its interval over wells.
Below, the difference SR - HR over the mean of the two: bias (solid) and limits of agreement
(dashed), between which 95 % of cells should lie. Negative control grey, positive control in the
method's colour. A method that knows the treatment and nothing of a cell makes two clouds that lie
flat: its r is about 0.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from analysis.comparison.layout import (
    HIGH_RESOLUTION,
    NO_HIGH_RESOLUTION,
    Inputs,
    format_number,
    long_row,
)
from analysis.comparison.measured import estimate_facts
from analysis.drawing.boxes import readable, unit_of, write_heading
from analysis.drawing.command import Rows, figure_main
from analysis.drawing.dots import sentence_figure
from analysis.drawing.settings import Settings
from analysis.drawing.style import (
    DOUBLE_COLUMN,
    LARGEST_HEIGHT,
    MM,
    NEGATIVE,
    RC,
    method_colours,
    method_label,
    new_figure,
)
from analysis.numbers.agreement import Agreement, correlation_of
from analysis.tables.features import (
    Block,
    Draws,
    agreement_facts,
    agreements,
    pairs_of,
    read_block,
    triple_facts,
)
from rls.runtime.command import run
from rls.runtime.errors import InputError

ACROSS = (5, 10)  # fewest and most methods side by side: as many as it takes to fit a page
LARGEST_SIDE = 34 * MM
LEFT, RIGHT, GAP = 15 * MM, 3 * MM, 4.5 * MM
HEAD = 11 * MM  # of a block: its title and the legend
LINE = 2.5 * MM  # of text
NAMES = 5.5 * MM  # of a row: its method; its r and n need lines of their own
BETWEEN = (
    9.5 * MM
)  # from scatter to Bland-Altman: an axis and its label; bias and limits need lines
NARROW = 18 * MM  # below, r, n, bias and limits take twice the lines
BELOW = 9.5 * MM  # the lower axis and its label
LOWER = 0.8  # height of Bland-Altman over its width
POINTS_SHOWN = 1000  # of a treatment
INSIDE = (0.5, 99.5)  # percentiles of all values that the axes span; others lie at the edge


def rows_of(block: Block, found: Mapping[str, Agreement], draws: Draws) -> Rows:
    """Return the numbers of a block: triple, limits, and r in each treatment."""
    rows: Rows = []
    for method, one in found.items():
        facts = [*triple_facts(one), *agreement_facts(one)]
        for treatment in block.controls:
            r = correlation_of(pairs_of(block, method), treatment, **draws.keywords())
            facts.append({"metric": "correlation", "treatment": treatment, **estimate_facts(r)})
        rows += [{**long_row(block.at, method, **f), "feature": block.column} for f in facts]
    return rows


def draw(inputs: Inputs, settings: Settings) -> tuple[Figure, Rows]:
    """Return the figure and its numbers, one block an assay, factor and feature.

    Raises:
        InputError: No assay names a feature.
    """
    draws = Draws(settings.n_bootstrap, settings.confidence_level, settings.seed)
    blocks, rows = [], []
    for at in inputs.comparisons():
        if not at.assay.has_high_resolution:
            reason = {"reason": NO_HIGH_RESOLUTION}
            rows.append({**long_row(at, "", "correlation", **reason), "feature": ""})
            continue
        for feature in at.assay.features:
            block = read_block(at, feature, at.methods)
            found = agreements(block, draws)
            rows += rows_of(block, found, draws)
            blocks.append((block, found))
    if rows and not blocks:
        return sentence_figure("Nothing is compared cell by cell: no assay has HR images."), rows
    if not blocks:
        raise InputError("None of the assays names a feature. Add 'features' to one of them.")
    return draw_blocks(blocks), rows


# ---- drawing ------------------------------------------------------------------------------------


def draw_blocks(blocks: Sequence[tuple[Block, Mapping[str, Agreement]]]) -> Figure:
    """Draw the blocks under one another, lettered a, b, ... where there are several."""
    counts = [len(found) for _, found in blocks]
    few, most = min(ACROSS[0], max(counts)), ACROSS[1]
    fitting = (n for n in range(few, most) if _height(counts, n) <= LARGEST_HEIGHT)
    across = next(fitting, most)
    heights = [_height([count], across) for count in counts]
    letters = string.ascii_lowercase if len(blocks) > 1 else ""
    with matplotlib.rc_context(dict(RC)):
        figure = new_figure(DOUBLE_COLUMN, sum(heights))
        parts = np.atleast_1d(figure.subfigures(len(blocks), 1, height_ratios=heights))
        for index, (part, (block, found)) in enumerate(zip(parts, blocks, strict=True)):
            write_heading(part, block.at.title, letters[index : index + 1], heights[index])
            draw_block(part, block, found, across, heights[index])
    return figure


def _side(across: int) -> float:
    """Return the side of a panel in inches."""
    return min(LARGEST_SIDE, (DOUBLE_COLUMN - LEFT - RIGHT + GAP) / across - GAP)


def _height(counts: Sequence[int], across: int) -> float:
    """Return the height in inches of blocks of so many methods."""
    return sum(HEAD + math.ceil(count / across) * _row(_side(across)) for count in counts)


def _row(side: float) -> float:
    """Return the height in inches of a row: names, scatter, Bland-Altman."""
    return NAMES + 3 * LINE * _lines(side) + BETWEEN + side * (1 + LOWER) + BELOW


def _lines(side: float) -> int:
    return 2 if side < NARROW else 1


def draw_block(
    part: SubFigure, block: Block, found: Mapping[str, Agreement], across: int, height: float
) -> None:
    """Draw a scatter and a Bland-Altman panel for every method of one block."""
    colours = method_colours(list(block.values))
    side, limits, span = _side(across), _limits(block), _span(block)
    for index, (method, one) in enumerate(found.items()):
        row, column = divmod(index, across)
        left = LEFT + column * (side + GAP)
        lines = LINE * _lines(side)
        top = height - HEAD - row * _row(side) - NAMES - 2 * lines
        bottom = top - side - BETWEEN - lines - LOWER * side
        places = ((top - side, side), (bottom, LOWER * side))
        upper, lower = (
            part.add_axes((left / DOUBLE_COLUMN, y / height, side / DOUBLE_COLUMN, h / height))
            for y, h in places
        )
        draw_scatter(upper, block, method, colours[method], limits)
        draw_differences(lower, block, method, colours[method], (limits, span), one)
        _name(upper, method, colours[method], one, side)
        if column == 0:
            upper.set_ylabel(_short("SR", block))
            lower.set_ylabel(_short("SR − HR", block, between="\n"))
        for axes in (upper, lower):
            axes.tick_params(labelleft=column == 0, pad=2)
            axes.set_gid("scatter")
        upper.set_xlabel(_short("HR", block), labelpad=1)
        lower.set_xlabel("mean", labelpad=1)
    _legend(part, block, height)


def draw_scatter(
    axes: Axes, block: Block, method: str, colour: str, limits: tuple[float, float]
) -> None:
    """Draw SR over HR per cell, and the line of equality."""
    for _, high, super_, look in _sides(block, method, colour):
        axes.scatter(np.clip(high, *limits), np.clip(super_, *limits), **look)
    axes.plot(limits, limits, color="black", linewidth=0.6, linestyle="--", zorder=3)
    axes.set(xlim=limits, ylim=limits)
    axes.locator_params(nbins=4)


def draw_differences(
    axes: Axes,
    block: Block,
    method: str,
    colour: str,
    spans: tuple[tuple[float, float], tuple[float, float]],
    found: Agreement,
) -> None:
    """Draw SR - HR over the mean of both, with bias and limits of agreement.

    Arguments:
        spans: Of the axes, across and up.
    """
    across, up = spans
    for _, high, super_, look in _sides(block, method, colour):
        axes.scatter(np.clip((high + super_) / 2, *across), np.clip(super_ - high, *up), **look)
    axes.axhline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    for limit, style in ((found.bias, "-"), (found.lower_limit, "--"), (found.upper_limit, "--")):
        if math.isfinite(limit.value):
            axes.axhline(limit.value, color="black", linewidth=0.8, linestyle=style, zorder=3)
    if math.isfinite(found.bias.value):
        bias, low, high = (
            format_number(one.value, 1 if max(map(abs, up)) >= 10 else 2)
            for one in (found.bias, found.lower_limit, found.upper_limit)
        )
        between = "\n" if axes.bbox.width / axes.figure.dpi < NARROW else " "
        limits = f"{bias}{between}({low}, {high})"
        axes.set_title(limits.replace("-", "−"), fontsize=6, pad=2, linespacing=1.15)
    axes.set(xlim=across, ylim=up)
    axes.locator_params(nbins=4)


def _sides(block: Block, method: str, colour: str):  # noqa: ANN202
    """Yield treatment, HR and SR values and look of each control, at most some cells of each."""
    high, super_ = block.values[HIGH_RESOLUTION], block.values[method]
    for positive, treatment in enumerate(block.controls):
        here = (block.cells["treatment"] == treatment).to_numpy()
        rows = np.flatnonzero(here & np.isfinite(high) & np.isfinite(super_))
        if len(rows) > POINTS_SHOWN:  # at even steps, so that every well is there
            rows = rows[np.linspace(0, len(rows) - 1, POINTS_SHOWN).astype(int)]
        size = 5.0 if len(rows) < 200 else 2.5
        look = {"s": size, "linewidths": 0, "clip_on": False, "alpha": 0.6, "rasterized": True,
                "color": colour if positive else NEGATIVE,
                "marker": "^" if positive else "o"}  # fmt: skip
        yield treatment, high[rows], super_[rows], look


def _name(axes: Axes, method: str, colour: str, found: Agreement, side: float) -> None:
    """Write method, r with its interval and the number of cells above a scatter."""
    r = found.correlation
    told = ["r n/a"]
    if math.isfinite(r.value):
        interval = [f"[{r.low:.2f}, {r.high:.2f}]"] if math.isfinite(r.low) else []
        told = [f"r {r.value:.2f}", *interval]
    counted = [f"{found.n_cells} cells", *([_units(r.n, r.unit)] if r.n else [])]
    narrow = side < NARROW
    parts = [*told, *counted] if narrow else [" ".join(told), ", ".join(counted)]
    axes.annotate(
        "\n".join(parts).replace("-", "−"), (0.5, 1), xycoords="axes fraction",
        xytext=(0, 2), textcoords="offset points", fontsize=6, ha="center", va="bottom",
        linespacing=1.15,
    )  # fmt: skip
    axes.annotate(
        method_label(method), (0.5, 1), xycoords="axes fraction",
        xytext=(0, 2 + 2 * _lines(side) * 7.5), textcoords="offset points",
        fontsize=6 if narrow else 7, color=colour, fontweight="bold", ha="center", va="bottom",
    )  # fmt: skip


def _units(n: int, unit: str) -> str:
    return f"{n} {unit}" + ("s" if n != 1 else "")


def _legend(part: SubFigure, block: Block, height: float) -> None:
    negative, positive = block.controls
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=3, color=NEGATIVE,
               label=f"{negative} (negative)"),
        Line2D([], [], linestyle="", marker="^", markersize=3, color="black",
               label=f"{positive} (positive, the method's colour)"),
        Line2D([], [], linestyle="--", linewidth=0.6, color="black", label="equality; limits"),
    ]  # fmt: skip
    part.text(
        LEFT / DOUBLE_COLUMN, 1 - 7.4 * MM / height, readable(block.column), fontsize=7, va="center"
    )
    part.legend(
        handles=handles, loc="center right", ncol=3, borderaxespad=0, handletextpad=0.3,
        bbox_to_anchor=(1 - RIGHT / DOUBLE_COLUMN, 1 - 7.4 * MM / height), columnspacing=1.2,
    )  # fmt: skip


def _short(what: str, block: Block, between: str = " ") -> str:
    """Return an axis label with the unit of the feature; its name stands in the heading."""
    unit = unit_of(block.column)
    return f"{what}{between}({unit})" if unit else what


def _limits(block: Block) -> tuple[float, float]:
    return _around(np.concatenate([v[np.isfinite(v)] for v in block.values.values()]))


def _span(block: Block) -> tuple[float, float]:
    """Return the range of the differences of all methods, 0 inside."""
    high = block.values[HIGH_RESOLUTION]
    differences = [v - high for name, v in block.values.items() if name != HIGH_RESOLUTION]
    found = np.concatenate([d[np.isfinite(d)] for d in differences] or [np.zeros(1)])
    return _around(np.append(found, 0.0))


def _around(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, INSIDE)
    margin = 0.06 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the scatter of HR against SR."""
    figure_main(__doc__, draw, "figure_scatter", argv)


if __name__ == "__main__":
    run(main)
