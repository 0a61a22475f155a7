"""Cut the high-resolution images: the centre of every cell that trains no generator.

``--splits gan`` cuts the generator's training cells in their place, for a regression and for a
classifier that may see as many cells as the generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rls.io.names import HELD_OUT, SPLITS
from rls.runtime.command import Parser, option, run
from rls.runtime.errors import InputError


@dataclass(frozen=True)
class Settings:
    """Settings of section ``high_resolution``."""

    image_size: int = option("Side of the images of the assay, in px: 16, 32, 64 or 128.", least=1)


def main(argv: list[str] | None = None) -> None:
    """Cut the high-resolution images."""
    parser = Parser(__doc__, Settings, "high_resolution")
    parser.add_argument("--cells", type=Path, required=True, help="cells with margin (.ome.tif)")
    parser.add_argument("--output", type=Path, required=True, help="stack of images (.ome.tif)")
    parser.add_argument(
        "--splits", nargs="+", choices=SPLITS, default=HELD_OUT, help="splits whose cells are cut"
    )
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for pandas.
    import numpy as np

    from analysis.cells.geometry import centre_crop
    from rls.io import read_stack, write_stack

    cells = read_stack(args.cells, memory_map=True)
    if "split" not in cells.table:
        raise InputError(f"Found no column split in {args.cells}. Run select_cells first.")
    kept = cells.select(cells.table["split"].isin(args.splits).to_numpy())
    if not len(kept):
        raise InputError(
            f"Found no cell of {', '.join(args.splits)} in {args.cells}. Raise the counts in "
            "select_cells."
        )
    images = np.ascontiguousarray(centre_crop(kept.images, settings.image_size))
    write_stack(
        args.output,
        images,
        kept.table.drop(columns="image_digest"),
        channels=kept.channels,
        pixel_size_um=kept.pixel_size_um,
        written_by="high_resolution",
    )
    print(f"high_resolution: {len(images)} images of {settings.image_size} px", flush=True)


if __name__ == "__main__":
    run(main)
