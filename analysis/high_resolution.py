"""Cut the high-resolution images: the centre of every cell that is not the generator's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.cells.split import SPLITS
from rls.io import read_stack, write_stack
from rls.runtime.command import Parser, option, run
from rls.runtime.errors import InputError

KEPT = tuple(split for split in SPLITS if split != "gan")


@dataclass(frozen=True)
class Settings:
    """Settings of section ``high_resolution``."""

    image_size: int = option("Side of the images of the assay, in px: 16, 32, 64 or 128.")


def centre_crop(images: np.ndarray, size: int) -> np.ndarray:
    """Return the centre (n, c, size, size) of (n, c, y, x): pixel y // 2 becomes size // 2.

    Raises:
        InputError: The images are smaller than ``size``.
    """
    if size > min(images.shape[2:]):
        raise InputError(
            f"Found crops of {images.shape[2]} px, expected at least image_size {size}. "
            "Raise crop_cells.crop_size, or lower image_size."
        )
    top, left = (full // 2 - size // 2 for full in images.shape[2:])
    return images[:, :, top : top + size, left : left + size]


def main(argv: list[str] | None = None) -> None:
    """Cut the high-resolution images."""
    parser = Parser(__doc__, Settings, "high_resolution")
    parser.add_argument("--cells", type=Path, required=True, help="cells with margin (.ome.tif)")
    parser.add_argument("--output", type=Path, required=True, help="stack of images (.ome.tif)")
    args, settings = parser.parse(argv)
    cells = read_stack(args.cells, memory_map=True)
    if "split" not in cells.table:
        raise InputError(f"Found no column split in {args.cells}. Run select_cells first.")
    kept = cells.select(cells.table["split"].isin(KEPT).to_numpy())
    if not len(kept):
        raise InputError(
            f"Found no cell of {', '.join(KEPT)} in {args.cells}. Raise the counts in select_cells."
        )
    images = np.ascontiguousarray(centre_crop(kept.images, settings.image_size))
    write_stack(
        args.output, images, kept.table.drop(columns="image_digest"), channels=kept.channels,
        pixel_size_um=kept.pixel_size_um, written_by="high_resolution",
    )  # fmt: skip
    print(f"high_resolution: {len(images)} images of {settings.image_size} px", flush=True)


if __name__ == "__main__":
    run(main)
