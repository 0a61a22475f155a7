"""Warp images by one matrix each, with one resampling at twice the resolution.

An image is upsampled by 2, sampled bilinearly and downsampled by 2, with the low pass of the
wavelet sym6 (Karras et al. 2020, "Training generative adversarial networks with limited data",
appendix B). The border is mirrored repeatedly, so that an image is a periodic signal with a period
of 2 (side - 1) pixels, and no padding depends on the other images of the batch.

Three things make it fast. The FIR filters of a line of pixels are banded matrices, made once per
side: polyphase, separable, with the mirroring included and without inserted zeros. On a CPU the
matrices are inspected first: an image without a free rotation is resampled along each axis
separately, y = R_y x R_x^T; any other image is upsampled only where it is seen, one image after the
other, so that it stays in the cache. On a GPU the inspection would force a synchronisation, so
there every image is upsampled over a whole period. Finally, the map is linear in the images: its
derivative is its adjoint, whose derivative is the map again, and no intermediate image is kept.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

# Low-pass decomposition filter of the Daubechies wavelet "sym6" (Daubechies 1992, table 6.3).
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
_TAPS = torch.tensor(SYM6, dtype=torch.float64) / torch.tensor(SYM6, dtype=torch.float64).sum()
_PEAK = 5  # index of the tap at the position of a pixel: fine sample 2 i is pixel i


def warp(images: Tensor, matrices: Tensor, *, look: bool | None = None) -> Tensor:
    """Return the images resampled by their matrices, antialiased and mirrored at the border.

    Arguments:
        images: (n, c, y, x), with sides of at least 2 px.
        matrices: (n, 2, 3), which map an output pixel (x, y, 1) about the centre to its source.
        look: Whether to inspect the matrices to save work, by default on a CPU only; the result is
            the same.
    """
    dtype = torch.promote_types(images.dtype, torch.float32)
    look = images.device.type == "cpu" if look is None else look
    height, width = images.shape[2:]
    parts = _plan(matrices.to(dtype), (height, width), look)
    return _Linear.apply(images.to(dtype), parts, False).to(images.dtype)


@dataclass(frozen=True)
class _Straight:
    """Images whose axes stay axes: y = left x right^T, or left x^T right^T for a quarter turn.

    Attributes:
        rows: Rows of these images in the batch.
        left: (n, y, y').
        right: (n, x, x').
        turned: Whether the axes are exchanged.
    """

    rows: Tensor | slice
    left: Tensor
    right: Tensor
    turned: bool

    def forward(self, x: Tensor) -> Tensor:
        return _both(self.left, x.mT if self.turned else x, self.right)

    def adjoint(self, y: Tensor) -> Tensor:
        x = _both(self.left.mT, y, self.right.mT)
        return x.mT if self.turned else x


@dataclass(frozen=True)
class _Oblique:
    """Images with any matrix: upsampled along y and x, sampled, downsampled along y and x.

    Attributes:
        rows: Rows of these images in the batch.
        up: Upsampling matrices (fine, side) of y and x.
        grid: (n, fine y, fine x, 2), -1 to 1 from the first to the last fine sample.
        down: Downsampling matrices (side, fine) of y and x.
    """

    rows: Tensor | slice
    up: tuple[Tensor, Tensor]
    grid: Tensor
    down: tuple[Tensor, Tensor]

    def forward(self, x: Tensor) -> Tensor:
        fine = _both(self.up[0], x, self.up[1])
        fine = F.grid_sample(fine, self.grid, align_corners=True)
        return _both(self.down[0], fine, self.down[1])

    def adjoint(self, y: Tensor) -> Tensor:
        fine = _both(self.down[0].mT, y, self.down[1].mT)
        shape = (*fine.shape[:2], self.up[0].shape[-2], self.up[1].shape[-2])
        like = fine.new_zeros(()).expand(shape)  # only its shape is used
        fine, _ = torch.ops.aten.grid_sampler_2d_backward(
            fine, like, self.grid, 0, 0, True, [True, False]
        )
        return _both(self.up[0].mT, fine, self.up[1].mT)


_Part = _Straight | _Oblique


class _Context(FunctionCtx):
    """State that the forward pass of ``_Linear`` saves for the backward pass."""

    parts: list[_Part]
    adjoint: bool


class _Linear(torch.autograd.Function):
    """The linear map of a plan, or its adjoint."""

    @staticmethod
    def forward(ctx: _Context, x: Tensor, parts: list[_Part], adjoint: bool) -> Tensor:
        ctx.parts, ctx.adjoint = parts, adjoint
        if len(parts) == 1:
            return parts[0].adjoint(x) if adjoint else parts[0].forward(x)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        for part in parts:
            some = x[part.rows]
            out[part.rows] = part.adjoint(some) if adjoint else part.forward(some)
        return out

    @staticmethod
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _Linear.apply(gradients[0], ctx.parts, not ctx.adjoint), None, None


def _both(left: Tensor, x: Tensor, right: Tensor) -> Tensor:
    """Return left x right^T for every channel.

    The shapes are (n, y', y), (n, c, y, x), (n, x', x) -> (n, c, y', x'). The channels are put
    between y and x, so that each side is one matrix product.
    """
    n, c, height, width = x.shape
    x = x.transpose(1, 2).reshape(n, height * c, width) @ right.mT
    x = left @ x.reshape(n, height, -1)
    return x.reshape(n, x.shape[1], c, -1).transpose(1, 2)


def _plan(matrices: Tensor, size: tuple[int, int], look: bool) -> list[_Part]:
    """Return the parts of a batch of images of size (y, x) that are computed together.

    If there is only one part, it has all rows in order.
    """
    if not look:
        return [_whole(matrices, size)]
    straight, turned = [], []
    parts: list[_Part] = []
    values = matrices[:, :2].tolist()
    for i, ((xx, xy, _), (yx, yy, _)) in enumerate(values):
        if xy == 0 == yx:
            straight.append(i)
        elif xx == 0 == yy:
            turned.append(i)
        else:
            parts.append(_oblique(slice(i, i + 1), values[i], size, matrices))
    for some in (straight, turned):
        if some:
            rows = torch.tensor(some, device=matrices.device)
            parts.append(_straight(rows, matrices[rows], size, some is turned))
    return parts


def _straight(rows: Tensor, matrices: Tensor, size: tuple[int, int], turned: bool) -> _Straight:
    """Return the plan of images whose axes stay axes."""
    lines = []
    for out_axis, n_out in ((1, size[0]), (0, size[1])):
        axis = 1 - out_axis if turned else out_axis  # 0 is x, 1 is y
        n_in = size[1 - axis]
        fine = matrices[:, axis, out_axis, None] * _fine_axis(
            n_out, matrices.device, matrices.dtype
        )
        fine = (fine + (2 * matrices[:, axis, 2:] + n_in - 1)) % _period(n_in)
        below = fine.floor()
        index = below.long()
        up = _upsampling(n_in, matrices.device, matrices.dtype)
        sampled = torch.lerp(up[index], up[index + 1], (fine - below)[:, :, None])
        lines.append(_downsampling(n_out, matrices.device, matrices.dtype) @ sampled)
    return _Straight(rows, lines[0], lines[1], turned)


def _oblique(
    rows: slice, matrix: list[list[float]], size: tuple[int, int], like: Tensor
) -> _Oblique:
    """Return the plan of one image, in which only the part that is seen is upsampled."""
    x, y = (_fine_axis(n, like.device, like.dtype) for n in size[::-1])
    planes = like.new_empty((1, 2, len(y), len(x)))  # planes are faster than (x, y) pairs
    ups: list[Tensor] = []
    # The fine axes are centred at 0.5; these are their half-lengths.
    reach_y, reach_x = (n + (len(SYM6) - 3) / 2 for n in size)
    for axis, n_in in enumerate(size[::-1]):
        by_x, by_y, shift = matrix[axis]
        shift = 2 * shift + n_in - 1
        middle, half = 0.5 * (by_x + by_y) + shift, abs(by_x) * reach_x + abs(by_y) * reach_y
        first = math.floor(middle - half - 1e-3)
        n_fine = math.floor(middle + half + 1e-3) + 2 - first
        begin, period = first % _period(n_in), _period(n_in)
        up = _upsampling(n_in, like.device, like.dtype)
        if n_fine > period:
            fine = (by_x * x + (by_y * y + shift)[:, None]) % period
            torch.sub(fine * (2 / period), 1, out=planes[0, axis])
            begin, n_fine = 0, period + 1
        else:
            step = 2 / (n_fine - 1)
            along_y = y * (by_y * step) + ((shift - first) * step - 1)
            torch.add(x * (by_x * step), along_y[:, None], out=planes[0, axis])
        ups.append(up[begin : begin + n_fine])
    downs = [_downsampling(n, like.device, like.dtype) for n in size]
    return _Oblique(rows, (ups[1], ups[0]), planes.permute(0, 2, 3, 1), (downs[0], downs[1]))


def _whole(matrices: Tensor, size: tuple[int, int]) -> _Oblique:
    """Return the plan of all images, each upsampled over a whole period."""
    x, y = (_fine_axis(n, matrices.device, matrices.dtype) for n in size[::-1])
    planes = matrices.new_empty((len(matrices), 2, len(y), len(x)))
    ups: list[Tensor] = []
    for axis, n_in in enumerate(size[::-1]):
        by_x, by_y, shift = matrices[:, axis, :, None].unbind(1)
        along_y = by_y * y + (2 * shift + n_in - 1)
        period = _period(n_in)
        fine = (by_x[:, None] * x + along_y[:, :, None]) % period
        torch.sub(fine * (2 / period), 1, out=planes[:, axis])
        ups.append(_upsampling(n_in, matrices.device, matrices.dtype)[: period + 1])
    downs = [_downsampling(n, matrices.device, matrices.dtype) for n in size]
    return _Oblique(slice(None), (ups[1], ups[0]), planes.permute(0, 2, 3, 1), (downs[0], downs[1]))


def _period(side: int) -> int:
    """Return the number of fine samples after which a mirrored line repeats itself."""
    return 4 * (side - 1)


def mirrored(index: Tensor, side: int) -> Tensor:
    """Return indices within a line of ``side`` pixels mirrored about its end pixels.

    Arguments:
        index: Integers of any size and sign.
        side: Pixels of the line.
    """
    period = 2 * (side - 1)
    index = index % period
    return torch.minimum(index, period - index)


@functools.cache
def _fine_axis(n_out: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the fine samples that n_out pixels are filtered from, counted from the centre."""
    first = -_PEAK - (n_out - 1)
    n_fine = 2 * n_out + len(SYM6) - 2
    return torch.arange(first, first + n_fine, device=device, dtype=dtype)


@functools.cache
def _upsampling(side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the matrix (fine, side) from pixels to two periods of mirrored fine samples."""
    # Two samples more lie behind the periods.
    fine = torch.arange(2 * _period(side) + 2)[:, None]
    pixels = fine // 2 + torch.arange(-len(SYM6), len(SYM6))
    taps = fine + _PEAK - 2 * pixels
    there = (taps >= 0) & (taps < len(SYM6))
    weights = torch.where(there, 2 * _TAPS[taps.clamp(0, len(SYM6) - 1)], 0.0)
    out = torch.zeros((len(fine), side), dtype=weights.dtype)
    return out.scatter_add_(1, mirrored(pixels, side), weights).to(device, dtype)


@functools.cache
def _downsampling(side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the matrix (side, fine) that filters fine samples and keeps every second one."""
    out = torch.zeros((side, 2 * side + len(SYM6) - 2), dtype=torch.float64)
    pixels = torch.arange(side)[:, None]
    out[pixels, 2 * pixels + torch.arange(len(SYM6))] = _TAPS
    return out.to(device, dtype)
