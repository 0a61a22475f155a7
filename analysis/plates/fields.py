"""Read one field of a sheet, from image files or from an OME-Zarr plate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.plates import image_files, zarr_array
from analysis.plates.sheet import Row


def read_field(row: Row, channels: Sequence[str], folder: Path) -> np.ndarray:
    """Return one field of a sheet as (c, y, x) uint16 counts.

    Raises:
        InputError: See :func:`analysis.plates.image_files.read_field` and
            :func:`analysis.plates.zarr_array.read_array_field`.
        BrokenField: As these functions.
    """
    if zarr_array.is_field(row):
        return zarr_array.read_array_field(row, channels, folder)
    return image_files.read_field(row, channels, folder)
