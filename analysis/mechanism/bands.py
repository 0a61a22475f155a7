"""Features of a whole image in bands of scales; they know nothing of treatments or of nuclei.

Each channel is split into differences of Gaussian blurs (sd 0, 1, 2, 4 and 8 px). Of every band
there are the logarithm of its sd, its skewness and the logarithm of its kurtosis, and the
correlation of every two channels; of every channel the mean and five percentiles of the root of the
counts, and the logarithm of the mean count in five rings around the centre. Unlike the morphology
they can be measured on every image.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.ndimage import gaussian_filter

BLURS_PX = (1.0, 2.0, 4.0, 8.0)
PERCENTILES = (5, 25, 50, 75, 95)
RINGS = (0.0, 0.19, 0.38, 0.56, 0.81, 1.0)  # edges, in half sides of an image
SMALLEST = 1e-6


def band_features(counts: np.ndarray) -> np.ndarray:
    """Return the features (n, d) of images (n, c, y, x) in counts."""
    images = np.maximum(counts.astype(np.float64), 0.0)
    found: list[np.ndarray] = []
    before = images
    for blur in BLURS_PX:
        after = gaussian_filter(images, (0, 0, blur, blur))
        found += _of_band(_flat(before - after))
        before = after
    roots = _flat(np.sqrt(images))
    found += [roots.mean(axis=2), *np.percentile(roots, PERCENTILES, axis=2)]
    return np.concatenate([*found, *_rings(images)], axis=1)


def _of_band(band: np.ndarray) -> list[np.ndarray]:
    """Return spread, shape and correlations of a band (n, c, pixels)."""
    sd = band.std(axis=2)
    scaled = (band - band.mean(axis=2, keepdims=True)) / (sd[:, :, None] + SMALLEST)
    pairs = combinations(range(band.shape[1]), 2)
    return [
        np.log(sd + SMALLEST),
        (scaled**3).mean(axis=2),
        np.log((scaled**4).mean(axis=2) + SMALLEST),
        *((scaled[:, i] * scaled[:, j]).mean(axis=1)[:, None] for i, j in pairs),
    ]


def _rings(images: np.ndarray) -> list[np.ndarray]:
    """Return the logarithm of the mean count in rings around the centre, each (n, c)."""
    half = [(size - 1) / 2 for size in images.shape[2:]]
    y, x = np.mgrid[: images.shape[2], : images.shape[3]]
    radius = np.hypot((y - half[0]) / max(half[0], 1), (x - half[1]) / max(half[1], 1))
    inside = [
        (radius >= low) & (radius < high) for low, high in zip(RINGS, RINGS[1:], strict=False)
    ]
    return [np.log1p(images[:, :, ring].mean(axis=2)) for ring in inside if ring.any()]


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(*images.shape[:2], -1)
