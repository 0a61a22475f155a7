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
from rls.runtime.streams import stream

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2.
SMALLEST_SCALE_PX = 8  # The smallest scale of the article: 128 px halved four times.
WINDOW_PX, WINDOW_SD_PX = 11, 1.5
K1, K2 = 0.01, 0.03  # Wang et al. 2004, section III.C.
IMAGES_PER_DIMENSION = 5  # From here on FD of subsets falls along a line in 1/n.
SUBSET_SIZES, SUBSETS = 4, 4  # Sizes of subsets, and subsets of each size, that the line fits.


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

    It is biased upwards: two sets of 100 images of one distribution with 64 features are 21 apart.
    So it always carries a reason that names n and d, and its place is beside the distance of two
    HR sets of as many images. n is the size of the smaller set.

    Source: Heusel et al. 2017, eq. 6; Dowson & Landau 1982.
    """
    x, y = feature_sets(x, y)
    n, dimensions = min(len(x), len(y)), x.shape[1]
    reason = f"biased upwards: {n} images, {dimensions} features"
    if n <= dimensions:
        reason += ", so that covariances are singular"
    return Estimate(_frechet(x, y), n=n, reason=reason)


def frechet_extrapolated(x: np.ndarray, y: np.ndarray, *, seed: int) -> Estimate:
    """Return FD extrapolated to infinite n: the intercept of a line in 1/n through FD of subsets.

    Subsets have from half of the images to all of them; between half and all, FD falls along the
    line only where there are several images a feature, so it is NaN with a reason under five. Sets
    of one size are taken to be the same cells, and lose the same ones. It may be below 0.

    Source: Chong & Forsyth 2020, CVPR, section 4.
    """
    x, y = feature_sets(x, y)
    n, least = min(len(x), len(y)), IMAGES_PER_DIMENSION * x.shape[1]
    if n < least:
        return Estimate.empty(f"{n} images; extrapolation needs {least} for {x.shape[1]} features")
    random = stream(seed, "subsets", "frechet_extrapolated")
    sizes, values = [], []
    for size in np.linspace(n / 2, n, SUBSET_SIZES).astype(int):
        for _ in range(SUBSETS if size < n else 1):
            rows = random.permutation(len(x))[:size]
            others = rows if len(x) == len(y) else random.permutation(len(y))[:size]
            sizes.append(size)
            values.append(_frechet(x[rows], y[others]))
    return Estimate(float(np.polyfit(1.0 / np.array(sizes), values, 1)[1]), n=n)


def _frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Return FD of features (n, d) and (m, d).

    tr (C_x C_y)^(1/2) is the nuclear norm of X Y^T / sqrt((n - 1) (m - 1)) of centred features X,
    whose n x m entries are few where there are fewer images than features. With more images, X is
    replaced by R of X = Q R, which has the same X^T X and d rows.
    """
    means = x.mean(axis=0), y.mean(axis=0)
    a, b = ((z - m) / math.sqrt(len(z) - 1) for z, m in zip((x, y), means, strict=True))
    shift = float(((means[0] - means[1]) ** 2).sum() + (a**2).sum() + (b**2).sum())
    a, b = (np.asarray(np.linalg.qr(z, "r")) if len(z) > z.shape[1] else z for z in (a, b))
    return shift - 2.0 * float(np.linalg.svd(a @ b.T, compute_uv=False).sum())


def _same_shape(a: Tensor, b: Tensor) -> None:
    """Raise InputError unless both are (n, c, y, x) of one shape."""
    if a.shape != b.shape or a.ndim != 4:
        raise InputError(
            f"Images of shapes {tuple(a.shape)} and {tuple(b.shape)} cannot be compared; expected "
            f"two of (n, c, y, x)."
        )
