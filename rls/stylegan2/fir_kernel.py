"""The FIR filter [1, 3, 3, 1] as one Triton kernel; ``rls.stylegan2.fir`` defines what it computes.

The kernel reads each pixel from memory about once and writes each result once, so memory bandwidth
bounds it. A program makes a tile of one image. It goes down the rows of the tile and keeps four
rows, filtered along x, in registers. Images are channels last, so that a thread reads neighbouring
channels at once.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS = 16, 16  # pixels of a tile
FEW_ROWS = 4  # rows of a tile where tiles of ROWS would be too few to fill the GPU
ENOUGH_TILES = 1024  # tiles that fill a GPU: about eight for each of an H100's 132 multiprocessors
CHANNEL_BYTES = 128  # with 16 columns and 128 threads, every thread reads 16 bytes at once
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
    inside = (columns < out_width)[:, None] & (channels < n_channels)[None, :]
    row, first = top * DOWN - pad, columns * DOWN - pad
    r0 = _filtered_row(x, row, first, channels, height, width, n_channels, UP, KIND)
    r1 = _filtered_row(x, row + 1, first, channels, height, width, n_channels, UP, KIND)
    r2 = _filtered_row(x, row + 2, first, channels, height, width, n_channels, UP, KIND)
    r3 = _filtered_row(x, row + 3, first, channels, height, width, n_channels, UP, KIND)
    # A loop whose end is not constant needs 80 registers in place of 58.
    for r in range(TILE_ROWS):
        out_row = top + r
        at = (out_row * out_width + columns)[:, None] * n_channels + channels[None, :]
        value = ((r0 + r3) * OUTER + (r1 + r2) * INNER) * gain
        tl.store(y + at, value.to(y.dtype.element_ty), mask=inside & (out_row < out_height))
        row += DOWN
        if DOWN == 1:
            r0, r1, r2 = r1, r2, r3
        else:
            r0, r1 = r2, r3
            r2 = _filtered_row(x, row + 2, first, channels, height, width, n_channels, UP, KIND)
        r3 = _filtered_row(x, row + 3, first, channels, height, width, n_channels, UP, KIND)


def tiling(x: Tensor, size: tuple[int, int]) -> tuple[int, int, int]:
    """Return the rows, columns and channels of a tile.

    Arguments:
        x: (n, c, y, x).
        size: Size (y, x) of the result.
    """
    n, c = x.shape[:2]
    channels = min(CHANNEL_BYTES // x.element_size(), triton.next_power_of_2(c))
    across = triton.cdiv(size[1], COLUMNS) * triton.cdiv(c, channels)
    enough = n * across * triton.cdiv(size[0], ROWS) >= ENOUGH_TILES
    return ROWS if enough else FEW_ROWS, COLUMNS, channels


def filtered(x: Tensor, up: int, down: int, pad: int, size: tuple[int, int], gain: float) -> Tensor:
    """Return x (n, c, y, x) filtered, channels last; the arguments are those of ``fir.Form``."""
    x = x.contiguous(memory_format=torch.channels_last)
    n, c, height, width = x.shape
    y = torch.empty(
        (n, c, *size), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
    rows, columns, channels = tiling(x, size)
    tiles = triton.cdiv(size[0], rows) * triton.cdiv(size[1], columns)
    with torch.cuda.device_of(x):
        fir_kernel[(triton.cdiv(c, channels), tiles, n)](
            *(x, y, height, width, *size, c, pad, gain),
            UP=up,
            DOWN=down,
            TILE_ROWS=rows,
            TILE_COLUMNS=columns,
            TILE_CHANNELS=channels,
            KIND=tl.float64 if x.dtype == torch.float64 else tl.float32,
        )
    return y
