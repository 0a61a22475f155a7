"""Measure the assay's features on a stack of solutions, and average them over those of an image.

The number of an image is the arithmetic mean over its measurable solutions: for draws from p(x | y)
it tends to E[h | y], the predictor of the feature h with the least squared error.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.features.registry import columns_of
from analysis.features.settings import Measurement, feature_digest
from analysis.measuring.columns import FEATURE_SETTINGS, KEPT, N_SOLUTIONS, OF_IMAGE
from analysis.measuring.tables import features_of_stack
from rls.io import Intensity, Stack, read_table
from rls.io.names import OK
from rls.runtime.errors import InputError
from rls.search.solutions import SOURCE, check_complete

OF_SOLUTIONS = (SOURCE, "solution", N_SOLUTIONS, "method", "kind")
# Ends of the names of two columns beside a feature's mean over solutions: their standard deviation,
# and the number that could be measured.
SPREAD, MEASURED = "_sd_of_solutions", "_n_of_solutions"
LOSSES = ("loss_total", "loss_fidelity", "sigma_mean", "search_status")


def check_solutions(stack: Stack, path: Path) -> None:
    """Check that a stack is one of solutions, and that every image has all of them.

    Raises:
        InputError: A column is missing, or an image has too few or too many solutions.
    """
    missing = [name for name in (*OF_SOLUTIONS, "split") if name not in stack.table]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}: it holds no solutions. Give a stack written by "
            f"sample_solutions."
        )
    check_complete(stack.table, path)


def solution_table(
    stack: Stack, intensity: Intensity, measurement: Measurement, label: str
) -> pd.DataFrame:
    """Return the features of every solution, beside its keys and losses."""
    features = features_of_stack(stack, intensity, measurement, label)
    kept = [name for name in (*KEPT, *OF_SOLUTIONS, *LOSSES) if name in stack.table]
    keys = stack.table[kept].assign(**{FEATURE_SETTINGS: feature_digest(measurement.settings)})
    return pd.concat([keys, features], axis=1)


def read_solutions(
    path: Path, method: str, image_ids: Sequence[str], measurement: Measurement
) -> pd.DataFrame:
    """Return the measured solutions of some images, which measure_solutions wrote.

    Raises:
        InputError: They are of another method, were measured with other thresholds, or are not
            all there.
    """
    table = read_table(path, columns=[*OF_SOLUTIONS, FEATURE_SETTINGS, "loss_total"])
    again = f"Delete {path} and run measure_solutions again."
    if set(table["method"]) != {method}:
        raise InputError(
            f"{path} holds solutions of {', '.join(sorted(set(table['method'])))}, expected those "
            f"of {method}. {again}"
        )
    if set(table[FEATURE_SETTINGS]) != {feature_digest(measurement.settings)}:
        raise InputError(f"{path} was measured with other thresholds than this table. {again}")
    check_complete(table, path)
    missing = set(image_ids) - set(table[SOURCE])
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of {len(image_ids)} images (first: "
            f"{sorted(missing)[0]}). {again}"
        )
    return table


def with_means(
    features: pd.DataFrame,
    image_ids: Sequence[str],
    solutions: pd.DataFrame,
    measurement: Measurement,
    channels: Sequence[str],
) -> pd.DataFrame:
    """Return ``features`` with each feature of the assay replaced by its mean over solutions.

    Its value on the one image stays beside it, in a column that ends in ``_of_image``. Embeddings
    stay those of the one image. The status is ``ok`` where any solution has it, and else that of
    the image.

    Arguments:
        features: One row for each of ``image_ids``.
        solutions: What :func:`read_solutions` returned.
    """
    ids = list(image_ids)
    names = [n for one in measurement.features for n in columns_of(one, channels)]
    found = features.copy()
    for name in dict.fromkeys(names):
        wide = solutions.pivot(index=SOURCE, columns="solution", values=name).loc[ids]
        found[name + OF_IMAGE] = features[name]
        found[name] = wide.mean(axis=1).to_numpy()
        found[name + SPREAD] = wide.std(axis=1).to_numpy()
        found[name + MEASURED] = wide.notna().sum(axis=1).to_numpy()
    measured = (solutions["status"] == OK).groupby(solutions[SOURCE]).any().loc[ids].to_numpy()
    found["status"] = np.where(measured, OK, found["status"])
    found[N_SOLUTIONS] = int(solutions[N_SOLUTIONS].iloc[0])
    return found


def averaged(
    features: pd.DataFrame, stack: Stack, path: Path, method: str, measurement: Measurement
) -> pd.DataFrame:
    """Return the features of ``stack`` as means over the solutions that the file ``path`` holds.

    Raises:
        InputError: The file does not hold all solutions of these images by this method.
    """
    ids = list(stack.table["image_id"])
    solutions = read_solutions(path, method, ids, measurement)
    return with_means(features, ids, solutions, measurement, stack.channels)
