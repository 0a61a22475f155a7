"""Vary each threshold of the features by a quarter, and compare the results."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pandas as pd
from scipy import stats

from analysis.features.registry import find_feature
from analysis.features.settings import Measurement, MeasureSettings, feature_digest
from analysis.measuring.columns import FEATURE_SETTINGS
from analysis.numbers.statistics import auc
from rls.io import Intensity, Stack
from rls.io.names import OK
from rls.io.splits import CHOOSE, rows_for
from rls.runtime.progress import Progress

STEP = 1.25  # Each constant is tried multiplied and divided by this.
CELLS = 100  # Maximum number of cells measured per control, evenly spaced over the wells.
MOVED_AUC, MOVED_SHARE = 0.02, 0.05  # A constant that moves AUC or cells by more is decisive.
COLUMNS = (
    "feature",
    "column",
    "setting",
    "value",
    "tried",
    "cells",
    "wells",
    "measured",
    "median_negative",
    "median_positive",
    "auc",
    "median_change",
    "rank_correlation",
    "reason",
    FEATURE_SETTINGS,
)


def controls_of_tune(stack: Stack, controls: tuple[str, str]) -> Stack:
    """Return at most ``CELLS`` cells of each control from split tune.

    Raises:
        InputError: A control has none.
    """
    chosen = []
    for name in controls:
        here = np.flatnonzero(stack.table["treatment"] == name)
        own = stack.table.iloc[here]
        rows = here[rows_for(CHOOSE, own, f"Treatment {name} of the high-resolution stack")]
        steps = np.linspace(0, len(rows) - 1, min(CELLS, len(rows))).round().astype(int)
        chosen.append(rows[steps])
    return stack.select(np.concatenate(chosen))


def threshold_table(
    stack: Stack, intensity: Intensity, positive_control: str, measurement: Measurement
) -> pd.DataFrame:
    """Return the rows of every feature, measured on the cells of ``stack``."""
    black = np.asarray(intensity.black, dtype=np.float32)[:, None, None]
    counts = stack.images.astype(np.float32) - black
    positive = (stack.table["treatment"] == positive_control).to_numpy()
    rows = [
        row
        for feature in measurement.features
        for row in check_feature(feature, stack, counts, positive, measurement)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def check_feature(
    name: str, stack: Stack, counts: np.ndarray, positive: np.ndarray, measurement: Measurement
) -> list[dict[str, object]]:
    """Return the rows of one feature: first with its constants, then with each changed alone.

    Arguments:
        counts: (n, c, y, x) above the black level.
        positive: (n,) bool, the positive control.
    """
    feature, settings = find_feature(name), measurement.settings

    def values_with(used: MeasureSettings) -> np.ndarray:
        found = feature.measure(
            counts,
            channels=stack.channels,
            pixel_size_um=stack.pixel_size_um,
            nucleus_channel=measurement.nucleus_channel,
            marker_channel=measurement.marker_channel,
            settings=used,
        )
        return found[feature.PRIMARY].where(found["status"] == OK).to_numpy(dtype=float)

    common = {
        "feature": name,
        "column": feature.PRIMARY,
        "cells": len(counts),
        "wells": stack.table.groupby(["plate", "well"]).ngroups,
        FEATURE_SETTINGS: feature_digest(settings),
    }
    unchanged = values_with(settings)
    rows = [{**common, "setting": "", **compare(unchanged, unchanged, positive)}]
    trials = list(tried_values(settings, name))
    with Progress(len(trials), f"thresholds of {name}", "trials") as bar:
        for setting, value, tried in trials:
            values = values_with(type(settings)(**(vars(settings) | {setting: tried})))
            found = compare(unchanged, values, positive)
            rows.append({**common, "setting": setting, "value": value, "tried": tried, **found})
            bar.advance(1)
    return rows


def tried_values(settings: MeasureSettings, feature: str) -> Iterator[tuple[str, float, float]]:
    """Yield name, value and tried value of every numeric setting of a feature."""
    for field in fields(find_feature(feature).FeatureSettings):
        value = getattr(settings, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        for factor in (1 / STEP, STEP):
            tried = value * factor
            if field.name.endswith("_percentile") and value > 50.0:
                tried = 100.0 - (100.0 - value) * factor  # The tail above it changes.
            yield field.name, value, round(tried) if isinstance(value, int) else tried


def compare(
    unchanged: np.ndarray, values: np.ndarray, positive: np.ndarray
) -> dict[str, float | int | str]:
    """Return the statistics of the controls with ``values``, and the change from ``unchanged``.

    Arguments:
        unchanged, values: (n,), NaN where a cell was not measured.
        positive: (n,) bool, the positive control.
    """
    here = np.isfinite(values)
    both = here & np.isfinite(unchanged)
    negatives, positives = (values[here & side] for side in (~positive, positive))
    change = rank = math.nan
    if both.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            change = float(np.median(values[both] / unchanged[both])) - 1.0
        if np.ptp(values[both]) > 0 and np.ptp(unchanged[both]) > 0:
            rank = float(stats.spearmanr(unchanged[both], values[both]).statistic)
    both_measured = len(negatives) > 0 and len(positives) > 0
    return {
        "measured": int(here.sum()),
        "median_negative": float(np.median(negatives)) if len(negatives) else math.nan,
        "median_positive": float(np.median(positives)) if len(positives) else math.nan,
        "auc": auc(negatives, positives),
        "median_change": change,
        "rank_correlation": rank,
        "reason": "" if both_measured else "a control has no measured cell",
    }


def decisive(table: pd.DataFrame) -> list[str]:
    """Return the constants whose change by a quarter moves the AUC or the cells measured."""
    moved: dict[str, None] = {}
    for _, part in table.groupby("feature", sort=False):
        first, others = part.iloc[0], part.iloc[1:]
        away = (others["auc"] - first["auc"]).abs() > MOVED_AUC
        away |= (others["measured"] - first["measured"]).abs() > MOVED_SHARE * first["cells"]
        moved |= dict.fromkeys(others.loc[away, "setting"])
    return list(moved)
