"""Find the nucleus at the centre of a crop, apart from its neighbours.

This is a part that the features of this folder share. Every step depends on one crop only, and
scaling or shifting the counts of a crop does not change its masks. So neither the gain of a well
nor the choice of counts or unit intensity matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from rls.io.names import OK, not_measurable
from rls.runtime.command import option

SEED_LEVEL = 0.6  # Basins reach down to this share of Otsu's threshold above the background.
HALF_HEIGHT = 0.5  # The edge of a blurred body lies where the light is half way to the plateau.
FLOOR = 1e-3  # Everything below this share of the highest hill counts as ground.
PLATEAU_PERCENTILE = 80.0  # The plateau of a nucleus is this percentile of its basin's pixels.


@dataclass(frozen=True)
class NucleusSettings:
    """How the central nucleus is found; fixed on HR controls, never tuned on SR."""

    nucleus_diameter_um: float = option("Typical diameter of a nucleus, in um.", above=0)
    nucleus_smoothing_um: float = option(
        "Standard deviation of the Gaussian applied before the threshold, in um.", least=0
    )
    nucleus_separability: float = option(
        "Smallest share of the variance that Otsu's threshold must explain; "
        "below it, the crop has no nucleus.",
        least=0,
        most=1,
    )
    nucleus_seed_sd_um: float = option(
        "Standard deviation of the Laplacian of Gaussian that splits touching nuclei, in um.",
        above=0,
    )
    nucleus_split_depth: float = option(
        "Two nuclei are split if the saddle between them is lower by this share, 0 to 1.",
        least=0,
        below=1,
    )
    nucleus_centre_tolerance_um: float = option(
        "Greatest distance of the nucleus from the centre of the crop, in um.", least=0
    )
    nucleus_min_area_um2: float = option("Smallest area of a nucleus, in um^2.", least=0)
    nucleus_max_area_um2: float = option("Largest area of a nucleus, in um^2.", above=0)
    nucleus_min_diameter_px: float = option(
        "Smallest diameter of a typical nucleus, in pixels; at fewer, as in low resolution, "
        "nothing is measurable.",
        least=0,
    )


@dataclass(frozen=True)
class Nucleus:
    """The central nucleus of a crop.

    Attributes:
        mask: (y, x) bool, the nucleus.
        others: (y, x) bool, all other nuclei.
        status: ``ok``, or ``not_measurable:reason``, and then both masks are empty.
    """

    mask: np.ndarray
    others: np.ndarray
    status: str = OK


def find_nuclei(
    images: np.ndarray, pixel_size_um: float, settings: NucleusSettings
) -> list[Nucleus]:
    """Return the central nucleus of each image (n, y, x) of the nucleus channel.

    Each image is smoothed by a Gaussian, clipped at the brightness of its centre, so that a bright
    neighbour does not hide a dim nucleus, and thresholded by Otsu's method.
    A watershed on a Laplacian of Gaussian splits touching nuclei. The nucleus nearest the centre is
    then cut at half its own height, because the edge of a blurred body lies there whatever the
    brightness of its neighbours.

    Arguments:
        images: In counts or in unit intensity: the masks are the same.
    """
    images = np.asarray(images, dtype=np.float32)
    if settings.nucleus_diameter_um / pixel_size_um < settings.nucleus_min_diameter_px:
        return [_none(image.shape, "image_too_small") for image in images]
    sd = settings.nucleus_smoothing_um / pixel_size_um
    smooth = ndimage.gaussian_filter(images, (0, sd, sd), mode="nearest")
    ys, xs = (np.arange(size) - (size - 1) / 2 for size in images.shape[1:])
    radius = max(settings.nucleus_centre_tolerance_um / pixel_size_um, 1.0)
    ceiling = smooth[:, np.hypot(ys[:, None], xs) <= radius].max(axis=1)
    clipped = np.minimum(smooth, ceiling[:, None, None])
    thresholds, separability = otsu(clipped.reshape(len(smooth), -1))
    found = []
    for image, threshold, share in zip(smooth, thresholds, separability, strict=True):
        if not share >= settings.nucleus_separability:
            found.append(_none(image.shape, "no_nucleus"))
        else:
            found.append(_central(image, float(threshold), pixel_size_um, settings))
    return found


def around(nucleus: Nucleus, pixel_size_um: float, reach_um: float) -> np.ndarray:
    """Return the pixels (y, x) within reach of the nucleus and nearer to it than to any other."""
    distance = ndimage.distance_transform_edt(~nucleus.mask)
    near = distance * pixel_size_um <= reach_um
    if nucleus.others.any():
        near &= distance < ndimage.distance_transform_edt(~nucleus.others)
    return np.asarray(near)


def otsu(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Otsu's threshold and separability of each row of (n, p): (n,) and (n,).

    The threshold is exact: it is sought among the sorted values, not in a histogram. Separability
    is the between-class share of the variance: 0 to 1, 2/pi for Gaussian noise, NaN for a constant
    row.

    Source: Otsu 1979, IEEE Trans. SMC 9:62.
    """
    ordered = np.sort(values.astype(np.float64), axis=1)
    ordered = ordered - ordered.mean(axis=1, keepdims=True)
    n = ordered.shape[1]
    below = np.arange(1, n)
    sums = np.cumsum(ordered, axis=1)[:, :-1]
    between = sums**2 / (below * (n - below))  # Between-class variance, up to the factor 1/n.
    best = between.argmax(axis=1)
    rows = np.arange(len(ordered))
    threshold = 0.5 * (ordered[rows, best] + ordered[rows, best + 1])
    variance = (ordered**2).mean(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        separability = np.where(variance > 0, between[rows, best] / variance, np.nan)
    return threshold + values.mean(axis=1, dtype=np.float64), separability


def _central(
    image: np.ndarray, threshold: float, pixel_size_um: float, settings: NucleusSettings
) -> Nucleus:
    """Return the nucleus nearest the centre of a smoothed image (y, x)."""
    background = float(np.median(image[image <= threshold]))
    labels = _basins(image, threshold, background, pixel_size_um, settings)
    tolerance_px = settings.nucleus_centre_tolerance_um / pixel_size_um
    label = _nearest_to_centre(labels, tolerance_px)
    if label == 0:
        return _none(image.shape, "no_nucleus_at_centre")
    basin = labels == label
    plateau = float(np.percentile(image[basin], PLATEAU_PERCENTILE))
    level = background + HALF_HEIGHT * (plateau - background)
    nucleus = ndimage.binary_fill_holes(basin & (image > level))
    parts, count = ndimage.label(nucleus)
    if count > 1:
        nucleus = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    area = float(nucleus.sum()) * pixel_size_um**2
    if area < settings.nucleus_min_area_um2:
        return _none(image.shape, "nucleus_too_small")
    if area > settings.nucleus_max_area_um2:
        return _none(image.shape, "nucleus_too_large")
    # The centre may have lain on the blurred edge of a nucleus that is now cut off.
    if _nearest_to_centre(nucleus, tolerance_px) == 0:
        return _none(image.shape, "no_nucleus_at_centre")
    return Nucleus(nucleus, (image > threshold) & ~basin)


def _basins(
    image: np.ndarray,
    threshold: float,
    background: float,
    pixel_size_um: float,
    settings: NucleusSettings,
) -> np.ndarray:
    """Return labels (y, x), one for each nucleus with its blurred edge; touching nuclei are split.

    A negative Laplacian of Gaussian has one hill for each nucleus, however bright the nucleus and
    however hazy the gap. Two hills are two nuclei if the saddle between them is lower than the
    lower hill by the share ``nucleus_split_depth``.
    """
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    sd = settings.nucleus_seed_sd_um / pixel_size_um
    hills = -ndimage.gaussian_laplace(image, sd, mode="nearest")
    hills = np.log(np.maximum(hills, FLOOR * max(float(hills.max()), 1e-30)))
    depth = -np.log1p(-settings.nucleus_split_depth)
    flooded = reconstruction(hills - depth, hills)
    low = background + SEED_LEVEL * (threshold - background)
    seeds = local_maxima(flooded) & (image > low)
    markers, _ = ndimage.label(seeds, structure=np.ones((3, 3)))
    return watershed(-hills, markers, mask=image > low)


def _nearest_to_centre(labels: np.ndarray, tolerance_px: float) -> int:
    """Return the label of the pixel nearest the centre, 0 if none lies within the tolerance."""
    ys, xs = np.nonzero(labels)
    if len(ys) == 0:
        return 0
    centre = (np.array(labels.shape) - 1) / 2
    distance = np.hypot(ys - centre[0], xs - centre[1])
    nearest = int(distance.argmin())
    return int(labels[ys[nearest], xs[nearest]]) if distance[nearest] <= tolerance_px else 0


def _none(shape: tuple[int, ...], reason: str) -> Nucleus:
    """Return the nucleus of a crop (y, x) in which none can be measured."""
    empty = np.zeros(shape, dtype=bool)
    return Nucleus(empty, empty, not_measurable(reason))
