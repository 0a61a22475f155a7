"""Find nuclei in fields that were acquired in low resolution, and cut their cells for a search.

A generator draws its cells with the nucleus in the middle. In low resolution a pixel is as large as
``factor`` of the generator's, and a cut to whole pixels would put nuclei up to half of that beside
it. So cells are cut at the very place, their values interpolated by cubic splines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from analysis.cells.geometry import find_cells
from analysis.cells.segment import WORKING_PX, Segmenter, segment_nuclei
from rls.search.forward import upscale

BLOCK = 256  # Cells that are interpolated at once.


def find_nuclei(
    nuclei: np.ndarray,
    nucleus_diameter_px: float,
    largest: int,
    segmenter: Segmenter = segment_nuclei,
) -> np.ndarray:
    """Return the centres (n, 2) of the nuclei in a field, as (y, x); 0 is the middle of a pixel.

    The field is enlarged by bicubic interpolation until a nucleus has about the size at which
    segmenters work.

    Arguments:
        nuclei: (y, x) counts of the channel of the nuclei.
        nucleus_diameter_px: Typical diameter of a nucleus in pixels of the field.
        largest: Greatest enlargement.
    """
    scale = min(max(math.ceil(WORKING_PX / nucleus_diameter_px), 1), largest)
    large = nuclei
    if scale > 1:
        height, width = nuclei.shape
        low = torch.as_tensor(nuclei[None, None], dtype=torch.float32)
        large = upscale((height, width), scale)(low)[0, 0].numpy()
    found = find_cells(segmenter(large, nucleus_diameter_px * scale))
    return (found[["y_px", "x_px"]].to_numpy(float) + 0.5) / scale - 0.5


def corners(positions: np.ndarray, side: int, factor: int) -> np.ndarray:
    """Return where the first pixel of each cell lies, (n, 2), for cells of ``side`` pixels.

    Pixel ``size // 2`` of a high-resolution crop is the centre of its nucleus
    (:func:`analysis.cells.geometry.cut`), half a pixel beside the middle of the crop.
    """
    return positions + 0.5 - side / 2 - 0.5 / factor


def are_inside(shape: Sequence[int], positions: np.ndarray, side: int, factor: int) -> np.ndarray:
    """Return which cells lie wholly in a field of ``shape`` (y, x), (n,) bool."""
    first = corners(positions, side, factor)
    last = np.asarray(shape) - 0.5
    return ((first >= -0.5) & (first + side - 1 <= last)).all(axis=1)


def cut_cells(field: np.ndarray, positions: np.ndarray, side: int, factor: int) -> np.ndarray:
    """Return the cells (n, c, side, side) float32 of a field (c, y, x), all of them inside it.

    Arguments:
        positions: (n, 2) centres of the nuclei, as :func:`find_nuclei` returns them.
        factor: Side of a low-resolution pixel over one of the generator's.
    """
    cells = np.empty((len(positions), len(field), side, side), np.float32)
    steps = np.arange(side)
    for c, channel in enumerate(field):
        spline = ndimage.spline_filter(channel.astype(np.float64), order=3, mode="mirror")
        for at in range(0, len(positions), BLOCK):
            first = corners(positions[at : at + BLOCK], side, factor)
            rows, columns = (first[:, axis, None] + steps for axis in (0, 1))
            places = np.broadcast_arrays(rows[:, :, None], columns[:, None, :])
            cells[at : at + BLOCK, c] = ndimage.map_coordinates(
                spline, places, order=3, mode="mirror", prefilter=False
            )
    return cells
