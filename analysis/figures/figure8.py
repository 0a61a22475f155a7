"""Fig. 8: several solutions for one LR image, and what they say of the feature.

(a) Rows are cells of each control, columns LR, HR and the solutions of one kind. (b) The calibrated
interval of each evaluation cell against its HR value. (c) How often an interval holds HR, (d) how
wide it is, (e) the error of one solution, of their mean and of the single search, for every kind.
Cells are chosen by the hash of their id; (c) to (e) show numbers of the table of solutions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.comparison.layout import (
    HIGH_RESOLUTION,
    LOW_RESOLUTION,
    Comparison,
    Inputs,
    add_inputs,
    inputs_from,
    long_row,
)
from analysis.comparison.measured import EVALUATION, feature_column
from analysis.drawing import settings as figure_settings
from analysis.drawing.command import save_outputs
from analysis.drawing.grids import (
    channel_colours,
    choose_cells,
    choose_treatments,
    composite,
    scale_bar_um,
)
from analysis.drawing.style import DOUBLE_COLUMN, MM, RC, label_panel, new_figure
from analysis.numbers.conformal import Intervals, summarise
from analysis.tables import solutions
from analysis.tables.solutions import RAW, Cells, intervals_of, read_cells, solutions_path
from rls.io import Intensity, Stack, read_intensity, read_stack, read_table
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError

Settings = make_dataclass(
    "Settings", [], bases=(solutions.Settings, figure_settings.Settings), frozen=True
)
MOST_ROWS, MOST_SOLUTIONS, POINTS_PER_TREATMENT = 8, 5, 40
LEFT, TOP, GAP, SIDE = 6 * MM, 12 * MM, 0.6 * MM, 12.2 * MM
RIGHT_FROM, LEAST_HEIGHT = 116 * MM, 120 * MM
HELD, MISSED, GREY = "#0072B2", "#D55E00", "#7F7F7F"
ERRORS = (
    ("one_solution", "one solution", "o", "none"),
    ("mean_of_solutions", "their mean", "o", "#0072B2"),
    ("single_search", "single search", "s", "#E69F00"),
)


@dataclass(frozen=True)
class Shown:
    """What one comparison shows.

    Attributes:
        images: ``images[image_id]`` are (c, y, x) in [0, 1]: LR, HR, then the solutions.
        treatments: Treatment of every image id, in the order of rows.
        cells, intervals: Evaluation cells of the first feature and their calibrated intervals.
        numbers: Rows of the table of solutions on this comparison and feature.
    """

    at: Comparison
    images: Mapping[str, tuple[np.ndarray, ...]]
    treatments: Mapping[str, str]
    channels: tuple[str, ...]
    image_um: float
    column: str
    cells: Cells
    intervals: Intervals
    raw: Intervals
    numbers: pd.DataFrame


def read_shown(at: Comparison, table: pd.DataFrame, settings: Any) -> Shown:  # noqa: ANN401
    """Read the images and numbers of one comparison.

    Raises:
        InputError: A file is absent, or the table lacks this comparison.
    """
    if not at.assay.features:
        raise InputError(f"The assay '{at.assay.name}' has no feature; Fig. 8 needs one.")
    feature, kind = at.assay.features[0], settings.kind_shown
    cells = read_cells(at, kind, feature, settings)
    intervals = intervals_of(cells, settings)
    here = (table["assay"] == at.assay.name) & (table["factor"] == at.factor)
    here &= (table["degradation"] == at.degradation) & (table["feature"] == feature)
    if not here.any():
        raise InputError(
            f"The table of solutions has no row of {at.title}. Run the rule solutions again."
        )
    stack = read_stack(solutions_path(at, settings.method, kind, ".ome.tif"))
    evaluation = cells.split(EVALUATION)
    treatments = choose_treatments(evaluation.table, at.assay.treatments, settings.treatments_shown)
    treatments = treatments[:MOST_ROWS]
    count = max(1, min(settings.cells_per_treatment, MOST_ROWS // len(treatments)))
    chosen = choose_cells(evaluation.table, treatments, count, settings.seed)
    high = read_stack(at.stack(HIGH_RESOLUTION))
    intensity = read_intensity(at.folder.parent.parent / "intensity.json")
    ids = [name for names in chosen.values() for name in names]
    low = read_stack(at.stack(LOW_RESOLUTION))
    return Shown(
        at,
        {name: _images_of(name, low, high, stack, intensity) for name in ids},
        {name: treatment for treatment, names in chosen.items() for name in names},
        high.channels,
        high.images.shape[-1] * high.pixel_size_um,
        feature_column(read_table(at.features(HIGH_RESOLUTION)), feature, at.folder),
        evaluation,
        intervals[settings.interval_shown],
        intervals[RAW],
        table[here],
    )


def _images_of(
    name: str, low: Stack, high: Stack, stack: Stack, intensity: Intensity
) -> tuple[np.ndarray, ...]:
    """Return LR, HR and the first solutions of a cell in [0, 1] units."""
    found = []
    for one, key in ((low, "image_id"), (high, "image_id"), (stack, "source_image_id")):
        rows = np.flatnonzero(one.table[key] == name)[:MOST_SOLUTIONS]
        found += list(intensity.to_unit(one.images[rows]))
    return tuple(found)


def numbers_of(shown: Shown, settings: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """Return the numbers behind the panels: (b) one row a cell, then those of the table."""
    at, rows = shown.at, []
    centre = summarise(shown.cells.values, settings.level).centre
    for i, name in enumerate(shown.cells.table["image_id"]):
        facts = {
            "value": centre[i],
            "low": shown.intervals.low[i],
            "high": shown.intervals.high[i],
            "n": 1,
            "unit": "cell",
            "treatment": shown.cells.table["treatment"].iloc[i],
        }
        row = long_row(at, settings.method, f"interval_{settings.interval_shown}", **facts)
        more = {"image_id": name, "high_resolution": shown.cells.truth[i]}
        rows.append({**row, **more, "kind": settings.kind_shown, "feature": shown.column})
    return rows + shown.numbers.to_dict("records")


# Drawing -----------------------------------------------------------------------------------------


def draw(shown: Sequence[Shown], settings: Any) -> Figure:  # noqa: ANN401
    """Draw the comparisons under one another."""
    heights = [max(LEAST_HEIGHT, TOP + len(one.images) * (SIDE + GAP) + 12 * MM) for one in shown]
    with matplotlib.rc_context(dict(RC)):
        figure = new_figure(DOUBLE_COLUMN, sum(heights))
        top = sum(heights)
        for one, height in zip(shown, heights, strict=True):
            _draw_one(figure, one, top, height, settings)
            top -= height
    return figure


def _draw_one(figure: Figure, shown: Shown, top: float, height: float, settings: Any) -> None:  # noqa: ANN401
    def axes(left: float, down: float, width: float, tall: float) -> Axes:
        """Add axes by the distance of their upper left corner from that of the block, inches."""
        whole_width, whole = figure.get_size_inches()
        box = (left / whole_width, (top - down - tall) / whole, width / whole_width, tall / whole)
        return figure.add_axes(box)

    whole_width, whole = figure.get_size_inches()
    figure.text(LEFT / whole_width, (top - 1.5 * MM) / whole, shown.at.title, fontsize=8,
                weight="bold", va="top")  # fmt: skip
    _draw_images(axes, shown, settings)
    width = DOUBLE_COLUMN - RIGHT_FROM - 3 * MM
    _draw_cells(axes(RIGHT_FROM, TOP, width, 48 * MM), shown, settings)
    small, gap = (width - 20 * MM) / 3, 10 * MM
    for i, (letter, panel) in enumerate(
        (("c", _draw_coverage), ("d", _draw_width), ("e", _draw_errors))
    ):
        one = axes(RIGHT_FROM + i * (small + gap), 76 * MM, small, 20 * MM)
        panel(one, shown, settings)
        label_panel(one, letter)


def _draw_images(axes: Any, shown: Shown, settings: Any) -> None:  # noqa: ANN401
    colours = channel_colours(
        shown.channels, shown.at.assay.nucleus_channel, shown.at.assay.marker_channel,
        settings.palette,
    )  # fmt: skip
    shown_solutions = max(len(images) for images in shown.images.values()) - 2
    headings = ["LR", "HR", *(f"SR$_{i + 1}$" for i in range(shown_solutions))]
    spans: dict[str, list[int]] = {}
    for i, (name, images) in enumerate(shown.images.items()):
        spans.setdefault(shown.treatments[name], []).append(i)
        for j, image in enumerate(images):
            panel = axes(LEFT + j * (SIDE + GAP), TOP + i * (SIDE + GAP), SIDE, SIDE)
            panel.imshow(composite(image, shown.channels, colours), interpolation="nearest")
            panel.set_axis_off()
            panel.set_gid("panel")
            if i == 0:
                panel.set_title(headings[j], fontsize=7, pad=2)
            if (i, j) == (0, 1):
                _scale_bar(panel, shown.image_um)
            if (i, j) == (0, 0):
                label_panel(panel, "a")
    for treatment, rows in spans.items():
        tall = len(rows) * (SIDE + GAP)
        side = axes(LEFT - 4 * MM, TOP + rows[0] * (SIDE + GAP), 3 * MM, tall)
        side.set_axis_off()
        side.text(0.5, 0.5, treatment, rotation=90, ha="center", va="center", fontsize=6.5)
    note = axes(LEFT, TOP + len(shown.images) * (SIDE + GAP) + 1 * MM, 80 * MM, 4 * MM)
    note.set_axis_off()
    names = ", ".join(f"{name} {_colour_name(colour)}" for name, colour in colours.items())
    note.text(0, 1, f"solutions: {settings.kind_shown}; {names}; cells by hash of their id",
              fontsize=6, va="top")  # fmt: skip


def _colour_name(colour: tuple[float, float, float]) -> str:
    names = ("red", "green", "blue")
    strong = [name for name, value in zip(names, colour, strict=True) if value > 0.6]
    return {("red", "blue"): "magenta"}.get(tuple(strong), " ".join(strong))


def _scale_bar(axes: Axes, image_um: float) -> None:
    length = scale_bar_um(image_um)
    axes.plot([0.94 - length / image_um, 0.94], [0.07, 0.07], transform=axes.transAxes,
              color="white", linewidth=1.6, solid_capstyle="butt")  # fmt: skip
    axes.text(0.94, 0.11, f"{length:g} µm", transform=axes.transAxes, color="white", fontsize=6,
              ha="right", va="bottom")  # fmt: skip


def _draw_cells(axes: Axes, shown: Shown, settings: Any) -> None:  # noqa: ANN401
    """(b): a vertical line a cell, from the lower to the upper limit, at its HR value."""
    cells, intervals = shown.cells, shown.intervals
    inside = intervals.contain(cells.truth)
    centre = summarise(cells.values, settings.level).centre
    known = np.isfinite(inside) & np.isfinite(intervals.width)
    drawn = np.zeros(len(cells.truth), dtype=bool)
    if known.any():
        table = cells.table[known]
        chosen = choose_cells(
            table, sorted(set(table["treatment"])), POINTS_PER_TREATMENT, settings.seed
        )
        ids = [name for names in chosen.values() for name in names]
        drawn = known & cells.table["image_id"].isin(ids).to_numpy()
    axes.vlines(cells.truth[drawn], shown.raw.low[drawn], shown.raw.high[drawn], colors=GREY,
                linewidth=1.8, alpha=0.5)  # fmt: skip
    for held, colour in ((1.0, HELD), (0.0, MISSED)):
        here = drawn & (inside == held)
        axes.vlines(cells.truth[here], intervals.low[here], intervals.high[here], colors=colour,
                    linewidth=0.6, alpha=0.8)  # fmt: skip
        axes.plot(cells.truth[here], centre[here], "o", color=colour, markersize=1.6)
    if drawn.any():
        ends = [cells.truth[drawn].min(), cells.truth[drawn].max()]
        axes.plot(ends, ends, color="black", linewidth=0.7, linestyle="--")
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.2 * (top - bottom))  # room for the legend
    axes.set_xlabel(f"{shown.column.replace('_', ' ')}, HR")
    axes.set_ylabel("interval of the solutions")
    share = np.nanmean(inside[known]) if known.any() else np.nan
    axes.set_title(
        f"{settings.kind_shown}: {100 * share:.0f} % of {int(known.sum())} cells held "
        f"(level {100 * settings.level:.0f} %)", fontsize=7, loc="right",
    )  # fmt: skip
    handles = [
        Line2D([], [], color=HELD, linewidth=0.8, label="holds HR"),
        Line2D([], [], color=MISSED, linewidth=0.8, label="does not"),
        Line2D([], [], color=GREY, linewidth=1.8, alpha=0.5, label="before calibration"),
    ]
    axes.legend(handles=handles, loc="upper left", fontsize=6, handlelength=1.2)
    label_panel(axes, "b")


def _row(shown: Shown, kind: str, metric: str) -> pd.Series:
    """Return one number of the table over all treatments; all NaN where it is not there."""
    part = shown.numbers
    part = part[(part["kind"] == kind) & (part["metric"] == metric) & part["treatment"].isna()]
    if part.empty:
        return pd.Series({name: np.nan for name in ("value", "low", "high")})
    return part.iloc[0]


def _points(
    axes: Axes,
    shown: Shown,
    kinds: Sequence[str],
    metrics: Sequence[tuple[str, str, str]],
    colour: str = HELD,
) -> None:
    """Draw (metric, marker, face colour) side by side for every kind, with intervals."""
    for k, (metric, marker, face) in enumerate(metrics):
        for i, kind in enumerate(kinds):
            row = _row(shown, kind, metric)
            if pd.isna(row["value"]):
                continue
            x = i + (k - (len(metrics) - 1) / 2) * 0.26
            edge = colour if face == "none" else face
            if pd.notna(row["low"]):
                axes.plot([x, x], [row["low"], row["high"]], color=edge, linewidth=0.8)
            inner = "white" if face == "none" else face
            axes.plot([x], [row["value"]], marker, markersize=3.4, markerfacecolor=inner,
                      markeredgecolor=edge, markeredgewidth=0.8, clip_on=False)  # fmt: skip
    axes.set_xticks(range(len(kinds)), kinds, fontsize=6, rotation=40, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_xlim(-0.6, len(kinds) - 0.4)


def _before_and_after(name: str, settings: Any) -> list[tuple[str, str, str]]:  # noqa: ANN401
    calibrated = f"{name}_{settings.interval_shown}"
    return [(f"{name}_{RAW}", "o", "none"), (calibrated, "o", HELD)]


def _draw_coverage(axes: Axes, shown: Shown, settings: Any) -> None:  # noqa: ANN401
    row = _row(shown, settings.kinds[0], f"coverage_{settings.interval_shown}")
    if pd.notna(row["value"]):
        axes.axhspan(row["expected_low"], row["expected_high"], color="#DDDDDD", linewidth=0)
    axes.axhline(settings.level, color="black", linewidth=0.6, linestyle="--")
    _points(axes, shown, settings.kinds, _before_and_after("coverage", settings))
    axes.set_ylim(0, 1.04)
    axes.set_ylabel("coverage", labelpad=1)
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=3.4, markerfacecolor=face,
               markeredgecolor=HELD, label=label)
        for face, label in (("white", "raw"), (HELD, "calibrated"))
    ]  # fmt: skip
    _legend_below(axes, handles)


def _legend_below(axes: Axes, handles: Sequence[Line2D]) -> None:
    axes.legend(handles=handles, fontsize=6, loc="upper left", bbox_to_anchor=(-0.4, -0.52),
                handletextpad=0.1, borderpad=0, labelspacing=0.25)  # fmt: skip


def _draw_width(axes: Axes, shown: Shown, settings: Any) -> None:  # noqa: ANN401
    axes.axhline(1.0, color="black", linewidth=0.6, linestyle="--")
    _points(axes, shown, settings.kinds, _before_and_after("width", settings))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("width / HR range", labelpad=1)


def _draw_errors(axes: Axes, shown: Shown, settings: Any) -> None:  # noqa: ANN401
    points = [(f"mae_{name}", marker, face) for name, _, marker, face in ERRORS]
    _points(axes, shown, settings.kinds, points)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("mean |SR − HR|", labelpad=1)
    handles = [
        Line2D([], [], marker=marker, linestyle="", markersize=3.4,
               markerfacecolor="white" if face == "none" else face,
               markeredgecolor=HELD if face == "none" else face, label=label)
        for _, label, marker, face in ERRORS
    ]  # fmt: skip
    _legend_below(axes, handles)


def rows_and_figure(
    inputs: Inputs,
    table: pd.DataFrame,
    settings: Any,  # noqa: ANN401
) -> tuple[Figure, list[dict[str, Any]]]:
    """Return the figure and its numbers."""
    shown = [read_shown(at, table, settings) for at in inputs.comparisons() if at.clean]
    rows = [row for one in shown for row in numbers_of(one, settings)]
    return draw(shown, settings), rows


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 8."""
    parser = Parser(__doc__, Settings, "figures")
    add_inputs(parser)
    parser.add_argument("--table", type=Path, required=True, help="the table of solutions, *.csv")
    group = parser.add_argument_group("outputs")
    for kind, text in (("pdf", "vector figure"), ("png", "at 200 dpi"), ("csv", "its numbers")):
        group.add_argument(f"--output-{kind}", type=Path, required=True, help=text)
    args, settings = parser.parse(argv)
    table = read_table(args.table, columns=["assay", "factor", "feature", "kind"])
    figure, rows = rows_and_figure(inputs_from(args), table, settings)
    save_outputs(figure, rows, args, "figure8")


if __name__ == "__main__":
    run(main)
