"""D, the downscaling of Eq. 1: antialiased bicubic (a = -0.5), differentiable, equal to Pillow's.

A separable resize consists of two small matrices, y = A_y x A_x^T. They serve every channel, give
an exact gradient and run as matrix products on any device. The same operator makes the
low-resolution images and is used in every search, so that no search fits a mismatch of the two.

At 128 px and 32x every low-resolution pixel has taps outside the image, so the border rule is part
of D: ``renormalize`` (Pillow: taps outside are dropped and the others sum to 1) or ``reflect``
(PULSE, Menon et al. 2020: the image is mirrored without repeating its edge).

BRGM (Marinescu et al. 2020) searches with a bicubic that is not antialiased.
:func:`interpolate_noaa` makes it for comparisons with the published form; it is never used as D.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from rls.io.names import BORDERS
from rls.runtime.errors import InputError

SMALLEST_FACTOR, LARGEST_FACTOR = 2, 32
A = -0.5  # Keys' cubic, exact for quadratics: Pillow and PULSE have -0.5, OpenCV and torch -0.75.
A_TORCH = -0.75
SUPPORT = 2.0
REPEAT = "repeat"  # Border rule of the resize without antialiasing, never one of D.


def cubic(x: np.ndarray, a: float = A) -> np.ndarray:
    """Return Keys' cubic convolution kernel at ``x`` (any shape), zero beyond |x| = 2."""
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < SUPPORT, far, 0.0))


def resize_matrix(size_in: int, size_out: int, border: str) -> np.ndarray:
    """Return the (size_out, size_in) float64 matrix of a 1-D bicubic resize.

    Downwards the kernel is stretched by the factor (antialiasing); upwards it is not. The taps are
    Pillow's: the pixels whose centres lie within the support around the output's centre.

    Raises:
        InputError: The border rule is unknown, or the image is too small to be mirrored.
    """
    if border not in BORDERS:
        raise InputError(f"The border of D is '{border}', expected one of {', '.join(BORDERS)}.")
    scale = size_in / size_out
    stretch = max(scale, 1.0)
    matrix = np.zeros((size_out, size_in))
    for row in range(size_out):
        centre = (row + 0.5) * scale
        first = math.floor(centre - SUPPORT * stretch + 0.5)
        last = math.floor(centre + SUPPORT * stretch + 0.5)
        taps = np.arange(first, last)
        if border == "renormalize":
            taps = taps[(taps >= 0) & (taps < size_in)]
        weights = cubic((taps + 0.5 - centre) / stretch)
        np.add.at(matrix[row], _mirror(taps, size_in), weights / weights.sum())
    return matrix


def plain_matrix(size_in: int, size_out: int) -> np.ndarray:
    """Return the (size_out, size_in) float64 matrix of torch's bicubic without antialiasing."""
    # It has four taps around the output's centre at any factor, a = -0.75, and repeats edge pixels.
    matrix = np.zeros((size_out, size_in))
    for row in range(size_out):
        centre = (row + 0.5) * size_in / size_out - 0.5
        taps = math.floor(centre) + np.arange(-1, 3)
        weights = cubic(taps - centre, A_TORCH)
        np.add.at(matrix[row], taps.clip(0, size_in - 1), weights)
    return matrix


def _mirror(taps: np.ndarray, size: int) -> np.ndarray:
    """Return positions folded once at either edge, without repeating the edge pixel itself."""
    folded = np.where(taps < 0, -taps, taps)
    folded = np.where(folded >= size, 2 * (size - 1) - folded, folded)
    if folded.min() < 0 or folded.max() >= size:
        raise InputError(
            f"The kernel of D reaches more than once over an image of {size} px, so it cannot be "
            f"mirrored. Use border: renormalize, or a smaller factor."
        )
    return folded


class Resize(nn.Module):
    """A linear, separable resize of images (n, c, y, x) with fixed weights; differentiable.

    Arguments:
        size_in, size_out: (y, x) in pixels.
        border: ``renormalize`` or ``reflect``; ``repeat`` for :func:`plain_matrix`.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, size_in: tuple[int, int], size_out: tuple[int, int], border: str) -> None:
        super().__init__()
        self.size_in, self.size_out, self.border = size_in, size_out, border
        for name, n_in, n_out in zip(("rows", "columns"), size_in, size_out, strict=True):
            plain = border == REPEAT
            matrix = plain_matrix(n_in, n_out) if plain else resize_matrix(n_in, n_out, border)
            tensor = torch.as_tensor(matrix, dtype=torch.float32)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return images (n, c, *size_out) from images (n, c, *size_in); float32 unless double."""
        if tuple(images.shape[-2:]) != self.size_in:
            raise InputError(
                f"D was made for images of {_by(self.size_in)} px and was given "
                f"{_by(tuple(images.shape[-2:]))} px."
            )
        # In bfloat16 this step would lose more precision than the whole search gains.
        kind = torch.float64 if images.dtype == torch.float64 else torch.float32
        images, rows, columns = images.to(kind), self.rows.to(kind), self.columns.to(kind)
        return rows @ (images @ columns.T)


def downscale(size: int | tuple[int, int], factor: int, border: str) -> Resize:
    """Return D for images of ``size`` px, one side or (y, x), and an integer ``factor``.

    Raises:
        InputError: The factor is outside 2 to 32, does not divide the size, or the image is too
            small to be mirrored.
    """
    high = _pair(size)
    if not SMALLEST_FACTOR <= factor <= LARGEST_FACTOR:
        raise InputError(
            f"The factor of D is {factor}, expected {SMALLEST_FACTOR} to {LARGEST_FACTOR}."
        )
    if any(side % factor for side in high):
        raise InputError(
            f"Images of {_by(high)} px cannot be reduced by {factor}: the factor must divide the "
            f"size. Choose another factor or another image_size."
        )
    return Resize(high, (high[0] // factor, high[1] // factor), border)


def interpolate_noaa(size: int | tuple[int, int], factor: int) -> Resize:
    """Return BRGM's forward operator: bicubic without antialiasing, which ignores most pixels.

    At 32x a low-resolution pixel depends on 4 x 4 of its 32 x 32 pixels. Arguments and errors are
    those of :func:`downscale`.
    """
    return downscale(size, factor, REPEAT)


def upscale(size: int | tuple[int, int], factor: int) -> Resize:
    """Return Pillow's bicubic enlargement of images of ``size`` px by ``factor``: the baseline."""
    low = _pair(size)
    return Resize(low, (low[0] * factor, low[1] * factor), "renormalize")


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
