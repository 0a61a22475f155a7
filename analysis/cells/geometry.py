"""Find the places of cells, cut squares around them out of a field, and the centre of a square."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import ndimage

from rls.runtime.errors import InputError


def find_cells(labels: np.ndarray) -> pd.DataFrame:
    """Return y_px, x_px (rounded centroid) and area_px of each nucleus in ``labels`` (y, x)."""
    index = np.arange(1, labels.max() + 1)
    if not len(index):
        return pd.DataFrame({"y_px": [], "x_px": [], "area_px": []}).astype(int)
    centres = np.asarray(ndimage.center_of_mass(labels > 0, labels, index))
    return pd.DataFrame(
        {
            "y_px": np.rint(centres[:, 0]).astype(int),
            "x_px": np.rint(centres[:, 1]).astype(int),
            "area_px": np.bincount(labels.ravel())[1:],
        }
    )


def cut(field: np.ndarray, cells: pd.DataFrame, size: int) -> np.ndarray:
    """Return (n, c, size, size): squares of ``field`` whose pixel size // 2 is the cell's centre.

    Pixels off the field are 0.

    Arguments:
        field: (c, y, x).
        cells: n rows with the centres ``y_px``, ``x_px``.
        size: Side of a square, in px.
    """
    corners = cells[["y_px", "x_px"]].to_numpy() - size // 2
    squares = np.zeros((len(corners), len(field), size, size), field.dtype)
    for square, (y, x) in zip(squares, corners, strict=True):
        part = field[:, max(y, 0) : y + size, max(x, 0) : x + size]
        top, left = max(-y, 0), max(-x, 0)
        square[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    return squares


def share_outside(shape: tuple[int, ...], cells: pd.DataFrame, size: int) -> np.ndarray:
    """Return the share (n,) of each square of :func:`cut` that lies off a field of ``shape``."""
    corners = cells[["y_px", "x_px"]].to_numpy() - size // 2
    inside = np.minimum(corners + size, shape) - np.maximum(corners, 0)
    return 1 - np.prod(np.maximum(inside, 0), axis=1) / size**2


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
