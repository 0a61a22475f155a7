"""Rows of ``{method}.features.parquet``: what is measured on an image alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.features.registry import columns_of, measure_features
from analysis.features.settings import Measurement
from rls.io import Intensity, Stack
from rls.io.names import not_measurable
from rls.runtime.progress import Progress

NO_HIGH_RESOLUTION = not_measurable("no_high_resolution")


def batches(n: int, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the positions of ``n`` rows, ``batch_size`` at a time."""
    for start in range(0, n, batch_size):
        yield np.arange(start, min(start + batch_size, n))


def features_of_rows(
    stack: Stack, intensity: Intensity, rows: np.ndarray, measurement: Measurement
) -> pd.DataFrame:
    """Return the assay's features and their status, one row for each image in ``rows``."""
    black = np.asarray(intensity.black, dtype=np.float32)[:, None, None]
    return measure_features(
        measurement.features,
        stack.images[rows].astype(np.float32) - black,
        channels=stack.channels,
        pixel_size_um=stack.pixel_size_um,
        nucleus_channel=measurement.nucleus_channel,
        marker_channel=measurement.marker_channel,
        settings=measurement.settings,
    )


def features_of_stack(
    stack: Stack, intensity: Intensity, measurement: Measurement, label: str
) -> pd.DataFrame:
    """Return the assay's features and their status, one row an image.

    Arguments:
        label: Name of the command, for the progress that is shown.
    """
    parts = []
    with Progress(len(stack), label, "img") as bar:
        for rows in batches(len(stack), measurement.settings.batch_size):
            parts.append(features_of_rows(stack, intensity, rows, measurement))
            bar.advance(len(rows))
    return pd.concat(parts, ignore_index=True)


def empty_features(n: int, names: Sequence[str], channels: Sequence[str]) -> pd.DataFrame:
    """Return ``n`` rows without a number in the features' columns: those of a missing HR."""
    columns = [column for name in names for column in columns_of(name, channels)]
    table = pd.DataFrame(np.nan, index=range(n), columns=list(dict.fromkeys(columns)))
    return table.assign(status=NO_HIGH_RESOLUTION)
