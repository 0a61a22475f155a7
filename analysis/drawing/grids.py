"""Grids of cell images: one intensity scale, colour composites, scale bars, channel legend."""

from __future__ import annotations

import hashlib
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.drawing.style import MM, new_figure
from rls.runtime.errors import InputError

LEFT = 7 * MM
RIGHT = 1 * MM
GAP = 0.6 * MM
GROUP_GAP = 3 * MM
ROW_GAP = 1.6 * MM
HEADING = 9.5 * MM
LEGEND = 7 * MM
LARGEST_PANEL = 24 * MM
SMALLEST_PANEL = 13 * MM

# (nucleus, marker, further channels): additive, so that overlap is white or near it.
PALETTES: Mapping[str, tuple[tuple[float, float, float], ...]] = {
    "article": ((0.25, 0.40, 1.0), (0.10, 0.90, 0.15), (1.0, 0.25, 0.15)),
    "colour_blind": ((1.0, 0.15, 1.0), (0.15, 0.95, 0.15), (0.20, 0.55, 1.0)),
}


@dataclass(frozen=True)
class Row:
    """Cells of one treatment side by side: ``cells[i][j]`` is panel j of cell i, (y, x, 3)."""

    treatment: str
    cells: tuple[tuple[np.ndarray, ...], ...]


@dataclass(frozen=True)
class Grid:
    """One block of a figure: every panel of every cell has the same physical size."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    colours: Mapping[str, tuple[float, float, float]]
    image_um: float
    note: str = ""


def channel_colours(
    channels: Sequence[str], nucleus: str, marker: str, palette: str
) -> dict[str, tuple[float, float, float]]:
    """Give the nucleus the first colour of ``palette``, the marker the second, others the rest.

    Raises:
        InputError: More channels than the palette has colours, or a role without a channel.
    """
    for role, name in (("nucleus_channel", nucleus), ("marker_channel", marker)):
        if name not in channels:
            raise InputError(
                f"The {role} '{name}' is not among the channels {', '.join(channels)}. "
                f"Correct it in the assay's block."
            )
    ordered = [nucleus, *([marker] if marker != nucleus else [])]
    ordered += [name for name in channels if name not in ordered]
    colours = PALETTES[palette]
    if len(ordered) > len(colours):
        raise InputError(
            f"{len(ordered)} channels cannot be told apart in one composite of at most "
            f"{len(colours)}. Show fewer channels."
        )
    return dict(zip(ordered, colours, strict=False))


def composite(
    unit: np.ndarray, channels: Sequence[str], colours: Mapping[str, tuple[float, float, float]]
) -> np.ndarray:
    """Return the additive composite (y, x, 3) of one image (c, y, x) in [0, 1], clipped."""
    clipped = np.clip(unit, 0.0, 1.0)
    weights = np.array([colours[name] for name in channels])
    return np.clip(np.einsum("cyx,ck->yxk", clipped, weights), 0.0, 1.0)


def choose_cells(
    table: pd.DataFrame, treatments: Sequence[str], count: int, seed: int
) -> dict[str, list[str]]:
    """Choose ``count`` cells a treatment by the hash of their ids: never by eye, in any order.

    Arguments:
        table: Columns image_id and treatment.

    Raises:
        InputError: A treatment has no cell.
    """
    chosen = {}
    for treatment in treatments:
        ids = table.loc[table["treatment"] == treatment, "image_id"]
        if ids.empty:
            raise InputError(
                f"Treatment '{treatment}' has no cell to show; the table has "
                f"{', '.join(sorted(set(table['treatment'].dropna())))}."
            )
        chosen[treatment] = sorted(ids, key=lambda name: (_rank(name, seed), name))[:count]
    return chosen


def choose_treatments(table: pd.DataFrame, controls: Sequence[str], count: int) -> list[str]:
    """Controls first, then others at even steps of their alphabetical order, ``count`` in all."""
    present = sorted(set(table["treatment"].dropna()))
    first = [name for name in controls if name in present]
    others = [name for name in present if name not in first]
    left = max(0, count - len(first))
    if left and others:
        steps = np.linspace(0, len(others) - 1, min(left, len(others)))
        first += [others[int(round(step))] for step in steps]
    return first


def scale_bar_um(image_um: float) -> float:
    """Return 1, 2 or 5 times a power of ten near a third of the image's side."""
    target = image_um / 3
    power = 10 ** math.floor(math.log10(target))
    return max(step * power for step in (1, 2, 5) if step * power <= target)


def cells_across(columns: int, cells: int, width: float) -> int:
    """How many cells stand side by side, so that no panel is under its smallest size."""
    available = width - LEFT - RIGHT
    fit = int((available + GROUP_GAP) // (columns * (SMALLEST_PANEL + GAP) + GROUP_GAP))
    return max(1, min(cells, fit))


def draw_grids(grids: Sequence[Grid], width: float) -> Figure:
    """Draw the blocks under one another; the height follows from their panels.

    Arguments:
        grids: At least one block.
        width: Of the figure, in inches.
    """
    heights = [grid_height(grid, width) for grid in grids]
    figure = new_figure(width, sum(heights))
    top = sum(heights)
    for grid, height in zip(grids, heights, strict=True):
        draw_grid(figure, grid, top, width)
        top -= height
    return figure


def grid_height(grid: Grid, width: float) -> float:
    """Return the height in inches of a block that is ``width`` inches wide."""
    return HEADING + len(grid.rows) * (_panel_side(grid, width) + GAP) + _gaps(grid) + LEGEND


def draw_grid(figure: Figure, grid: Grid, top: float, width: float) -> None:
    """Draw one block at the left of ``figure``, its upper edge ``top`` inches above the bottom."""
    _draw_grid(figure, grid, _panel_side(grid, width), top)


def _rank(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}|{name}|shown".encode(), digest_size=8).digest()


def _gaps(grid: Grid) -> float:
    changes = sum(
        a.treatment != b.treatment for a, b in zip(grid.rows, grid.rows[1:], strict=False)
    )
    return changes * ROW_GAP


def _panel_side(grid: Grid, width: float) -> float:
    groups = max(len(row.cells) for row in grid.rows)
    available = width - LEFT - RIGHT - (groups - 1) * GROUP_GAP
    return min(LARGEST_PANEL, available / (groups * len(grid.columns)) - GAP)


def _draw_grid(figure: Figure, grid: Grid, side: float, top: float) -> None:
    width, height = figure.get_size_inches()
    figure.text(
        LEFT / width, (top - 1.5 * MM) / height, grid.title, fontsize=8, weight="bold", va="top"
    )
    y = top - HEADING
    spans: dict[str, list[float]] = {}
    for index, row in enumerate(grid.rows):
        if index and row.treatment != grid.rows[index - 1].treatment:
            y -= ROW_GAP
        y -= side + GAP
        spans.setdefault(row.treatment, [y + side, y])[1] = y
        for cell_index, panels in enumerate(row.cells):
            x = LEFT + cell_index * (len(grid.columns) * (side + GAP) + GROUP_GAP)
            for column, panel in enumerate(panels):
                axes = figure.add_axes((x / width, y / height, side / width, side / height))
                axes.imshow(panel, interpolation="nearest", aspect="equal")
                axes.set_axis_off()
                axes.set_gid("panel")
                if index == 0:
                    axes.set_title(grid.columns[column], fontsize=_heading_size(grid, side), pad=2)
                if index == 0 and cell_index == 0 and column == 0:
                    _scale_bar(axes, panel.shape[1], grid.image_um, side)
                x += side + GAP
    for treatment, (upper, lower) in spans.items():
        label = _row_label(treatment, int((upper - lower) / (6.5 / 72 * 0.62)))
        figure.text(
            (LEFT - 1.2 * MM) / width, (upper + lower) / 2 / height, label,
            fontsize=6.5, rotation=90, ha="right", va="center",
        )  # fmt: skip
    _channel_legend(figure, grid, y)


def _row_label(name: str, room: int) -> str:
    """Return a name in one or two lines of ``room`` characters, cut where it is longer."""
    lines = textwrap.wrap(name, max(room, 4), break_long_words=False)
    if len(lines) <= 2 and all(len(line) <= room for line in lines):
        return "\n".join(lines)
    return name[: max(3, room - 1)] + "…"


def _heading_size(grid: Grid, side: float) -> float:
    longest = max(len(name) for name in grid.columns)
    return float(np.clip(side * 72 / (0.58 * longest), 6.0, 7.0))


def _scale_bar(axes, pixels: int, image_um: float, side: float) -> None:  # noqa: ANN001
    length = scale_bar_um(image_um)
    right, bottom = 0.94, 0.07
    left = right - length / image_um
    axes.plot(
        [left, right], [bottom, bottom], transform=axes.transAxes, color="white",
        linewidth=1.8, solid_capstyle="butt",
    )  # fmt: skip
    axes.text(
        right, bottom + 0.04, f"{length:g} µm", transform=axes.transAxes,
        color="white", fontsize=6, ha="right", va="bottom",
    )  # fmt: skip


def _channel_legend(figure: Figure, grid: Grid, bottom: float) -> None:
    width, height = figure.get_size_inches()
    x, y = LEFT, bottom - 3.2 * MM
    for channel, colour in grid.colours.items():
        axes = figure.add_axes((x / width, y / height, 2.2 * MM / width, 2.2 * MM / height))
        axes.set_facecolor(to_hex(colour))
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.text(
            (x + 3 * MM) / width, (y + 1.1 * MM) / height, channel, fontsize=6.5, va="center"
        )
        x += (5 + 1.35 * max(4, len(channel))) * MM
    if grid.note:
        figure.text(
            (x + 1 * MM) / width, (y + 1.1 * MM) / height, grid.note, fontsize=6, va="center"
        )
