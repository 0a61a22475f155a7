"""The figure of where a feature is lost: distributions of real, generated and made-up cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.comparison.labels import feature_label
from analysis.comparison.long_table import Rows
from analysis.comparison.where_lost import GENERATED, Block, Strip, blocks_of, kept_of, numbers_of
from analysis.drawing.dots import sentence_figure
from analysis.drawing.style import DOUBLE_COLUMN, MM, axes_at, in_style, method_colours, new_stack
from analysis.numbers.statistics import Estimate
from analysis.run.description import Run
from rls.io.names import GAN, HIGH_RESOLUTION

ROW = 5.2 * MM  # height of a strip
HEADING, FOOT, GAP = 11 * MM, 11 * MM, 3 * MM
LABELS, NUMBERS = 34 * MM, 23 * MM  # room at the left and at the right
BINS = 48
EDGES = (0.005, 0.995)  # quantiles of real cells between which the axis lies, with a margin
MARGIN = 0.25
REAL, MADE = "#4D4D4D", "#B35900"
NOTHING = "No assay with high-resolution images measures a feature; there is nothing to compare."


def draw(run: Run, table: pd.DataFrame) -> tuple[Figure, Rows]:
    """Return the figure, one block per assay, factor and feature, and its numbers.

    Arguments:
        table: The table of features.
    """
    blocks = [
        block
        for at in run.comparisons(clean_only=True)
        if at.assay.has_high_resolution
        for block in blocks_of(at, table)
    ]
    if not blocks:
        return sentence_figure(NOTHING), []
    with in_style():
        figure, tops = new_stack(DOUBLE_COLUMN, [_height(block) for block in blocks])
        for block, top in zip(blocks, tops, strict=True):
            _draw_block(figure, block, top)
    return figure, [row for block in blocks for row in numbers_of(block)]


def _panels(block: Block) -> list[tuple[str, list[Strip]]]:
    """Return the strips of all treatments, then those of each control, with their titles."""
    named = [("all treatments", ""), *((name, name) for name in block.feature.controls)]
    return [(title, [s for s in block.strips if s.treatment == key]) for title, key in named]


def _height(block: Block) -> float:
    rows = sum(len(strips) for _, strips in _panels(block))
    return HEADING + rows * ROW + 2 * GAP + 3 * 3 * MM + FOOT


def _draw_block(figure: Figure, block: Block, top: float) -> None:
    """Draw the panels of a block under one another, on one axis of the feature."""
    across, up = figure.get_size_inches()
    figure.text(
        1.5 * MM / across,
        (top - 2 * MM) / up,
        block.feature.at.title,
        fontsize=8,
        fontweight="bold",
        va="top",
    )
    limits = _limits(block)
    colours = method_colours(list(block.feature.values))
    bottom = top - HEADING
    panels = _panels(block)
    for index, (title, strips) in enumerate(panels):
        height = len(strips) * ROW
        bottom -= height + 3 * MM
        axes = axes_at(figure, LABELS, bottom, DOUBLE_COLUMN - LABELS - NUMBERS, height)
        _draw_panel(axes, block, strips, limits, colours)
        axes.set_title(title, fontsize=7, loc="left", pad=2)
        last = index == len(panels) - 1
        axes.tick_params(axis="x", labelbottom=last)
        if last:
            axes.set_xlabel(feature_label(block.feature.column))
        bottom -= GAP


def _limits(block: Block) -> tuple[float, float]:
    """Return the axis: most of the real cells, with a margin for what lies beside them."""
    real = block.feature.values[HIGH_RESOLUTION]
    low, high = np.nanquantile(real, EDGES)
    margin = MARGIN * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def _draw_panel(
    axes: Axes,
    block: Block,
    strips: Sequence[Strip],
    limits: tuple[float, float],
    colours: dict[str, str],
) -> None:
    """Draw a strip a row: the density of its values, its quartiles and its median."""
    edges = np.linspace(*limits, BINS + 1)
    named = {**colours, GAN: REAL, GENERATED: MADE}
    for place, strip in enumerate(strips):
        colour, base = named[strip.method], place + 0.36
        if len(strip.values):
            inside = np.clip(strip.values, *limits)
            counts, _ = np.histogram(inside, edges)
            shape = 0.78 * counts / max(counts.max(), 1)
            middles = (edges[1:] + edges[:-1]) / 2
            axes.fill_between(middles, base, base - shape, color=colour, alpha=0.35, linewidth=0)
            quartiles = np.quantile(inside, (0.25, 0.5, 0.75))
            axes.plot(quartiles[[0, 2]], [base, base], color=colour, linewidth=2.4)
            axes.plot(quartiles[1], base, "o", color=colour, markersize=3.4)
        else:
            axes.text(
                0.5,
                place,
                "not measurable",
                fontsize=6,
                color="#666666",
                transform=axes.get_yaxis_transform(),
                ha="center",
            )  # fmt: skip : one call
        axes.annotate(
            _beside(block, strip),
            (1, base - 0.3),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=6,
            va="center",
        )
    if strips and len(strips[0].values):
        axes.axvline(np.median(strips[0].values), color=REAL, linestyle=":", linewidth=0.6)
    axes.set_xlim(*limits)
    axes.set_ylim(len(strips) - 0.5, -0.5)
    axes.set_yticks(range(len(strips)), [strip.label for strip in strips])
    axes.tick_params(axis="y", length=0, labelsize=6.5)
    axes.spines["left"].set_visible(False)


def _beside(block: Block, strip: Strip) -> str:
    """Return what is written at the right of a strip: shift kept and r, or the number of cells."""
    n = f"n {len(strip.values):,}"
    if not strip.treatment or strip.method == HIGH_RESOLUTION:
        return n
    if strip.treatment == block.feature.controls[0]:
        return n
    shift, r = kept_of(block, strip)
    return f"shift {_said(shift)}, r {_said(r)}"


def _said(found: Estimate) -> str:
    return f"{found.value:.2f}".replace("-", "−") if math.isfinite(found.value) else "n/a"
