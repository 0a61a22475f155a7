"""Read Leica LIF by liffile, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rls.io.broken_image import BrokenImage
from rls.io.vendor.series import Series

if TYPE_CHECKING:
    import liffile

METRES = {"m": 1e6}  # A LIF gives lengths in metres; another unit is none of length.
KNOWN = set("MTCZYX")


@contextmanager
def opened(path: Path) -> Iterator[tuple[Series, ...]]:
    """Open a LIF and give its images; an image of several tiles gives every tile."""
    import liffile

    with liffile.LifFile(path, squeeze=False) as file:
        if file.type != liffile.LifFileType.LIF:
            raise BrokenImage(
                "not readable", f"{path} is no LIF, though its name says so. Correct its name."
            )
        yield tuple(one for image in file.images for one in _all_series(image, path))


def _all_series(image: liffile.LifImageABC, path: Path) -> Iterator[Series]:
    """Yield an image, or each of its tiles.

    Raises:
        BrokenImage: It has other axes than planes, channels, time points and tiles, or colours.
    """
    import liffile

    sizes = dict(image.sizes)
    others = sorted(name for name, size in sizes.items() if size > 1 and name not in KNOWN)
    if others or not isinstance(image, liffile.LifImage) or not {"Y", "X"} <= set(sizes):
        raise BrokenImage(
            "wrong shape",
            f"Image {image.path} of {path} has the axes {', '.join(sizes)}, expected channels and "
            "planes of grey values. Save the field as a file of its own, or export OME-TIFF.",
        )
    n_tiles = sizes.get("M", 1)
    for tile in range(n_tiles):
        name = image.path if n_tiles == 1 else f"{image.path}/{tile}"
        yield _series(image, name, tile, sizes)


def _series(image: liffile.LifImage, name: str, tile: int, sizes: dict[str, int]) -> Series:
    def read(channel: int) -> np.ndarray:
        fixed = {"C": channel, "M": tile, "T": 0}
        at = {axis: place for axis, place in fixed.items() if axis in sizes}
        if "Z" not in sizes:
            return np.asarray(image.frame(**at))[None]
        return np.stack([np.asarray(image.frame(**at, Z=z)) for z in range(sizes["Z"])])

    return Series(
        name,
        _channel_names(image, sizes.get("C", 1)),
        (sizes["Y"], sizes["X"]),
        sizes.get("Z", 1),
        sizes.get("T", 1),
        _pixel_size(image),
        read,
    )


def _channel_names(image: liffile.LifImage, count: int) -> tuple[str, ...]:
    """Return the dye of each channel, or else its colour table; "" where a name is none's own."""
    described = image.xml_element.findall(
        "./Data/Image/ImageDescription/Channels/ChannelDescription"
    )
    dyes = [
        next((p.findtext("Value", "") for p in one if p.findtext("Key") == "DyeName"), "").strip()
        for one in described
    ]
    tables = [one.get("LUTName", "").strip() for one in described]
    for names in (dyes, tables):
        if len(set(names)) == len(names) == count and all(names):
            return tuple(names)
    return ("",) * count


def _pixel_size(image: liffile.LifImage) -> tuple[float, float] | None:
    """Return width and height of a pixel in um: a length is from the first to the last one."""
    found = {}
    for one in image._dimensions:
        if one.label in "XY" and one.unit in METRES and one.number_elements > 1:
            found[one.label] = abs(one.length) / (one.number_elements - 1) * METRES[one.unit]
    if not found.get("X") or not found.get("Y"):
        return None
    return found["X"], found["Y"]
