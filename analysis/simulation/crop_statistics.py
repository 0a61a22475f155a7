"""Measure the statistics that a simulated plate should share with real ones, on crops of either.

Each statistic is one number per cell, and the table has its quantiles over the cells. A single crop
shows neither noise nor background, so these are one number per stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.cells.quality import edge_blur
from analysis.cells.segment import segment_nuclei
from analysis.features.nuclei import Nucleus, NucleusSettings, around, find_nuclei
from rls.io.names import OK

REACH_UM = 8.0  # The cell reaches this far from the edge of the nucleus, as in the features.
BANDS_UM = (0.35, 0.7, 1.4, 2.8)  # Finer sd of a difference of Gaussians; the coarser is twice it.
RINGS_UM = (-np.inf, -2.5, 0.0, 2.0, 4.0, 8.0)  # Edges of the rings, from the nucleus' edge.
RING_NAMES = ("core", "rim", "0 to 2 um", "2 to 4 um", "4 to 8 um")
BACKGROUND_PERCENTILE = 0.5  # The background is this percentile of all pixels of a channel.
BARE_SHARE = 0.25  # Pixels below this share of the typical signal show medium, not cell.
NOISE_BLOCK_PX = 8
NOISE_BINS, MIN_BINS = 12, 4
MIN_BLOCKS = 20  # Minimum number of blocks in a bin.
NOISE_QUANTILE = 0.1  # Blocks of equal signal at this quantile show little but noise.
QUANTILES = (0.05, 0.5, 0.95)

KEYS = ["statistic", "channel", "unit"]
Key = tuple[str, str, str]  # The values of KEYS.


def describe(
    images: np.ndarray,
    channels: Sequence[str],
    nucleus_channel: str,
    pixel_size_um: float,
    settings: NucleusSettings,
) -> pd.DataFrame:
    """Return every statistic of crops (n, c, y, x) in counts.

    Returns:
        Columns ``statistic``, ``channel`` (empty where none), ``unit``, ``low``, ``median``,
        ``high`` (5th, 50th and 95th percentile over cells) and ``n`` (number of cells, or 1 for a
        number per stack).
    """
    images = np.asarray(images, np.float32)
    backgrounds = np.percentile(images, BACKGROUND_PERCENTILE, axis=(0, 2, 3))
    above = images - backgrounds[:, None, None].astype(np.float32)
    cells = describe_cells(above, channels, nucleus_channel, pixel_size_um, settings)
    values = {
        key: pd.Series([cell.get(key, np.nan) for cell in cells], dtype=float).dropna()
        for key in dict.fromkeys(key for cell in cells for key in cell)
    }
    diameters = values[("nucleus diameter", "", "um")]
    once: dict[Key, float] = {
        ("CV of nucleus diameter", "", ""): diameters.std() / diameters.mean()
    }
    for index, channel in enumerate(channels):
        slope, floor = noise_line(images[:, index], float(backgrounds[index]))
        once[("background", channel, "counts")] = backgrounds[index]
        once[("noise variance per count", channel, "counts")] = slope
        once[("noise variance at background", channel, "counts^2")] = floor
    values |= {key: pd.Series([value]) for key, value in once.items()}
    rows = []
    for key, column in values.items():
        quantiles = np.quantile(column, QUANTILES) if len(column) else (np.nan,) * 3
        rows.append((*key, *quantiles, len(column)))
    return pd.DataFrame(
        rows, columns=["statistic", "channel", "unit", "low", "median", "high", "n"]
    )


def describe_cells(
    above: np.ndarray,
    channels: Sequence[str],
    nucleus_channel: str,
    pixel_size_um: float,
    settings: NucleusSettings,
) -> list[dict[Key, float]]:
    """Return the statistics of each crop of (n, c, y, x), counts above background.

    A statistic that needs a nucleus is missing where none was found at the centre.
    """
    index = list(channels).index(nucleus_channel)
    dna = above[:, index]
    nd = settings.nucleus_diameter_um / pixel_size_um
    found = find_nuclei(dna, pixel_size_um, settings)
    markers = [i for i, name in enumerate(channels) if name != nucleus_channel]
    typical = np.array([np.percentile(above[:, i], 75) for i in range(len(channels))])
    mask, neighbours = np.stack([n.mask for n in found]), np.stack([n.others for n in found])
    blurs = edge_blur(dna, mask, neighbours, nd)
    rows = []
    for image, nucleus, blur in zip(above, found, blurs, strict=True):
        row: dict[Key, float] = {}
        row[("nuclei in a crop", "", "")] = segment_nuclei(image[index], nd).max()
        bare = np.all([image[i] < BARE_SHARE * typical[i] for i in markers], axis=0)
        row[("bare share of a crop", "", "")] = bare.mean()
        if nucleus.status == OK:
            area = nucleus.mask.sum() * pixel_size_um**2
            row[("nucleus diameter", "", "um")] = 2 * np.sqrt(area / np.pi)
            row[("edge blur", nucleus_channel, "nd")] = blur
            row |= _describe_cell(image, nucleus, channels, pixel_size_um)
        rows.append(row)
    return rows


def _describe_cell(
    image: np.ndarray, nucleus: Nucleus, channels: Sequence[str], pixel_size_um: float
) -> dict[Key, float]:
    """Return intensity, texture, radial profile and correlations of the cell at the centre."""
    row: dict[Key, float] = {}
    cell = around(nucleus, pixel_size_um, REACH_UM)
    distance = ndimage.distance_transform_edt(~nucleus.mask)
    distance = (distance - ndimage.distance_transform_edt(nucleus.mask)) * pixel_size_um
    means = image[:, cell].mean(axis=1)
    for channel, plane, mean in zip(channels, image, means, strict=True):
        row[("nucleus median", channel, "counts")] = np.median(plane[nucleus.mask])
        row[("cell median", channel, "counts")] = np.median(plane[cell])
        row[("cell 99th percentile", channel, "counts")] = np.percentile(plane[cell], 99)
        for name, low, high in zip(RING_NAMES, RINGS_UM[:-1], RINGS_UM[1:], strict=True):
            ring = cell & (distance > low) & (distance <= high)
            if ring.any():
                row[(f"radial profile, {name}", channel, "of mean")] = plane[ring].mean() / mean
        for sd in BANDS_UM:
            fine, coarse = (ndimage.gaussian_filter(plane, k * sd / pixel_size_um) for k in (1, 2))
            band = fine - coarse
            row[(f"contrast at {sd:g} um", channel, "of mean")] = band[cell].std() / mean
    for (i, first), (j, second) in combinations(enumerate(channels), 2):
        both = np.corrcoef(image[i][cell], image[j][cell])[0, 1]
        row[("correlation", f"{first}, {second}", "")] = both
    return row


def noise_line(images: np.ndarray, background: float) -> tuple[float, float]:
    """Fit a line to the noise variance of (n, y, x) over the signal.

    The variance of a block of pixels is estimated from its second differences along x, which are 0
    for a plane. Among the blocks of equal signal, a low quantile is taken, because structure adds
    to the variance of the others; it is then scaled to the mean that blocks of pure noise would
    have.

    Returns:
        (slope, variance at ``background``); NaN where there are too few blocks.
    """
    second = images[..., 2:] - 2 * images[..., 1:-1] + images[..., :-2]
    size = NOISE_BLOCK_PX
    ny, nx = images.shape[1] // size, second.shape[2] // size
    blocks = (len(images), ny, size, nx, size)
    middle = images[..., 1:-1]
    variance = (second[:, : ny * size, : nx * size].reshape(blocks) ** 2).mean(axis=(2, 4)) / 6
    level = middle[:, : ny * size, : nx * size].reshape(blocks).mean(axis=(2, 4))
    variance, level = variance.ravel(), level.ravel()
    edges = np.quantile(level, np.linspace(0.0, 0.98, NOISE_BINS + 1))
    # The same quantile of blocks of pure noise, over their mean variance.
    noise = np.random.default_rng(0).standard_normal((2000, size, size + 2))
    second = noise[..., 2:] - 2 * noise[..., 1:-1] + noise[..., :-2]
    pure = float(np.quantile((second**2).mean(axis=(1, 2)) / 6, NOISE_QUANTILE))
    xs, ys = [], []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (level >= low) & (level < high)
        if inside.sum() >= MIN_BLOCKS:
            xs.append(level[inside].mean() - background)
            ys.append(np.quantile(variance[inside], NOISE_QUANTILE) / pure)
    if len(xs) < MIN_BINS:
        return float("nan"), float("nan")
    slope, floor = np.polyfit(xs, ys, 1)
    return float(slope), float(floor)
