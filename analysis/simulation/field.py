"""Simulate one field: cells, light, counts and the truth of every cell in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.cells.segment import relabel
from analysis.simulation.cells import draw_masks, draw_shapes, place_cells
from analysis.simulation.optics import blur, debris, expose
from analysis.simulation.phenotypes import find_phenotype
from analysis.simulation.settings import Settings

# Columns of the truth that are kept although their names begin like those of the outlines.
KEPT = ("nucleus_area_px", "nucleus_parts")
FRAME_ND = 2.0  # A frame of this width is simulated around a field, so that cells cross its border.


@dataclass(frozen=True)
class Field:
    """A field and its truth.

    Attributes:
        counts: (c, y, x) uint16.
        light: (c, y, x) float32 counts, blurred, without noise, gain, background and debris.
        nuclei: (y, x) int32 true masks of the cells in focus; label i + 1 is row i of those rows of
            ``truth`` that are in focus.
        truth: One row for each cell whose nucleus lies in the field.
    """

    counts: np.ndarray
    light: np.ndarray
    nuclei: np.ndarray
    truth: pd.DataFrame


def simulate_field(
    settings: Settings,
    treatment: str,
    profiles: np.ndarray,
    gains: np.ndarray,
    rng: np.random.Generator,
    *,
    empty: bool = False,
) -> Field:
    """Simulate one field of ``treatment``.

    Arguments:
        profiles: (c, y, x) illumination of the plate, mean 1.
        gains: (c,) gain of the well.
        empty: Simulate a field without cells.
    """
    phenotype = find_phenotype(settings)
    nd = settings.nucleus_diameter_px
    pad = math.ceil(FRAME_ND * nd)
    shape = (settings.field_height_px + 2 * pad, settings.field_width_px + 2 * pad)
    centres = np.empty((0, 2)) if empty else place_cells(shape, settings, rng)
    table = draw_shapes(centres, settings, rng)
    table = phenotype.draw_cells(table, treatment, settings, rng)
    layers, light = [], np.zeros((phenotype.channels, *shape), np.float32)
    for in_focus, sd in ((True, settings.psf_sd_nd), (False, settings.out_of_focus_sd_nd)):
        rows = table[table["in_focus"] == in_focus].reset_index(drop=True)
        masks = draw_masks(shape, rows, settings, phenotype.outline)
        if len(rows):
            light += blur(phenotype.paint(masks, rows, settings, rng), sd * nd)
        layers.append((rows, masks))
    inner = (slice(pad, pad + settings.field_height_px), slice(pad, pad + settings.field_width_px))
    truths = [rows.join(phenotype.measure(light, masks, len(rows))) for rows, masks in layers]
    truth = pd.concat(truths, ignore_index=True).astype({"in_focus": bool})
    truth[["y_px", "x_px"]] -= pad
    inside = (
        truth["y_px"].between(-0.5, settings.field_height_px - 0.5, inclusive="left")
        & truth["x_px"].between(-0.5, settings.field_width_px - 0.5, inclusive="left")
    ).to_numpy()
    seen = light[(slice(None), *inner)]
    specks = debris(seen.shape[1:], phenotype.levels(settings), settings, rng)
    counts = expose((seen + specks) * gains[:, None, None], profiles, settings, rng)
    outlines = truth.columns.str.startswith(("nucleus_", "body_")) & ~truth.columns.isin(KEPT)
    truth = truth.loc[inside, ~outlines].reset_index(drop=True)
    nuclei = relabel(layers[0][1].nucleus[inner], inside[: len(layers[0][0])])
    return Field(counts, seen, nuclei, truth)
