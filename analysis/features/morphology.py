"""Shape, intensity and texture of nucleus and cell, with the names of Cell Painting.

``Nuclei`` is the central nucleus. ``Cell`` is the area within reach of it and nearer to it than to
any other nucleus, the nucleus included: bodies are not segmented. A column is named
``{object}_{group}_{name}[_{scale}]_{channel}``; shapes have no channel. Areas and lengths carry
their unit; intensities are counts above the black level; texture and granularity have no unit.

* AreaShape, of the nucleus. FormFactor is 4 pi area / perimeter^2 (Crofton's perimeter), which is 1
  for a disc. Eccentricity and AspectRatio are those of the ellipse with the same second moments.
* Intensity, of both objects, per channel. A gain multiplies all of them.
* Texture, of the cell, per channel: Haralick's contrast, correlation and entropy (bits) of pairs of
  pixels ``morphology_texture_um`` apart, over four directions and both ways. Grey levels divide the
  range from the cell's own 1st to its 99th percentile, so gain and background change nothing.
* Granularity, of the cell, per channel: the share of the light, in percent, that an opening by a
  disc of ``n`` steps removes and one of ``n - 1`` steps does not. Gain changes nothing.

The names follow CellProfiler (Carpenter et al. 2006, Genome Biol. 7:R100; Bray et al. 2016, Nat.
Protoc. 11:1757), whose numbers differ in detail: it segments cells, and its scales are in pixels.
Texture follows Haralick, Shanmugam & Dinstein 1973, IEEE Trans. SMC 3:610.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.features.nuclei import Nucleus, NucleusSettings, around, find_nuclei
from rls.io.names import OK, not_measurable
from rls.runtime.command import option

PRIMARY = "Nuclei_AreaShape_Area_um2"
SHAPES = (
    "Nuclei_AreaShape_Area_um2",
    "Nuclei_AreaShape_Perimeter_um",
    "Nuclei_AreaShape_Eccentricity",
    "Nuclei_AreaShape_AspectRatio",
    "Nuclei_AreaShape_FormFactor",
    "Nuclei_AreaShape_Solidity",
)
OBJECTS = ("Nuclei", "Cell")
INTENSITIES = (
    "MeanIntensity",
    "StdIntensity",
    "LowerQuartileIntensity",
    "MedianIntensity",
    "UpperQuartileIntensity",
)
TEXTURES = ("Contrast", "Correlation", "Entropy")
GRANULARITY_SCALES = 4
ANGLES = (0.0, math.pi / 4, math.pi / 2, 3 * math.pi / 4)
GREY_RANGE = (1.0, 99.0)  # The grey levels of a cell lie between these percentiles.


@dataclass(frozen=True)
class FeatureSettings(NucleusSettings):
    """Scales of the morphology; fixed on HR controls, never tuned on SR."""

    morphology_reach_um: float = option(
        "How far a cell reaches from its nucleus's edge, in um.", above=0
    )
    morphology_texture_um: float = option(
        "Distance of the pixels that texture compares, in um.", above=0
    )
    morphology_grey_levels: int = option("Number of grey levels of the texture.", least=2)
    morphology_granularity_um: float = option(
        "Radius by which the disc grows from one scale of granularity to the next, in um.", above=0
    )


def columns(channels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns for a stack of these channels, in order."""
    names = list(SHAPES)
    for kind in OBJECTS:
        names += [f"{kind}_Intensity_{name}_{c}" for c in channels for name in INTENSITIES]
    names += [f"Cell_Texture_{name}_{c}" for c in channels for name in TEXTURES]
    scales = range(1, GRANULARITY_SCALES + 1)
    names += [f"Cell_Granularity_{scale}_{c}" for c in channels for scale in scales]
    return tuple(names)


def measure(
    images: np.ndarray,
    *,
    channels: Sequence[str],
    pixel_size_um: float,
    nucleus_channel: str,
    marker_channel: str,
    settings: FeatureSettings,
) -> pd.DataFrame:
    """Return one row for each crop of images (n, c, y, x), counts above the black level.

    Every channel is measured, so ``marker_channel`` changes nothing.

    Returns:
        The columns of :func:`columns` and ``status``: ``ok``, or ``not_measurable:reason``, and
        then every number is NaN. NaN are also the texture of a channel without contrast, and the
        granularity where a step is under a pixel, because the narrowest opening would then be of
        another scale.
    """
    names = columns(channels)
    images = np.asarray(images, dtype=np.float32)
    nuclei = find_nuclei(images[:, list(channels).index(nucleus_channel)], pixel_size_um, settings)
    rows = np.full((len(images), len(names)), np.nan)
    statuses = [nucleus.status for nucleus in nuclei]
    for i, (image, nucleus) in enumerate(zip(images, nuclei, strict=True)):
        if statuses[i] == OK and pixel_size_um > settings.morphology_texture_um:
            statuses[i] = not_measurable("pixels_too_coarse")
        elif statuses[i] == OK:
            rows[i] = list(_numbers(image, nucleus, pixel_size_um, settings))
    return pd.DataFrame(rows, columns=list(names)).assign(status=statuses)


def _numbers(
    image: np.ndarray, nucleus: Nucleus, pixel_size_um: float, settings: FeatureSettings
) -> Iterator[float]:
    """Yield the numbers of one cell (c, y, x) in the order of :func:`columns`."""
    cell = around(nucleus, pixel_size_um, settings.morphology_reach_um)
    yield from shape(nucleus.mask, pixel_size_um)
    for mask in (nucleus.mask, cell):
        for channel in image:
            values = channel[mask]
            yield float(values.mean())
            yield float(values.std())
            yield from map(float, np.percentile(values, (25.0, 50.0, 75.0)))
    distance = max(1, round(settings.morphology_texture_um / pixel_size_um))
    for channel in image:
        yield from texture(channel, cell, distance, settings.morphology_grey_levels)
    step = settings.morphology_granularity_um / pixel_size_um
    for channel in image:
        yield from granularity(channel, cell, step)


def shape(mask: np.ndarray, pixel_size_um: float) -> tuple[float, ...]:
    """Return the numbers of ``SHAPES``, in their order, of a mask (y, x) bool of one object."""
    from skimage.measure import regionprops

    (region,) = regionprops(mask.astype(np.uint8))
    area, perimeter = float(region.area), float(region.perimeter_crofton)
    long, short = float(region.axis_major_length), float(region.axis_minor_length)
    return (
        area * pixel_size_um**2,
        perimeter * pixel_size_um,
        float(region.eccentricity),
        long / short if short > 0 else math.nan,
        4 * math.pi * area / perimeter**2 if perimeter > 0 else math.nan,
        float(region.solidity),
    )


def texture(channel: np.ndarray, mask: np.ndarray, distance: int, levels: int) -> tuple[float, ...]:
    """Return contrast, correlation and entropy of pairs of pixels inside ``mask``.

    Contrast is in squared shares of the grey range, 0 to 1; entropy is in bits, at most
    2 log2(``levels``). All are NaN where the channel has no contrast or the mask holds no pair.

    Arguments:
        channel: (y, x).
        mask: (y, x) bool.
        distance: Distance of the two pixels of a pair, in pixels.
        levels: Number of grey levels.
    """
    from skimage.feature import graycomatrix

    low, high = np.percentile(channel[mask], GREY_RANGE)
    if not high > low:
        return (math.nan,) * len(TEXTURES)
    share = np.clip((channel - low) / (high - low), 0, 1)
    grey = np.minimum((share * levels).astype(int), levels - 1) + 1
    grey = np.where(mask, grey, 0).astype(np.uint8 if levels < 255 else np.uint16)
    pairs = graycomatrix(grey, [distance], ANGLES, levels=levels + 1, symmetric=True)
    joint = pairs[1:, 1:].sum(axis=(2, 3)).astype(float)  # Level 0 is outside the mask.
    if joint.sum() == 0:
        return (math.nan,) * len(TEXTURES)
    joint /= joint.sum()
    i, j = np.indices(joint.shape)
    contrast = float((joint * (i - j) ** 2).sum()) / (levels - 1) ** 2
    mean = float((joint * i).sum())
    variance = float((joint * (i - mean) ** 2).sum())  # Equal for i and j: pairs are symmetric.
    covariance = float((joint * (i - mean) * (j - mean)).sum())
    filled = joint[joint > 0]
    entropy = float(-(filled * np.log2(filled)).sum())
    return contrast, covariance / variance if variance > 0 else math.nan, entropy


def granularity(channel: np.ndarray, mask: np.ndarray, step_px: float) -> tuple[float, ...]:
    """Return what each scale removes, in percent of the light inside ``mask``.

    All are NaN where the step is under a pixel, or there is no light.

    Arguments:
        channel: (y, x).
        mask: (y, x) bool.
        step_px: Radius of the disc of the first scale, and its growth to the next, in pixels.
    """
    from skimage.morphology import disk, opening

    total = float(channel[mask].sum())
    if not total > 0 or step_px < 1.0:
        return (math.nan,) * GRANULARITY_SCALES
    left, shares = total, []
    for scale in range(1, GRANULARITY_SCALES + 1):
        opened = opening(channel, disk(round(scale * step_px), decomposition="sequence"))
        now = float(opened[mask].sum())
        shares.append(100 * (left - now) / total)
        left = now
    return tuple(shares)
