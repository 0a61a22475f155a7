"""One image of a vendor's file: a scene of a CZI, a series of a LIF, a position of an ND2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rls.io.broken_image import BrokenImage

SHOWN = 8  # Names that a sentence gives at most.


@dataclass(frozen=True)
class Series:
    """An image of several channels, as long as its file is open.

    Attributes:
        name: What the file calls it; its position from 0 where it has no name.
        channels: Name of each channel, "" where the file has none.
        size: Height and width in px.
        n_planes: Number of planes in z.
        n_times: Number of time points.
        pixel_size_um: Width and height of a pixel; None where the file does not say it.
        read: Returns one channel (z, y, x) as stored, by its position from 0.
    """

    name: str
    channels: tuple[str, ...]
    size: tuple[int, int]
    n_planes: int
    n_times: int
    pixel_size_um: tuple[float, float] | None
    read: Callable[[int], np.ndarray]


def place_of(series: Sequence[Series], said: str, path: object) -> int:
    """Return the position of the series that ``said`` names, by name or by position from 0.

    Arguments:
        said: "" takes the only one.
        path: The file, as an error calls it.

    Raises:
        BrokenImage: There is no such series, or several are meant.
    """
    names = [one.name.strip().casefold() for one in series]
    wanted = said.strip().casefold()
    named = [place for place, name in enumerate(names) if name == wanted]
    numbered = int(wanted) if wanted.isdecimal() and wanted.isascii() else -1
    if not wanted and len(series) == 1:
        return 0
    if len(named) == 1 and numbered in (-1, named[0]):
        return named[0]
    if not named and 0 <= numbered < len(series):
        return numbered
    shown = ", ".join(one.name for one in series[:SHOWN]) + (", ..." if len(series) > SHOWN else "")
    found = f"'{said}', which is the name of one and the position of another or fits none"
    if not wanted:
        found = "no word on which of them is meant"
    elif len(named) > 1:
        found = f"'{said}', the name of {len(named)} of them"
    raise BrokenImage(
        "series not said",
        f"{path} holds {len(series)} images ({shown}) and the sheet has {found}, expected one "
        "image of it a field. Write the name of the image, or its position from 0, into the "
        "sheet's column series.",
    )
