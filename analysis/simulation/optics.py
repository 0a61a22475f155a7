"""Turn light into counts: blur, uneven illumination, debris, noise and the camera."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from analysis.simulation.settings import Settings

DEBRIS_SD_ND = (0.06, 0.2)  # Smallest and largest sd of a speck.
DEBRIS_GAIN = (0.7, 3.0)  # Peak of a speck over the typical signal of its channel, as in BBBC014.


def blur(signal: np.ndarray, sd_px: float) -> np.ndarray:
    """Return (c, y, x) blurred by a Gaussian of ``sd_px``; light is lost over the border."""
    return ndimage.gaussian_filter(signal, (0, sd_px, sd_px), mode="constant", truncate=4.0)


def illumination_profile(
    shape: tuple[int, int], depth: float, rng: np.random.Generator
) -> np.ndarray:
    """Return a smooth profile (y, x) float32 of mean 1: a paraboloid whose peak is off centre.

    It falls by the share ``depth`` from its peak to the farthest corner.
    """
    peak = rng.uniform(-0.25, 0.25, 2)
    stretch = rng.uniform(0.8, 1.2)
    ys = np.linspace(-1, 1, shape[0])[:, None] - peak[0]
    xs = np.linspace(-1, 1, shape[1])[None, :] - peak[1]
    distance = stretch * ys**2 + xs**2 / stretch
    profile = 1 - depth * distance / distance.max()
    return (profile / profile.mean()).astype(np.float32)


def debris(
    shape: tuple[int, ...], levels: np.ndarray, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Return specks (c, y, x) float32 in counts, each in one channel.

    Arguments:
        shape: (y, x).
        levels: (c,) typical signal of the channels, in counts.
    """
    light = np.zeros((len(levels), *shape), np.float32)
    for _ in range(rng.poisson(settings.debris_per_field)):
        channel = rng.integers(len(levels))
        centre = rng.uniform((0, 0), shape)
        sd = rng.uniform(*DEBRIS_SD_ND) * settings.nucleus_diameter_px
        height = rng.uniform(*DEBRIS_GAIN) * levels[channel]
        half = int(np.ceil(4 * sd)) + 1
        top, left = np.maximum(centre.astype(int) - half, 0)
        ys = np.arange(top, min(top + 2 * half, shape[0]))
        xs = np.arange(left, min(left + 2 * half, shape[1]))
        along_y = np.exp(-(((ys - centre[0]) / sd) ** 2) / 2)
        along_x = np.exp(-(((xs - centre[1]) / sd) ** 2) / 2)
        light[channel, ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] += height * np.outer(
            along_y, along_x
        )
    return light


def expose(
    light: np.ndarray, profile: np.ndarray, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Return the image that the camera writes, (c, y, x) uint16.

    Counts = offset + Poisson(electrons) / electrons a count + read noise, clipped at the bit depth.

    Arguments:
        light: (c, y, x) in counts.
        profile: (c, y, x) illumination, mean 1.
    """
    mean = np.maximum((light + settings.background_counts) * profile, 0)
    counts = rng.poisson(mean * settings.electrons_per_count) / settings.electrons_per_count
    counts += rng.normal(0, settings.read_noise_counts, counts.shape)
    counts += settings.camera_offset_counts
    return np.rint(counts).clip(0, 2**settings.bit_depth - 1).astype(np.uint16)
