"""Read Zeiss CZI by its directory of tiles, of which czifile gives the entries and the bytes.

czifile's own assembly writes zeros where a tile is missing or cannot be decoded, so tiles are put
together here. Decoded are tiles that are uncompressed or compressed by Zstandard, in both forms of
the format (https://zeiss.github.io/libczi, "Image Subblock Data Format").
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from rls.io.broken_image import BrokenImage
from rls.io.vendor.series import Series

if TYPE_CHECKING:
    import czifile

PLAIN, ZSTD, ZSTD_WITH_HEADER = 0, 5, 6
OTHERS = {1: "JPEG", 2: "LZW", 4: "JPEG XR"}
GREY = ("<u1", "<u2", "<f4")
HIGH_AND_LOW = 1  # Kind of an entry in the header of Zstandard: the bytes are stored apart.


@dataclass(frozen=True)
class Tile:
    """A rectangle of one plane.

    Attributes:
        at: Position on each axis that is not of a plane, such as C, Z, S and M.
        box: Row and column of its corner, height and width in px.
        entry: Its entry in the directory.
    """

    at: Mapping[str, int]
    box: tuple[int, int, int, int]
    entry: czifile.DirectoryEntryDV


@contextmanager
def opened(path: Path) -> Iterator[tuple[Series, ...]]:
    """Open a CZI and give its scenes; a scene of tiles that overlap gives every tile."""
    import czifile

    with czifile.CziFile(str(path), multifile=False) as file:
        header = file.header
        if header.file_part or header.update_pending:
            what = "a part of an image in several files" if header.file_part else "still written"
            raise BrokenImage(
                "truncated or damaged file",
                f"The image {path} says that it is {what}, expected a whole one. Save it as one "
                "file when its acquisition has ended.",
            )
        with warnings.catch_warnings():
            # Without the directory, czifile warns, and takes whatever tiles it finds.
            warnings.simplefilter("error")
            entries = file.subblock_directory
            root = ElementTree.fromstring(file.metadata())
        tiles = [tile for entry in entries if (tile := _tile(entry, path))]
        yield tuple(_all_series(tiles, root, path))


def _tile(entry: czifile.DirectoryEntryDV, path: Path) -> Tile | None:
    """Return a tile; None for one of a smaller image of a pyramid.

    Raises:
        BrokenImage: It is of a kind that is refused.
    """
    sizes = {one.dimension: one for one in entry.dimension_entries}
    if entry.pyramid_type or any(one.size != one.stored_size for one in sizes.values()):
        return None
    fault = ""
    if entry.compression not in (PLAIN, ZSTD, ZSTD_WITH_HEADER):
        how = OTHERS.get(entry.compression, f"method {entry.compression}")
        fault = f"is compressed by {how}, which may change intensities"
    elif entry.dtype not in GREY:
        fault = f"holds {entry.pixel_type}, expected grey values of 8 or 16 bits"
    elif entry.file_part:
        fault = "has tiles in other files"
    if fault:
        raise BrokenImage(
            "values not readable",
            f"The image {path} {fault}. Save it uncompressed or with Zstandard (lossless), in "
            "one file, or export OME-TIFF.",
        )
    y, x = sizes["Y"], sizes["X"]
    if any(one.size != 1 for name, one in sizes.items() if name not in "YX"):
        raise ValueError("a tile has several planes")
    at = {name: one.start for name, one in sizes.items() if name not in "YX"}
    return Tile(at, (y.start, x.start, y.size, x.size), entry)


def _all_series(tiles: Sequence[Tile], root: ElementTree.Element, path: Path) -> Iterator[Series]:
    """Yield the scenes, or their tiles where these do not fit together.

    Raises:
        BrokenImage: A plane is missing or comes twice.
    """
    _refuse_other_axes(tiles, path)
    names, scenes = _channel_names(root), _scene_names(root)
    size = _pixel_size(root)
    ordered = sorted(tiles, key=lambda tile: tile.at.get("S", 0))
    for scene, group in groupby(ordered, key=lambda tile: tile.at.get("S", 0)):
        own = list(group)
        called = scenes.get(scene, str(scene))
        boxes = {tile.box for tile in own}
        if _fit_together(boxes):
            yield _series(own, called, names, size, path)
            continue
        own.sort(key=lambda tile: tile.at.get("M", 0))
        for number, part in groupby(own, key=lambda tile: tile.at.get("M", 0)):
            yield _series(list(part), f"{called}/{number}", names, size, path)


def _refuse_other_axes(tiles: Sequence[Tile], path: Path) -> None:
    """Raise :class:`BrokenImage` if tiles differ in more than scene, channel, z, time and tile."""
    others = {name for tile in tiles for name in tile.at} - set("SCZTM")
    for name in sorted(others):
        if len({tile.at.get(name) for tile in tiles}) > 1:
            raise BrokenImage(
                "wrong shape",
                f"{path} has several positions on its axis {name}, expected scenes, channels and "
                "planes alone. Process the image in its program and save the result.",
            )


def _fit_together(boxes: set[tuple[int, int, int, int]]) -> bool:
    """Return whether rectangles make one without overlap and gap."""
    y, x, height, width = np.asarray(sorted(boxes), np.int64).T
    whole = int(np.max(y + height) - y.min()) * int(np.max(x + width) - x.min())
    if int((height * width).sum()) != whole:
        return False
    for i in range(len(y) - 1):
        rest = slice(i + 1, None)
        rows = np.minimum(y[i] + height[i], (y + height)[rest]) > np.maximum(y[i], y[rest])
        columns = np.minimum(x[i] + width[i], (x + width)[rest]) > np.maximum(x[i], x[rest])
        if bool((rows & columns).any()):
            return False
    return True


def _series(
    tiles: Sequence[Tile],
    name: str,
    names: Sequence[str],
    pixel_size_um: tuple[float, float] | None,
    path: Path,
) -> Series:
    """Return one image.

    Raises:
        BrokenImage: A plane is missing or comes twice.
    """
    places = {axis: sorted({tile.at.get(axis, 0) for tile in tiles}) for axis in "CZT"}
    boxes = sorted({tile.box for tile in tiles})
    found = {(tile.box, *(tile.at.get(axis, 0) for axis in "CZT")): tile for tile in tiles}
    wanted = list(product(boxes, *(places[axis] for axis in "CZT")))
    if len(found) != len(tiles) or len(wanted) != len(found):
        raise BrokenImage(
            "planes missing",
            f"Image {name} of {path} has {len(tiles)} tiles, expected {len(wanted)}, each once: a "
            "channel or a plane is missing, lies elsewhere, or comes twice. Save the image again.",
        )
    top, left = (min(box[at] for box in boxes) for at in (0, 1))
    height = max(box[0] + box[2] for box in boxes) - top
    width = max(box[1] + box[3] for box in boxes) - left

    def read(channel: int) -> np.ndarray:
        number = places["C"][channel]
        used = [found[box, number, z, places["T"][0]] for z in places["Z"] for box in boxes]
        stack = np.empty((len(places["Z"]), height, width), np.dtype(used[0].entry.dtype))
        planes = [(z, box) for z in range(len(stack)) for box in boxes]
        for (z, (y, x, rows, columns)), tile in zip(planes, used, strict=True):
            part = stack[z, y - top : y - top + rows, x - left : x - left + columns]
            part[...] = _pixels(tile, stack.dtype)
        return stack

    called = tuple(names[c] if c < len(names) else "" for c in places["C"])
    sizes = (len(places["Z"]), len(places["T"]))
    return Series(name, called, (height, width), *sizes, pixel_size_um, read)


def _pixels(tile: Tile, dtype: np.dtype) -> np.ndarray:
    """Return the pixels (y, x) of a tile.

    Raises:
        ValueError: Its bytes are another tile's, or too few or too many.
    """
    segment, entry = tile.entry.data_segment(), tile.entry
    own = [(one.dimension, one.start, one.size) for one in segment.dimension_entries]
    listed = [(one.dimension, one.start, one.size) for one in entry.dimension_entries]
    if own != listed or (segment.dtype, segment.compression) != (entry.dtype, entry.compression):
        raise ValueError("a tile is not the one of the directory")
    if np.dtype(entry.dtype) != dtype:
        raise ValueError("tiles of a channel differ in type")
    data = bytes(segment.data(raw=True))
    if len(data) != segment.data_size:
        raise ValueError("a tile ends early")
    shape = tile.box[2:]
    n_bytes = math.prod(shape) * dtype.itemsize
    if entry.compression != PLAIN:
        data = _unpacked(data, n_bytes, with_header=entry.compression == ZSTD_WITH_HEADER)
    if len(data) != n_bytes:
        raise ValueError(f"a tile has {len(data)} bytes, expected {n_bytes}")
    return np.frombuffer(data, dtype).reshape(shape)


def _unpacked(data: bytes, n_bytes: int, *, with_header: bool) -> bytes:
    """Return the bytes of a tile that is compressed by Zstandard."""
    apart, start = False, 0
    if with_header:
        start = data[0]
        if start == 3 and data[1] == HIGH_AND_LOW:
            apart = bool(data[2] & 1)
        elif start != 1:
            raise ValueError("the header of a tile has an unknown form")
    import imagecodecs  # Here, because a machine that only trains a generator may lack it.

    unpacked = bytes(imagecodecs.zstd_decode(data[start:], out=n_bytes))
    if not apart:
        return unpacked
    halves = np.frombuffer(unpacked, np.uint8).reshape(2, -1)
    return halves.T.tobytes()


def _channel_names(root: ElementTree.Element) -> list[str]:
    """Return the name of each channel in the order of the file, "" where it has none."""
    image = root.findall("./Metadata/Information/Image/Dimensions/Channels/Channel")
    shown = root.findall("./Metadata/DisplaySetting/Channels/Channel")
    names = [one.get("Name", "").strip() for one in image]
    if len(shown) == len(names):
        others = [one.get("Name", "").strip() for one in shown]
        names = [own or other for own, other in zip(names, others, strict=True)]
    return names


def _scene_names(root: ElementTree.Element) -> dict[int, str]:
    """Return the name of each scene that has one of its own."""
    scenes = root.findall("./Metadata/Information/Image/Dimensions/S/Scenes/Scene")
    found = {int(one.get("Index", "-1")): one.get("Name", "").strip() for one in scenes}
    return {index: name for index, name in found.items() if name}


def _pixel_size(root: ElementTree.Element) -> tuple[float, float] | None:
    """Return width and height of a pixel in um; CZI gives them in metres."""
    items = "./Metadata/Scaling/Items/Distance"
    found = {one.get("Id"): one.findtext("Value") for one in root.findall(items)}
    width, height = (float(found.get(axis) or 0) * 1e6 for axis in "XY")
    return (width, height) if width > 0 and height > 0 else None
