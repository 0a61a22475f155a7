"""Pictures of low-resolution fields with their super-resolved cells in place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from analysis.cells.low_resolution_cut import corners
from analysis.cells.low_resolution_fields import Fields
from rls.io import Stack, atomic_path
from rls.pretrained.trust import FLAGGED
from rls.stylegan2.grid import composite

LARGEST_SIDE = 1600  # px of a half, unless the field itself is larger
GAP, TITLE = 6, 28  # px between the two halves, and above them
TITLES = ("low resolution; orange: low trust", "super-resolved: synthesised, not acquired")
PERCENTILES = (1.0, 99.8)  # shown as black and white
TRUSTED, UNTRUSTED, UNKNOWN = (120, 230, 120), (255, 150, 60), (200, 200, 200)


def write_fields(out: Path, fields: Fields, cells: Stack) -> Iterator[Path]:
    """Write a PNG for each field with cells, and yield its path.

    On the left stands the field with a frame around each cell: green, orange where trust is low,
    grey where it is not known. On the right the cells stand super-resolved in their places; a pixel
    that several show is of the cell whose nucleus is nearest. Both halves have the field's scale.

    Arguments:
        out: The super-resolved images, beside which the pictures lie.
        cells: These images, with their positions in the table.
    """
    for name, image in zip(fields.names, fields.images, strict=True):
        mine = cells.select((cells.table["field"] == name).to_numpy())
        if not len(mine):
            continue
        path = out.with_name(f"{out.name.removesuffix('.ome.tif')}.{name}.png")
        with atomic_path(path) as temporary:
            draw_field(image, mine, fields.side, fields.factor).save(temporary, format="PNG")
        yield path


def draw_field(field: np.ndarray, cells: Stack, side: int, factor: int) -> Image.Image:
    """Return the picture of one field (c, y, x) and its cells."""
    height, width = field.shape[1:]
    zoom = max(1, min(2 * factor, LARGEST_SIDE // max(height, width)))
    low, high = np.percentile(field, PERCENTILES, axis=(1, 2))
    black, range_ = low[:, None, None], np.maximum(high - low, 1e-6)[:, None, None]
    shown = composite(((field - black) / range_)[None])[0]
    left = Image.fromarray(shown).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
    right, draw = np.array(left), ImageDraw.Draw(left)
    nearest = np.full(right.shape[:2], np.inf)
    trust = cells.table["trust"].to_numpy(float)
    positions = cells.table[["y_px", "x_px"]].to_numpy()
    firsts = np.rint((corners(positions, side, factor) + 0.5) * zoom).astype(int).clip(0)
    distance = np.hypot(*np.meshgrid(*[np.arange(side * zoom) - side * zoom / 2] * 2))
    for (y, x), picture, value in zip(
        firsts, composite((cells.images - black) / range_), trust, strict=True
    ):
        window = (slice(y, y + side * zoom), slice(x, x + side * zoom))
        large = Image.fromarray(picture).resize((side * zoom,) * 2, Image.Resampling.LANCZOS)
        rows, columns = nearest[window].shape
        nearer = distance[:rows, :columns] < nearest[window]
        nearest[window][nearer] = distance[:rows, :columns][nearer]
        right[window][nearer] = np.asarray(large)[:rows, :columns][nearer]
        known = TRUSTED if value >= FLAGGED else UNTRUSTED
        frame = (x, y, x + side * zoom - 1, y + side * zoom - 1)
        draw.rectangle(frame, outline=known if np.isfinite(value) else UNKNOWN)
    both = Image.new("RGB", (2 * left.width + GAP, left.height + TITLE), "white")
    write, font = ImageDraw.Draw(both), ImageFont.load_default(13)
    for half, (image, title) in enumerate(zip((left, Image.fromarray(right)), TITLES, strict=True)):
        x = half * (left.width + GAP)
        both.paste(image, (x, TITLE))
        write.text((x + GAP, TITLE // 2), title, font=font, fill="black", anchor="lm")
    return both
