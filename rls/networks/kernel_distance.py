"""The distance of two sets of images by their features: squared MMD under the cubic kernel.

KID is this on Inception features; here features come from whatever network. Features without a
scale of their own are standardised by the real set first, because the kernel (x.y/d + 1)^3 has none
either, and one large feature would decide it.
"""

from __future__ import annotations

import math

import numpy as np

from rls.runtime.errors import InputError

KERNEL_DEGREE = 3


def standardise(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return features (n, d) in units of the sd of ``reference`` (m, d) around its mean.

    A feature that is constant in the reference keeps its own units.
    """
    sd = reference.std(axis=0)
    return (features - reference.mean(axis=0)) / np.where(sd > 0, sd, 1.0)


def polynomial_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return (x.y / d + 1)^3 for features (n, d) and (m, d): (n, m)."""
    return (x @ y.T / x.shape[1] + 1.0) ** KERNEL_DEGREE


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased squared MMD of two feature sets (n, d) and (m, d) under the cubic kernel.

    Its expectation is 0 for one distribution, so single values may be negative. KID is this on
    Inception features; the article prints KID x 1e3, this is not multiplied.

    Source: Binkowski et al. 2018, eq. 4 and section 3; Gretton et al. 2012, eq. 3.
    """
    x, y = feature_sets(x, y)
    ones = (np.zeros(len(x), dtype=int), np.zeros(len(y), dtype=int))
    return distance_of_sums(*kernel_sums(x, y, *ones), np.ones(1), np.ones(1))


def kernel_sums(
    x: np.ndarray, y: np.ndarray, codes_x: np.ndarray, codes_y: np.ndarray, n_units: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return kernel sums between units (xx, yy without the diagonal, xy) and cells per unit.

    ``codes`` (n,) and (m,) are the unit of every row. A resample of units is then a quadratic form
    in the times each was drawn.
    """
    in_x = np.eye(n_units)[codes_x]
    in_y = np.eye(n_units)[codes_y]
    xx = polynomial_kernel(x, x)
    np.fill_diagonal(xx, 0.0)
    yy = polynomial_kernel(y, y)
    np.fill_diagonal(yy, 0.0)
    return (
        in_x.T @ xx @ in_x,
        in_y.T @ yy @ in_y,
        in_x.T @ polynomial_kernel(x, y) @ in_y,
        in_x.sum(axis=0),
        in_y.sum(axis=0),
    )


def distance_of_sums(
    xx: np.ndarray,
    yy: np.ndarray,
    xy: np.ndarray,
    cells_x: np.ndarray,
    cells_y: np.ndarray,
    times_x: np.ndarray,
    times_y: np.ndarray,
) -> float:
    """Return MMD^2 of units drawn ``times`` times; pairs of a cell with itself are left out."""
    n, m = times_x @ cells_x, times_y @ cells_y
    pairs_x = n * n - (times_x**2) @ cells_x
    pairs_y = m * m - (times_y**2) @ cells_y
    if min(pairs_x, pairs_y) <= 0:
        return math.nan
    within = times_x @ xx @ times_x / pairs_x + times_y @ yy @ times_y / pairs_y
    return float(within - 2.0 * (times_x @ xy @ times_y) / (n * m))


def feature_sets(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both sets as float64.

    Raises:
        InputError: They are not (n, d) and (m, d) with at least two rows each.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise InputError(
            f"Two feature sets of shapes {x.shape} and {y.shape} cannot be compared; expected "
            f"(n, d) and (m, d) with at least two rows each."
        )
    return x, y
