"""Shape, intensity and texture of nucleus and cell, one number each, with Cell Painting's names.

``Nuclei`` is the central nucleus. ``Cell`` is what lies within reach of it and nearer to it than to
another nucleus, nucleus included: bodies are not segmented. A column is
``{object}_{group}_{name}[_{scale}]_{channel}``; shapes have no channel. Areas and lengths carry
their unit; intensities are counts above the black level; texture and granularity have none.

* AreaShape: of the nucleus. FormFactor is 4 pi area / perimeter^2 (Crofton's perimeter), 1 for a
  disc. Eccentricity and AspectRatio are those of the ellipse with the same second moments.
* Intensity: of both, per channel. Gain multiplies all of them.
* Texture: of the cell, per channel; Haralick's contrast, correlation and entropy (bits) of pairs of
  pixels ``morphology_texture_um`` apart, over four directions and both ways. Grey levels divide the
  cell's own 1st to 99th percentile, so that gain and background change nothing.
* Granularity: of the cell, per channel; the share of the light, in percent, that an opening by a
  disc of ``n`` steps takes off and one of ``n - 1`` steps did not. Gain changes nothing.

Names after CellProfiler (Carpenter et al. 2006, Genome Biol. 7:R100; Bray et al. 2016, Nat. Protoc.
11:1757), whose numbers differ in detail: its Cells are segmented, its scales are pixels. Texture
after Haralick, Shanmugam & Dinstein 1973, IEEE Trans. SMC 3:610.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from skimage.feature import graycomatrix
from skimage.measure import regionprops
from skimage.morphology import disk, opening

from analysis.features.nuclei import OK, Nucleus, NucleusSettings, around, find_nuclei
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
GREY_RANGE = (1.0, 99.0)  # percentiles of a cell that its grey levels span


@dataclass(frozen=True)
class FeatureSettings(NucleusSettings):
    """Settings of the morphology; frozen on HR controls, never tuned on SR."""

    morphology_reach_um: float = option("How far a cell reaches from its nucleus's edge, in um.")
    morphology_texture_um: float = option("Distance of the pixels that texture compares, in um.")
    morphology_grey_levels: int = option("Grey levels of the texture.")
    morphology_granularity_um: float = option("One step of the granularity, a radius in um.")


def columns(channels: Sequence[str]) -> tuple[str, ...]:
    """Return the columns for a stack of these channels, in order."""
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
    marker_channel: str,  # noqa: ARG001  # every channel is measured
    settings: FeatureSettings,
) -> pd.DataFrame:
    """Return one row a crop of images (n, c, y, x), counts above the black level.

    Columns: those of :func:`columns`, and ``status``: ``ok`` or ``not_measurable:reason``. Then
    every number is NaN. So is the texture of a channel without any contrast, and granularity where
    a step is under a pixel: the narrowest opening that there is would be of another scale.
    """
    names = columns(channels)
    images = np.asarray(images, dtype=np.float32)
    nuclei = find_nuclei(images[:, list(channels).index(nucleus_channel)], pixel_size_um, settings)
    rows = np.full((len(images), len(names)), np.nan)
    statuses = [nucleus.status for nucleus in nuclei]
    for i, (image, nucleus) in enumerate(zip(images, nuclei, strict=True)):
        if statuses[i] == OK and pixel_size_um > settings.morphology_texture_um:
            statuses[i] = "not_measurable:pixels_too_coarse"
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
            yield from intensity(channel[mask])
    distance = max(1, round(settings.morphology_texture_um / pixel_size_um))
    for channel in image:
        yield from texture(channel, cell, distance, settings.morphology_grey_levels)
    step = settings.morphology_granularity_um / pixel_size_um
    for channel in image:
        yield from granularity(channel, cell, step)


def shape(mask: np.ndarray, pixel_size_um: float) -> tuple[float, ...]:
    """Return area, perimeter, eccentricity, aspect ratio, form factor and solidity of a mask."""
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


def intensity(values: np.ndarray) -> tuple[float, ...]:
    """Return mean, sd and quartiles of an object's pixels, in counts."""
    quartiles = np.percentile(values, (25.0, 50.0, 75.0))
    return float(values.mean()), float(values.std()), *map(float, quartiles)


def texture(channel: np.ndarray, mask: np.ndarray, distance: int, levels: int) -> tuple[float, ...]:
    """Return contrast, correlation and entropy of pairs ``distance`` px apart inside ``mask``.

    Contrast is in squared shares of the grey range, 0 to 1; entropy in bits, at most
    2 log2(``levels``).
    """
    low, high = np.percentile(channel[mask], GREY_RANGE)
    if not high > low:
        return (math.nan,) * len(TEXTURES)
    share = np.clip((channel - low) / (high - low), 0, 1)
    grey = np.minimum((share * levels).astype(int), levels - 1) + 1
    grey = np.where(mask, grey, 0).astype(np.uint8 if levels < 255 else np.uint16)
    pairs = graycomatrix(grey, [distance], ANGLES, levels=levels + 1, symmetric=True)
    joint = pairs[1:, 1:].sum(axis=(2, 3)).astype(float)  # grey 0 is outside
    if joint.sum() == 0:
        return (math.nan,) * len(TEXTURES)
    joint /= joint.sum()
    i, j = np.indices(joint.shape)
    contrast = float((joint * (i - j) ** 2).sum()) / (levels - 1) ** 2
    mean = float((joint * i).sum())
    variance = float((joint * (i - mean) ** 2).sum())  # of both, as pairs count both ways
    covariance = float((joint * (i - mean) * (j - mean)).sum())
    filled = joint[joint > 0]
    entropy = float(-(filled * np.log2(filled)).sum())
    return contrast, covariance / variance if variance > 0 else math.nan, entropy


def granularity(channel: np.ndarray, mask: np.ndarray, step_px: float) -> tuple[float, ...]:
    """Return what each of the scales takes off, in percent of the light inside ``mask``.

    NaN where the step is under a pixel.
    """
    total = float(channel[mask].sum())
    if not total > 0 or step_px < 1.0:
        return (math.nan,) * GRANULARITY_SCALES
    left, shares = total, []
    for scale in range(1, GRANULARITY_SCALES + 1):
        radius = round(scale * step_px)
        opened = opening(channel, disk(radius, decomposition="sequence"))
        now = float(opened[mask].sum())
        shares.append(100 * (left - now) / total)
        left = now
    return tuple(shares)
