"""Distances of a reconstruction to its image (PSNR, MS-SSIM, fidelity) and of two sets (KD, FD).

Images are tensors (n, c, y, x) in unit intensity. KD and FD compare features of any network; none
is downloaded. See section 4.2 and Table 1 of the article.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from analysis.numbers.statistics import Estimate, Replication, t_interval
from rls.networks.kernel_distance import distance_of_sums, feature_sets, kernel_sums
from rls.runtime.errors import InputError

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2.
SMALLEST_SCALE_PX = 8  # The smallest scale of the article: 128 px halved four times.
WINDOW_PX, WINDOW_SD_PX = 11, 1.5
K1, K2 = 0.01, 0.03  # Wang et al. 2004, section III.C.
IMAGES_PER_DIMENSION = 20  # With fewer, FD is biased: between equal sets 21 at n = 100, d = 64.


def psnr(a: Tensor, b: Tensor, *, data_range: float) -> Tensor:
    """Return 10 log10(data_range^2 / MSE) in dB, (n,); equal images give infinity.

    Arguments:
        data_range: 1 for unit intensity. The article's 8-bit images lie within it, so the caller
            clips to [0, 1] first.
    """
    _same_shape(a, b)
    error = (a.double() - b.double()).square().flatten(1).mean(dim=1)
    return 10.0 * torch.log10(data_range**2 / error)


def number_of_scales(size: tuple[int, int]) -> int:
    """Return the number of scales of MS-SSIM for images of ``size`` (y, x) px.

    It is at most 5, and no scale but the first is under 8 px: 5 scales at 128 px (as in the
    article), 3 at 32 px, 2 at 16 px, 1 below.
    """
    halvings = math.floor(math.log2(max(min(size) / SMALLEST_SCALE_PX, 1.0)))
    return min(len(SCALE_WEIGHTS), 1 + halvings)


def ms_ssim(a: Tensor, b: Tensor, *, data_range: float) -> Tensor:
    """Return the multi-scale structural similarity with a shrinking window, (n,).

    The window is 11 px (Gaussian, sd 1.5 px), or the whole image where a scale is smaller, as in
    the code that the article used; common implementations need 161 px for five scales. Each scale
    passes a ReLU, because a fractional power of a negative contrast term is NaN (the article's code
    has no ReLU). With fewer than five scales the weights are renormalised to a sum of 1. Windows of
    even size are centred, so that a flip changes nothing.

    Source: Wang, Simoncelli & Bovik 2003, eq. 7.
    """
    _same_shape(a, b)
    a, b = a.double(), b.double()
    n_scales = number_of_scales((a.shape[-2], a.shape[-1]))
    weights = torch.tensor(SCALE_WEIGHTS[:n_scales], dtype=torch.float64, device=a.device)
    weights = weights / weights.sum()
    result = torch.ones(len(a), dtype=torch.float64, device=a.device)
    for scale in range(n_scales):
        if scale > 0:
            a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
        similarity, contrast = ssim_terms(a, b, data_range=data_range)
        term = similarity if scale == n_scales - 1 else contrast
        result = result * torch.relu(term) ** weights[scale]
    return result


def ssim_terms(a: Tensor, b: Tensor, *, data_range: float) -> tuple[Tensor, Tensor]:
    """Return SSIM and its contrast-structure term, (n,) each: means over channels and positions.

    Windows lie wholly inside the image.

    Source: Wang et al. 2004, eq. 13.
    """
    window = min(WINDOW_PX, a.shape[-2], a.shape[-1])
    place = torch.arange(window, dtype=a.dtype, device=a.device) - (window - 1) / 2
    taps = torch.exp(-place.square() / (2 * WINDOW_SD_PX**2))
    taps = taps / taps.sum()
    channels = a.shape[1]

    def smooth(x: Tensor) -> Tensor:
        across = taps.expand(channels, 1, 1, -1)
        x = functional.conv2d(x, across, groups=channels)
        return functional.conv2d(x, across.transpose(-1, -2), groups=channels)

    mean_a, mean_b = smooth(a), smooth(b)
    variances = smooth(a * a) - mean_a**2 + smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    contrast = (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * contrast).flatten(1).mean(dim=1), contrast.flatten(1).mean(dim=1)


def fidelity_l1(
    images: Tensor, low_resolution: Tensor, downscale: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return mean |D(image) - LR| over pixels and channels, (n,), in unit intensity (Eq. 5)."""
    low = downscale(images)
    _same_shape(low, low_resolution)
    return (low - low_resolution).abs().flatten(1).mean(dim=1)


# Distances between two sets ----------------------------------------------------------------------


def kernel_distance_interval(
    x: np.ndarray,
    y: np.ndarray,
    *,
    units_x: Replication,
    units_y: Replication,
    confidence: float,
) -> Estimate:
    """Return KD with Student's interval over wells (or fields) of both sets, each left out once.

    Where both sets have the same wells, a well is left out of both, so that SR and HR images of one
    well stay paired. An image and its own reconstruction are then not independent draws, and a
    perfect reconstruction has a distance below 0: compare it with the floor of other HR images.

    Arguments:
        x, y: Features (n, d) and (m, d).
        units_x, units_y: The units of their rows, from
            :func:`analysis.numbers.statistics.replication`.
    """
    x, y = feature_sets(x, y)
    units, codes_y = units_x, units_y.codes
    if not np.array_equal(units_x.labels, units_y.labels):
        units, codes_y = _apart(units_x, units_y)
    n_units = len(units.strata)
    sums = kernel_sums(x, y, units_x.codes, codes_y, n_units=n_units)
    point = distance_of_sums(*sums, np.ones(n_units), np.ones(n_units))
    if (np.bincount(units.strata) < 2).any():
        reason = f"a stratum has fewer than two {units.unit}s, so there is no interval"
        return Estimate(point, n=n_units, unit=units.unit, reason=reason)
    without = np.array([distance_of_sums(*sums, one, one) for one in 1.0 - np.eye(n_units)])
    return t_interval(point, without, units, confidence=confidence, kind="number")


def _apart(x: Replication, y: Replication) -> tuple[Replication, np.ndarray]:
    """Return the units of two sets that are left out one by one, and those of the rows of y."""
    codes_y = y.codes + len(x.strata)
    names = dict.fromkeys((x.unit, y.unit))
    both = Replication(
        " and ".join(names),
        np.concatenate([x.codes, codes_y]),
        np.concatenate([x.labels, y.labels]),
        np.concatenate([x.strata, y.strata + x.strata.max() + 1]),
        x.reason or y.reason,
    )
    return both, codes_y


def frechet_distance(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Return ||m_x - m_y||^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)) of two feature sets (n, d).

    It is NaN with a reason where there are fewer than 20 images per dimension: two equal sets of
    100 images with 64 features are 21 apart. n is the size of the smaller set.

    Source: Heusel et al. 2017, eq. 6; Dowson & Landau 1982.
    """
    x, y = feature_sets(x, y)
    n, dimensions = min(len(x), len(y)), x.shape[1]
    if n < IMAGES_PER_DIMENSION * dimensions:
        reason = (
            f"{n} images for {dimensions} features; FD is biased under "
            f"{IMAGES_PER_DIMENSION * dimensions}"
        )
        return Estimate.empty(reason, n=n)
    moments = [(z.mean(axis=0), np.atleast_2d(np.cov(z, rowvar=False))) for z in (x, y)]
    return Estimate(frechet_of_gaussians(*moments[0], *moments[1]), n=n)


def frechet_of_gaussians(
    mean_x: np.ndarray, cov_x: np.ndarray, mean_y: np.ndarray, cov_y: np.ndarray
) -> float:
    """Return the squared Frechet (2-Wasserstein) distance of two Gaussians.

    tr (C_x C_y)^(1/2) is computed as the sum of the square roots of the eigenvalues of the
    symmetric matrix C_x^(1/2) C_y C_x^(1/2), so that no complex matrix root is needed.

    Arguments:
        mean_x, mean_y: (d,).
        cov_x, cov_y: (d, d).
    """
    values, vectors = np.linalg.eigh(cov_x)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_y @ root), 0.0, None)).sum()
    return float(((mean_x - mean_y) ** 2).sum() + np.trace(cov_x) + np.trace(cov_y) - 2.0 * cross)


def _same_shape(a: Tensor, b: Tensor) -> None:
    """Raise InputError unless both are (n, c, y, x) of one shape."""
    if a.shape != b.shape or a.ndim != 4:
        raise InputError(
            f"Images of shapes {tuple(a.shape)} and {tuple(b.shape)} cannot be compared; expected "
            f"two of (n, c, y, x)."
        )
