"""Draw grids of images as PNG, with each channel in a colour of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rls.io import atomic_path

# Blue, orange, teal and magenta are added up. No pair relies on telling red from green.
COLOURS = np.array([(0.15, 0.45, 1.0), (1.0, 0.6, 0.0), (0.0, 0.8, 0.5), (0.9, 0.2, 0.8)])
ZOOM_TO = 64  # least side of an image on the grid in px
GAP = 2  # px between the images of a labelled grid
LABEL = 18  # height in px of a line of labels


def composite(unit: np.ndarray) -> np.ndarray:
    """Return images (n, c, y, x) in [0, 1] in colour (n, y, x, 3), uint8; one channel is grey."""
    n_channels = unit.shape[1]
    colours = np.ones((1, 3)) if n_channels == 1 else COLOURS[np.arange(n_channels) % len(COLOURS)]
    rgb = np.einsum("ncyx,ck->nyxk", np.clip(unit, 0, 1), colours)
    return np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8)


def write_grid(path: Path, unit: np.ndarray, n_columns: int) -> None:
    """Write images (n, c, y, x) in [0, 1] as a PNG, row by row."""
    with atomic_path(path) as temporary:
        tile(unit, n_columns).save(temporary, format="PNG")


def write_labelled_grid(path: Path, unit: np.ndarray, title: str, labels: Sequence[str]) -> None:
    """Write images (rows, columns, c, y, x) in [0, 1] as a PNG, with labels above the columns."""
    n_columns = unit.shape[1]
    sheet = tile(unit.reshape(-1, *unit.shape[2:]), n_columns, GAP, LABEL * (2 if labels else 1))
    width = sheet.width // n_columns
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.text((4, LABEL // 2), title, font=font, fill="white", anchor="lm")
    for column, label in enumerate(labels):
        middle = (column * width + width // 2, LABEL + LABEL // 2)
        draw.text(middle, label, font=font, fill="white", anchor="mm")
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def tile(unit: np.ndarray, n_columns: int, gap: int = 0, top: int = 0) -> Image.Image:
    """Return a picture of images (n, c, y, x) in [0, 1], row by row on black.

    Small images are enlarged by a whole factor.

    Arguments:
        gap: Pixels right of and below each image.
        top: Pixels above the first row.
    """
    rgb = composite(unit)
    zoom = max(1, ZOOM_TO // rgb.shape[1])
    rgb = rgb.repeat(zoom, axis=1).repeat(zoom, axis=2)
    height, width = rgb.shape[1] + gap, rgb.shape[2] + gap
    n_rows = -(-len(rgb) // n_columns)
    sheet = Image.new("RGB", (n_columns * width, top + n_rows * height), "black")
    for i, image in enumerate(rgb):
        sheet.paste(Image.fromarray(image), (i % n_columns * width, top + i // n_columns * height))
    return sheet
