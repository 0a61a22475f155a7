"""Measure the distance of two sets of images by their features: squared MMD, cubic kernel.

On Inception features this is KID; here the features may come from any network. Features without a
common scale are first standardised by the real set, because the kernel (x.y/d + 1)^3 has no scale
either and one large feature would decide it.
"""

from __future__ import annotations

import math

import numpy as np

from rls.runtime.errors import InputError

BLOCK = 512  # Rows of a block of the kernel: 2 MB, so that it stays in the cache.


def standardise(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return features (n, d), centred and scaled by the mean and sd of ``reference`` (m, d).

    A feature that is constant in the reference is only centred.
    """
    sd = reference.std(axis=0)
    return (features - reference.mean(axis=0)) / np.where(sd > 0, sd, 1.0)


def centre_and_scale(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return features (n, d), centred by the mean of ``reference`` (m, d) and divided by a number.

    That number is the root of the mean variance of the reference. It is for features of a trained
    network with ReLU: some are almost silent in the reference, and one of these, in units of its
    own tiny sd, would decide the distance.
    """
    scale = np.sqrt(reference.var(axis=0).mean())
    return (features - reference.mean(axis=0)) / (scale if scale > 0 else 1.0)


def polynomial_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the kernel (x.y / d + 1)^3, shape (n, m), of features (n, d) and (m, d)."""
    base = (x / x.shape[1]) @ y.T
    base += 1.0
    cube = base * base  # A power of floats takes ten times as long.
    cube *= base
    return np.asarray(cube)


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased squared MMD of two feature sets (n, d) and (m, d) under the cubic kernel.

    Its expectation is 0 if both sets have one distribution, so single values may be negative. On
    Inception features it is KID, which the article prints times 1e3; here nothing is multiplied.

    Source: Binkowski et al. 2018, eq. 4 and section 3; Gretton et al. 2012, eq. 3.
    """
    x, y = feature_sets(x, y)
    ones = (np.zeros(len(x), dtype=int), np.zeros(len(y), dtype=int))
    return distance_of_sums(*kernel_sums(x, y, *ones), np.ones(1), np.ones(1))


def kernel_sums(
    x: np.ndarray, y: np.ndarray, codes_x: np.ndarray, codes_y: np.ndarray, n_units: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the sums of the kernel between units, and the number of cells per unit.

    The distance without a unit, or with one twice, is then a quadratic form in how often each
    counts.

    Arguments:
        x: Features (n, d).
        y: Features (m, d).
        codes_x: Unit (n,) of every row of x, from 0.
        codes_y: Unit (m,) of every row of y, from 0.
        n_units: Number of units u.

    Returns:
        xx and yy without pairs of a cell with itself, and xy, each (u, u); cells per unit (u,) of
        x and of y.
    """
    return (
        _pair_sums(x, x, codes_x, codes_x, n_units, same=True),
        _pair_sums(y, y, codes_y, codes_y, n_units, same=True),
        _pair_sums(x, y, codes_x, codes_y, n_units),
        np.bincount(codes_x, minlength=n_units).astype(float),
        np.bincount(codes_y, minlength=n_units).astype(float),
    )


def _pair_sums(
    x: np.ndarray,
    y: np.ndarray,
    codes_x: np.ndarray,
    codes_y: np.ndarray,
    n_units: int,
    *,
    same: bool = False,
) -> np.ndarray:
    """Return the sums of the kernel between units, (u, u), of blocks that stay in the cache.

    Arguments:
        same: Whether x and y are one set: pairs of a cell with itself are left out, and each other
            pair is computed once.
    """
    sums = np.zeros((n_units, n_units))
    order_x, order_y = np.argsort(codes_x, kind="stable"), np.argsort(codes_y, kind="stable")
    x, y, codes_x, codes_y = x[order_x], y[order_y], codes_x[order_x], codes_y[order_y]
    for i in range(0, len(x), BLOCK):
        for j in range(i if same else 0, len(y), BLOCK):
            kernel = polynomial_kernel(x[i : i + BLOCK], y[j : j + BLOCK])
            if same and i == j:
                np.fill_diagonal(kernel, 0.0)
            rows, first = np.unique(codes_x[i : i + BLOCK], return_index=True)
            columns, start = np.unique(codes_y[j : j + BLOCK], return_index=True)
            found = np.add.reduceat(np.add.reduceat(kernel, start, axis=1), first, axis=0)
            sums[np.ix_(rows, columns)] += found
            if same and i != j:
                sums[np.ix_(columns, rows)] += found.T
    return sums


def distance_of_sums(
    xx: np.ndarray,
    yy: np.ndarray,
    xy: np.ndarray,
    cells_x: np.ndarray,
    cells_y: np.ndarray,
    times_x: np.ndarray,
    times_y: np.ndarray,
) -> float:
    """Return the squared MMD with each unit some times, NaN if there are too few pairs of cells.

    Pairs of a cell with itself are left out.

    Arguments:
        xx, yy, xy, cells_x, cells_y: What :func:`kernel_sums` returns.
        times_x, times_y: How often each unit counts (u,): 0 leaves it out.
    """
    n, m = times_x @ cells_x, times_y @ cells_y
    pairs_x = n * n - (times_x**2) @ cells_x
    pairs_y = m * m - (times_y**2) @ cells_y
    if min(pairs_x, pairs_y) <= 0:
        return math.nan
    within = times_x @ xx @ times_x / pairs_x + times_y @ yy @ times_y / pairs_y
    return float(within - 2.0 * (times_x @ xy @ times_y) / (n * m))


def feature_sets(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both sets of features as float64.

    Raises:
        InputError: Their shapes are not (n, d) and (m, d) with at least two rows each.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise InputError(
            f"Two feature sets of shapes {x.shape} and {y.shape} cannot be compared; expected "
            f"(n, d) and (m, d) with at least two rows each."
        )
    return x, y
