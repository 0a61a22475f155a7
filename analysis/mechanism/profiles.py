"""Profiles of compounds at a concentration: medians of cells that are normalised by batch.

Source: Ljosa et al. 2013, doi:10.1177/1087057113503553, and Caicedo et al. 2017,
doi:10.1038/nmeth.4397; the rule for centre and scale is mad_robustize of pycytominer 1.7, whose
numbers a test holds.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from rls.runtime.errors import InputError

LARGEST = 10.0  # robust sd; features beyond it are cut off before they are sphered
SD_OF_MAD = 1.4826022185056018  # sd of a normal distribution over its median absolute deviation


def batch_of(plates: pd.Series, pattern: str) -> pd.Series:
    """Return the batch of each cell: the first group of ``pattern`` in the name of its plate.

    Raises:
        InputError: The pattern has no group, or a plate does not match it.
    """
    known = {}
    for plate in plates.unique():
        match = re.search(pattern, str(plate))
        if match is None or not match.groups():
            raise InputError(
                f"Found no batch in the name of plate {plate} by the pattern '{pattern}', expected "
                "its first group to match. Correct mechanism.batch."
            )
        known[plate] = match[1]
    return plates.map(known)


def normalise(
    values: np.ndarray, batches: pd.Series, controls: np.ndarray, control_cells: int
) -> np.ndarray:
    """Return the features less the median of their batch, over its robust sd.

    Both are of the batch's controls where it has ``control_cells`` or more, and else of all of its
    cells. A feature without spread in a batch says nothing there and is 0.

    Arguments:
        values: (n, d) features; NaN where one was not measured, which it stays.
        batches: (n,) batch of each cell.
        controls: (n,) bool, the cells of the negative control.
    """
    result = np.full(values.shape, np.nan)
    names = batches.to_numpy()
    measured = np.isfinite(values).any(axis=1)
    for name in dict.fromkeys(names):
        here = names == name
        own = here & controls & measured
        basis = values[own if own.sum() >= control_cells else here & measured]
        if not len(basis):
            continue
        result[here] = _standardise(values[here], basis)
    return result


def _standardise(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    centre = _median(basis)
    scale = SD_OF_MAD * _median(np.abs(basis - centre))
    spread = scale > 1e-9 * np.maximum(np.abs(centre), 1e-9)
    scaled = (values - centre) / np.where(spread, scale, 1.0)
    return np.where(np.isnan(values), np.nan, np.where(spread, scaled, 0.0))


def _median(values: np.ndarray) -> np.ndarray:
    """Return the median of each column over its finite values; 0 for a column without one."""
    empty = ~np.isfinite(values).any(axis=0)
    filled = np.where(empty, 0.0, values)
    return np.asarray(np.nanmedian(filled, axis=0))


def aggregate(values: np.ndarray, groups: pd.Series, names: list[str]) -> np.ndarray:
    """Return the median of each group's cells, (len(names), d), in the order of ``names``.

    A feature that no cell of a group has is 0, the centre of its batch. A group without a measured
    cell is NaN throughout: it has no profile.

    Arguments:
        values: (n, d) normalised features.
        groups: (n,) group of each cell.
    """
    result = np.full((len(names), values.shape[1]), np.nan)
    labels = groups.to_numpy()
    measured = np.isfinite(values).any(axis=1)
    for row, name in enumerate(names):
        own = values[(labels == name) & measured]
        if len(own):
            result[row] = _median(own)
    return result


def sphere(values: np.ndarray, controls: np.ndarray, floor: float) -> np.ndarray:
    """Return normalised features (n, d) turned and scaled so that controls vary alike everywhere.

    Directions in which untreated cells differ from each other anyway count less. It follows
    the sphering of pycytominer on negative controls (Spherize, method PCA), without its centring.

    Arguments:
        values: Normalised features; NaN rows stay NaN.
        controls: (n,) bool, the cells of the negative control.
        floor: Variance added to every direction, in that of a normalised feature: few controls
            cannot tell small variances.
    """
    result = np.full(values.shape, np.nan)
    measured = np.isfinite(values).any(axis=1)
    bounded = np.clip(np.nan_to_num(values), -LARGEST, LARGEST)
    own = bounded[measured & controls]
    if len(own) < 2:
        return values
    variance, directions = np.linalg.eigh(np.cov(own, rowvar=False))
    turned = bounded @ (directions / np.sqrt(np.maximum(variance, 0.0) + floor))
    result[measured] = turned[measured]
    return result
