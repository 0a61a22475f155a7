"""A grid of images as a PNG, channels in colours that are told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from rls.io import atomic_path

# Additive, distinguishable without red against green: blue, orange, teal, magenta.
COLOURS = np.array([(0.15, 0.45, 1.0), (1.0, 0.6, 0.0), (0.0, 0.8, 0.5), (0.9, 0.2, 0.8)])
ZOOM_TO = 64  # px, the least side of one image on the grid


def composite(unit: np.ndarray) -> np.ndarray:
    """Colours of images in [0, 1]: (n, c, y, x) -> (n, y, x, 3) uint8. One channel is grey."""
    n_channels = unit.shape[1]
    colours = np.ones((1, 3)) if n_channels == 1 else COLOURS[np.arange(n_channels) % len(COLOURS)]
    rgb = np.einsum("ncyx,ck->nyxk", np.clip(unit, 0, 1), colours)
    return np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8)


def write_grid(path: Path, unit: np.ndarray, n_columns: int) -> None:
    """Write images (n, c, y, x) in [0, 1] row by row, n_columns a row."""
    rgb = composite(unit)
    zoom = max(1, ZOOM_TO // rgb.shape[1])
    rgb = rgb.repeat(zoom, axis=1).repeat(zoom, axis=2)
    n_rows = -(-len(rgb) // n_columns)
    height, width = rgb.shape[1:3]
    sheet = np.zeros((n_rows * height, n_columns * width, 3), dtype=np.uint8)
    for i, image in enumerate(rgb):
        top, left = i // n_columns * height, i % n_columns * width
        sheet[top : top + height, left : left + width] = image
    with atomic_path(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
