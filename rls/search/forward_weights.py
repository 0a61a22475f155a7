"""The weights of D along one axis, as NumPy arrays: matrices, taps and rules at the border."""

from __future__ import annotations

import math

import numpy as np

from rls.io.names import BORDERS
from rls.runtime.errors import InputError
from rls.search.forward_model import BICUBIC, PSF_BINNING, TRUNCATE, ForwardModel

A = -0.5  # Keys' cubic, exact for quadratics: Pillow and PULSE have -0.5, OpenCV and torch -0.75.
A_TORCH = -0.75
SUPPORT = 2.0
LEAST_WEIGHT = 1e-6  # Share of the weights of D that must lie on the image.


def axis_matrix(
    model: ForwardModel, size: int, factor: int, shift: float, pixel_size_um: float
) -> np.ndarray:
    """Return the matrix of a separable D along one axis."""
    if model.operator == BICUBIC:
        return resize_matrix(size, size // factor, model.border, shift)
    taps = np.full(factor, 1.0 / factor)
    if model.operator == PSF_BINNING:
        sd_px = round(model.psf_sd_um / pixel_size_um, 9)
        if sd_px > size:
            raise InputError(
                f"Found psf_sd_um {model.psf_sd_um:g}, a PSF wider than the whole image of "
                f"{size * pixel_size_um:g} um. Give it in micrometres of the sample."
            )
        taps = np.convolve(gaussian_taps(sd_px), taps)
    spread, first = placed(len(taps), factor, shift)
    return strided_matrix(size, factor, np.convolve(taps, spread), first, model.border)


def cubic(x: np.ndarray, a: float = A) -> np.ndarray:
    """Return Keys' cubic convolution kernel at ``x`` (any shape), zero beyond |x| = 2."""
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < SUPPORT, far, 0.0))


def resize_matrix(size_in: int, size_out: int, border: str, shift: float = 0.0) -> np.ndarray:
    """Return the (size_out, size_in) float64 matrix of a 1-D bicubic resize.

    Downwards the kernel is stretched by the factor (antialiasing); upwards it is not. The taps are
    Pillow's: the pixels whose centres lie within the support around the output's centre.

    Arguments:
        shift: The image is resized as if moved by so many pixels towards larger indices.

    Raises:
        InputError: The border rule is unknown, or the image is too small to be mirrored.
    """
    if border not in BORDERS:
        raise InputError(f"The border of D is '{border}', expected one of {', '.join(BORDERS)}.")
    scale = size_in / size_out
    stretch = max(scale, 1.0)
    matrix = np.zeros((size_out, size_in))
    for row in range(size_out):
        centre = (row + 0.5) * scale - shift
        first = math.floor(centre - SUPPORT * stretch + 0.5)
        last = math.floor(centre + SUPPORT * stretch + 0.5)
        taps = np.arange(first, last)
        if border == "renormalize":
            taps = taps[(taps >= 0) & (taps < size_in)]
        weights = cubic((taps + 0.5 - centre) / stretch)
        np.add.at(matrix[row], mirrored(taps, size_in), weights / weights.sum())
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


def placed(n_taps: int, factor: int, shift: float) -> tuple[np.ndarray, int]:
    """Return how a tap is spread over pixels, and the pixel of the first tap.

    The middle of the taps lies in the middle of an LR pixel, moved by ``-shift``. A tap between two
    pixels is shared by both, as the area that a moved camera pixel covers is.

    Arguments:
        n_taps: Number of taps along the axis.

    Returns:
        The shares, which sum to 1, and the pixel from the first one under the LR pixel.
    """
    start = (factor - n_taps) / 2 - shift
    first = math.floor(start)
    share = start - first
    return (np.array([1.0 - share, share]) if share else np.ones(1)), first


def strided_matrix(
    size_in: int, factor: int, taps: np.ndarray, first: int, border: str
) -> np.ndarray:
    """Return the (size_in / factor, size_in) float64 matrix of taps applied at every LR pixel."""
    matrix = np.zeros((size_in // factor, size_in))
    for row in range(len(matrix)):
        pixels, weights = row * factor + first + np.arange(len(taps)), taps
        if border == "renormalize":
            inside = (pixels >= 0) & (pixels < size_in)
            pixels, weights = pixels[inside], weights[inside]
        total = weights.sum()
        if not abs(total) > LEAST_WEIGHT * np.abs(taps).sum():
            raise InputError(sees_nothing(size_in))
        np.add.at(matrix[row], mirrored(pixels, size_in), weights / total)
    return matrix


def gaussian_taps(sd_px: float) -> np.ndarray:
    """Return the weights of a Gaussian at whole pixels, cut at 4 sd, with the sum 1."""
    reach = int(TRUNCATE * sd_px + 0.5)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sd_px) ** 2)
    return taps / taps.sum()


def blur_matrix(size: int, sd_px: float) -> np.ndarray:
    """Return the (size, size) matrix of scipy's 1-D Gaussian blur with repeated edge pixels."""
    from scipy import ndimage  # Imported here, because no other D needs it.

    blurred: np.ndarray = ndimage.gaussian_filter1d(
        np.eye(size), sd_px, axis=0, mode="nearest", truncate=TRUNCATE
    )
    return blurred


def extension(size: int, length: int, first: int, border: str) -> np.ndarray:
    """Return the (length, size) matrix of an image that begins at pixel ``first``.

    Pixels outside are 0 with ``renormalize`` and mirrored with ``reflect``.
    """
    matrix, pixels = np.zeros((length, size)), first + np.arange(length)
    rows = np.flatnonzero((pixels >= 0) & (pixels < size)) if border == BORDERS[0] else None
    rows = np.arange(length) if rows is None else rows
    if len(rows):
        matrix[rows, mirrored(pixels[rows], size)] = 1.0
    return matrix


def on_image(
    weights: np.ndarray, first: tuple[int, int], size: tuple[int, int], factor: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the weights that lie on the image for some LR pixel, and the pixel of the first.

    A file of a PSF may be much larger than the image, and where nothing is mirrored the rest of it
    weighs nothing.
    """
    low = [max(0, factor - n - one) for n, one in zip(size, first, strict=True)]
    high = [max(n - one, 0) for n, one in zip(size, first, strict=True)]
    seen = weights[low[0] : high[0], low[1] : high[1]]
    if not seen.size:
        raise InputError(sees_nothing(min(size)))
    return seen, (first[0] + low[0], first[1] + low[1])


def sees_nothing(size: int) -> str:
    return (
        f"A pixel of LR would see nothing of an image of {size} px, or weights that sum to 0. "
        f"Give a smaller shift_px, or a kernel with weights around its middle."
    )


def mirrored(taps: np.ndarray, size: int) -> np.ndarray:
    """Return positions folded once at either edge, without repeating the edge pixel itself."""
    folded = np.where(taps < 0, -taps, taps)
    folded = np.where(folded >= size, 2 * (size - 1) - folded, folded)
    if folded.min() < 0 or folded.max() >= size:
        raise InputError(
            f"The kernel of D reaches more than once over an image of {size} px, so it cannot be "
            f"mirrored. Use border: renormalize, or a smaller factor."
        )
    return folded
