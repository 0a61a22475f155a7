"""D, the downscaling of Eq. 1, differentiable: what :mod:`rls.search.forward_model` chooses.

The default is antialiased bicubic (a = -0.5), equal to Pillow's. A separable D consists of two
small matrices, y = A_y x A_x^T. They serve every channel, give an exact gradient and run as matrix
products on any device. A measured PSF or a kernel is a convolution with the factor as its stride.
The same operator makes the low-resolution images and is used in every search, so that no search
fits a mismatch of the two.

At 128 px and 32x every low-resolution pixel has taps outside the image, so the border rule is part
of D: ``renormalize`` (Pillow: taps outside are dropped and the others sum to 1) or ``reflect``
(PULSE, Menon et al. 2020: the image is mirrored without repeating its edge).

BRGM (Marinescu et al. 2020) searches with a bicubic that is not antialiased.
:func:`interpolate_noaa` makes it for comparisons with the published form; it is never used as D.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from rls.io.names import BORDERS
from rls.runtime.errors import InputError
from rls.search.forward_model import KERNEL, PSF_BINNING, ForwardModel
from rls.search.forward_weights import (
    LEAST_WEIGHT,
    axis_matrix,
    blur_matrix,
    extension,
    on_image,
    placed,
    plain_matrix,
    resize_matrix,
    sees_nothing,
)

SMALLEST_FACTOR, LARGEST_FACTOR = 2, 32
REPEAT = "repeat"  # Border rule of the resize without antialiasing, never one of D.


class Forward(nn.Module):
    """A linear map of images (n, c, y, x) to another size with fixed weights; differentiable.

    Attributes:
        size_in, size_out: (y, x) in pixels.
        model: The choice of D; None for a resize that is no D.
    """

    size_in: tuple[int, int]
    size_out: tuple[int, int]
    model: ForwardModel | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return images (n, c, *size_out) from images (n, c, *size_in); float32 unless double."""
        if tuple(images.shape[-2:]) != self.size_in:
            raise InputError(
                f"D was made for images of {_by(self.size_in)} px and was given "
                f"{_by(tuple(images.shape[-2:]))} px."
            )
        # In bfloat16 this step would lose more precision than the whole search gains.
        kind = torch.float64 if images.dtype == torch.float64 else torch.float32
        return self.apply_to(images.to(kind))

    def apply_to(self, images: Tensor) -> Tensor:
        """Return the map of images of the right size, float32 or float64."""
        raise NotImplementedError

    def _keep(self, **arrays: np.ndarray) -> None:
        """Keep arrays as float32 buffers."""
        for name, array in arrays.items():
            tensor = torch.as_tensor(array, dtype=torch.float32)
            self.register_buffer(name, tensor, persistent=False)


class Resize(Forward):
    """A separable map.

    Arguments:
        rows, columns: Matrices (size_out, size_in) of y and x.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self, rows: np.ndarray, columns: np.ndarray, model: ForwardModel | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.size_out = (rows.shape[0], columns.shape[0])
        self.size_in = (rows.shape[1], columns.shape[1])
        self._keep(rows=rows, columns=columns)

    def apply_to(self, images: Tensor) -> Tensor:
        """Return A_y x A_x^T."""
        rows, columns = self.rows.to(images.dtype), self.columns.to(images.dtype)
        return rows @ (images @ columns.T)


class Convolution(Forward):
    """D by weights that are no product of y and x: a measured PSF, or a kernel.

    Images are first extended as the border rule says, by matrices, since the gradient of torch's
    mirroring is summed in any order on a GPU.

    Arguments:
        weights: (y, x) for each LR pixel.
        first: Pixel of the first weight, (y, x), from the first pixel under the LR pixel.
    """

    extend_rows: Tensor
    extend_columns: Tensor
    weights: Tensor
    scale: Tensor
    after_rows: Tensor
    after_columns: Tensor

    def __init__(
        self,
        size_in: tuple[int, int],
        factor: int,
        weights: np.ndarray,
        first: tuple[int, int],
        model: ForwardModel,
    ) -> None:
        super().__init__()
        self.model, self.factor, self.size_in = model, factor, size_in
        self.size_out = (size_in[0] // factor, size_in[1] // factor)
        least = LEAST_WEIGHT * np.abs(weights).sum()
        if model.border == BORDERS[0]:
            weights, first = on_image(weights, first, size_in, factor)
        extended = [
            extension(size, size - factor + n, start, model.border)
            for size, n, start in zip(size_in, weights.shape, first, strict=True)
        ]
        seen = np.lib.stride_tricks.sliding_window_view(
            np.outer(*(matrix.sum(axis=1) for matrix in extended)), weights.shape
        )[::factor, ::factor]
        total = np.einsum("ijkl,kl->ij", seen, weights)
        if not (np.abs(total) > least).all():
            raise InputError(sees_nothing(min(size_in)))
        after = [blur_after(size, model) for size in self.size_out]
        self._keep(
            extend_rows=extended[0],
            extend_columns=extended[1],
            weights=weights[None, None],
            scale=1.0 / total,
            after_rows=after[0],
            after_columns=after[1],
        )

    def apply_to(self, images: Tensor) -> Tensor:
        """Return the weighted sums of the extended images."""
        n, c = images.shape[:2]
        rows, columns, weights, scale, after_rows, after_columns = (
            one.to(images.dtype)
            for one in (
                self.extend_rows,
                self.extend_columns,
                self.weights,
                self.scale,
                self.after_rows,
                self.after_columns,
            )
        )
        extended = (rows @ (images @ columns.T)).reshape(n * c, 1, len(rows), len(columns))
        low = functional.conv2d(extended, weights, stride=self.factor) * scale
        return after_rows @ (low.reshape(n, c, *self.size_out) @ after_columns.T)


def blur_after(size: int, model: ForwardModel) -> np.ndarray:
    """Return the (size, size) matrix of the blur that follows D on LR pixels."""
    return blur_matrix(size, model.blur_sd_px) if model.blur_sd_px else np.eye(size)


def forward_operator(
    model: ForwardModel, size: int | tuple[int, int], factor: int, pixel_size_um: float
) -> Forward:
    """Return D for images of ``size`` px, one side or (y, x), and an integer ``factor``.

    Arguments:
        pixel_size_um: Side of an HR pixel, by which a PSF in micrometres becomes one in pixels.

    Raises:
        InputError: The factor is outside 2 to 32 or does not divide the size, the image is too
            small to be mirrored, or a file of weights has changed or has an unfit size.
    """
    high = checked_size(size, factor)
    if not model.digest:
        rows, columns = (
            axis_matrix(model, side, factor, shift, pixel_size_um)
            for side, shift in zip(high, model.shift_px, strict=True)
        )
        if model.blur_sd_px:
            rows, columns = (blur_after(len(one), model) @ one for one in (rows, columns))
        return Resize(rows, columns, model)
    weights, firsts = model.weights(), []
    if model.operator == KERNEL and any((side - factor) % 2 for side in weights.shape):
        raise InputError(
            f"{model.file} holds a kernel of {_by(weights.shape)} px, whose middle does not lie in "
            f"the middle of {factor} px. Give it {'even' if factor % 2 == 0 else 'odd'} sides."
        )
    if model.operator == PSF_BINNING:
        # Light of a pixel falls where the PSF points, so an LR pixel gathers by its mirror image.
        weights = weights[::-1, ::-1]
    box = np.full(factor, 1.0 / factor) if model.operator == PSF_BINNING else np.ones(1)
    for axis, shift in enumerate(model.shift_px):
        spread, first = placed(weights.shape[axis] + len(box) - 1, factor, shift)
        taps = np.convolve(box, spread)
        weights = np.apply_along_axis(np.convolve, axis, weights, taps)
        firsts.append(first)
    return Convolution(high, factor, weights, (firsts[0], firsts[1]), model)


def downscale(size: int | tuple[int, int], factor: int, border: str) -> Forward:
    """Return plain bicubic D; arguments and errors are those of :func:`forward_operator`."""
    return forward_operator(ForwardModel(border=border), size, factor, 1.0)


def checked_size(size: int | tuple[int, int], factor: int) -> tuple[int, int]:
    """Return ``size`` as (y, x), after checking that D can reduce it by ``factor``.

    Raises:
        InputError: The factor is outside 2 to 32, or does not divide the size.
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
    return high


def interpolate_noaa(size: int | tuple[int, int], factor: int) -> Resize:
    """Return BRGM's forward operator: bicubic without antialiasing, which ignores most pixels.

    At 32x a low-resolution pixel depends on 4 x 4 of its 32 x 32 pixels. Arguments and errors are
    those of :func:`downscale`.
    """
    high = checked_size(size, factor)
    rows, columns = (plain_matrix(side, side // factor) for side in high)
    return Resize(rows, columns)


def upscale(size: int | tuple[int, int], factor: int) -> Resize:
    """Return Pillow's bicubic enlargement of images of ``size`` px by ``factor``: the baseline."""
    rows, columns = (resize_matrix(side, side * factor, BORDERS[0]) for side in _pair(size))
    return Resize(rows, columns)


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
