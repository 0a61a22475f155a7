"""Draw the blocks of Fig. 5: boxes of both controls, and the triple beside them."""

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

from analysis.comparison.layout import HIGH_RESOLUTION
from analysis.drawing.style import (
    DOUBLE_COLUMN,
    MM,
    RC,
    method_colours,
    method_label,
    new_figure,
)
from analysis.numbers.agreement import Agreement
from analysis.tables.features import Block

BLOCK_HEIGHT = 80 * MM
UNITS = {"_um2": "µm²", "_px2": "px²", "_um": "µm", "_px": "px", "_counts": "counts"}
COUNTS_BELOW = -22  # points under the axis, beneath labels of two lines
SHOWN = (-3.0, 4.0)  # the most that an axis of the triple spans
TRIPLE = (
    ("shift_kept", "shift kept"),
    ("sd_ratio", "sd ratio"),
    ("correlation", "r within"),
)


def draw_blocks(blocks: Sequence[tuple[Block, Mapping[str, Agreement]]]) -> Figure:
    """Draw the blocks under one another, lettered a, b, ... where there are several."""
    letters = string.ascii_lowercase if len(blocks) > 1 else ""
    with matplotlib.rc_context(dict(RC)):
        figure = new_figure(DOUBLE_COLUMN, len(blocks) * BLOCK_HEIGHT)
        parts = np.atleast_1d(figure.subfigures(len(blocks), 1))
        for index, (part, (block, triples)) in enumerate(zip(parts, blocks, strict=True)):
            draw_block(part, block, triples, letter=letters[index : index + 1])
    return figure


def draw_block(
    part: SubFigure, block: Block, triples: Mapping[str, Agreement], letter: str = ""
) -> None:
    """Draw one block: boxes at the left, the triple at the right."""
    write_heading(part, block.at.title, letter, BLOCK_HEIGHT)
    colours = method_colours(list(block.values))
    top, bottom = 1 - 13 * MM / BLOCK_HEIGHT, 22.5 * MM / BLOCK_HEIGHT
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


def write_heading(part: SubFigure, title: str, letter: str, height: float) -> None:
    """Write letter and title into the upper left corner of a block ``height`` inches high."""
    if letter:
        part.text(0.012, 1 - 1.2 * MM / height, letter, fontsize=9.5, fontweight="bold", va="top")
    part.suptitle(
        title, x=0.035 if letter else 0.012, y=1 - 1.5 * MM / height, ha="left", va="top",
        fontsize=8, fontweight="bold",
    )  # fmt: skip


def draw_boxes(axes: Axes, block: Block, colours: Mapping[str, str]) -> None:
    """Draw a pair of boxes a method: negative control solid, positive control dotted."""
    for index, method in enumerate(block.values):
        for side, treatment in enumerate(block.controls):
            values = block.of(method, treatment)
            x = index + (side - 0.5) * 0.42
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
    if not block.at.assay.has_high_resolution:
        place = list(block.values).index(HIGH_RESOLUTION)
        axes.text(
            place, 0.5, "no HR image\nexists", transform=axes.get_xaxis_transform(), fontsize=6.5,
            ha="center", va="center", color="#666666",
        )  # fmt: skip
    for treatment in block.controls:
        values = block.of(HIGH_RESOLUTION, treatment)
        if len(values):
            axes.axhline(np.median(values), color="#4D4D4D", linewidth=0.5, linestyle=":", zorder=0)
    _under_boxes(axes, block)
    axes.set_ylabel(readable(block.column))
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


def _under_boxes(axes: Axes, block: Block) -> None:
    """Write under each pair of boxes the method, its cells of either control, and the wells."""
    for index, method in enumerate(block.values):
        cells = [len(block.of(method, treatment)) for treatment in block.controls]
        wells = [block.wells(method, treatment) for treatment in block.controls]
        _counts(axes, f"{cells[0]}\n{cells[1]}\n{wells[0]} + {wells[1]}", index, "center")
    _counts(axes, "cells, neg.\ncells, pos.\nwells", -0.62, "right")
    # A line of a label holds about 90 characters over all methods at 6 pt.
    room = max(7, 90 // len(block.values))
    names = ["\n".join(textwrap.wrap(method_label(m), room)) for m in block.values]
    axes.set_xticks(range(len(block.values)), names)
    axes.tick_params(axis="x", length=0, pad=3, labelsize=6.5 if len(names) < 8 else 6)
    axes.set_xlim(-0.55, len(block.values) - 0.45)


def _counts(axes: Axes, text: str, x: float, side: str) -> None:
    axes.annotate(
        text, (x, 0), xycoords=("data", "axes fraction"), xytext=(0, COUNTS_BELOW),
        textcoords="offset points", ha=side, va="top", fontsize=6, linespacing=1.25,
        annotation_clip=False,
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
    """Draw one of the three with its interval; 1 is right, 0 is nothing kept.

    What lies beyond ``SHOWN`` stands at its edge as an arrow head, with its number.
    """
    limits = [0.0, 1.0]
    for place, (method, triple) in enumerate(triples.items()):
        found = getattr(triple, name)
        if not math.isfinite(found.value):
            axes.text(0.5, place, "n/a", fontsize=6, ha="center", va="center", color="#666666")
            continue
        if math.isfinite(found.low):
            axes.plot([found.low, found.high], [place, place], color=colours[method], linewidth=1.1)
            limits += [found.low, found.high]
        # Hollow: not told from 0.
        face = "white" if name in triple.not_above_zero else colours[method]
        at = min(max(found.value, SHOWN[0]), SHOWN[1])
        mark = "o" if at == found.value else ">" if at < found.value else "<"
        axes.plot(at, place, mark, color=colours[method], markersize=4, markerfacecolor=face)
        axes.annotate(
            f"{found.value:.2f}".replace("-", "−"), (at, place), xytext=(0, 4.5),
            textcoords="offset points", fontsize=6, ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.2, "alpha": 0.85},
        )  # fmt: skip
        limits.append(at)
    axes.axvline(1, color="black", linestyle="--", linewidth=0.7, zorder=0)
    axes.axvline(0, color="#BBBBBB", linewidth=0.6, zorder=0)
    low, high = max(min(limits), SHOWN[0]), min(max(limits), SHOWN[1])
    margin = 0.18 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(len(triples) - 0.5, -0.7)
    axes.set_title(title, fontsize=7)
    axes.set_xticks([0, 1])
    axes.set_yticks(range(len(triples)), [method_label(m) for m in triples])
    axes.tick_params(axis="y", length=0, labelleft=named)
    axes.spines["left"].set_visible(False)


def readable(column: str) -> str:
    """Return a column's name as an axis label: 'mean_spot_area_um2' as 'mean spot area (µm²)'."""
    unit = unit_of(column)
    if not unit:
        return column.replace("_", " ")
    suffix = next(s for s, u in UNITS.items() if u == unit)
    return f"{column.removesuffix(suffix).replace('_', ' ')} ({unit})"


def unit_of(column: str) -> str:
    """Return the unit that a column's name ends in, such as 'µm²'; empty where it has none."""
    return next((unit for suffix, unit in UNITS.items() if column.endswith(suffix)), "")
