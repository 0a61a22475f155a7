"""Find nuclei: threshold, watershed, and each nucleus cut at half its own height."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

WORKING_PX = 24  # seeds and basins are found on an image reduced to about this nuclear diameter
SMOOTH_ND = 0.06  # smoothing before the threshold, in nuclear diameters
BLOB_SD_ND = 0.30  # scale of the blob filter that separates touching nuclei
SEED_DISTANCE_ND = 0.45  # least distance of two seeds
LEAST_BLOB = 0.10  # least response of a seed; a round nucleus at the threshold has about 0.5
LOW_THRESHOLD = 0.6  # basins reach down to this share of the threshold above background
HALF_HEIGHT = 0.5
BRIGHT_PERCENTILE = 99.5  # mitotic and dead nuclei above it do not move the threshold
LEAST_AREA, GREATEST_AREA = 0.25, 4.0  # in areas of a round nucleus of one diameter
NOISE_SDS = 6.0  # a nucleus stands out of the background by this many sd of its smoothed noise


def segment_nuclei(image: np.ndarray, nucleus_diameter_px: float) -> np.ndarray:
    """Return labels (y, x) int32 of the nuclei in ``image`` (y, x) in counts; 0 outside.

    Empty when nothing stands out of the noise. The size is the only knob.
    """
    nd = nucleus_diameter_px
    image = image.astype(np.float32)
    smooth = ndimage.gaussian_filter(image, SMOOTH_ND * nd)
    step = max(int(nd // WORKING_PX), 1)
    small = smooth[step // 2 :: step, step // 2 :: step]
    background, noise = _background(small)
    bright = np.percentile(small, BRIGHT_PERCENTILE)
    threshold = threshold_otsu(np.clip(small, None, bright)) if bright > small.min() else bright
    if threshold < background + NOISE_SDS * noise:
        return np.zeros(image.shape, np.int32)
    low = background + LOW_THRESHOLD * (threshold - background)
    blobs = _blobs(small, background, threshold, nd / step)
    seeds = _seeds(blobs, small > threshold, nd / step)
    basins = watershed(-blobs, seeds, mask=small > low).astype(np.int32)
    if step > 1:
        basins = np.repeat(np.repeat(basins, step, 0), step, 1)
        padding = [(0, max(a - b, 0)) for a, b in zip(image.shape, basins.shape, strict=True)]
        basins = np.pad(basins, padding, mode="edge")[: image.shape[0], : image.shape[1]]
    return _cut_at_half_height(smooth, basins, background, noise, nd)


def relabel(labels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return labels 1 to k for the labels i + 1 with ``keep[i]``, in their order."""
    new = np.zeros(len(keep) + 1, np.int32)
    new[1:][keep] = np.arange(1, keep.sum() + 1)
    return new[labels]


def _background(image: np.ndarray) -> tuple[float, float]:
    """Return level and sd of the background: the lower flank of the darkest peak."""
    low, high = np.percentile(image, (1.0, 50.0))
    counts, edges = np.histogram(image, bins=64, range=(float(low), float(max(high, low + 1e-3))))
    peak = int(np.argmax(ndimage.gaussian_filter1d(counts.astype(float), 1.5)))
    level = float((edges[peak] + edges[peak + 1]) / 2)
    below = image[image <= level]
    sd = float(np.sqrt(np.mean((below - level) ** 2))) if len(below) else 0.0
    return level, sd


def _blobs(image: np.ndarray, background: float, threshold: float, nd: float) -> np.ndarray:
    """Return minus the scaled Laplacian of Gaussian: high in the middle of a nucleus.

    It is taken of a compressed image, so that a bright nucleus does not swallow a dim one.
    """
    height = np.log1p(np.maximum(image - background, 0) / max(threshold - background, 1e-6))
    sd = BLOB_SD_ND * nd
    return -(sd**2) * ndimage.gaussian_laplace(height, sd)


def _seeds(blobs: np.ndarray, mask: np.ndarray, nd: float) -> np.ndarray:
    """Return one marker a nucleus: maxima of ``blobs`` in ``mask``."""
    peaks = peak_local_max(
        blobs,
        min_distance=max(int(round(SEED_DISTANCE_ND * nd)), 1),
        threshold_abs=LEAST_BLOB,
        labels=mask.astype(int),
        exclude_border=False,
    )
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return markers


def _cut_at_half_height(
    smooth: np.ndarray, basins: np.ndarray, background: float, noise: float, nd: float
) -> np.ndarray:
    """Keep of each basin what is above half its nucleus' height, in one piece without holes."""
    labels = np.zeros(basins.shape, np.int32)
    unit = np.pi / 4 * nd**2
    count = 0
    for index, window in enumerate(ndimage.find_objects(basins), start=1):
        if window is None:
            continue
        inside = basins[window] == index
        values = smooth[window]
        height = np.percentile(values[inside], 80) - background
        if height < NOISE_SDS * noise:
            continue
        part, n = ndimage.label(inside & (values > background + HALF_HEIGHT * height))
        if n > 1:
            part = part == 1 + np.argmax(np.bincount(part.ravel())[1:])
        part = ndimage.binary_fill_holes(part > 0)
        if LEAST_AREA * unit <= part.sum() <= GREATEST_AREA * unit:
            count += 1
            labels[window][part & (labels[window] == 0)] = count
    return labels


Segmenter = Callable[[np.ndarray, float], np.ndarray]
SEGMENTERS: dict[str, Segmenter] = {"threshold": segment_nuclei}
