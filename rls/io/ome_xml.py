"""The OME-XML of a TIFF: which planes lie in this file, their channels and the pixel size.

One image may lie in several files, each of which carries the OME-XML of all. ``TiffData`` names the
file of a plane by UUID and by name. Readers that follow these names read whatever lies there, and
fill what they do not find with zeros. Here nothing is followed: a file gives the planes that it
holds itself, and :func:`own_part` cuts the OME-XML down to them.

Source: the OME-TIFF specification, section on the sub-resolutions and the distribution over files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from rls.io.broken_image import BrokenImage

Key = tuple[str, str]  # UUID and name of a file, in lower case.
Plane = tuple[int, ...]  # Positions on the axes of DimensionOrder after XY.
MICROMETRES = {
    "pm": 1e-6,
    "Å": 1e-4,
    "nm": 1e-3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "dm": 1e5,
    "m": 1e6,
    "thou": 25.4,
    "in": 25.4e3,
    "inch": 25.4e3,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
}
NO_NAME = re.compile(r"channel[\s:_-]*[\d:]*|[\d:.]*", re.IGNORECASE)  # Channel:0:0, as Bio-Formats


@dataclass(frozen=True)
class Ome:
    """What OME-XML says of one file.

    Attributes:
        text: OME-XML of the planes in this file alone, in which no other file is named.
        names: Name of each channel of the first image that lies here, "" where it has none.
        pixel_size_um: Width and height of a pixel in micrometres, None where unknown.
        files: UUID and name of every file of the first image; () where that lies in this one.
        elsewhere: The file of every channel of that image that this file lacks.
        n_images: Number of images whose planes are described.
    """

    text: str
    names: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None
    files: tuple[Key, ...]
    elsewhere: Mapping[str, str]
    n_images: int

    @property
    def all_named(self) -> bool:
        """Whether every channel has a name; Bio-Formats writes Channel:0:0 where it knows none."""
        return bool(self.names) and not any(NO_NAME.fullmatch(name) for name in self.names)


def own_part(text: str, path: Path, n_pages: int) -> Ome:
    """Return what OME-XML says of the file at ``path`` itself.

    Arguments:
        text: The OME-XML in that file.
        n_pages: Number of its pages.

    Raises:
        BrokenImage: The OME-XML does not tell which planes lie in this file, or they are not all
            planes of the channels that do.
        xml.etree.ElementTree.ParseError: It is no XML.
        ValueError: A number in it is none.
    """
    root = ElementTree.fromstring(text)
    images = [(image, pixels) for image in _all(root, "Image") for pixels in _all(image, "Pixels")]
    keys = {key for _, pixels in images for data in _all(pixels, "TiffData") if (key := _key(data))}
    own = _own_key(root, keys, path) if keys else None
    first: Element | None = None
    files: tuple[Key, ...] = ()
    elsewhere: dict[str, str] = {}
    for image, pixels in images:
        every = _all(pixels, "TiffData")
        here = [data for data in every if _key(data) in (None, own)]
        if every and not here:
            root.remove(image)
            continue
        if len(here) < len(every):
            there = _shrink(pixels, here, n_pages, path)
        else:
            there = {}
            for data in every:
                for uuid in _all(data, "UUID"):
                    data.remove(uuid)
        if first is None:
            first, elsewhere = pixels, there
            found = {key for data in every if (key := _key(data))}
            files = tuple(sorted(found)) if len(found) > 1 else ()
    channels = _all(first, "Channel") if first is not None else []
    return Ome(
        text=ElementTree.tostring(root, encoding="unicode") if keys else text,
        names=tuple(channel.get("Name", "").strip() for channel in channels),
        pixel_size_um=_pixel_size(first) if first is not None else None,
        files=files,
        elsewhere=elsewhere,
        n_images=sum(len(_all(image, "Pixels")) for image in _all(root, "Image")),
    )


def length_um(value: str | None, unit: str) -> float | None:
    """Return a length in micrometres; None unless it is a number above 0 of a known unit.

    A comma may stand for the decimal point, as some programs write it in their user's language.
    """
    scale = MICROMETRES.get(unit.strip())
    try:
        size = float((value or "").strip().replace(",", ".")) * (scale or math.nan)
    except ValueError:
        return None
    return size if 0 < size < math.inf else None


def _pixel_size(pixels: Element) -> tuple[float, float] | None:
    """Return (width, height) in micrometres; a height that is not said equals the width."""
    sizes = [
        length_um(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "µm"))
        for a in "XY"
    ]
    if sizes[0] is None:
        return None
    return sizes[0], sizes[0] if sizes[1] is None else sizes[1]


def _all(element: Element, tag: str) -> list[Element]:
    """Return the children of that name, whatever year of the schema their namespace says."""
    return [child for child in element if child.tag.rpartition("}")[2] == tag]


def _key(data: Element) -> Key | None:
    """Return UUID and name of the file that a ``TiffData`` names, None where it names none."""
    for uuid in _all(data, "UUID"):
        return _bare(uuid.text), uuid.get("FileName", "").strip().lower()
    return None


def _bare(uuid: str | None) -> str:
    return (uuid or "").strip().lower().removeprefix("urn:uuid:")


def _own_key(root: Element, keys: set[Key], path: Path) -> Key:
    """Return which of the files that OME-XML names is the one at ``path``.

    A file's own UUID decides, so that a set may be renamed. A file without a UUID is known where
    it is the only one that is named.

    Raises:
        BrokenImage: No file, or more than one, fits.
    """
    own = _bare(root.get("UUID"))
    mine = {key for key in keys if own and key[0] == own}
    if len(mine) > 1:  # The writer gave several files one UUID.
        mine = {key for key in mine if key[1] == path.name.lower()}
    elif not mine and len(keys) == 1 and (not own or next(iter(keys))[1] == path.name.lower()):
        mine = set(keys)
    if len(mine) != 1:
        named = ", ".join(sorted(name or uuid for uuid, name in keys)[:4])
        raise BrokenImage(
            "unknown part of a set",
            f"The OME-XML in {path} says that its planes lie in {named}, and which of them this "
            f"file is cannot be told: {f'its UUID is {own}' if own else 'it has no UUID'}. "
            "Use the file as its program wrote it, or export the image as one OME-TIFF.",
        )
    return mine.pop()


def _shrink(pixels: Element, here: list[Element], n_pages: int, path: Path) -> dict[str, str]:
    """Cut ``pixels`` down to the planes of ``here``; return the file of every other channel.

    Raises:
        BrokenImage: A channel lies here in part only, or colours are spread over files.
    """
    axes = pixels.get("DimensionOrder", "XYCZT")[2:]
    sizes = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in axes}
    channels = _all(pixels, "Channel")
    planes: dict[Plane, int] = {}
    for data in here:
        planes |= _planes(data, axes, sizes, n_pages)
    used = {axis: sorted({plane[i] for plane in planes}) for i, axis in enumerate(axes)}
    colours = any(channel.get("SamplesPerPixel", "1") != "1" for channel in channels)
    whole = math.prod(map(len, used.values())) == len(planes) == len(set(planes.values()))
    if colours or not whole or len(used.get("Z", [0])) < sizes.get("Z", 1):
        raise BrokenImage(
            "part of a set",
            f"{path} holds {len(planes)} planes of an image of {sizes.get('Z', 1)} z and "
            f"{sizes.get('C', 1)} channels whose rest lies in other files, expected all planes of "
            "its channels, in grey. Export the image as one OME-TIFF (project z first).",
        )
    names = [channel.get("Name") or f"number {i}" for i, channel in enumerate(channels)]
    names += [f"number {i}" for i in range(len(names), sizes["C"])]
    elsewhere: dict[str, str] = {}
    for data in _all(pixels, "TiffData"):
        key = _key(data)
        if data not in here and key is not None:
            place = int(data.get("FirstC", 0))
            if place not in used["C"] and 0 <= place < len(names):
                elsewhere.setdefault(names[place], key[1] or key[0])
        pixels.remove(data)
    tag = here[0].tag
    for axis in axes:
        pixels.set(f"Size{axis}", str(len(used[axis])))
    for place, channel in enumerate(channels):
        if place not in used["C"]:
            pixels.remove(channel)
    for plane, page in sorted(planes.items()):
        first = {f"First{a}": str(used[a].index(plane[i])) for i, a in enumerate(axes)}
        ElementTree.SubElement(pixels, tag, first | {"IFD": str(page), "PlaneCount": "1"})
    return elsewhere


def _planes(
    data: Element, axes: str, sizes: Mapping[str, int], n_pages: int
) -> Iterator[tuple[Plane, int]]:
    """Yield (plane, page of the file) of one ``TiffData``.

    Raises:
        ValueError: It names a plane or page that does not exist.
    """
    page = int(data.get("IFD", 0))
    default = 1 if "IFD" in data.attrib else n_pages
    count = int(data.get("PlaneCount", data.get("NumPlanes", default)))
    place = [int(data.get(f"First{axis}", 0)) for axis in axes]
    for number in range(count):
        inside = all(0 <= p < sizes[a] for p, a in zip(place, axes, strict=True))
        if not inside or not 0 <= page + number < n_pages:
            raise ValueError(f"its OME-XML names plane {place} on page {page + number}")
        yield tuple(place), page + number
        for i, axis in enumerate(axes):  # The first axis varies fastest.
            place[i] = (place[i] + 1) % sizes[axis] if i + 1 < len(axes) else place[i] + 1
            if place[i]:
                break
