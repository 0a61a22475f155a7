"""Rows of both tables of a stack: ``{method}.features.parquet`` and ``{method}.metrics.parquet``.

Features and embeddings are measured on an image alone. Metrics say how near it is to the HR and LR
images of the same cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.features.registry import columns_of, measure_features
from analysis.features.settings import Measurement, MeasureSettings, feature_digest
from analysis.measuring.columns import FEATURE_SETTINGS, KEPT, WEIGHTS
from analysis.measuring.embeddings import Networks, embedding_table
from analysis.measuring.reference import AlignedStacks, operator_of
from analysis.numbers.metrics import fidelity_l1, ms_ssim, psnr
from rls.io import Intensity, Stack, write_table
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION, OK, RESERVED_METHODS, not_measurable
from rls.networks.lpips import AnyLpips, lpips_distances
from rls.networks.weights_settings import as_text
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.transfer import upload

UNIT_RANGE = 1.0
IS_REFERENCE = not_measurable("is_the_reference")
OTHER_GRID = not_measurable("other_pixel_grid")
NO_HIGH_RESOLUTION = not_measurable("no_high_resolution")


def measure_aligned(
    inputs: AlignedStacks, measurement: Measurement, networks: Networks, label: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return features and metrics of a stack whose HR images are known.

    Arguments:
        label: Name of the measurement, for the progress bar.
    """
    settings = measurement.settings
    inputs.downscale.to(networks.device)
    inputs.downscale_clean.to(networks.device)
    features, metrics = [], []
    with Progress(len(inputs.stack), label, "img") as bar:
        for rows in batches(len(inputs.stack), settings.batch_size):
            features.append(
                features_and_embeddings(inputs.stack, inputs.intensity, rows, measurement, networks)
            )
            metrics.append(metrics_of_rows(inputs, rows, networks, settings))
            bar.advance(len(rows))
    return pd.concat(features, ignore_index=True), pd.concat(metrics, ignore_index=True)


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
        names = [name for one in measurement.features for name in columns_of(one, low.channels)]
        features = pd.DataFrame(np.nan, index=range(len(low)), columns=list(dict.fromkeys(names)))
        features = features.assign(status=NO_HIGH_RESOLUTION)
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
    weights: Mapping[str, str],
    written_by: str,
) -> None:
    """Write both tables, each beginning with the columns that identify its cells.

    ``feature_settings`` is one of them: the tables of results refuse a method whose features were
    measured with other thresholds than those of HR. ``weights`` names the networks of other people
    that measured it, and tables refuse a method measured with others than the run's.

    Arguments:
        cells: The table of the stack that was measured, row by row.
        weights: SHA-256 of the file of each network of other people that measured it.
    """
    keys = cells[[name for name in KEPT if name in cells]].reset_index(drop=True)
    said = {FEATURE_SETTINGS: feature_digest(settings), WEIGHTS: as_text(weights)}
    keys = keys.assign(method=method, **said)
    for path, table in tables.items():
        write_table(path, pd.concat([keys, table], axis=1), written_by=written_by)


def measurable(features: pd.DataFrame) -> str:
    """Return the number of cells measured, and the reasons why others were not, as text."""
    counts = features["status"].value_counts()
    lost = ", ".join(f"{n} {str(why).split(':', 1)[1]}" for why, n in counts.items() if why != OK)
    found = f"{counts.get(OK, 0)} of {len(features)} cells measurable"
    return f"{found} ({lost})" if lost else found


# Features ----------------------------------------------------------------------------------------


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
    """Return the assay's features and their status, one row per image.

    Arguments:
        label: Name of the command, for the progress bar.
    """
    parts = []
    with Progress(len(stack), label, "img") as bar:
        for rows in batches(len(stack), measurement.settings.batch_size):
            parts.append(features_of_rows(stack, intensity, rows, measurement))
            bar.advance(len(rows))
    return pd.concat(parts, ignore_index=True)


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


# Metrics -----------------------------------------------------------------------------------------


def similarity(unit: Tensor, high: Tensor) -> dict[str, np.ndarray]:
    """Return PSNR in dB and MS-SSIM, (n,) each, of two sets of images (n, c, y, x).

    Images in unit intensity are first clipped to [0, 1], as the article's 8-bit images are.
    """
    pair = unit.clamp(0.0, 1.0), high.clamp(0.0, 1.0)
    return {
        "psnr_db": psnr(*pair, data_range=UNIT_RANGE).cpu().numpy(),
        "ms_ssim": ms_ssim(*pair, data_range=UNIT_RANGE).cpu().numpy(),
    }


def metrics_of_rows(
    inputs: AlignedStacks, rows: np.ndarray, networks: Networks, settings: MeasureSettings
) -> pd.DataFrame:
    """Return the metrics against the HR images, one row for each image in ``rows``.

    For ``high_resolution`` only the fidelity is a number: the distance of D(HR) to LR, which comes
    from quantisation and degradation and is the floor of every search. For ``low_resolution`` only
    ``fidelity_clean_l1`` is a number: the distance of LR to the clean LR.
    """
    names = ["psnr_db", "ms_ssim", *lpips_columns(networks), "fidelity_l1"]
    table = pd.DataFrame(np.nan, index=range(len(rows)), columns=names)
    stacks = inputs.stack, inputs.low, inputs.clean
    arrays = [inputs.intensity.to_unit(one.images[rows]) for one in stacks]
    unit, low, clean = (upload(images, networks.device) for images in arrays)
    if inputs.method == LOW_RESOLUTION:
        table["fidelity_clean_l1"] = fidelity_l1(low, clean, lambda same: same).cpu().numpy()
        return table.assign(status=OTHER_GRID)
    table["fidelity_l1"] = fidelity_l1(unit, low, inputs.downscale).cpu().numpy()
    table["fidelity_clean_l1"] = fidelity_l1(unit, clean, inputs.downscale_clean).cpu().numpy()
    if inputs.method == HIGH_RESOLUTION:
        return table.assign(status=IS_REFERENCE)
    high = inputs.intensity.to_unit(inputs.high.images[rows])
    table = table.assign(**similarity(unit, upload(high, networks.device)))
    for column, network in lpips_columns(networks).items():
        table[column] = lpips_distances(
            network, arrays[0], high, networks.device, settings.batch_size, networks.rgb
        )
    return table.assign(status=OK)


def lpips_columns(networks: Networks) -> dict[str, AnyLpips]:
    """Return LPIPS by every network that is given, by the name of its column."""
    return {f"lpips_{net}": network for net, network in networks.lpips.items()}


def metrics_without_reference(
    stack: Stack | None, low: Stack, intensity: Intensity, factor: int
) -> pd.DataFrame:
    """Return the metrics of a method whose assay has no HR: all NaN but the fidelity to ``low``.

    Arguments:
        stack: The images of the method, row by row those of ``low``; None where there are none.

    Raises:
        InputError: The images are not ``factor`` times as large as those of ``low``.
    """
    names = ["psnr_db", "ms_ssim", "fidelity_l1", "fidelity_clean_l1"]
    table = pd.DataFrame(np.nan, index=range(len(low)), columns=names)
    if stack is not None:
        size = stack.images.shape[-2:]
        if tuple(side * factor for side in low.images.shape[-2:]) != size:
            raise InputError(
                f"Found images of {size[1]} px from low resolution of {low.images.shape[-1]} px, "
                f"expected {factor} times as many. Run the stages from low_resolution on again."
            )
        operator = operator_of(stack, low, factor, "the low-resolution images")
        unit, given = (torch.as_tensor(intensity.to_unit(one.images)) for one in (stack, low))
        values = fidelity_l1(unit, given, operator).numpy()
        table = table.assign(fidelity_l1=values, fidelity_clean_l1=values)
    return table.assign(status=NO_HIGH_RESOLUTION)
