"""Draw images G_s(G_m(z)), z ~ N(0, I), from a generator, and grids that show what styles do.

z and the noise maps of image i come from its own random stream, of seed and i, whatever n is.
Beside the stack, on request: a grid of truncation, w = w_mean + psi (G_m(z) - w_mean) for several
psi, and one of style mixing, where some style inputs of an image come from another (Karras et al.
2019, "A style-based generator architecture", appendix B; section 3.1 and Fig. 3). Grids always
have the generator's own noise maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from rls.io import atomic_path, table_path, write_stack
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.streams import torch_stream
from rls.stylegan2.generator_io import load_generator
from rls.stylegan2.grid import ZOOM_TO, composite
from rls.stylegan2.networks import Generator

NAME = "sample_images"
RANGES = ("coarse", "middle", "fine")
NOISES = ("const", "none", "random")
GAP = 2  # px between the images of a grid
LABEL = 18  # px above a grid for its labels


@dataclass(frozen=True)
class Settings:
    """What is drawn."""

    n_images: int = option("Images of the stack.", default=64)
    truncation_psi: float = option("1 leaves w as it is, 0 makes it the mean w.", default=1.0)
    truncation_cutoff: int | None = option("Number of style inputs, from the coarsest, that psi acts on; none is all.", default=None)  # fmt: skip  # noqa: E501
    noise: str = option("Noise maps: const is the generator's own, random draws them anew for every image.", choices=NOISES, default="const")  # fmt: skip  # noqa: E501
    grid_size: int = option("Rows of either grid, and columns of the style-mixing grid.", default=6)
    grid_psi: tuple[float, ...] = option("Columns of the truncation grid.", default=(-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.2))  # fmt: skip  # noqa: E501
    mixed_styles: str = option("Style inputs that the style-mixing grid takes from the column's image: coarse, middle or fine (thirds of the resolutions), or their numbers such as 0-3.", default="coarse")  # fmt: skip  # noqa: E501
    batch_size: int = option("Images drawn at a time; every batch is filled to it.", default=32)
    seed: int = option("Seed of z and of random noise.", default=0)
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"), default="auto")
    threads: int = option("CPU threads of torch.", default=1)

    def __post_init__(self) -> None:
        for name in ("n_images", "grid_size", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"Found {name} {getattr(self, name)}, expected 1 or more. Set it higher."
                )
        for name, values in (
            ("truncation_psi", (self.truncation_psi,)),
            ("grid_psi", self.grid_psi),
        ):
            if not values or not all(map(math.isfinite, values)):
                raise InputError(
                    f"Found {name} {', '.join(map(str, values)) or 'empty'}, expected finite "
                    "numbers such as 0.7. Set it to some."
                )


def draw_z(generator: Generator, seed: int, first: int, n: int) -> Tensor:
    """z of images first, first + 1, ...: (n, z_dim) on the CPU, each from its own stream."""
    streams = (torch_stream(seed, f"{i}", f"{NAME} z") for i in range(first, first + n))
    return torch.stack([torch.randn(generator.z_dim, generator=random) for random in streams])


def draw_noise(generator: Generator, seed: int, first: int, n: int) -> list[Tensor]:
    """Noise maps of images first, first + 1, ...: (n, 1, res, res) a layer, on the CPU."""
    maps = []
    for i in range(first, first + n):
        random = torch_stream(seed, f"{i}", f"{NAME} noise")
        maps.append([torch.randn(s[1:], generator=random) for s in generator.noise_shapes])
    return [torch.stack(layer) for layer in zip(*maps, strict=True)]


def check_cutoff(generator: Generator, cutoff: int | None) -> None:
    """Refuse a cutoff outside 0 to num_ws."""
    if cutoff is not None and not 0 <= cutoff <= generator.num_ws:
        raise InputError(
            f"Found truncation_cutoff {cutoff}, expected 0 to {generator.num_ws}, the number of "
            f"style inputs of {generator.source}. Set it so, or to none for all."
        )


def mixed_range(generator: Generator, text: str) -> range:
    """Numbers of the style inputs that `text` names: coarse, middle, fine, or FIRST-LAST.

    Two inputs belong to every resolution. The resolutions are cut into thirds; where they do not
    divide, the coarser third is larger: at 128 px 4 to 8, 16 to 32 and 64 to 128 px.
    Raises InputError if there is no such input.
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
    generator: Generator, settings: Settings, bar: Progress | None = None
) -> np.ndarray:
    """Images of the stack: (n, c, y, x) float32, about [-1, 1]."""
    size, device = settings.batch_size, generator.w_mean.device
    parts = []
    for first in range(0, settings.n_images, size):
        # Every batch is filled, so that an image does not depend on where the last one ends.
        z = draw_z(generator, settings.seed, first, size)
        ws = generator.mapping(
            z.to(device), settings.truncation_psi, truncation_cutoff=settings.truncation_cutoff
        )
        if settings.noise == "random":
            maps = draw_noise(generator, settings.seed, first, size)
            images = generator.synthesis(ws, [m.to(device) for m in maps])
        else:
            images = generator.synthesis(ws, "none" if settings.noise == "none" else "const")
        kept = images[: settings.n_images - first].cpu()
        parts.append(kept.numpy())
        if bar is not None:
            bar.advance(len(kept))
    return np.concatenate(parts)


@torch.no_grad()
def synthesise(generator: Generator, ws: Tensor, batch_size: int) -> Tensor:
    """Images in [0, 1] units of ws (rows, columns, num_ws, w_dim): (rows, columns, c, y, x)."""
    parts = [
        generator.synthesis(part, "const").cpu() for part in ws.flatten(0, 1).split(batch_size)
    ]
    images = torch.cat(parts)
    return (images.reshape(*ws.shape[:2], *images.shape[1:]) + 1) / 2


@torch.no_grad()
def truncation_grid(generator: Generator, settings: Settings) -> Tensor:
    """Rows: z of the first images of the stack; columns: psi. (rows, columns, c, y, x) in [0, 1].

    psi acts on the style inputs up to truncation_cutoff. psi -1 is the image's opposite.
    """
    z = draw_z(generator, settings.seed, 0, settings.grid_size).to(generator.w_mean.device)
    ws = [
        generator.mapping(z, psi, truncation_cutoff=settings.truncation_cutoff)
        for psi in settings.grid_psi
    ]
    return synthesise(generator, torch.stack(ws, dim=1), settings.batch_size)


@torch.no_grad()
def style_mixing_grid(generator: Generator, settings: Settings) -> Tensor:
    """Image (i, j) has the style inputs of row i, those of `mixed_styles` from column j.

    Row 0 and column 0 show the images that give the styles; the corner is empty (0). Rows are the
    first images of the stack, columns the next. (1 + k, 1 + k, c, y, x) in [0, 1], k = grid_size.
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


def write_labelled_grid(path: Path, unit: Tensor, title: str, labels: Sequence[str]) -> None:
    """Write images (rows, columns, c, y, x) in [0, 1] as a PNG, labels above the columns."""
    n_rows, n_columns, _, height, width = unit.shape
    top = LABEL * (2 if labels else 1)
    zoom = max(1, ZOOM_TO // height)
    rgb = composite(unit.flatten(0, 1).numpy()).repeat(zoom, axis=1).repeat(zoom, axis=2)
    height, width = height * zoom + GAP, width * zoom + GAP
    sheet = Image.new("RGB", (n_columns * width, top + n_rows * height), "black")
    for i, image in enumerate(rgb):
        place = (i % n_columns * width, top + i // n_columns * height)
        sheet.paste(Image.fromarray(image), place)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.text((4, LABEL // 2), title, font=font, fill="white", anchor="lm")
    for column, label in enumerate(labels):
        middle = (column * width + width // 2, LABEL + LABEL // 2)
        draw.text(middle, label, font=font, fill="white", anchor="mm")
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def write_grids(
    generator: Generator, settings: Settings, truncation: Path | None, mixing: Path | None
) -> None:
    """Write the grids that were asked for."""
    if truncation is not None:
        labels = [f"{psi:g}" for psi in settings.grid_psi]
        cut = settings.truncation_cutoff
        title = "truncation psi" if cut is None else f"truncation psi, style inputs under {cut}"
        write_labelled_grid(truncation, truncation_grid(generator, settings), title, labels)
    if mixing is not None:
        taken = mixed_range(generator, settings.mixed_styles)
        title = f"style inputs {taken.start} to {taken.stop - 1} of the top row, others of the left"
        write_labelled_grid(mixing, style_mixing_grid(generator, settings), title, [])


def table_of(generator: Generator, settings: Settings) -> pd.DataFrame:
    """One row an image: what it was made from."""
    cut = settings.truncation_cutoff
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


def main(argv: Sequence[str] | None = None) -> None:
    """Draw a stack, and grids where asked."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument(
        "--generator", type=Path, required=True, help="generator.safetensors or a model folder"
    )
    parser.add_argument("--output", type=Path, required=True, help="stack to write, *.ome.tif")
    parser.add_argument("--truncation-grid", type=Path, help="PNG: rows are z, columns psi")
    parser.add_argument(
        "--style-mixing-grid", type=Path, help="PNG: styles of rows and of columns mixed"
    )
    args, settings = parser.parse(argv)
    device = choose_device(settings.device, settings.threads)
    generator = load_generator(args.generator, device)
    # Before the long part, so that what cannot be drawn or written is said at once.
    channels, pixel_size_um, _ = generator.channels, generator.pixel_size_um, generator.intensity
    check_cutoff(generator, settings.truncation_cutoff)
    table_path(args.output)
    write_grids(generator, settings, args.truncation_grid, args.style_mixing_grid)
    size = settings.n_images * generator.n_channels * generator.image_size**2 * 4 / 1e9
    print(f"{NAME}: {settings.n_images} images, {size:.3g} GB before compression", flush=True)
    with Progress(settings.n_images, NAME, "img") as bar:
        images = draw_images(generator, settings, bar)
    write_stack(
        args.output,
        generator.to_counts(torch.from_numpy(images)),
        table_of(generator, settings),
        channels=channels,
        pixel_size_um=pixel_size_um,
        written_by=NAME,
        description=f"synthesised by {NAME}, generator {generator.header['digest']}",
    )


if __name__ == "__main__":
    run(main)
