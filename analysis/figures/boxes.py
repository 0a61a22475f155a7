"""Draw the blocks of Fig. 5: boxes of both controls, the triple, HR against SR per cell."""

from __future__ import annotations

import math
import string
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from analysis.figures.style import (
    DOUBLE_COLUMN,
    LARGEST_HEIGHT,
    MM,
    RC,
    method_colours,
    method_label,
    new_figure,
)
from analysis.statistics import Agreement
from analysis.tables.features import Block
from analysis.tables.layout import HIGH_RESOLUTION

BOXES_HEIGHT = 78 * MM
SCATTERS = (6, 42 * MM)  # how many stand side by side, and how high a row of them is
SMALL_SCATTERS = (10, 31 * MM)  # where several blocks would not fit a page
POINTS_SHOWN = 1000
COUNTS_BELOW = -22  # points under the axis, beneath labels of two lines
UNITS = {"_um2": "µm²", "_px2": "px²", "_um": "µm", "_px": "px", "_counts": "counts"}
TRIPLE = (
    ("shift_kept", "shift kept"),
    ("sd_ratio", "sd ratio"),
    ("correlation", "r within"),
)


def draw_blocks(blocks: Sequence[tuple[Block, Mapping[str, Agreement]]]) -> Figure:
    """Draw the blocks under one another, lettered a, b, ... where there are several."""
    scatters = SCATTERS
    if sum(_height(block, scatters) for block, _ in blocks) > LARGEST_HEIGHT:
        scatters = SMALL_SCATTERS
    heights = [_height(block, scatters) for block, _ in blocks]
    letters = string.ascii_lowercase if len(blocks) > 1 else ""
    with matplotlib.rc_context(dict(RC)):
        figure = new_figure(DOUBLE_COLUMN, sum(heights))
        parts = np.atleast_1d(figure.subfigures(len(blocks), 1, height_ratios=heights))
        for index, (part, (block, triples)) in enumerate(zip(parts, blocks, strict=True)):
            draw_block(part, block, triples, scatters, letter=letters[index : index + 1])
    return figure


def _height(block: Block, scatters: tuple[int, float]) -> float:
    """Return the height of a block in inches."""
    across, height = scatters
    return BOXES_HEIGHT + math.ceil((len(block.values) - 1) / across) * height


def draw_block(
    part: SubFigure,
    block: Block,
    triples: Mapping[str, Agreement],
    scatters: tuple[int, float],
    letter: str = "",
) -> None:
    """Draw one block: boxes and triple above, one scatter a method below."""
    height = _height(block, scatters)
    if letter:
        part.text(0.012, 1 - 1.2 * MM / height, letter, fontsize=9.5, fontweight="bold", va="top")
    part.suptitle(
        block.at.title, x=0.035 if letter else 0.012, y=1 - 1.5 * MM / height, ha="left", va="top",
        fontsize=8, fontweight="bold",
    )  # fmt: skip
    colours = method_colours(list(block.values))
    lower = (height - BOXES_HEIGHT) / height
    top, bottom = 1 - 13 * MM / height, lower + 21 * MM / height
    grid = part.add_gridspec(
        1, 4, left=0.085, right=0.985, top=top, bottom=bottom,
        width_ratios=(5.6, 1, 1, 1), wspace=0.12,
    )  # fmt: skip
    boxes = part.add_subplot(grid[0])
    draw_boxes(boxes, block, colours)
    place = grid[1].get_position(part)
    width = (0.985 - place.x0 - 0.085) / 3
    first: Axes | None = None
    for index, (name, title) in enumerate(TRIPLE):
        left = place.x0 + 0.085 + index * width
        axes = part.add_axes((left, place.y0, width - 0.012, place.height), sharey=first)
        draw_triple(axes, triples, name, title, colours, named=index == 0)
        first = first or axes
    _scatters(part, block, triples, colours, scatters[0], lower, height)


def draw_boxes(axes: Axes, block: Block, colours: Mapping[str, str]) -> None:
    """Draw a pair of boxes a method: negative control solid, positive control dotted."""
    for index, method in enumerate(block.values):
        for side, treatment in enumerate(block.controls):
            values = block.of(method, treatment)
            x = index + (side - 0.5) * 0.42
            counts = f"{len(values)}\n{block.wells(method, treatment)}"
            axes.annotate(
                counts, (x, 0), xycoords=("data", "axes fraction"), xytext=(0, COUNTS_BELOW),
                textcoords="offset points", ha="center", va="top", fontsize=6, linespacing=1.25,
                annotation_clip=False,
            )  # fmt: skip
            if len(values) == 0:
                continue
            drawn = axes.boxplot(
                values, positions=[x], widths=0.36, showfliers=False, patch_artist=True,
                manage_ticks=False, medianprops={"color": "black", "linewidth": 1.2},
                whiskerprops={"color": colours[method]}, capprops={"color": colours[method]},
            )  # fmt: skip
            for box in drawn["boxes"]:
                box.set_edgecolor(colours[method])
                box.set_facecolor("white" if side else colours[method])
                box.set_alpha(1.0 if side else 0.75)
                box.set_hatch("......" if side else "")
    for treatment in block.controls:
        values = block.of(HIGH_RESOLUTION, treatment)
        if len(values):
            axes.axhline(np.median(values), color="#4D4D4D", linewidth=0.5, linestyle=":", zorder=0)
    # A line of a label holds about 90 characters over all methods at 6 pt.
    room = max(7, 90 // len(block.values))
    names = ["\n".join(textwrap.wrap(method_label(m), room)) for m in block.values]
    axes.set_xticks(range(len(block.values)), names)
    axes.tick_params(axis="x", length=0, pad=3, labelsize=6.5 if len(names) < 8 else 6)
    axes.set_xlim(-0.55, len(block.values) - 0.45)
    axes.set_ylabel(readable(block.column))
    axes.annotate(
        "cells\nwells", (0, 0), xycoords="axes fraction", xytext=(-4, COUNTS_BELOW),
        textcoords="offset points", ha="right", va="top", fontsize=6, linespacing=1.25,
        annotation_clip=False,
    )  # fmt: skip
    handles = [
        Patch(facecolor="#8C8C8C", edgecolor="#4D4D4D", label=f"{block.controls[0]} (negative)"),
        Patch(
            facecolor="white", edgecolor="#4D4D4D", hatch="......",
            label=f"{block.controls[1]} (positive)",
        ),
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.02, 1.0), ncol=2, borderaxespad=0.2,
        handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip


def draw_triple(
    axes: Axes,
    triples: Mapping[str, Agreement],
    name: str,
    title: str,
    colours: Mapping[str, str],
    *,
    named: bool,
) -> None:
    """Draw one of the three with its interval; 1 is right, 0 is nothing kept."""
    limits = [0.0, 1.0]
    for place, (method, triple) in enumerate(triples.items()):
        found = getattr(triple, name)
        if not math.isfinite(found.value):
            axes.text(0.5, place, "n/a", fontsize=6, ha="center", va="center", color="#666666")
            continue
        if math.isfinite(found.low):
            axes.plot([found.low, found.high], [place, place], color=colours[method], linewidth=1.1)
            limits += [found.low, found.high]
        axes.plot(found.value, place, "o", color=colours[method], markersize=4)
        axes.annotate(
            f"{found.value:.2f}", (found.value, place), xytext=(0, 4.5),
            textcoords="offset points", fontsize=6, ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.2, "alpha": 0.85},
        )  # fmt: skip
        limits.append(found.value)
    axes.axvline(1, color="black", linestyle="--", linewidth=0.7, zorder=0)
    axes.axvline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    low, high = max(min(limits), -3.0), min(max(limits), 4.0)
    margin = 0.18 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(len(triples) - 0.5, -0.7)
    axes.set_title(title, fontsize=7)
    axes.set_xticks([0, 1])
    axes.set_yticks(range(len(triples)), [method_label(m) for m in triples])
    axes.tick_params(axis="y", length=0, labelleft=named)
    axes.spines["left"].set_visible(False)


def _scatters(
    part: SubFigure,
    block: Block,
    triples: Mapping[str, Agreement],
    colours: Mapping[str, str],
    most_across: int,
    lower: float,
    height: float,
) -> None:
    methods = [m for m in block.values if m != HIGH_RESOLUTION]
    if not methods:
        return
    rows = math.ceil(len(methods) / most_across)
    across = min(most_across, max(len(methods), 4))
    grid = part.add_gridspec(
        rows, across, left=0.085, right=0.985, top=lower - 6 * MM / height, bottom=10 * MM / height,
        wspace=0.22, hspace=0.5,
    )  # fmt: skip
    limits = _limits(block)
    for index, method in enumerate(methods):
        axes = part.add_subplot(grid[index // across, index % across])
        draw_scatter(axes, block, method, colours[method], limits)
        between = ", " if across <= SCATTERS[0] else "\n"
        axes.set_title(f"{method_label(method)}{between}r {_r(triples[method])}", fontsize=6.5)
        if index % across == 0:
            axes.set_ylabel("from SR")
        else:
            axes.tick_params(labelleft=False)
        if index + across >= len(methods):
            axes.set_xlabel("from HR")


def draw_scatter(
    axes: Axes, block: Block, method: str, colour: str, limits: tuple[float, float]
) -> None:
    """Draw HR against SR per cell: dots and solid for the negative control, rings the positive."""
    high, super_ = block.values[HIGH_RESOLUTION], block.values[method]
    for side, treatment in enumerate(block.controls):
        here = (block.cells["treatment"] == treatment).to_numpy()
        here &= np.isfinite(high) & np.isfinite(super_)
        rows = np.flatnonzero(here)[:POINTS_SHOWN]
        axes.scatter(
            high[rows], super_[rows], s=5, linewidths=0.5, alpha=0.55, rasterized=True,
            facecolors="none" if side else colour, edgecolors="#333333" if side else "none",
        )  # fmt: skip
    axes.plot(limits, limits, color="black", linewidth=0.6, linestyle="--", zorder=0)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect("equal", adjustable="box")
    axes.locator_params(nbins=4)


def readable(column: str) -> str:
    """Return a column's name as an axis label: 'mean_spot_area_um2' as 'mean spot area (µm²)'."""
    units = {
        "_um2": " (µm²)",
        "_px2": " (px²)",
        "_um": " (µm)",
        "_px": " (px)",
        "_counts": " (counts)",
    }
    for suffix, unit in units.items():
        if column.endswith(suffix):
            return column.removesuffix(suffix).replace("_", " ") + unit
    return column.replace("_", " ")


def _limits(block: Block) -> tuple[float, float]:
    values = np.concatenate([v[np.isfinite(v)] for v in block.values.values()])
    low, high = np.percentile(values, [0.5, 99.5])
    margin = 0.06 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def _r(triple: Agreement) -> str:
    value = triple.correlation.value
    return f"{value:.2f}" if math.isfinite(value) else "n/a"
