"""Measure the quality of a crop, and flag its defects.

The flags: camera noise, blank, saturated, out of focus, cut by the border, crowded, debris.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.cells.quality_settings import FLAGS, QualityLimits

FOCUS_SMOOTH_PX = (
    1.0  # Sd of the smoothing before the gradient; it is subtracted from the measured blur.
)
FOCUS_WINDOW_ND = 2.2  # Side of the window around a nucleus, in nuclear diameters.
APART_ND = 0.15  # An outline this near to another nucleus may show the edge of that nucleus.
MIN_EDGE_PX, MIN_EDGE_SHARE = 8, 0.5  # Minimum part of the outline far from other nuclei.
GROUND_ND = 0.5  # The background is taken within this distance, because nuclei lie on cells.
SPECK_ND = 0.5  # Debris is narrower than this; a nucleus is wider in every direction.
PLATEAU_PERCENTILE = 80.0  # The height of a nucleus is this percentile of its pixels.

# Measures that need the outline of a nucleus, or the camera's own noise and focus.
UNKNOWN_IN_LOW_RESOLUTION = ("noise_share", "blur_nd", "touching_share", "debris_height")


def measure_quality(
    raw: np.ndarray,
    crops: np.ndarray,
    labels: np.ndarray,
    own: np.ndarray,
    *,
    outside: np.ndarray,
    saturation: int,
    nucleus_channel: int,
    nucleus_diameter_px: float,
) -> pd.DataFrame:
    """Return one row of measures per crop; :func:`flag` turns them into flags.

    Arguments:
        raw: (n, c, y, x) counts before any correction.
        crops: (n, c, y, x) the same crops, corrected.
        labels: (n, y, x) nuclei of each crop.
        own: (n,) label of the crop's own nucleus, 0 for none.
        outside: (n,) share of the crop that lies off the field.
        saturation: Counts from which a pixel is saturated.
        nucleus_channel: Position of the nucleus channel.
        nucleus_diameter_px: Typical diameter of a nucleus, in px.

    Returns:
        Columns ``saturated_share`` (share of saturated pixels in the worst channel), ``contrast``
        (99th less 1st percentile, over the 1st, in the weakest channel), ``noise_share`` (sd of the
        noise between neighbouring pixels over the sd of the crop, in the worst channel; 1 for white
        noise), ``blur_nd`` (:func:`edge_blur`), ``outside_share``, ``touching_share`` (share of the
        nucleus' outline that touches other nuclei) and ``debris_height`` (:func:`debris_height` in
        the nucleus channel; NaN where the crop reaches off the field).
    """
    images = crops.astype(np.float32)
    low, high = np.percentile(images, (1, 99), axis=(2, 3))
    second = images[..., 2:] - 2 * images[..., 1:-1] + images[..., :-2]
    noise = second.std(axis=(2, 3)) / np.sqrt(6)
    spread = np.maximum(images.std(axis=(2, 3)), 1e-6)
    nuclei, nd = images[:, nucleus_channel], nucleus_diameter_px
    mask = (labels == own[:, None, None]) & (labels > 0)
    others = (labels > 0) & ~mask
    return pd.DataFrame(
        {
            "saturated_share": (raw >= saturation).mean(axis=(2, 3)).max(axis=1),
            "contrast": ((high - low) / np.maximum(low, 1)).min(axis=1),
            "noise_share": (noise / spread).max(axis=1),
            "blur_nd": edge_blur(nuclei, mask, others, nd),
            "outside_share": outside,
            "touching_share": touching_share(mask, others),
            # Pixels off the field are 0, and their edge would pass for a speck.
            "debris_height": np.where(outside > 0, np.nan, debris_height(nuclei, mask, others, nd)),
        },
        index=range(len(crops)),
    )


def measure_low_resolution(
    images: np.ndarray,
    *,
    outside: np.ndarray,
    saturation: int,
    nucleus_channel: int,
    nucleus_diameter_px: float,
) -> pd.DataFrame:
    """Return the measures of cells (n, c, y, x) that were acquired in low resolution.

    A nucleus of two pixels has no outline, and noise cannot be told from cells there: what needs
    either is NaN. Arguments are those of :func:`measure_quality`.
    """
    nothing = np.zeros((len(images), *images.shape[2:]), int)
    quality = measure_quality(
        images,
        images,
        nothing,
        np.zeros(len(images), int),
        outside=outside,
        saturation=saturation,
        nucleus_channel=nucleus_channel,
        nucleus_diameter_px=nucleus_diameter_px,
    )
    return quality.assign(**dict.fromkeys(UNKNOWN_IN_LOW_RESOLUTION, np.nan))


def edge_blur(
    images: np.ndarray, mask: np.ndarray, others: np.ndarray, nucleus_diameter_px: float
) -> np.ndarray:
    """Return the sd of the blur of each nucleus' edge, in nuclear diameters.

    An edge of height h behind a Gaussian of sd s has the steepest slope h / (s sqrt(2 pi)). Only
    the part of the outline that is far from other nuclei counts: a neighbour may be sharp where
    this nucleus is not.

    Arguments:
        images: (n, y, x) nucleus channel.
        mask: (n, y, x) the nucleus itself.
        others: (n, y, x) all other nuclei.
        nucleus_diameter_px: Typical diameter of a nucleus, in px.

    Returns:
        (n,) blur; NaN where too little of the outline is far from other nuclei.
    """
    nd = nucleus_diameter_px
    half = int(np.ceil(FOCUS_WINDOW_ND * nd / 2))
    window = tuple(slice(max(s // 2 - half, 0), s // 2 + half + 1) for s in images.shape[1:])
    part, mask, others = (a[(slice(None), *window)] for a in (images, mask, others))
    smooth = ndimage.gaussian_filter(part, (0, FOCUS_SMOOTH_PX, FOCUS_SMOOTH_PX))
    slope = np.hypot(np.gradient(smooth, axis=1), np.gradient(smooth, axis=2))
    # The outline may lie one pixel beside the steepest slope.
    slope = ndimage.maximum_filter(slope, (1, 3, 3))
    found = np.full(len(images), np.nan)
    reach = max(APART_ND * nd, 1.0)
    for i in range(len(images)):
        outline = _outline(mask[i])
        away = np.full(mask[i].shape, np.inf)
        if others[i].any():
            away = ndimage.distance_transform_edt(~others[i])
        edge = outline & (away > reach)
        if edge.sum() < max(MIN_EDGE_PX, MIN_EDGE_SHARE * outline.sum()):
            continue
        around = ndimage.distance_transform_edt(~mask[i]) <= GROUND_ND * nd
        ground = np.percentile(smooth[i][around & ~mask[i] & (away > reach)], 5)
        height = np.percentile(smooth[i][mask[i]], PLATEAU_PERCENTILE) - ground
        sd = height / (max(float(np.median(slope[i][edge])), 1e-6) * np.sqrt(2 * np.pi))
        found[i] = np.sqrt(max(sd**2 - FOCUS_SMOOTH_PX**2, 0)) / nd
    return found


def touching_share(mask: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the share (n,) of the outline of each mask (n, y, x) that touches ``others``."""
    found = np.zeros(len(mask))
    for i in np.flatnonzero(others.any(axis=(1, 2))):
        edge = _outline(mask[i])
        if edge.any():
            near = ndimage.binary_dilation(others[i], np.ones((3, 3)))
            found[i] = (edge & near).sum() / edge.sum()
    return found


def debris_height(
    images: np.ndarray, mask: np.ndarray, others: np.ndarray, nucleus_diameter_px: float
) -> np.ndarray:
    """Return the height of the brightest speck beside the nuclei, in heights of the nucleus.

    A speck is a bright spot into which a square of half a nuclear diameter does not fit (white
    top-hat). A rim of that width is ignored, because a nucleus cut by the crop would look like a
    speck there.

    Arguments:
        images: (n, y, x) nucleus channel.
        mask: (n, y, x) the nucleus itself.
        others: (n, y, x) all other nuclei.
        nucleus_diameter_px: Typical diameter of a nucleus, in px.

    Returns:
        (n,) height; NaN without a nucleus.
    """
    side = max(int(round(SPECK_ND * nucleus_diameter_px)), 3) | 1
    smooth = ndimage.gaussian_filter(images, (0, FOCUS_SMOOTH_PX, FOCUS_SMOOTH_PX))
    specks = smooth - ndimage.grey_opening(smooth, (1, side, side))
    rim = slice(side // 2, -(side // 2))
    wide = max(int(round(APART_ND * nucleus_diameter_px)), 1) * 2 + 1
    nuclei = ndimage.maximum_filter((mask | others).astype(np.uint8), (1, wide, wide)) > 0
    brightest = np.where(nuclei, 0, specks)[:, rim, rim].max(axis=(1, 2), initial=0)
    found = np.full(len(images), np.nan)
    for i in np.flatnonzero(mask.any(axis=(1, 2))):
        height = np.percentile(smooth[i][mask[i]], PLATEAU_PERCENTILE)
        found[i] = brightest[i] / max(height - np.percentile(smooth[i], 2), 1e-6)
    return found


def padded_share(crops: np.ndarray) -> np.ndarray:
    """Return the share (n,) of each crop (n, c, y, x) that is padding.

    Padding is a run of rows or columns of one value at the edge of a crop. It fills a crop that
    reached over the border of its field; no camera gives such a row.
    """
    kept = np.ones(len(crops))
    flat_rows = (crops == crops[..., :1]).all(axis=(1, 3))
    flat_columns = (crops == crops[:, :, :1, :]).all(axis=(1, 2))
    for flat in (flat_rows, flat_columns):
        before = np.cumprod(flat, axis=1).sum(axis=1)
        after = np.cumprod(flat[:, ::-1], axis=1).sum(axis=1)
        kept *= np.maximum(flat.shape[1] - before - after, 0) / flat.shape[1]
    return 1 - kept


def flag(measures: pd.DataFrame, limits: QualityLimits) -> pd.DataFrame:
    """Return the flags, one boolean column each of :data:`FLAGS`; NaN raises none."""
    return pd.DataFrame(
        {
            "saturated": measures["saturated_share"] > limits.saturated_share_max,
            "blank": measures["contrast"] < limits.contrast_min,
            "out_of_focus": measures["blur_nd"] > limits.blur_max_nd,
            "noise": measures["noise_share"] > limits.noise_share_max,
            "border": measures["outside_share"] > limits.outside_share_max,
            "overlapping": measures["touching_share"] > limits.touching_share_max,
            "debris": measures["debris_height"] > limits.debris_height_max,
        }
    )


def flags_text(table: pd.DataFrame) -> str:
    """Return how many cells of ``table`` have each flag, such as ``3 saturated, 0 blank, ...``."""
    return ", ".join(f"{int(table[name].sum())} {name}" for name in FLAGS)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels at the edge of ``mask`` (y, x), without those cut off by the image."""
    return mask & ~ndimage.binary_erosion(mask, border_value=1)
