"""Measure the images of a sweep or of a trace against the HR images of the same cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from analysis.features.settings import Measurement
from analysis.measuring.columns import HIGH, KEPT
from analysis.measuring.embeddings import Networks, embedding_table
from analysis.measuring.reference import StackPaths, align, operator_of
from analysis.measuring.tables import batches, features_of_stack, similarity
from analysis.numbers.metrics import fidelity_l1
from rls.io import Intensity, Stack, read_intensity, read_stack
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.search.forward import Forward

# Columns that the search writes for each image.
SEARCHED = (
    "cell_id",
    "method",
    "search",
    "lambda_w",
    "lambda_c",
    "own",
    "log_prior",
    "loss_fidelity",
    "loss_cross",
    "loss_total",
    "mean_pair_distance",
    "steps",
    "steps_w",
    "seconds_per_cell",
    "processor_seconds_per_cell",
    "start_distance",
    "search_status",
)


def sweep_table(
    paths: StackPaths, factor: int, measurement: Measurement, label: str
) -> pd.DataFrame:
    """Return one row for each image of a stack: its keys, metrics, features and those of HR.

    The features are the assay's, and the random convolutions that know nothing of treatments.

    Raises:
        InputError: The stack was not written by a sweep, or its cells are not in HR or LR.
    """
    stack, intensity = read_stack(paths.stack), read_intensity(paths.intensity)
    if "cell_id" not in stack.table.columns:
        raise InputError(
            f"{paths.stack} is no sweep and no trace. Give the stack that "
            "sweep_lambdas or trace_search wrote."
        )
    ids = list(stack.table["cell_id"])
    all_high, all_low = read_stack(paths.high_resolution), read_stack(paths.low_resolution)
    high = align(ids, all_high, (paths.stack, paths.high_resolution))
    low = align(ids, all_low, (paths.stack, paths.low_resolution))
    operator = operator_of(stack, low, factor, paths.low_resolution)
    units = (intensity.to_unit(one.images) for one in (stack, high, low))
    metrics = image_metrics(*units, operator=operator, batch_size=measurement.settings.batch_size)
    features = all_features(stack, intensity, measurement, label)
    # Each HR image is measured once, however many points of the sweep have its cell.
    cells = align(dict.fromkeys(ids), all_high, (paths.stack, paths.high_resolution))
    truth = all_features(cells, intensity, measurement, label)
    truth = truth.set_index(pd.Index(cells.table["image_id"])).loc[ids].reset_index(drop=True)
    kept = [name for name in (*KEPT, *SEARCHED) if name in stack.table.columns]
    keys = stack.table[kept].reset_index(drop=True)
    return pd.concat([keys, metrics, features, truth.add_suffix(HIGH)], axis=1)


def all_features(
    stack: Stack, intensity: Intensity, measurement: Measurement, label: str
) -> pd.DataFrame:
    """Return the assay's features and the random convolutions of every image of a stack."""
    settings = measurement.settings
    networks = Networks(choose_device(settings.device, settings.threads))
    embedded = embedding_table(intensity.to_unit(stack.images), networks, settings)
    return pd.concat([features_of_stack(stack, intensity, measurement, label), embedded], axis=1)


def image_metrics(
    unit: np.ndarray, high: np.ndarray, low: np.ndarray, *, operator: Forward, batch_size: int
) -> pd.DataFrame:
    """Return PSNR and MS-SSIM against HR, and the fidelity mean |D(SR) - LR|, one row per image.

    Arguments:
        unit, high, low: (n, c, y, x) in unit intensity, row by row of the same cell; only PSNR and
            MS-SSIM clip them to [0, 1].
        operator: D.
    """
    parts = []
    for rows in batches(len(unit), batch_size):
        here, there, given = (torch.as_tensor(part[rows]) for part in (unit, high, low))
        fidelity = fidelity_l1(here, given, operator).numpy()
        parts.append(pd.DataFrame({**similarity(here, there), "fidelity_l1": fidelity}))
    return pd.concat(parts, ignore_index=True)
