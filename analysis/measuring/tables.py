"""Make and write both tables of one stack: its features and its metrics, one row a cell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.features.settings import Measurement, MeasureSettings, feature_digest
from analysis.measuring.columns import FEATURE_SETTINGS, KEPT
from analysis.measuring.embeddings import Networks, embedding_table
from analysis.measuring.feature_table import batches, empty_features, features_of_rows
from analysis.measuring.metric_table import metrics_of_rows, metrics_without_reference
from analysis.measuring.reference import AlignedStacks
from rls.io import Intensity, Stack, write_table
from rls.io.names import OK, RESERVED_METHODS
from rls.runtime.device import choose_device
from rls.runtime.progress import Progress


def measure_aligned(
    inputs: AlignedStacks, measurement: Measurement, networks: Networks, label: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return features and metrics of a stack whose HR images are known.

    Arguments:
        label: What is measured, for the progress that is shown.
    """
    settings = measurement.settings
    inputs.downscale.to(networks.device)
    features, metrics = [], []
    with Progress(len(inputs.stack), label, "img") as bar:
        for rows in batches(len(inputs.stack), settings.batch_size):
            features.append(
                features_and_embeddings(inputs.stack, inputs.intensity, rows, measurement, networks)
            )
            metrics.append(metrics_of_rows(inputs, rows, networks, settings))
            bar.advance(len(rows))
    return pd.concat(features, ignore_index=True), pd.concat(metrics, ignore_index=True)


def features_and_embeddings(
    stack: Stack,
    intensity: Intensity,
    rows: np.ndarray,
    measurement: Measurement,
    networks: Networks,
) -> pd.DataFrame:
    """Return features, status and embeddings, one row for each image in ``rows``."""
    features = features_of_rows(stack, intensity, rows, measurement)
    unit = intensity.to_unit(stack.images[rows])
    return pd.concat([features, embedding_table(unit, networks, measurement.settings)], axis=1)


def measure_acquired(
    stack: Stack | None,
    low: Stack,
    intensity: Intensity,
    measurement: Measurement,
    *,
    method: str,
    factor: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return features and metrics of a stack whose HR images do not exist.

    Arguments:
        stack: The images of ``method``, row by row those of ``low``; None for HR.
        low: LR as it was acquired.
        factor: Side of SR over side of LR.
    """
    if stack is None:
        features = empty_features(len(low), measurement.features, low.channels)
    else:
        settings = measurement.settings
        networks = Networks(choose_device(settings.device, settings.threads))
        parts = [
            features_and_embeddings(stack, intensity, rows, measurement, networks)
            for rows in batches(len(stack), settings.batch_size)
        ]
        features = pd.concat(parts, ignore_index=True)
    compared = None if method in RESERVED_METHODS else stack
    return features, metrics_without_reference(compared, low, intensity, factor)


def write_tables(
    tables: Mapping[Path, pd.DataFrame],
    cells: pd.DataFrame,
    method: str,
    settings: MeasureSettings,
    *,
    written_by: str,
) -> None:
    """Write both tables, each beginning with the columns that say whose row it is.

    ``feature_settings`` is one of them: the tables of results refuse a method whose features were
    measured with other thresholds than those of HR.

    Arguments:
        cells: The table of the stack that was measured, row by row.
    """
    keys = cells[[name for name in KEPT if name in cells]].reset_index(drop=True)
    keys = keys.assign(method=method, **{FEATURE_SETTINGS: feature_digest(settings)})
    for path, table in tables.items():
        write_table(path, pd.concat([keys, table], axis=1), written_by=written_by)


def measurable(features: pd.DataFrame) -> str:
    """Return how many cells were measured, and why the others were not."""
    counts = features["status"].value_counts()
    lost = ", ".join(f"{n} {str(why).split(':', 1)[1]}" for why, n in counts.items() if why != OK)
    found = f"{counts.get(OK, 0)} of {len(features)} cells measurable"
    return f"{found} ({lost})" if lost else found
