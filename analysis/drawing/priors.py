"""The figure of several priors: samples of their flows, densities, norms, and searches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison.image_metrics import FIDELITY
from analysis.comparison.labels import feature_label
from analysis.comparison.long_table import Rows, estimate_of, long_table
from analysis.comparison.priors import BEYOND, LOG_DENSITY, NORM_SD, SAMPLES_DISTANCE
from analysis.drawing.dots import draw_dots
from analysis.drawing.grids import (
    Grid,
    GridRow,
    channel_colours,
    composite,
    draw_grid,
    grid_height,
)
from analysis.drawing.settings import Settings
from analysis.drawing.style import DOUBLE_COLUMN, MM, axes_at, in_style, new_stack
from analysis.measuring.priors import GAUSSIAN, LEAKY, MAPPING, Priors
from analysis.run.description import Assay

SHOWN, ACROSS = 20, 10  # samples of each flow, and how many stand in a row
PANEL_HEIGHT = 31 * MM
LINEAR = 1000.0  # the axis of KD is linear up to here: a few odd samples decide it
CORRELATION = "correlation_within_treatment"
# Row of the table -> its name in the figure and its colour.
NAMES: Mapping[str, tuple[str, str]] = {
    "maf": ("MAF", "#0072B2"),
    "realnvp": ("RealNVP", "#CC6600"),
    GAUSSIAN: ("Gaussian", "#999999"),
    LEAKY: ("Leaky, G.", "#CC79A7"),
    MAPPING: ("mapping", "#4D4D4D"),
}


class Panel(NamedTuple):
    """One metric: its title, factor, digits, and the value that is right."""

    metric: str
    title: str
    scale: float
    digits: int
    right: float | None = None
    feature: str = ""


def draw(assay: Assay, priors: Priors, rows: Rows, settings: Settings) -> Figure:
    """Return the figure: samples above, numbers of the flows, and of a search a factor below."""
    grid, numbers = grid_of(assay, priors, settings), long_table(rows)
    factors = [int(factor) for factor in dict.fromkeys(numbers["factor"].dropna())]
    heights = [grid_height(grid, DOUBLE_COLUMN), *[PANEL_HEIGHT] * (1 + len(factors))]
    with in_style():
        figure, tops = new_stack(DOUBLE_COLUMN, heights)
        draw_grid(figure, grid, tops[0], DOUBLE_COLUMN)
        of_flows = numbers[numbers["factor"].isna()]
        _draw_panels(figure, of_flows, flow_panels(priors.dimensions), tops[1])
        for factor, top in zip(factors, tops[2:], strict=True):
            here = numbers[numbers["factor"] == factor]
            _draw_panels(figure, here, search_panels(here, factor), top)
    return figure


def grid_of(assay: Assay, priors: Priors, settings: Settings) -> Grid:
    """Return the images of samples: rows of the mapping network and of each flow."""
    roles = (assay.nucleus_channel, assay.marker_channel)
    colours = channel_colours(priors.channels, *roles, settings.palette)
    rows: list[GridRow] = []
    for name, images in priors.images.items():
        panels = [composite(image, priors.channels, colours) for image in images[:SHOWN]]
        label = "mapping G_m(z)" if name == MAPPING else f"F⁻¹(z) {NAMES[name][0]}"
        starts = range(0, len(panels), ACROSS)
        rows += [GridRow(label, (tuple(panels[i : i + ACROSS]),)) for i in starts]
    title = f"{assay.label}: images of styles of the mapping network and of flows"
    note = "One scale per channel; the first samples, not chosen; both flows have the same z."
    return Grid(title, (" ",) * ACROSS, tuple(rows), colours, priors.image_um, note)


def flow_panels(dimensions: int) -> list[Panel]:
    """Return the panels of the flows alone."""
    return [
        Panel(LOG_DENSITY, "log p of fresh w, nats ↑", 1.0, 1),
        Panel(NORM_SD, "sd of |F(w)|²", 1.0, 1, math.sqrt(2 * dimensions)),
        Panel(BEYOND, "samples outside 99 %, %", 100.0, 1, 1.0),
        Panel(SAMPLES_DISTANCE, "KD of samples, x1e3 ↓", 1.0, 0, 0.0),
    ]


def search_panels(numbers: pd.DataFrame, factor: int) -> list[Panel]:
    """Return the panels of the search of one factor."""
    panels = [
        Panel(FIDELITY, f"{factor}x: |D(SR) − LR|, x1e3 ↓", 1000.0, 2),
        Panel("psnr_db", "PSNR, dB ↑", 1.0, 1),
        Panel("log_prior", "log p_F, own flow, nats", 1.0, 0),
    ]
    features = [name for name in dict.fromkeys(numbers["feature"]) if name]
    for name in features[:1]:  # there is room for one
        panels.append(Panel(CORRELATION, f"r within,\n{feature_label(name)}", 1.0, 2, feature=name))
    return panels


def _draw_panels(
    figure: Figure, numbers: pd.DataFrame, panels: Sequence[Panel], top: float
) -> None:
    """Draw panels side by side, ``top`` inches above the bottom, with only their own rows."""
    for index, panel in enumerate(panels):
        present = set(numbers.loc[numbers["metric"] == panel.metric, "method"])
        names = {name: NAMES[name] for name in NAMES if name in present}
        found = {
            label: estimate_of(numbers, name, panel.metric, feature=panel.feature)
            for name, (label, _) in names.items()
        }
        left, bottom = (17 + 44 * index) * MM, top - PANEL_HEIGHT + 7 * MM
        axes = axes_at(figure, left, bottom, 29 * MM, PANEL_HEIGHT - 15 * MM)
        draw_dots(
            axes,
            found,
            dict(names.values()),
            panel.title,
            scale=panel.scale,
            digits=panel.digits,
            right=panel.right,
        )
        if panel.metric == SAMPLES_DISTANCE:
            axes.set_xscale("symlog", linthresh=LINEAR)
            axes.set_xticks([0.0, LINEAR, LINEAR**2])
