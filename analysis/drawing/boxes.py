"""Fig. 5: boxes of a feature on HR and every method, and beside them the triple."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from analysis.comparison.feature_values import FeatureValues, distribution_facts
from analysis.comparison.kept_features import SEPARATION, Kept, read_kept, triple_facts
from analysis.comparison.labels import feature_label, method_label
from analysis.comparison.long_table import Rows, long_row, rows_of
from analysis.drawing.dots import write_number
from analysis.drawing.settings import Settings
from analysis.drawing.style import MM, Look, block_letters, in_style, method_colours, new_blocks
from analysis.numbers.agreement import Agreement
from analysis.numbers.statistics import Estimate
from analysis.run.description import Run
from rls.io.names import HIGH_RESOLUTION
from rls.runtime.errors import InputError

BLOCK_HEIGHT = 80 * MM
COUNTS_BELOW = 22.0  # points under the axis, beneath labels of two lines
BESIDE = 11  # the most labels that fit beside one another; more of them are turned upright
TURNED = 26.0  # points that turned labels reach further down
WRAPPED = 12  # characters of a line of a turned label
SHOWN = (-3.0, 4.0)  # the largest span of an axis of the triple
LEFT, RIGHT = 0.085, 0.985  # edges of a block, as shares of its width
NO_FEATURE = "None of the assays names a feature. Add 'features' to one of them."
# Field of Agreement and title of its panel.
TRIPLE = (
    ("shift_kept", "shift kept"),
    ("sd_ratio", "sd ratio"),
    ("correlation", "r within"),
)


def draw(run: Run, settings: Settings, table: pd.DataFrame) -> tuple[Figure, Rows]:
    """Return the figure and its numbers, one block per assay, factor, degradation and feature.

    The assays of ``settings.lettered_first`` come first.

    Arguments:
        table: The table of features.

    Raises:
        InputError: No assay names a feature.
    """
    first = [*settings.lettered_first, *(assay.name for assay in run.assays)]
    ats = sorted(run.comparisons(clean_only=True), key=lambda at: first.index(at.assay.name))
    blocks = [kept for at in ats for kept in read_kept(at, table)]
    if not blocks:
        raise InputError(NO_FEATURE)
    letters = block_letters(len(blocks))
    rows = [
        {**row, "panel": letter}
        for block, letter in zip(blocks, letters, strict=True)
        for row in numbers_of(block, settings)
    ]
    return draw_blocks(blocks), rows


def numbers_of(block: Kept, settings: Settings) -> Rows:
    """Return every number of a block: distributions, separations and triples."""
    feature, rows = block.feature, []
    for method in feature.values:
        rows += [
            long_row(feature.at, method, **f) for f in distribution_facts(feature, method, settings)
        ]
        rows += rows_of(block.rows, method, SEPARATION)
        if method in block.agreements:
            facts = triple_facts(block.agreements[method])
            rows += [long_row(feature.at, method, **fact) for fact in facts]
    rows += block.beside_ceiling()
    return [{**row, "feature": feature.column} for row in rows]


def draw_blocks(blocks: Sequence[Kept]) -> Figure:
    """Return a figure with the blocks under one another, lettered where there are several."""
    titles = [block.feature.at.title for block in blocks]
    with in_style():
        heights = [BLOCK_HEIGHT + _further_down(block.feature) / 72 for block in blocks]
        figure, parts = new_blocks(titles, heights)
        for part, block in zip(parts, blocks, strict=True):
            draw_block(part, block)
    return figure


def draw_block(part: SubFigure, block: Kept) -> None:
    """Draw one block: boxes at the left, the triple at the right."""
    feature, triples = block.feature, block.agreements
    colours = method_colours(list(feature.values))
    further = _further_down(feature) / 72
    height = BLOCK_HEIGHT + further
    grid = part.add_gridspec(
        1,
        4,
        left=LEFT,
        right=RIGHT,
        top=1 - 13 * MM / height,
        bottom=(22.5 * MM + further) / height,
        width_ratios=(5.6, 1, 1, 1),
        wspace=0.12,
    )
    draw_boxes(part.add_subplot(grid[0]), feature, colours)
    place = grid[1].get_position(part.figure)
    width = (RIGHT - place.x0 - 0.085) / 3
    first: Axes | None = None
    for index, (name, title) in enumerate(TRIPLE):
        left = place.x0 + 0.085 + index * width
        axes = part.add_axes((left, place.y0, width - 0.012, place.height), sharey=first)
        draw_triple(axes, triples, name, title, colours, named=index == 0)
        if name == "correlation":
            draw_ceilings(axes, block.ceilings)
        first = first or axes


# Boxes -------------------------------------------------------------------------------------------


def draw_boxes(axes: Axes, feature: FeatureValues, colours: Mapping[str, str]) -> None:
    """Draw a pair of boxes per method: negative control solid, positive control dotted."""
    for index, method in enumerate(feature.values):
        for side, treatment in enumerate(feature.controls):
            values = feature.of(method, treatment)
            if len(values):
                _draw_box(axes, values, index + (side - 0.5) * 0.42, colours[method], dotted=side)
    if not feature.at.assay.has_high_resolution:
        axes.text(
            list(feature.values).index(HIGH_RESOLUTION),
            0.5,
            "no HR image\nexists",
            transform=axes.get_xaxis_transform(),
            fontsize=6.5,
            ha="center",
            va="center",
            color="#666666",
        )
    for treatment in feature.controls:
        values = feature.of(HIGH_RESOLUTION, treatment)
        if len(values):
            axes.axhline(np.median(values), color="#4D4D4D", linewidth=0.5, linestyle=":", zorder=0)
    _under_boxes(axes, feature)
    axes.set_ylabel(feature_label(feature.column))
    _boxes_legend(axes, feature)


def _draw_box(axes: Axes, values: np.ndarray, x: float, colour: str, *, dotted: int) -> None:
    drawn = axes.boxplot(
        values,
        positions=[x],
        widths=0.36,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        medianprops={"color": "black", "linewidth": 1.2},
        whiskerprops={"color": colour},
        capprops={"color": colour},
    )
    for box in drawn["boxes"]:
        box.set_edgecolor(colour)
        box.set_facecolor("white" if dotted else colour)
        box.set_alpha(1.0 if dotted else 0.75)
        box.set_hatch("......" if dotted else "")


def _boxes_legend(axes: Axes, feature: FeatureValues) -> None:
    negative, positive = feature.controls
    dotted: Look = {"facecolor": "white", "edgecolor": "#4D4D4D", "hatch": "......"}
    handles = [
        Patch(facecolor="#8C8C8C", edgecolor="#4D4D4D", label=f"{negative} (negative)"),
        Patch(label=f"{positive} (positive)", **dotted),
    ]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.02, 1.0),
        ncol=2,
        borderaxespad=0.2,
        handlelength=1.6,
        columnspacing=1.2,
    )


def _further_down(feature: FeatureValues) -> float:
    """Return how many points further down the counts stand, under labels that are turned."""
    return TURNED if len(feature.values) > BESIDE else 0.0


def _under_boxes(axes: Axes, feature: FeatureValues) -> None:
    """Write under each pair of boxes the method, its cells of either control, and the wells."""
    methods = list(feature.values)
    further = _further_down(feature)
    below = COUNTS_BELOW + further
    for index, method in enumerate(methods):
        cells = [len(feature.of(method, treatment)) for treatment in feature.controls]
        wells = [feature.wells(method, treatment) for treatment in feature.controls]
        _counts(axes, f"{cells[0]}\n{cells[1]}\n{wells[0]} + {wells[1]}", (index, below), "center")
    _counts(axes, "cells, neg.\ncells, pos.\nwells", (-0.62, below), "right")
    # A line of labels holds about 90 characters over all methods at 6 pt.
    room = WRAPPED if further else max(7, 90 // len(methods))
    labels = [method_label(m, feature.n_solutions.get(m, 1)) for m in methods]
    names = ["\n".join(textwrap.wrap(label, room)) for label in labels]
    axes.set_xticks(range(len(methods)), names)
    axes.tick_params(axis="x", length=0, pad=3, labelsize=6.5 if len(names) < 8 else 6)
    axes.tick_params(axis="x", labelrotation=90 if further else 0)
    axes.set_xlim(-0.55, len(methods) - 0.45)


def _counts(axes: Axes, text: str, place: tuple[float, float], side: str) -> None:
    """Write counts at ``place``: x in data, and points under the axis."""
    axes.annotate(
        text,
        (place[0], 0),
        xycoords=("data", "axes fraction"),
        xytext=(0, -place[1]),
        textcoords="offset points",
        ha=side,
        va="top",
        fontsize=6,
        linespacing=1.25,
        annotation_clip=False,
    )


# The triple --------------------------------------------------------------------------------------


def draw_triple(
    axes: Axes,
    triples: Mapping[str, Agreement],
    name: str,
    title: str,
    colours: Mapping[str, str],
    *,
    named: bool,
) -> None:
    """Draw one number of the triple with its interval; 1 is right, 0 is nothing kept.

    What lies beyond :data:`SHOWN` stands at its edge as an arrow head, with its number.

    Arguments:
        name: Field of :class:`Agreement`.
        named: Whether the methods' names stand at the left.
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
        told = name not in triple.not_above_zero
        limits.append(_draw_value(axes, found.value, place, colours[method], hollow=not told))
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


def draw_ceilings(axes: Axes, ceilings: Mapping[str, tuple[Estimate, Estimate]]) -> None:
    """Draw over each method's r what LR can know, and what its solutions owe.

    A thin line is c, a thick one c^2 for one image, and the formula for a mean over several.
    """
    for place, (c, owed) in enumerate(ceilings.values()):
        for found, width in ((c, 0.7), (owed, 2.0)):
            if math.isfinite(found.value):
                span = [place - 0.36, place + 0.36]
                axes.plot([found.value] * 2, span, color="black", linewidth=width, alpha=0.55)


def _draw_value(axes: Axes, value: float, place: int, colour: str, *, hollow: bool) -> float:
    """Draw a number, hollow if it is not distinguishable from 0, and return its place."""
    at = min(max(value, SHOWN[0]), SHOWN[1])
    mark = "o" if at == value else ">" if at < value else "<"
    face = "white" if hollow else colour
    axes.plot(at, place, mark, color=colour, markersize=4, markerfacecolor=face)
    write_number(axes, f"{value:.2f}".replace("-", "−"), (at, place), above=4.5)
    return at
