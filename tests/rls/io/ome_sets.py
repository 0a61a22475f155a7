"""OME-TIFF of several files, each with the OME-XML of all, as Bio-Formats writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
CHANNELS = ("dna", "nfkb")


def uuid_of(name: str, number: int) -> str:
    """Return a UUID of a file of the cell ``name``."""
    return f"urn:uuid:00000000-0000-0000-{sum(name.encode()):04x}-{number:012d}"


def set_xml(
    uuid: str | None,
    files: list[tuple[str, str | None]],
    size: tuple[int, int],
    names: tuple[str | None, ...] = CHANNELS,
    z: int = 1,
) -> str:
    """Return the OME-XML of an image whose channel (or z) *i* is page 0 of ``files[i]``.

    Arguments:
        uuid: Of the file that it stands in; None for none.
        files: Name and UUID of each file.
        size: Height and width.
        z: Number of z; where it is over 1, the files are the z of one channel.
    """
    axis, count = ("Z", 1) if z > 1 else ("C", len(files))
    channels = "".join(
        f'<Channel ID="Channel:0:{i}"{f""" Name="{name}" """ if name else ""} SamplesPerPixel="1"/>'
        for i, name in enumerate(names[:count])
    )
    data = "".join(
        f'<TiffData First{axis}="{i}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">{other or ""}</UUID></TiffData>'
        for i, (name, other) in enumerate(files)
    )
    own = f' UUID="{uuid}"' if uuid else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{SCHEMA}"{own}><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="{size[1]}" '
        f'SizeY="{size[0]}" SizeC="{count}" SizeZ="{z}" SizeT="1" PhysicalSizeX="0.5">'
        f"{channels}{data}</Pixels></Image></OME>"
    )


def write_set(
    folder: Path,
    cell: str,
    planes: np.ndarray,
    names: tuple[str, ...] = CHANNELS,
    files: tuple[str, ...] = (),
    z: int = 1,
) -> list[Path]:
    """Write ``planes`` (c, y, x) as one file a channel, and return the files."""
    files = files or tuple(f"{cell}_{name}.ome.tif" for name in names)
    keys = [(name, uuid_of(cell, i)) for i, name in enumerate(files)]
    for (name, uuid), plane in zip(keys, planes, strict=True):
        xml = set_xml(uuid, keys, plane.shape, names, z)
        write_page(folder / name, plane, xml)
    return [folder / name for name in files]


def write_page(path: Path, plane: np.ndarray, xml: str) -> Path:
    """Write one page with the OME-XML given."""
    tifffile.imwrite(path, plane, description=xml.encode(), metadata=None, photometric="minisblack")
    return path
