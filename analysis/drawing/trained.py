"""Figures of generators that differ in what they were trained on: by prevalence, or by cells.

A column of panels for each factor shows what methods keep; the last column shows the generators
themselves. A point is one training, a line the mean over seeds.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis.comparison.kept_features import TRIPLE
from analysis.comparison.labels import feature_label, method_label
from analysis.comparison.long_table import Rows
from analysis.comparison.trained import (
    AS_SHIPPED,
    DISTANCE,
    FALLING,
    FLOOR,
    GENERATOR,
    POSITION,
    PREVALENCE,
)
from analysis.drawing.dots import sentence_figure, write_reason
from analysis.drawing.style import (
    DOUBLE_COLUMN,
    MM,
    NEGATIVE,
    Look,
    axes_at,
    in_style,
    method_colours,
    new_figure,
)
from analysis.run.description import Run

ROW, TOP, FOOT = 58 * MM, 8 * MM, 22 * MM
BOTH, TREATED = "#222222", "#B03060"  # all cells, and those of the positive control
DISTANCES = (0, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # ticks; linear up to the second
JITTER = 0.012  # distance of two series in widths of a panel


class Design(NamedTuple):
    """What varies between the generators, and what the second row of panels shows.

    Attributes:
        x: Column of the table that is drawn across.
        scale: Factor on it, such as 100 for per cent.
        beside: Column whose values besides '' are drawn filled, and '' open; none: all are filled.
        second: Metric of the second row.
    """

    x: str
    label: str
    scale: float
    log: bool
    beside: str
    second: str


BY_PREVALENCE = Design("prevalence", "treated cells in training, %", 100.0, False, "", POSITION)
BY_CELLS = Design("gan_cells", "cells in training", 1.0, True, "init_from", TRIPLE["correlation"])
TITLES = {
    TRIPLE["shift_kept"]: "shift kept",
    TRIPLE["correlation"]: "r within treatments",
    POSITION: "medians (1 and 0: those of HR)",
}


class Series(NamedTuple):
    """Points of one colour: rows of the table, and whether they are filled."""

    rows: pd.DataFrame
    colour: str
    filled: bool = True


def draw(run: Run, table: pd.DataFrame, design: Design) -> tuple[Figure, Rows]:
    """Return the figure of a run and its numbers, the rows of the table of generators.

    Arguments:
        table: The table of rule table_generators.
    """
    if table.loc[table["init_from"] != AS_SHIPPED, design.x].nunique() < 2:
        text = f"No figure: the generators of this run do not differ in {design.x}."
        return sentence_figure(text), []
    column = next(name for name in table["feature"] if name)
    shown = table[table["feature"].isin(["", column])].reset_index(drop=True)
    factors = sorted(set(shown["factor"]), reverse=True)
    metrics = (TRIPLE["shift_kept"], design.second)
    with in_style():
        figure = new_figure(DOUBLE_COLUMN, 2 * ROW + TOP + FOOT)
        for column_number, factor in enumerate(factors):
            here = shown[shown["factor"] == factor]
            for row, metric in enumerate(metrics):
                axes = _place(figure, column_number, row, len(factors) + 1)
                axes.set_title(f"{factor}x: {TITLES[metric]}", fontsize=7, loc="left", pad=3)
                _draw_kept(axes, here, run, metric, design)
        last = [_place(figure, len(factors), row, len(factors) + 1) for row in (0, 1)]
        _draw_distances(last[0], shown, run, design)
        _draw_prevalence(last[1], shown, design)
        _write_head(figure, shown, feature_label(column))
        _write_foot(figure, shown, run, design)
    rows = shown.to_dict("records")
    return figure, [{str(name): value for name, value in row.items()} for row in rows]


def _place(figure: Figure, column: int, row: int, columns: int) -> Axes:
    """Add the axes of a panel, counted from the upper left."""
    width, height = figure.get_size_inches()
    each = width / columns
    left, bottom = column * each + 11 * MM, height - TOP - (row + 1) * ROW + 10 * MM
    return axes_at(figure, left, bottom, each - 14 * MM, ROW - 16 * MM)


def _draw_kept(axes: Axes, here: pd.DataFrame, run: Run, metric: str, design: Design) -> None:
    """Draw one metric of every method at one factor."""
    colours = method_colours(run.methods)
    own = here[(here["metric"] == metric) & here["method"].isin(run.methods)]
    trained = own[own["init_from"] != AS_SHIPPED]
    series = []
    for method in run.methods:
        rows = trained[trained["method"] == method]
        for filled, part in _sides(rows, run, metric, design):
            series.append(Series(part, colours[method], filled))
        shipped = own[(own["method"] == method) & (own["init_from"] == AS_SHIPPED)]
        for value in shipped["value"]:
            axes.axhline(value, color=colours[method], linestyle=":", linewidth=0.9, zorder=1)
    for right in (0.0, 1.0) if metric == POSITION else (1.0,):
        axes.axhline(right, color="black", linestyle="--", linewidth=0.6, zorder=0)
    draw_series(axes, series, design)


def _sides(
    rows: pd.DataFrame, run: Run, metric: str, design: Design
) -> Iterator[tuple[bool, pd.DataFrame]]:
    """Yield the rows that are drawn filled, and those that are drawn open."""
    if metric == POSITION:
        positive = rows["treatment"] == run.assays[0].positive_control
        yield True, rows[positive]
        yield False, rows[~positive]
    elif design.beside:
        named = rows[design.beside] != ""
        yield True, rows[named]
        yield False, rows[~named]
    else:
        yield True, rows


def _draw_distances(axes: Axes, shown: pd.DataFrame, run: Run, design: Design) -> None:
    """Draw the kernel distances of generators; a triangle is a training that was not over."""
    axes.set_title("kernel distance of generators", fontsize=7, loc="left", pad=3)
    own = shown[(shown["method"] == GENERATOR) & (shown["metric"] == DISTANCE)]
    falling = _falling(shown)
    own = own.assign(falls=own["assay"].isin(falling))
    trained = own[own["init_from"] != AS_SHIPPED]
    assay = run.assays[0]
    colours = {"": BOTH, assay.negative_control: NEGATIVE, assay.positive_control: TREATED}
    series = []
    for treatment, colour in colours.items():
        rows = trained[trained["treatment"] == treatment]
        for filled, part in _sides(rows, run, DISTANCE, design):
            series.append(Series(part, colour, filled))
        shipped = own[(own["treatment"] == treatment) & (own["init_from"] == AS_SHIPPED)]
        for value in shipped["value"]:
            axes.axhline(value, color=colour, linestyle=":", linewidth=0.9, zorder=1)
    floors = shown[(shown["metric"] == FLOOR) & (shown["treatment"] == "")]["value"]
    if len(floors):
        axes.axhline(floors.median(), color="black", linestyle="--", linewidth=0.6, zorder=0)
    draw_series(axes, series, design)
    axes.set_yscale("symlog", linthresh=DISTANCES[1])
    low, high = axes.get_ylim()
    shown_ticks = [tick for tick in DISTANCES if low <= tick <= high]
    axes.set_yticks(shown_ticks, [f"{tick:g}" for tick in shown_ticks])
    axes.yaxis.set_minor_locator(NullLocator())


def _draw_prevalence(axes: Axes, shown: pd.DataFrame, design: Design) -> None:
    """Draw which share of generated images looks treated, against the share in training."""
    axes.set_title("generated cells that look treated, %", fontsize=7, loc="left", pad=3)
    own = shown[(shown["method"] == GENERATOR) & (shown["metric"] == PREVALENCE)]
    trained = own[own["init_from"] != AS_SHIPPED]
    if trained.empty:
        write_reason(axes, "no feature was measured", width=26)
        return
    percent = trained.assign(**{name: 100 * trained[name] for name in ("value", "low", "high")})
    filled = percent[design.beside] != "" if design.beside else pd.Series(True, percent.index)
    draw_series(
        axes, [Series(percent[filled], BOTH), Series(percent[~filled], BOTH, False)], design
    )
    for value in own.loc[own["init_from"] == AS_SHIPPED, "value"]:
        axes.axhline(100 * value, color=BOTH, linestyle=":", linewidth=0.9)
    asked = trained.sort_values(design.x)
    x = asked[design.x] * design.scale
    axes.plot(x, 100 * asked["prevalence"], "--", color="black", linewidth=0.6)
    axes.set_ylim(-3, 103)


def draw_series(axes: Axes, series: list[Series], design: Design) -> None:
    """Draw every training as a point with its interval, and the mean over seeds as a line.

    Points of different series stand a little beside one another.
    """
    kept = [one for one in series if len(one.rows)]
    if design.log:
        axes.set_xscale("log")
    values = [value for one in kept for value in one.rows[design.x] * design.scale]
    ends = (min(values), max(values))
    for rank, one in enumerate(kept):
        beside = (rank - (len(kept) - 1) / 2) * JITTER
        x = one.rows[design.x].to_numpy(float) * design.scale
        x = x * (ends[1] / ends[0]) ** beside if design.log else x + (ends[1] - ends[0]) * beside
        value = one.rows["value"].to_numpy(float)
        face = one.colour if one.filled else "white"
        ends_known = one.rows[["low", "high"]].to_numpy(float)
        axes.vlines(x, *ends_known.T, color=one.colour, linewidth=0.5, alpha=0.4)
        falls = one.rows.get("falls", pd.Series(False, one.rows.index)).to_numpy(bool)
        for here, marker in ((~falls, "o"), (falls, "v")):
            look: Look = {"color": one.colour, "markerfacecolor": face, "markeredgewidth": 0.7}
            size = 4.5 if marker == "v" else 3.2
            axes.plot(x[here], value[here], marker, markersize=size, **look)
        means = one.rows.assign(x=x).groupby("x")["value"].mean()
        line = "-" if one.filled else "--"
        axes.plot(means.index, means.to_numpy(), line, color=one.colour, linewidth=0.9, zorder=1)
    ticks = np.unique(values)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(design.label, fontsize=7, labelpad=1)
    axes.tick_params(labelsize=6.5)


def _falling(shown: pd.DataFrame) -> list[str]:
    """Return the assays whose kernel distance still fell when their training ended."""
    ends = shown[(shown["metric"] == FALLING) & (shown["value"] == 1)]
    return list(dict.fromkeys(ends["assay"]))


def _write_head(figure: Figure, shown: pd.DataFrame, feature: str) -> None:
    """Write what was measured on how many cells."""
    kept = shown[shown["metric"] == TRIPLE["shift_kept"]]
    units = "/".join(dict.fromkeys(kept["unit_of_replication"]))
    cells, wells = int(kept["n_cells"].max()), int(kept["n"].max())
    said = "simulated cells" if shown["simulated"].all() else "cells"
    text = f"{feature}, {cells} {said} of evaluation, the same for all; intervals over "
    text += f"{wells} {units}s"
    figure.text(0.012, 1 - 1.5 * MM / figure.get_size_inches()[1], text, fontsize=8, va="top")


def _write_foot(figure: Figure, shown: pd.DataFrame, run: Run, design: Design) -> None:
    """Write the legends, and which trainings were not over."""
    assay, colours, height = run.assays[0], method_colours(run.methods), figure.get_size_inches()[1]
    named = {method_label(name): colours[name] for name in run.methods}
    references = {"both": BOTH, assay.negative_control: NEGATIVE, assay.positive_control: TREATED}
    named |= {f"distance to {name}": colour for name, colour in references.items()}
    marks = [
        Line2D([], [], color=colour, marker="o", markersize=3.2, label=name)
        for name, colour in named.items()
    ]
    figure.legend(
        handles=marks,
        loc="lower center",
        ncols=len(marks),
        bbox_to_anchor=(0.5, 9 * MM / height),
        handletextpad=0.4,
        columnspacing=1.2,
    )
    falling, n = _falling(shown), int((shown["metric"] == FALLING).sum())
    over = f"Triangles: kernel distance still falling at the end, {len(falling)} of {n} trainings"
    over += f" ({', '.join(falling)})" if falling else ""
    sides = f"Medians: filled {assay.positive_control}, open {assay.negative_control}"
    if design.beside:
        sides = "Filled: from the model; open: from nothing; dotted: the model as shipped"
    text = f"A point is one training, a line the mean over seeds. {sides}. {over}."
    lines = textwrap.fill(text, 150)
    figure.text(0.012, 1.5 * MM / height, lines, fontsize=6, va="bottom")
