"""The panels (b) to (e) of Fig. 8: intervals of cells, their coverage and width, and errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.comparison.solutions import RAW, Cells
from analysis.drawing.grids import choose_cells
from analysis.drawing.settings import Figure8Settings
from analysis.drawing.style import Look, label_panel
from analysis.numbers.conformal import Intervals

POINTS_PER_TREATMENT = 40
HELD, MISSED, GREY = "#0072B2", "#D55E00", "#7F7F7F"
HOLLOW = "none"
# Name in the table, name in the legend, marker and colour of each error.
ERRORS = (
    ("one_solution", "one solution", "o", HOLLOW),
    ("mean_of_solutions", "their mean", "o", HELD),
    ("single_search", "single search", "s", "#E69F00"),
)
Mark = tuple[str, str, str]  # metric, marker, colour of the face


def draw_cells(
    axes: Axes, cells: Cells, intervals: Intervals, raw: Intervals, settings: Figure8Settings
) -> None:
    """Draw panel (b): at a cell's HR value a vertical line from lower to upper limit.

    Arguments:
        intervals, raw: The calibrated and the raw intervals of the cells.
    """
    inside = intervals.contain(cells.truth)
    centre = cells.summary(settings.level).centre
    known = np.isfinite(inside) & np.isfinite(intervals.width)
    drawn = known & _chosen(cells, known, settings.seed)
    at = cells.truth[drawn]
    axes.vlines(at, raw.low[drawn], raw.high[drawn], colors=GREY, linewidth=1.8, alpha=0.5)
    for held, colour in ((1.0, HELD), (0.0, MISSED)):
        here = drawn & (inside == held)
        low, high = intervals.low[here], intervals.high[here]
        axes.vlines(cells.truth[here], low, high, colors=colour, linewidth=0.6, alpha=0.8)
        axes.plot(cells.truth[here], centre[here], "o", color=colour, markersize=1.6)
    if len(at):
        axes.plot([at.min(), at.max()], [at.min(), at.max()], "k--", linewidth=0.7)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.2 * (top - bottom))  # room for the legend
    axes.set_xlabel(f"{cells.column.replace('_', ' ')}, HR")
    axes.set_ylabel("interval of the solutions")
    share = np.nanmean(inside[known]) if known.any() else np.nan
    held_of = f"{100 * share:.0f} % of {int(known.sum())} cells held"
    title = f"{settings.kind_shown}: {held_of} (level {100 * settings.level:.0f} %)"
    axes.set_title(title, fontsize=7, loc="right")
    handles = [
        Line2D([], [], color=HELD, linewidth=0.8, label="contains HR"),
        Line2D([], [], color=MISSED, linewidth=0.8, label="does not"),
        Line2D([], [], color=GREY, linewidth=1.8, alpha=0.5, label="before calibration"),
    ]
    axes.legend(handles=handles, loc="upper left", fontsize=6, handlelength=1.2)
    label_panel(axes, "b")


def _chosen(cells: Cells, known: np.ndarray, seed: int) -> np.ndarray:
    """Return which cells are drawn, (n,) bool: some of each treatment among the ``known``."""
    table = cells.table[known]
    treatments = sorted(set(table["treatment"]))
    chosen = choose_cells(table, treatments, POINTS_PER_TREATMENT, seed)
    ids = [name for names in chosen.values() for name in names]
    return cells.table["image_id"].isin(ids).to_numpy()


def draw_coverage(axes: Axes, numbers: pd.DataFrame, settings: Figure8Settings) -> None:
    """Draw panel (c): how often intervals hold HR, over the range of a right coverage.

    Arguments:
        numbers: Rows of the table of solutions, of one comparison and feature.
    """
    row = _row(numbers, settings.kinds[0], f"coverage_{settings.interval_shown}")
    if pd.notna(row["value"]):
        axes.axhspan(row["expected_low"], row["expected_high"], color="#DDDDDD", linewidth=0)
    axes.axhline(settings.level, color="black", linewidth=0.6, linestyle="--")
    _draw_points(axes, numbers, settings.kinds, _before_and_after("coverage", settings))
    axes.set_ylim(0, 1.04)
    axes.set_ylabel("coverage", labelpad=1)
    _legend_below(axes, [("raw", "o", HOLLOW), ("calibrated", "o", HELD)])


def draw_widths(axes: Axes, numbers: pd.DataFrame, settings: Figure8Settings) -> None:
    """Draw panel (d): how wide intervals are, relative to the range of HR."""
    axes.axhline(1.0, color="black", linewidth=0.6, linestyle="--")
    _draw_points(axes, numbers, settings.kinds, _before_and_after("width", settings))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("width / HR range", labelpad=1)


def draw_errors(axes: Axes, numbers: pd.DataFrame, settings: Figure8Settings) -> None:
    """Draw panel (e): mean errors of one solution, of their mean and of the single search."""
    points = [(f"mae_{name}", marker, face) for name, _, marker, face in ERRORS]
    _draw_points(axes, numbers, settings.kinds, points)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("mean |SR − HR|", labelpad=1)
    _legend_below(axes, [(label, marker, face) for _, label, marker, face in ERRORS])


def _before_and_after(name: str, settings: Figure8Settings) -> list[Mark]:
    calibrated = f"{name}_{settings.interval_shown}"
    return [(f"{name}_{RAW}", "o", HOLLOW), (calibrated, "o", HELD)]


def _row(numbers: pd.DataFrame, kind: str, metric: str) -> pd.Series:
    """Return one number of the table over all treatments; all NaN where it is not there."""
    here = (numbers["kind"] == kind) & (numbers["metric"] == metric)
    part = numbers[here & numbers["treatment"].isna()]
    if part.empty:
        return pd.Series({name: np.nan for name in ("value", "low", "high")})
    return part.iloc[0]


def _draw_points(
    axes: Axes, numbers: pd.DataFrame, kinds: Sequence[str], marks: Sequence[Mark]
) -> None:
    """Draw the metrics of ``marks`` side by side for every kind, with intervals."""
    for k, (metric, marker, face) in enumerate(marks):
        for i, kind in enumerate(kinds):
            row = _row(numbers, kind, metric)
            if pd.isna(row["value"]):
                continue
            x = i + (k - (len(marks) - 1) / 2) * 0.26
            edge = HELD if face == HOLLOW else face
            if pd.notna(row["low"]):
                axes.plot([x, x], [row["low"], row["high"]], color=edge, linewidth=0.8)
            axes.plot(
                [x], [row["value"]], marker, markeredgewidth=0.8, clip_on=False, **_look(face)
            )
    axes.set_xticks(
        range(len(kinds)), kinds, fontsize=6, rotation=40, ha="right", rotation_mode="anchor"
    )
    axes.set_xlim(-0.6, len(kinds) - 0.4)


def _look(face: str) -> Look:
    """Return size and colours of a marker; a hollow one is white inside."""
    return {
        "markersize": 3.4,
        "markerfacecolor": "white" if face == HOLLOW else face,
        "markeredgecolor": HELD if face == HOLLOW else face,
    }


def _legend_below(axes: Axes, marks: Sequence[tuple[str, str, str]]) -> None:
    """Write the legend under a panel; ``marks`` are label, marker and colour of the face."""
    axes.legend(
        handles=[
            Line2D([], [], marker=marker, linestyle="", label=label, **_look(face))
            for label, marker, face in marks
        ],
        fontsize=6,
        loc="upper left",
        bbox_to_anchor=(-0.4, -0.52),
        handletextpad=0.1,
        borderpad=0,
        labelspacing=0.25,
    )
