"""Nucleocytoplasmic ratio: the marker in the nucleus over the marker in a ring around it.

ratio = (mean over nucleus - b) / (median over ring - b), where b is the background of the marker.
Fig. 5a (translocation of NF-kB) shows this ratio. Where cells are crowded, a ring usually stands
for the cytoplasm in place of the whole body (Carpenter et al. 2006, Genome Biol. 7:R100).

Two choices were tested on simulated cells whose ratio in the true masks is known (a dose series at
32, 64 and 128 px). A median over the ring gives r 0.97, 0.97, 0.96 where a mean gives 0.90 to 0.94,
because part of a ring may lie on a brighter neighbour. One background for the assay (its black
level) gives these values where the darkest pixels of each crop give 0.88, because a crop full of
cells has no background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.features.nuclei import Nucleus, NucleusSettings, find_nuclei
from rls.io.names import OK, not_measurable
from rls.runtime.command import option

PRIMARY = "nucleocytoplasmic_ratio"
COLUMNS = (
    "nucleocytoplasmic_ratio",
    "nucleus_area_um2",
    "ring_area_um2",
    "nucleus_mean_counts",
    "ring_counts",
    "marker_background_counts",
)


@dataclass(frozen=True)
class FeatureSettings(NucleusSettings):
    """How the ratio is measured; fixed on HR controls, never tuned on SR."""

    ring_gap_um: float = option("Gap between the nucleus and the ring, in um.", least=0)
    ring_width_um: float = option("Width of the ring, in um.", above=0)
    ring_min_area_um2: float = option(
        "Smallest area of the ring without the pixels of neighbours, in um^2.", least=0
    )
    ring_statistic: str = option("Statistic of the pixels in the ring.", choices=("median", "mean"))
    marker_background: str = option(
        "Background of the marker: 'scale' is the zero of the given intensities (the assay's "
        "black level), 'crop' is a percentile of each crop.",
        choices=("scale", "crop"),
    )
    marker_background_percentile: float = option(
        "Percentile of a crop's pixels that is its background, 0 to 100; used with 'crop' only.",
        least=0,
        most=100,
    )


def measure(
    images: np.ndarray,
    *,
    channels: Sequence[str],
    pixel_size_um: float,
    nucleus_channel: str,
    marker_channel: str,
    settings: FeatureSettings,
) -> pd.DataFrame:
    """Return one row for each crop of images (n, c, y, x).

    Arguments:
        images: Counts above the black level, or unit intensity: the ratio is the same.

    Returns:
        ``nucleocytoplasmic_ratio`` (dimensionless), ``nucleus_area_um2`` and ``ring_area_um2``;
        ``nucleus_mean_counts`` and ``ring_counts`` (both above the background) and
        ``marker_background_counts``, in the given intensity; and ``status``: ``ok``, or
        ``not_measurable:reason``, and then every number is NaN.
    """
    names = list(channels)
    nucleus_images = images[:, names.index(nucleus_channel)].astype(np.float32)
    marker_images = images[:, names.index(marker_channel)].astype(np.float32)
    nuclei = find_nuclei(nucleus_images, pixel_size_um, settings)
    rows = [
        _measure_one(nucleus, marker, pixel_size_um, settings)
        for nucleus, marker in zip(nuclei, marker_images, strict=True)
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "status"])


def _measure_one(
    nucleus: Nucleus, marker: np.ndarray, pixel_size_um: float, settings: FeatureSettings
) -> tuple[float | str, ...]:
    nothing = [math.nan] * len(COLUMNS)
    if nucleus.status != OK:
        return (*nothing, nucleus.status)
    background = 0.0
    if settings.marker_background == "crop":
        background = float(np.percentile(marker, settings.marker_background_percentile))
    ring = ring_around(nucleus, pixel_size_um, settings)
    ring_area = float(ring.sum()) * pixel_size_um**2
    if ring_area < settings.ring_min_area_um2:
        return (*nothing, not_measurable("ring_too_small"))
    inside = float(marker[nucleus.mask].mean()) - background
    middle = np.median if settings.ring_statistic == "median" else np.mean
    outside = float(middle(marker[ring])) - background
    if not outside > 0:
        return (*nothing, not_measurable("no_marker_in_ring"))
    area = float(nucleus.mask.sum()) * pixel_size_um**2
    return (inside / outside, area, ring_area, inside, outside, background, OK)


def ring_around(nucleus: Nucleus, pixel_size_um: float, settings: FeatureSettings) -> np.ndarray:
    """Return the ring (y, x) bool, from gap to gap + width around the nucleus.

    Pixels within the gap around other nuclei, or nearer to another nucleus, are left out.
    """
    gap, width = settings.ring_gap_um / pixel_size_um, settings.ring_width_um / pixel_size_um
    # The edge of a mask lies half a pixel outside the centres of its pixels.
    distance = ndimage.distance_transform_edt(~nucleus.mask) - 0.5
    ring = (distance > gap) & (distance <= gap + width)
    if nucleus.others.any():
        other = ndimage.distance_transform_edt(~nucleus.others) - 0.5
        ring &= (other > gap) & (other > distance)
    return ring
