"""Simulate the fields that Cellpose is trained on, and score segmenters on held-out ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.cells.segment import Segmenter
from analysis.cells.segmentation_accuracy import f1_by_gap
from analysis.cells.segmenter_settings import CELLPOSE_DIAMETER_PX, Settings
from analysis.simulation.field import Field, simulate_field
from analysis.simulation.optics import illumination_profile
from analysis.simulation.settings import Settings as Simulation
from rls.runtime.errors import InputError
from rls.runtime.streams import stream

MIN_IOU = (0.5, 0.75)
MIN_NUCLEI = 3  # Minimum number of nuclei in a training field.
SCORE_COLUMNS = ("segmenter", "iou", "gap", "n_nuclei", "tp", "fp", "fn", "f1")
DRAWS = 20  # After this many draws of a field with too few nuclei, the settings are wrong.


def draw_field(simulation: Simulation, settings: Settings, purpose: str, number: int) -> Field:
    """Simulate one field with nuclei of 17 px.

    Raises:
        InputError: The settings give fields with too few nuclei.
    """
    rng = stream(settings.seed, f"{purpose}/{number}", "train_segmenter")
    size = (settings.field_px, settings.field_px)
    ranges = (settings.neighbours, settings.nearest_centres_nd)
    for _ in range(DRAWS):
        neighbours, nearest = (float(rng.uniform(low, high)) for low, high in ranges)
        drawn = replace(
            simulation,
            field_height_px=settings.field_px,
            field_width_px=settings.field_px,
            neighbours=neighbours,
            nearest_centres_nd=nearest,
        )
        profile = illumination_profile(size, drawn.illumination_depth, rng)
        profiles = np.stack([profile, profile])
        field = simulate_field(drawn, drawn.treatments[0], profiles, np.ones(2), rng)
        if field.nuclei.max() >= MIN_NUCLEI:
            return field
    raise InputError(
        f"Found under {MIN_NUCLEI} nuclei in each of {DRAWS} simulated fields of "
        f"{settings.field_px} px. Raise train_segmenter.field_px or neighbours."
    )


def score(fields: Sequence[Field], segmenters: dict[str, Segmenter]) -> pd.DataFrame:
    """Return F1 of each segmenter by gap class at two intersections over union."""
    rows = []
    for name, segmenter in segmenters.items():
        found = [segmenter(field.counts[0], CELLPOSE_DIAMETER_PX) for field in fields]
        for iou in MIN_IOU:
            pairs = zip((field.nuclei for field in fields), found, strict=True)
            table = f1_by_gap(pairs, CELLPOSE_DIAMETER_PX, iou)
            rows.append(table.rename_axis("gap").reset_index().assign(segmenter=name, iou=iou))
    return pd.concat(rows, ignore_index=True)[list(SCORE_COLUMNS)]


def describe(scores: pd.DataFrame) -> Iterator[str]:
    """Yield a line of text for each segmenter and intersection over union."""
    for (name, iou), part in scores.groupby(["segmenter", "iou"], sort=False):
        values = ", ".join(
            f"{row.gap} {row.f1:.3f} (n {row.n_nuclei})" for row in part.itertuples()
        )
        yield f"train_segmenter: {name}, F1 at IoU {iou}: {values}"
