"""Fig. 8: several solutions for one LR image; images left, their feature right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison.long_table import Row, Rows, long_row, rows_at
from analysis.comparison.solutions import RAW, Cells, intervals_of, read_cells
from analysis.drawing.grids import (
    channel_colours,
    choose_cells,
    choose_treatments,
    composite,
    draw_scale_bar,
    show_image,
)
from analysis.drawing.settings import Figure8Settings
from analysis.drawing.solution_panels import (
    draw_cells,
    draw_coverage,
    draw_errors,
    draw_widths,
)
from analysis.drawing.style import DOUBLE_COLUMN, MM, axes_at, in_style, label_panel, new_stack
from analysis.numbers.conformal import Intervals
from analysis.run.description import Comparison, Run
from rls.io import read_intensity, read_stack
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION
from rls.io.splits import REPORT
from rls.runtime.errors import InputError

MOST_ROWS, MOST_SOLUTIONS = 8, 5
LEFT, TOP, GAP, SIDE = 6 * MM, 12 * MM, 0.6 * MM, 12.2 * MM
RIGHT_FROM, LEAST_HEIGHT = 116 * MM, 120 * MM


@dataclass(frozen=True)
class Shown:
    """The contents of one block: a comparison.

    Attributes:
        images: ``images[image_id]`` are (c, y, x) in [0, 1]: LR, HR, then the solutions.
        treatments: Treatment of every image id, in the order of rows.
        image_um: Side of an HR image in um.
        cells: Evaluation cells of the first feature.
        intervals, raw: Their calibrated and their raw intervals.
        numbers: Rows of the table of solutions on this comparison and feature.
    """

    at: Comparison
    images: Mapping[str, tuple[np.ndarray, ...]]
    treatments: Mapping[str, str]
    channels: tuple[str, ...]
    image_um: float
    cells: Cells
    intervals: Intervals
    raw: Intervals
    numbers: pd.DataFrame


def draw(run: Run, table: pd.DataFrame, settings: Figure8Settings) -> tuple[Figure, Rows]:
    """Return the figure, its comparisons under one another, and its numbers.

    Arguments:
        table: The table of solutions.
    """
    shown = [read_shown(at, table, settings) for at in run.comparisons(clean_only=True)]
    rows = [row for one in shown for row in numbers_of(one, settings)]
    heights = [max(LEAST_HEIGHT, TOP + len(one.images) * (SIDE + GAP) + 12 * MM) for one in shown]
    with in_style():
        figure, tops = new_stack(DOUBLE_COLUMN, heights)
        for one, top in zip(shown, tops, strict=True):
            _draw_one(figure, one, top, settings)
    return figure, rows


def read_shown(at: Comparison, table: pd.DataFrame, settings: Figure8Settings) -> Shown:
    """Read the images and numbers of one comparison.

    Raises:
        InputError: A file is absent, or the table lacks this comparison.
    """
    if not at.assay.features:
        raise InputError(f"The assay '{at.assay.name}' has no feature; Fig. 8 needs one.")
    feature = at.assay.features[0]
    cells = read_cells(at, settings.method, settings.kind_shown, feature, settings)
    intervals = intervals_of(cells, settings)
    evaluation = cells.of(REPORT)
    treatments = choose_treatments(evaluation.table, at.assay.treatments, settings.treatments_shown)
    treatments = treatments[:MOST_ROWS]
    count = max(1, min(settings.cells_per_treatment, MOST_ROWS // len(treatments)))
    chosen = choose_cells(evaluation.table, treatments, count, settings.seed)
    of_cells = {name: treatment for treatment, names in chosen.items() for name in names}
    high = read_stack(at.stack(HIGH_RESOLUTION))
    here = rows_at(table, at, "solutions")
    return Shown(
        at,
        read_images(at, list(of_cells), settings),
        of_cells,
        high.channels,
        high.images.shape[-1] * high.pixel_size_um,
        evaluation,
        intervals[settings.interval_shown],
        intervals[RAW],
        here[(here["feature"] == feature) & (here["method"] == settings.method)],
    )


def read_images(
    at: Comparison, ids: Sequence[str], settings: Figure8Settings
) -> dict[str, tuple[np.ndarray, ...]]:
    """Return LR, HR and the first solutions of every cell, (c, y, x) in [0, 1]."""
    solutions = at.solutions(settings.method, settings.kind_shown, ".ome.tif")
    stacks = [
        (read_stack(path), key)
        for path, key in (
            (at.stack(LOW_RESOLUTION), "image_id"),
            (at.stack(HIGH_RESOLUTION), "image_id"),
            (solutions, "source_image_id"),
        )
    ]
    intensity = read_intensity(at.intensity)
    found = {}
    for name in ids:
        images: list[np.ndarray] = []
        for stack, key in stacks:
            rows = np.flatnonzero(stack.table[key] == name)[:MOST_SOLUTIONS]
            images += list(intensity.to_unit(stack.images[rows]))
        found[name] = tuple(images)
    return found


def numbers_of(shown: Shown, settings: Figure8Settings) -> Rows:
    """Return the numbers behind the panels: (b) one row per cell, then those of the table."""
    cells, rows = shown.cells, []
    centre = cells.summary(settings.level).centre
    for i, name in enumerate(cells.table["image_id"]):
        facts: Row = {
            "value": centre[i],
            "low": shown.intervals.low[i],
            "high": shown.intervals.high[i],
            "n": 1,
            "unit": "cell",
            "treatment": cells.table["treatment"].iloc[i],
        }
        metric = f"interval_{settings.interval_shown}"
        row = long_row(shown.at, settings.method, metric, **facts)
        more = {"image_id": name, "high_resolution": cells.truth[i]}
        rows.append({**row, **more, "kind": settings.kind_shown, "feature": cells.column})
    table = shown.numbers.to_dict("records")
    return rows + [{str(name): value for name, value in row.items()} for row in table]


# Drawing -----------------------------------------------------------------------------------------


def _draw_one(figure: Figure, shown: Shown, top: float, settings: Figure8Settings) -> None:
    """Draw a comparison whose upper edge is ``top`` inches above the bottom."""
    width, height = figure.get_size_inches()
    title = shown.at.title
    x, y = LEFT / width, (top - 1.5 * MM) / height
    figure.text(x, y, title, fontsize=8, weight="bold", va="top")
    _draw_images(figure, shown, top - TOP, settings)
    across = DOUBLE_COLUMN - RIGHT_FROM - 3 * MM
    axes = axes_at(figure, RIGHT_FROM, top - TOP - 48 * MM, across, 48 * MM)
    draw_cells(axes, shown.cells, shown.intervals, shown.raw, settings)
    small, gap = (across - 20 * MM) / 3, 10 * MM
    for i, panel in enumerate((draw_coverage, draw_widths, draw_errors)):
        left, bottom = RIGHT_FROM + i * (small + gap), top - 76 * MM - 20 * MM
        axes = axes_at(figure, left, bottom, small, 20 * MM)
        panel(axes, shown.numbers, settings)
        label_panel(axes, "cde"[i])


def _draw_images(figure: Figure, shown: Shown, top: float, settings: Figure8Settings) -> None:
    """Draw a row of images per cell, the treatments at their left, and a note below."""
    assay = shown.at.assay
    colours = channel_colours(
        shown.channels, assay.nucleus_channel, assay.marker_channel, settings.palette
    )
    spans: dict[str, list[int]] = {}
    for i, (name, images) in enumerate(shown.images.items()):
        spans.setdefault(shown.treatments[name], []).append(i)
        for j, image in enumerate(images):
            place = (LEFT + j * (SIDE + GAP), top - i * (SIDE + GAP) - SIDE, SIDE, SIDE)
            axes = axes_at(figure, *place)
            show_image(axes, composite(image, shown.channels, colours))
            if i == 0:
                axes.set_title(("LR", "HR")[j] if j < 2 else f"SR$_{j - 1}$", fontsize=7, pad=2)
            if (i, j) == (0, 1):
                draw_scale_bar(axes, shown.image_um)
            if (i, j) == (0, 0):
                label_panel(axes, "a")
    for treatment, rows in spans.items():
        tall = len(rows) * (SIDE + GAP)
        bottom = top - rows[0] * (SIDE + GAP) - tall
        axes = axes_at(figure, LEFT - 4 * MM, bottom, 3 * MM, tall)
        axes.set_axis_off()
        axes.text(0.5, 0.5, treatment, rotation=90, ha="center", va="center", fontsize=6.5)
    below = top - len(shown.images) * (SIDE + GAP) - 1 * MM
    axes = axes_at(figure, LEFT, below - 4 * MM, 80 * MM, 4 * MM)
    axes.set_axis_off()
    names = ", ".join(f"{name} {_colour_name(colour)}" for name, colour in colours.items())
    note = f"solutions: {settings.kind_shown}; {names}; cells chosen by hash of their id"
    axes.text(0, 1, note, fontsize=6, va="top")


def _colour_name(colour: tuple[float, float, float]) -> str:
    names = ("red", "green", "blue")
    strong = " ".join(n for n, value in zip(names, colour, strict=True) if value > 0.6)
    return "magenta" if strong == "red blue" else strong
