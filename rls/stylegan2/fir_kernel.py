"""The FIR filter [1, 3, 3, 1] as one Triton kernel; ``rls.stylegan2.fir`` defines what it computes.

The kernel reads each pixel from memory about once and writes each result once, so memory bandwidth
bounds it. A program makes a tile of ``ROWS`` rows, ``COLUMNS`` columns and up to ``CHANNELS``
channels of one image. It goes down the rows and keeps four of them, filtered along x, in registers.
Images are channels last, so that a thread reads neighbouring channels at once.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS, CHANNELS = 16, 16, 64  # largest tile
OUTER, INNER = tl.constexpr(0.125), tl.constexpr(0.375)  # the taps [1, 3, 3, 1] / 8

# Sizes are not specialised: otherwise each resolution would be compiled anew. Whether 16 divides
# the number of channels stays known, because wide loads need it.
_SIZES = ["height", "width", "out_height", "out_width", "pad"]


@triton.jit
def _filtered_row(
    x: tl.tensor,
    row: tl.tensor,
    columns: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    n_channels: tl.tensor,
    UP: tl.constexpr,
    KIND: tl.constexpr,
) -> tl.tensor:
    """Return one row, filtered along x: (columns, channels).

    Arguments:
        x: Pointer to one image, without the zeros between its pixels.
        row, columns: Position with these zeros: of the row, and of the first tap of each result.
    """
    inside_y = (row >= 0) & (row < height * UP) & (row % UP == 0)
    start = row // UP * width
    total = tl.zeros((columns.shape[0], channels.shape[0]), dtype=KIND)
    for t in tl.static_range(4):
        u = columns + t
        inside = inside_y & (u >= 0) & (u < width * UP) & (u % UP == 0)
        mask = inside[:, None] & (channels < n_channels)[None, :]
        at = (start + u // UP)[:, None] * n_channels + channels[None, :]
        values = tl.load(x + at, mask=mask, other=0.0).to(KIND)
        total += values * (OUTER if t == 0 or t == 3 else INNER)
    return total


@triton.jit(do_not_specialize=_SIZES)
def fir_kernel(
    x: tl.tensor,
    y: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    n_channels: tl.tensor,
    pad: tl.tensor,
    gain: tl.tensor,
    UP: tl.constexpr,
    DOWN: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    TILE_COLUMNS: tl.constexpr,
    TILE_CHANNELS: tl.constexpr,
    KIND: tl.constexpr,
) -> None:
    """Filter one tile of x (n, y, x, c) into y (n, y', x', c), both contiguous.

    Program ids are: block of channels, tile of the image, image.
    """
    image, across = tl.program_id(2).to(tl.int64), tl.cdiv(out_width, TILE_COLUMNS)
    top = tl.program_id(1) // across * TILE_ROWS
    left = tl.program_id(1) % across * TILE_COLUMNS
    columns = left + tl.arange(0, TILE_COLUMNS)
    channels = tl.program_id(0) * TILE_CHANNELS + tl.arange(0, TILE_CHANNELS)
    x += image * height * width * n_channels
    y += image * out_height * out_width * n_channels
    mask = (columns < out_width)[:, None] & (channels < n_channels)[None, :]
    row, first = top * DOWN - pad, columns * DOWN - pad
    r0 = _filtered_row(x, row, first, channels, height, width, n_channels, UP, KIND)
    r1 = _filtered_row(x, row + 1, first, channels, height, width, n_channels, UP, KIND)
    r2 = _filtered_row(x, row + 2, first, channels, height, width, n_channels, UP, KIND)
    r3 = _filtered_row(x, row + 3, first, channels, height, width, n_channels, UP, KIND)
    for out_row in range(top, tl.minimum(top + TILE_ROWS, out_height)):
        at = (out_row * out_width + columns)[:, None] * n_channels + channels[None, :]
        value = ((r0 + r3) * OUTER + (r1 + r2) * INNER) * gain
        tl.store(y + at, value.to(y.dtype.element_ty), mask=mask)
        row += DOWN
        if DOWN == 1:
            r0, r1, r2 = r1, r2, r3
        else:
            r0, r1 = r2, r3
            r2 = _filtered_row(x, row + 2, first, channels, height, width, n_channels, UP, KIND)
        r3 = _filtered_row(x, row + 3, first, channels, height, width, n_channels, UP, KIND)


def tile_channels(n_channels: int) -> int:
    """Return how many channels a program takes: a power of two."""
    return min(CHANNELS, triton.next_power_of_2(n_channels))


def filtered(
    x: Tensor,
    up: int,
    down: int,
    pad: int,
    size: tuple[int, int],
    gain: float,
    rows: int = ROWS,
    columns: int = COLUMNS,
) -> Tensor:
    """Return x (n, c, y, x) filtered, channels last; the arguments are those of ``fir.Form``.

    Arguments:
        rows, columns: Size of a tile, powers of two.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    n, c, height, width = x.shape
    y = x.new_empty((n, c, *size)).contiguous(memory_format=torch.channels_last)
    block = tile_channels(c)
    tiles = triton.cdiv(size[0], rows) * triton.cdiv(size[1], columns)
    kind = tl.float64 if x.dtype == torch.float64 else tl.float32
    with torch.cuda.device_of(x):
        fir_kernel[(triton.cdiv(c, block), tiles, n)](
            *(x, y, height, width, *size, c, pad, gain),
            **{"UP": up, "DOWN": down, "KIND": kind},
            **{"TILE_ROWS": rows, "TILE_COLUMNS": columns, "TILE_CHANNELS": block},
        )
    return y
