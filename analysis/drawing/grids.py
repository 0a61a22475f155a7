"""Draw grids of cell images: colour composites at one intensity scale, scale bar, legend."""

from __future__ import annotations

import hashlib
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.drawing.style import MM, axes_at, new_stack
from rls.runtime.errors import InputError

# Lengths are in inches.
LEFT = 7 * MM
RIGHT = 1 * MM
GAP = 0.6 * MM
GROUP_GAP = 3 * MM
ROW_GAP = 1.6 * MM
HEADING = 9.5 * MM
LEGEND = 7 * MM
LARGEST_PANEL = 24 * MM
SMALLEST_PANEL = 13 * MM

Colour = tuple[float, float, float]  # red, green and blue, each in [0, 1]

# Colours of nucleus, marker and a third channel. They add up, so that overlap is nearly white.
PALETTES: Mapping[str, tuple[Colour, ...]] = {
    "article": ((0.25, 0.40, 1.0), (0.10, 0.90, 0.15), (1.0, 0.25, 0.15)),
    "colour_blind": ((1.0, 0.15, 1.0), (0.15, 0.95, 0.15), (0.20, 0.55, 1.0)),
}


@dataclass(frozen=True)
class GridRow:
    """Cells of one treatment side by side: ``cells[i][j]`` is panel j of cell i, (y, x, 3)."""

    treatment: str
    cells: tuple[tuple[np.ndarray, ...], ...]


@dataclass(frozen=True)
class Grid:
    """One block of a figure, in which every panel of every cell has the same physical size.

    Attributes:
        columns: Headings of the panels of a cell.
        colours: Colour of every channel.
        image_um: Side of an image in um.
        note: Text beside the legend.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]
    colours: Mapping[str, Colour]
    image_um: float
    note: str = ""


def channel_colours(
    channels: Sequence[str], nucleus: str, marker: str, palette: str
) -> dict[str, Colour]:
    """Return one colour of ``palette`` a channel, the nucleus first, then the marker, then others.

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
    unit: np.ndarray, channels: Sequence[str], colours: Mapping[str, Colour]
) -> np.ndarray:
    """Return the additive composite (y, x, 3) of one image (c, y, x) in [0, 1], clipped."""
    clipped = np.clip(unit, 0.0, 1.0)
    weights = np.array([colours[name] for name in channels])
    return np.clip(np.einsum("cyx,ck->yxk", clipped, weights), 0.0, 1.0)


def choose_cells(
    table: pd.DataFrame, treatments: Sequence[str], count: int, seed: int
) -> dict[str, list[str]]:
    """Return ``count`` image ids a treatment, chosen by the hash of the id and never by eye.

    The order of the table does not matter.

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


def choose_treatments(
    table: pd.DataFrame, controls: Sequence[str], count: int, named: Sequence[str] = ()
) -> list[str]:
    """Return all controls, then ``named`` or others in steps of the alphabet, up to ``count``."""
    present = sorted(set(table["treatment"].dropna()))
    first = [name for name in controls if name in present]
    others = [name for name in present if name not in first]
    left = max(0, count - len(first))
    if named:
        return first + [name for name in named if name in others][:left]
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
    """Return how many cells fit side by side without a panel under its smallest size."""
    available = width - LEFT - RIGHT
    fit = int((available + GROUP_GAP) // (columns * (SMALLEST_PANEL + GAP) + GROUP_GAP))
    return max(1, min(cells, fit))


def draw_grids(grids: Sequence[Grid], width: float) -> Figure:
    """Return a figure, ``width`` inches wide, with the blocks under one another.

    Its height follows from their panels.
    """
    figure, tops = new_stack(width, [grid_height(grid, width) for grid in grids])
    for grid, top in zip(grids, tops, strict=True):
        draw_grid(figure, grid, top, width)
    return figure


def grid_height(grid: Grid, width: float) -> float:
    """Return the height in inches of a block that is ``width`` inches wide."""
    pairs = zip(grid.rows, grid.rows[1:], strict=False)
    gaps = ROW_GAP * sum(one.treatment != after.treatment for one, after in pairs)
    return HEADING + len(grid.rows) * (_panel_side(grid, width) + GAP) + gaps + LEGEND


def draw_grid(figure: Figure, grid: Grid, top: float, width: float) -> None:
    """Draw one block at the left of ``figure``, its upper edge ``top`` inches above the bottom."""
    across, up = figure.get_size_inches()
    side = _panel_side(grid, width)
    figure.text(
        LEFT / across, (top - 1.5 * MM) / up, grid.title, fontsize=8, weight="bold", va="top"
    )
    y = top - HEADING
    spans: dict[str, list[float]] = {}
    for index, row in enumerate(grid.rows):
        if index and row.treatment != grid.rows[index - 1].treatment:
            y -= ROW_GAP
        y -= side + GAP
        spans.setdefault(row.treatment, [y + side, y])[1] = y
        _draw_row(figure, grid, row, y, side, first=index == 0)
    for treatment, (upper, lower) in spans.items():
        figure.text(
            (LEFT - 1.2 * MM) / across,
            (upper + lower) / 2 / up,
            _row_label(treatment, int((upper - lower) / (6.5 / 72 * 0.62))),
            fontsize=6.5,
            rotation=90,
            ha="right",
            va="center",
        )
    _channel_legend(figure, grid, y)


def _draw_row(
    figure: Figure, grid: Grid, row: GridRow, y: float, side: float, *, first: bool
) -> None:
    """Draw the panels of a row, ``y`` inches above the bottom; the first row bears headings."""
    longest = max(map(len, grid.columns))
    size = float(np.clip(side * 72 / (0.58 * longest), 6.0, 7.0))
    for cell_index, panels in enumerate(row.cells):
        x = LEFT + cell_index * (len(grid.columns) * (side + GAP) + GROUP_GAP)
        for column, panel in enumerate(panels):
            axes = axes_at(figure, x, y, side, side)
            show_image(axes, panel)
            if first:
                axes.set_title(grid.columns[column], fontsize=size, pad=2)
            if first and cell_index == 0 and column == 0:
                draw_scale_bar(axes, grid.image_um, linewidth=1.8)
            x += side + GAP


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Show an image (y, x, 3) with its own pixels, nothing around it."""
    axes.imshow(image, interpolation="nearest", aspect="equal")
    axes.set_axis_off()
    axes.set_gid("panel")


def draw_scale_bar(
    axes: Axes, image_um: float, *, linewidth: float = 1.6, text_at: float = 0.11
) -> None:
    """Draw a white scale bar with its length into the lower right corner of an image.

    Arguments:
        image_um: Side of the image in um.
        linewidth: Of the bar, in points.
        text_at: Height of the text as a share of the image.
    """
    length = scale_bar_um(image_um)
    axes.plot(
        [0.94 - length / image_um, 0.94],
        [0.07, 0.07],
        transform=axes.transAxes,
        color="white",
        linewidth=linewidth,
        solid_capstyle="butt",
    )
    axes.text(
        0.94,
        text_at,
        f"{length:g} µm",
        transform=axes.transAxes,
        color="white",
        fontsize=6,
        ha="right",
        va="bottom",
    )


def _rank(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}|{name}|shown".encode(), digest_size=8).digest()


def _panel_side(grid: Grid, width: float) -> float:
    groups = max(len(row.cells) for row in grid.rows)
    available = width - LEFT - RIGHT - (groups - 1) * GROUP_GAP
    return min(LARGEST_PANEL, available / (groups * len(grid.columns)) - GAP)


def _row_label(name: str, room: int) -> str:
    """Return a name in at most two lines of ``room`` characters; a longer one is cut."""
    lines = textwrap.wrap(name, max(room, 4), break_long_words=False)
    if len(lines) <= 2 and all(len(line) <= room for line in lines):
        return "\n".join(lines)
    return name[: max(3, room - 1)] + "…"


def _channel_legend(figure: Figure, grid: Grid, bottom: float) -> None:
    """Draw a square and the name of every channel under a block, then its note."""
    width, height = figure.get_size_inches()
    x, y = LEFT, bottom - 3.2 * MM
    for channel, colour in grid.colours.items():
        axes = axes_at(figure, x, y, 2.2 * MM, 2.2 * MM)
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
