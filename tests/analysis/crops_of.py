"""The crops of a file, its blocks put together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analysis.plates.crop_array import read_crops


def crops_of(path: Path, rows, **facts) -> np.ndarray:
    """The crops ``rows`` of a file, (n, c, y, x), as :func:`read_crops` yields them."""
    blocks = list(read_crops(path, np.array(rows), **facts))
    assert np.concatenate([places for places, _ in blocks]).tolist() == list(rows)
    return np.concatenate([images for _, images in blocks])
