"""Estimate and correct uneven illumination, with one smooth profile per plate and channel.

Counts = offset + profile x light. The profile is a low-order polynomial in log space, fitted
robustly to block statistics pooled over the plate's fields (after Singh et al. 2014, J. Microsc.).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BLOCKS = 16  # A field is divided into this many blocks along each axis.
LOW_SHARE = 0.25  # This share of a block's pixels, the darkest, stands for its background.
ENVELOPE = 0.10  # The fit follows this quantile of backgrounds, because few blocks have no cell.
NEAR_ENVELOPE = 3.0  # Blocks up to this many sd (of the lower side) above it are background.
MEAN_FROM_FIELDS = 60  # From here on, means over cells are less noisy than background is biased.
ORDER_FEW, ORDER_MANY = 2, 4
PIXELS_A_BLOCK = 1000  # For speed, a block is thinned to about this many pixels.
ROUNDS = 40  # Rounds of reweighting.
TUKEY = 4.685  # The biweight ignores values beyond this many sd.


class ProfileEstimator:
    """Collect the fields of a plate one by one; memory does not grow with the field size.

    Attributes:
        shape: (c, y, x) of the fields, () before the first.
        low: For each field, the (c, b, b) mean of the darkest quarter of each block.
        mean: For each field, the (c, b, b) mean of each block.
    """

    def __init__(self, camera_offset: float) -> None:
        self.camera_offset = camera_offset
        self.shape: tuple[int, ...] = ()
        self.low: list[np.ndarray] = []
        self.mean: list[np.ndarray] = []

    def add(self, field: np.ndarray) -> None:
        """Add one field (c, y, x) in counts; all fields have one shape."""
        if not self.shape:
            self.shape = field.shape
        elif field.shape != self.shape:
            raise ValueError(f"field of {field.shape}, expected {self.shape}")
        low, mean = _block_statistics(field, self.camera_offset)
        self.low.append(low)
        self.mean.append(mean)

    def profile(self) -> np.ndarray:
        """Return the profile (c, y, x) float32, mean 1 in each channel.

        With fewer than ``MEAN_FROM_FIELDS`` fields it is fitted (order 2) to the background, which
        needs the camera's offset but few fields; otherwise (order 4) to the mean over fields.
        """
        envelope = len(self.mean) < MEAN_FROM_FIELDS
        if envelope:
            blocks, order = np.stack(self.low), ORDER_FEW
        else:
            fields = np.stack(self.mean)
            fields = fields / np.median(fields, axis=(2, 3), keepdims=True)
            low, high = np.percentile(fields, (10, 90), axis=0)
            blocks, order = np.clip(fields, low, high).mean(axis=0)[None], ORDER_MANY
        return np.stack(
            [
                fit_profile(blocks[:, channel], self.shape[1:], order, envelope=envelope)
                for channel in range(blocks.shape[1])
            ]
        )


def fit_profile(
    blocks: np.ndarray, shape: tuple[int, ...], order: int, *, envelope: bool
) -> np.ndarray:
    """Fit exp(polynomial) of ``order`` to ``blocks`` (n, b, b) > 0; return (y, x) of mean 1.

    With ``envelope`` the fit follows the lower edge of the values, because cells only add light.
    """
    n, rows, columns = blocks.shape
    log = np.log(np.maximum(blocks, 1e-3)).ravel()
    exponents = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
    ys, xs = (2 * (np.arange(size) + 0.5) / size - 1 for size in (rows, columns))
    ys, xs = np.repeat(ys, columns), np.tile(xs, rows)
    design = np.tile(np.stack([ys**i * xs**j for i, j in exponents], axis=1), (n, 1))
    if envelope:
        residual = log - design @ _regress(design, log, ROUNDS, _envelope_weights)
        scale = np.sqrt(np.mean(residual[residual < 0] ** 2)) + 1e-6
        near = residual < NEAR_ENVELOPE * scale
        design, log = design[near], log[near]
    coefficients = _regress(design, log, ROUNDS // 4, _biweights)
    ys, xs = (2 * (np.arange(size) + 0.5) / size - 1 for size in shape)
    surface = np.zeros(shape, np.float64)
    for (i, j), coefficient in zip(exponents, coefficients, strict=True):
        surface += coefficient * np.outer(ys**i, xs**j)
    profile = np.exp(surface)
    return (profile / profile.mean()).astype(np.float32)


def _regress(
    design: np.ndarray,
    values: np.ndarray,
    rounds: int,
    weigh: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return the coefficients of iteratively reweighted least squares.

    Arguments:
        weigh: Returns the weights (n,) of the next round from the residuals (n,).
    """
    root = np.ones(len(values))
    for _ in range(rounds):
        coefficients = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
        root = np.sqrt(weigh(values - design @ coefficients))
    return coefficients


def _envelope_weights(residual: np.ndarray) -> np.ndarray:
    """Return the weights of a regression for the quantile ``ENVELOPE``."""
    side = np.where(residual > 0, ENVELOPE, 1 - ENVELOPE)
    return side / np.maximum(np.abs(residual), 1e-3)


def _biweights(residual: np.ndarray) -> np.ndarray:
    """Return Tukey's biweights, which ignore outliers."""
    scale = 1.4826 * np.median(np.abs(residual)) + 1e-6
    return np.clip(1 - (residual / (TUKEY * scale)) ** 2, 0, None) ** 2


def correct(field: np.ndarray, profile: np.ndarray, camera_offset: float) -> np.ndarray:
    """Return the field (c, y, x) uint16 as even light would have given it."""
    light = (field.astype(np.float32) - camera_offset) / profile + camera_offset
    return np.rint(light).clip(0, np.iinfo(np.uint16).max).astype(np.uint16)


def _block_statistics(field: np.ndarray, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (mean of the darkest quarter, mean) of each block, both (c, b, b), above offset."""
    edges = [np.linspace(0, size, BLOCKS + 1).astype(int) for size in field.shape[1:]]
    low = np.empty((len(field), BLOCKS, BLOCKS))
    mean = np.empty_like(low)
    for i in range(BLOCKS):
        for j in range(BLOCKS):
            part = field[:, edges[0][i] : edges[0][i + 1], edges[1][j] : edges[1][j + 1]]
            pixels = np.sort(
                part.reshape(len(field), -1)[:, :: max(part[0].size // PIXELS_A_BLOCK, 1)], axis=1
            )
            darkest = max(int(LOW_SHARE * pixels.shape[1]), 1)
            low[:, i, j] = pixels[:, :darkest].mean(axis=1)
            mean[:, i, j] = pixels.mean(axis=1)
    return low - offset, mean - offset
