"""The figure of traces: what starts, coordinates and rates give after steps and seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    LogLocator,
    NullLocator,
    StrMethodFormatter,
)

from analysis.comparison.image_metrics import FIDELITY
from analysis.comparison.kept_features import TRIPLE
from analysis.comparison.labels import feature_label, method_label
from analysis.comparison.long_table import Rows, long_table
from analysis.comparison.traced import PROCESSOR, SECONDS, trace_rows
from analysis.drawing.dots import write_reason
from analysis.drawing.settings import Settings
from analysis.drawing.style import (
    DOUBLE_COLUMN,
    MM,
    Look,
    axes_at,
    in_style,
    method_colours,
    new_stack,
)
from analysis.drawing.sweep import positions
from analysis.run.description import Comparison, Run

LINE_HEIGHT = 33 * MM
HEADING = 9 * MM
BAND = 0.1  # opacity of an interval
STEPS, TIME = "steps", "time"  # columns that are drawn across
NAMES = {STEPS: "steps", SECONDS: "seconds a cell", PROCESSOR: "processor seconds a cell"}


class Panel(NamedTuple):
    """One metric: its title, factor, and the value of a perfect reconstruction."""

    metric: str
    title: str
    scale: float = 1.0
    right: float | None = None
    of_feature: bool = True
    log: bool = False


PANELS = (
    Panel(FIDELITY, "|D(SR) − LR|, x1e3 ↓", 1000.0, of_feature=False, log=True),
    Panel(TRIPLE["correlation"], "r within treatments ↑"),
    Panel(TRIPLE["shift_kept"], "shift kept", right=1.0),
    Panel(TRIPLE["sd_ratio"], "sd ratio", right=1.0),
)


@dataclass(frozen=True)
class Block:
    """The numbers of one assay and factor, a long table with steps, own, n_cells and feature.

    Attributes:
        column: The column of a feature that is drawn; '' where the assay has no feature.
    """

    at: Comparison
    numbers: pd.DataFrame
    column: str

    @property
    def clock(self) -> str:
        """The metric of time: the processor's where the searches ran on a CPU."""
        timed = self.numbers.loc[self.numbers["metric"] == PROCESSOR, "value"].notna()
        return PROCESSOR if timed.any() else SECONDS

    def of(self, method: str, panel: Panel) -> pd.DataFrame:
        """Return the rows of one line, by steps, with their time."""
        own = self.numbers[self.numbers["method"] == method]
        seconds = own[own["metric"] == self.clock].set_index(STEPS)["value"]
        feature = self.column if panel.of_feature else ""
        here = own[(own["metric"] == panel.metric) & (own["feature"] == feature)]
        here = here.sort_values(STEPS)
        return here.assign(**{TIME: here[STEPS].map(seconds)})


def draw(
    run: Run, methods: Sequence[str], settings: Settings, columns: Mapping[str, str] | None = None
) -> tuple[Figure, Rows]:
    """Return the figure, one block per assay and factor, and its numbers.

    Arguments:
        columns: The column that is drawn, by assay; without it that of the assay's first feature.
    """
    blocks: list[Block] = []
    rows: Rows = []
    for at in run.comparisons(clean_only=True):
        if at.assay.has_high_resolution:
            column = (columns or {}).get(at.assay.name, "")
            own = [row for method in methods for row in trace_rows(at, method, settings, column)]
            first = next((row["feature"] for row in own if row["feature"]), "")
            blocks.append(Block(at, long_table(own), column or first))
            rows += own
    with in_style():
        height = 2 * LINE_HEIGHT + HEADING
        figure, tops = new_stack(DOUBLE_COLUMN, [height] * len(blocks))
        for block, top in zip(blocks, tops, strict=True):
            _draw_block(figure, block, methods, top)
    return figure, rows


def _draw_block(figure: Figure, block: Block, methods: Sequence[str], top: float) -> None:
    """Draw a block whose upper edge is ``top`` inches above the bottom."""
    _draw_heading(figure, block, top)
    colours = method_colours(methods)
    for index, panel in enumerate(PANELS):
        lines = {method: block.of(method, panel) for method in methods}
        for row, across in enumerate((STEPS, TIME)):
            left, bottom = (11 + 39.5 * index) * MM, top - HEADING - (row + 1) * LINE_HEIGHT
            axes = axes_at(figure, left, bottom + 9 * MM, 30 * MM, LINE_HEIGHT - 13 * MM)
            draw_panel(axes, lines, panel, across, colours)
            axes.set_xlabel(
                across if across == STEPS else NAMES[block.clock], fontsize=7, labelpad=1
            )
            if panel == PANELS[-1] and across == STEPS:
                name_lines(axes, lines, panel, colours)


def _draw_heading(figure: Figure, block: Block, top: float) -> None:
    """Write what was searched, what was measured, and what intervals are over."""
    width, total = figure.get_size_inches()
    numbers, at = block.numbers, block.at
    of_triple = numbers[numbers["metric"] == TRIPLE["correlation"]]
    units = "wells" if "well" in set(of_triple["unit_of_replication"]) else "fields"
    y = (top - 1.5 * MM) / total
    title = f"{at.assay.label}, {at.factor}x: {int(numbers['n_cells'].max())} cells of tune"
    figure.text(2 * MM / width, y, title, fontsize=8, weight="bold", va="top")
    said = f"{feature_label(block.column)}; intervals over {units}" if block.column else ""
    figure.text(0.99, y, said, fontsize=6, va="top", ha="right")


def draw_panel(
    axes: Axes,
    lines: Mapping[str, pd.DataFrame],
    panel: Panel,
    across: str,
    colours: Mapping[str, str],
) -> None:
    """Draw one metric against steps or seconds: a line and a band a method.

    A large dot is the method's own number of steps.
    """
    axes.set_title(panel.title, fontsize=7, loc="left", pad=3)
    together = pd.concat(lines.values())
    if together[["value", across]].isna().any(axis=1).all():
        reasons = together.loc[together["value"].isna(), "reason"]
        write_reason(axes, next(iter(reasons), "no batch was timed"), width=26)
        return
    if panel.log:
        axes.set_yscale("log")
    if panel.right is not None:
        axes.axhline(panel.right, color="black", linestyle="--", linewidth=0.6, zorder=0)
    places = _axis_of_steps(axes, together) if across == STEPS else {}
    if across == TIME:
        axes.set_xscale("log")
    for method, line in lines.items():
        x = line[across].map(places) if across == STEPS else line[across]
        value, low, high = (line[name] * panel.scale for name in ("value", "low", "high"))
        axes.fill_between(x, low, high, color=colours[method], alpha=BAND, linewidth=0)
        axes.plot(x, value, color=colours[method], marker="o", markersize=1.8, linewidth=0.9)
        own = line["own"].to_numpy(dtype=bool)
        axes.plot(x[own], value[own], "o", color=colours[method], markersize=4)
    if across == TIME:
        _plain_ticks(axes.xaxis)
    if panel.log:
        _plain_ticks(axes.yaxis)
    else:
        axes.locator_params(axis="y", nbins=4)


def _plain_ticks(axis: Axis) -> None:
    """Write the ticks of a logarithmic axis as plain numbers, in short ranges also 2 and 5."""
    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 30 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def _axis_of_steps(axes: Axes, lines: pd.DataFrame) -> dict[int, float]:
    """Put a tick at every checkpoint, on a logarithmic axis with 0 at its left."""
    steps = np.unique(lines[STEPS].to_numpy(dtype=float))
    places = dict(zip(steps.astype(int).tolist(), positions(steps).tolist(), strict=True))
    axes.xaxis.set_major_locator(FixedLocator(list(places.values())))
    axes.xaxis.set_major_formatter(FixedFormatter([str(number) for number in places]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=6)
    return places


def name_lines(
    axes: Axes, lines: Mapping[str, pd.DataFrame], panel: Panel, colours: Mapping[str, str]
) -> None:
    """Write the methods' names at the right, in the order of the lines' ends and apart.

    A thin line joins a name to the end of its line. Names of lines without an end stand in the
    middle.
    """
    ends = {method: line.iloc[-1]["value"] * panel.scale for method, line in lines.items()}
    low, high = axes.get_ylim()
    at = {
        method: (end - low) / (high - low) if np.isfinite(end) else 0.5
        for method, end in ends.items()
    }
    line_of_text = 7.5 / 72 / (axes.bbox.height / axes.figure.dpi)
    for method, place in spread(at, line_of_text).items():
        joined: Look = {"arrowstyle": "-", "color": colours[method], "linewidth": 0.4}
        joined["relpos"] = (0.0, 0.5)  # the left edge of the name
        axes.annotate(
            method_label(method),
            (1.0, at[method]),
            xycoords="axes fraction",
            xytext=(1.12, place),
            textcoords="axes fraction",
            fontsize=6,
            color=colours[method],
            va="center",
            annotation_clip=False,
            arrowprops=joined if np.isfinite(ends[method]) else None,
        )


def spread(places: Mapping[str, float], gap: float) -> dict[str, float]:
    """Return the places moved apart to at least ``gap``, in their order and with their mean kept.

    Neighbours that are too near become a group about its mean, as often as groups touch.
    """
    names = sorted(places, key=lambda name: places[name])
    groups: list[list[str]] = []
    for name in names:
        groups.append([name])
        while len(groups) > 1 and _edge(groups[-2], places, gap, 1) + gap > _edge(
            groups[-1], places, gap, -1
        ):
            last = groups.pop()
            groups[-1] += last
    return {
        name: _edge(group, places, gap, -1) + rank * gap
        for group in groups
        for rank, name in enumerate(group)
    }


def _edge(group: Sequence[str], places: Mapping[str, float], gap: float, side: int) -> float:
    """Return the lowest (side -1) or highest (1) place of a group that stands about its mean."""
    middle = sum(places[name] for name in group) / len(group)
    return middle + side * gap * (len(group) - 1) / 2
