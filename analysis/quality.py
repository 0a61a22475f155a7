"""What is wrong with a crop: saturated, blank, out of focus, or camera noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

FLAGS = ("saturated", "blank", "out_of_focus", "noise")
FOCUS_SMOOTH_PX = 1.0  # smoothing before the gradient; taken out of the blur again
FOCUS_WINDOW_ND = 1.8  # side of the window around a nucleus


@dataclass(frozen=True)
class Limits:
    """Where a flag is raised; see :func:`measure_quality` for the measures."""

    saturated_share_max: float
    contrast_min: float
    blur_max_nd: float
    noise_share_max: float


def measure_quality(
    raw: np.ndarray,
    crops: np.ndarray,
    *,
    saturation: int,
    nucleus_channel: int,
    nucleus_diameter_px: float,
) -> pd.DataFrame:
    """Return one row of measures a crop.

    Arguments:
        raw: (n, c, y, x) counts before any correction; crops: the same, corrected.
        saturation: The camera's greatest count.

    Columns:
        saturated_share: share of saturated pixels in the worst channel.
        contrast: (99th - 1st percentile) over the 1st percentile, in the weakest channel.
        noise_share: sd of pixel-to-pixel noise over the sd of the crop, in the worst channel;
            1 for white noise.
        blur_nd: sd of the blur of the nucleus' edge, in nuclear diameters: for an edge of
            height h behind a Gaussian of sd s the steepest slope is h / (s sqrt(2 pi)).
    """
    n = len(crops)
    images = crops.astype(np.float32)
    low, high = np.percentile(images, (1, 99), axis=(2, 3))
    second = images[..., 2:] - 2 * images[..., 1:-1] + images[..., :-2]
    noise = second.std(axis=(2, 3)) / np.sqrt(6)
    spread = np.maximum(images.std(axis=(2, 3)), 1e-6)
    return pd.DataFrame(
        {
            "saturated_share": (raw >= saturation).mean(axis=(2, 3)).max(axis=1),
            "contrast": ((high - low) / np.maximum(low, 1)).min(axis=1),
            "noise_share": (noise / spread).max(axis=1),
            "blur_nd": edge_blur(images[:, nucleus_channel], nucleus_diameter_px),
        },
        index=range(n),
    )


def edge_blur(images: np.ndarray, nucleus_diameter_px: float) -> np.ndarray:
    """Return the blur of the edges in the middle of ``images`` (n, y, x), in diameters (n,)."""
    half = int(np.ceil(FOCUS_WINDOW_ND * nucleus_diameter_px / 2))
    middle = [size // 2 for size in images.shape[1:]]
    window = tuple(slice(max(m - half, 0), m + half + 1) for m in middle)
    smooth = ndimage.gaussian_filter(images, (0, FOCUS_SMOOTH_PX, FOCUS_SMOOTH_PX))
    slope = np.hypot(np.gradient(smooth, axis=1), np.gradient(smooth, axis=2))
    slope = slope[(slice(None), *window)]
    low, high = np.percentile(smooth[(slice(None), *window)], (2, 90), axis=(1, 2))
    steepest = np.percentile(slope, 99, axis=(1, 2))
    sd = (high - low) / (np.maximum(steepest, 1e-6) * np.sqrt(2 * np.pi))
    return np.sqrt(np.maximum(sd**2 - FOCUS_SMOOTH_PX**2, 0)) / nucleus_diameter_px


def flag(measures: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """Return the flags, one boolean column each of :data:`FLAGS`."""
    return pd.DataFrame(
        {
            "saturated": measures["saturated_share"] > limits.saturated_share_max,
            "blank": measures["contrast"] < limits.contrast_min,
            "out_of_focus": measures["blur_nd"] > limits.blur_max_nd,
            "noise": measures["noise_share"] > limits.noise_share_max,
        }
    )
