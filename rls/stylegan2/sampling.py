"""Draw images from a generator, and grids of truncation and of style mixing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.streams import torch_stream
from rls.runtime.transfer import Gathered, upload
from rls.stylegan2.grid import write_labelled_grid
from rls.stylegan2.networks import Generator, Noise
from rls.stylegan2.settings import SampleSettings

RANGES = ("coarse", "middle", "fine")


def draw_z(generator: Generator, seed: int, first: int, n: int) -> Tensor:
    """Return z (n, z_dim) of images first, first + 1, ..., on the CPU, each from its own stream."""
    streams = (torch_stream(seed, f"{i}", "sample_images z") for i in range(first, first + n))
    return torch.stack([torch.randn(generator.z_dim, generator=random) for random in streams])


def mixed_range(generator: Generator, text: str) -> range:
    """Return the numbers of the style inputs that ``text`` names.

    Two inputs belong to every resolution. The resolutions are cut into thirds; where they do not
    divide evenly, the coarser third is larger: at 128 px 4 to 8, 16 to 32 and 64 to 128 px.

    Arguments:
        text: coarse, middle, fine, or FIRST-LAST.

    Raises:
        InputError: There is no such input.
    """
    n = generator.num_ws
    if text in RANGES:
        thirds = np.array_split(np.arange(n // 2), len(RANGES))
        chosen = thirds[RANGES.index(text)]
        if len(chosen):
            return range(2 * int(chosen[0]), 2 * int(chosen[-1]) + 2)
    parts = text.split("-")
    if len(parts) == 2 and all(part.isdecimal() for part in parts):
        first, last = map(int, parts)
        if first <= last < n:
            return range(first, last + 1)
    raise InputError(
        f"Found mixed_styles '{text}', expected coarse, middle or fine, or numbers of style inputs "
        f"from 0 to {n - 1} such as 0-{n // 2 - 1}; {generator.source} has {n} (so small a "
        "generator may lack a third). Set it to one of these."
    )


@torch.no_grad()
def draw_images(
    generator: Generator, settings: SampleSettings, bar: Progress | None = None
) -> Tensor:
    """Return the images of the stack (n, c, y, x), float32, about [-1, 1], on the CPU."""
    size, device = settings.batch_size, generator.w_mean.device
    found = Gathered(settings.n_images)
    for first in range(0, settings.n_images, size):
        # Every batch is filled, so that an image does not depend on where the last batch ends.
        z = draw_z(generator, settings.seed, first, size)
        ws = generator.mapping(
            upload(z, device), settings.truncation_psi, truncation_cutoff=settings.truncation_cutoff
        )
        noise: Noise = "none" if settings.noise == "none" else "const"
        if settings.noise == "random":
            # The maps of each image come from its own stream, on the CPU.
            keys = (f"{i}" for i in range(first, first + size))
            streams = [torch_stream(settings.seed, key, "sample_images noise") for key in keys]
            maps = [
                [torch.randn(s[1:], generator=random) for s in generator.noise_shapes]
                for random in streams
            ]
            noise = [upload(torch.stack(layer), device) for layer in zip(*maps, strict=True)]
        taken = found.add(generator.synthesis(ws, noise))
        if bar is not None:
            bar.advance(taken)
    return found.result()


@torch.no_grad()
def synthesise(generator: Generator, ws: Tensor, batch_size: int) -> Tensor:
    """Return images (rows, columns, c, y, x) in [0, 1] of ws (rows, columns, num_ws, w_dim)."""
    found = Gathered(ws[..., 0, 0].numel())
    for part in ws.flatten(0, 1).split(batch_size):
        found.add(generator.synthesis(part, "const"))
    images = found.result()
    return (images.reshape(*ws.shape[:2], *images.shape[1:]) + 1) / 2


@torch.no_grad()
def truncation_grid(generator: Generator, settings: SampleSettings) -> Tensor:
    """Return images (rows, columns, c, y, x) in [0, 1], with one z per row and one psi per column.

    The rows are the first images of the stack. psi acts on the style inputs up to
    truncation_cutoff; psi -1 gives the opposite of an image.
    """
    z = draw_z(generator, settings.seed, 0, settings.grid_size).to(generator.w_mean.device)
    cutoff = settings.truncation_cutoff
    ws = [generator.mapping(z, psi, truncation_cutoff=cutoff) for psi in settings.grid_psi]
    return synthesise(generator, torch.stack(ws, dim=1), settings.batch_size)


@torch.no_grad()
def style_mixing_grid(generator: Generator, settings: SampleSettings) -> Tensor:
    """Return images (1 + k, 1 + k, c, y, x) in [0, 1] with mixed styles, k = grid_size.

    Image (i, j) has the style inputs of row i, except for ``mixed_styles``, which are those of
    column j. Row 0 and column 0 show the images that give the styles, and the corner is empty (0).
    The rows are the first images of the stack, the columns the next.
    """
    taken, k = mixed_range(generator, settings.mixed_styles), settings.grid_size
    z = draw_z(generator, settings.seed, 0, 2 * k).to(generator.w_mean.device)
    ws = generator.mapping(z, settings.truncation_psi, truncation_cutoff=settings.truncation_cutoff)
    rows, columns = ws[:k], ws[k:]
    grid = torch.zeros(k + 1, k + 1, *ws.shape[1:], device=ws.device)
    grid[1:, :] = rows[:, None]
    grid[0, 1:] = columns
    grid[1:, 1:, taken.start : taken.stop] = columns[None, :, taken.start : taken.stop]
    images = synthesise(generator, grid, settings.batch_size)
    images[0, 0] = 0
    return images


def write_grids(
    generator: Generator, settings: SampleSettings, truncation: Path | None, mixing: Path | None
) -> None:
    """Write the grids whose paths are given."""
    if truncation is not None:
        labels = [f"{psi:g}" for psi in settings.grid_psi]
        cut = settings.truncation_cutoff
        title = "truncation psi" if cut is None else f"truncation psi, style inputs under {cut}"
        images = truncation_grid(generator, settings)
        write_labelled_grid(truncation, images.numpy(), title, labels)
    if mixing is not None:
        taken = mixed_range(generator, settings.mixed_styles)
        title = f"style inputs {taken.start} to {taken.stop - 1} of the top row, others of the left"
        write_labelled_grid(mixing, style_mixing_grid(generator, settings).numpy(), title, [])


def table_of(generator: Generator, settings: SampleSettings) -> pd.DataFrame:
    """Return a table with one row per image, which has the inputs that it was made from.

    Raises:
        InputError: truncation_cutoff is outside 0 to num_ws.
    """
    cut = settings.truncation_cutoff
    if cut is not None and not 0 <= cut <= generator.num_ws:
        raise InputError(
            f"Found truncation_cutoff {cut}, expected 0 to {generator.num_ws}, the number of "
            f"style inputs of {generator.source}. Set it so, or to none for all."
        )
    numbers = range(settings.n_images)
    return pd.DataFrame(
        {
            "image_id": [f"sample_seed{settings.seed}_{i:06d}" for i in numbers],
            "seed": settings.seed,
            "number": numbers,
            "truncation_psi": settings.truncation_psi,
            "truncation_cutoff": generator.num_ws if cut is None else cut,
            "noise": settings.noise,
            "generator_digest": generator.header["digest"],
        }
    )
