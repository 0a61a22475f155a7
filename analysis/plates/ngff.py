"""What the metadata of an OME-Zarr plate say: wells, fields, axes, channels, sizes of pixels.

Read are NGFF 0.4 and 0.5 (https://ngff.openmicroscopy.org), and of them what tells pixels apart.
Hints for viewers may be absent or wrong: many writers leave parts of them out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rls.runtime.errors import InputError, first_line

VERSIONS = ("0.4", "0.5")
UM = {  # a unit of length in um
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "nm": 1e-3,
    "micrometer": 1.0,
    "micron": 1.0,
    "um": 1.0,
    "\u00b5m": 1.0,
    "\u03bcm": 1.0,
    "millimeter": 1e3,
    "mm": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}  # fmt: skip  the spellings of a unit stand in one line
AXES = "tczyx"


@dataclass(frozen=True)
class Level:
    """One resolution of an image.

    Attributes:
        path: Of its array, relative to the image.
        scale: Size of a pixel by axis, in the axis's own unit.
    """

    path: str
    scale: tuple[float, ...]


@dataclass(frozen=True)
class Image:
    """A field.

    Attributes:
        folder: Its group.
        axes: Names of the axes, such as tczyx.
        unit: Unit of y and x; '' where none is said.
        levels: From the finest to the coarsest.
        labels: Names of the channels; () where none are said.
    """

    folder: Path
    axes: str
    unit: str
    levels: tuple[Level, ...]
    labels: tuple[str, ...]

    def axis(self, name: str) -> int | None:
        """Return the position of an axis; None if the image has no such axis."""
        return self.axes.index(name) if name in self.axes else None


@contextmanager
def _complete(folder: Path) -> Iterator[None]:
    """Turn what a missing or misplaced entry of metadata raises into :class:`InputError`."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"The metadata of {folder} are incomplete or not of the form of OME-Zarr "
            f"({type(error).__name__}: {first_line(error)}). Write the plate again."
        ) from error


def attributes(folder: Path, key: str) -> Mapping[str, Any]:
    """Return the OME-Zarr metadata of a group, which must have ``key``.

    Raises:
        InputError: There is no such group, it has no ``key``, or it is of another version.
    """
    import zarr

    try:
        # Consolidated metadata are a copy that may be older than the plate.
        group = zarr.open_group(folder, mode="r", use_consolidated=False)
        found = dict(group.attrs)
    except Exception as error:  # Readers of broken files raise nearly any exception.
        what = "does not exist" if not folder.exists() else f"cannot be read ({first_line(error)})"
        raise InputError(
            f"The group {folder} {what}, expected {key} of an OME-Zarr plate. Copy the plate again."
        ) from error
    ome = found.get("ome", found)
    if key not in ome:
        raise InputError(
            f"Found no '{key}' in the metadata of {folder}, expected those of an OME-Zarr plate "
            f"({', '.join(VERSIONS)}). Correct the path."
        )
    with _complete(folder):
        inside = ome[key][0] if isinstance(ome[key], list) else ome[key]
        version = str(ome.get("version") or inside.get("version") or VERSIONS[0])
    if version not in VERSIONS or (version == VERSIONS[0]) != ("ome" not in found):
        raise InputError(
            f"{folder} is OME-Zarr of version {version}, expected 0.4, or 0.5 under the key 'ome'. "
            "Write the plate again in one of these."
        )
    return ome


def wells_of(plate: Path) -> dict[str, str]:
    """Return {well, such as B02: path of its group} of a plate.

    Raises:
        InputError: The metadata are missing, contradict each other, or have a well that is none.
    """
    said = attributes(plate, "plate")["plate"]
    wells: dict[str, str] = {}
    with _complete(plate):
        named = [(_well_name(well, said, plate), str(well["path"])) for well in said["wells"]]
    for name, path in named:
        if name in wells:
            raise InputError(
                f"Found well {name} twice in {plate}, as {wells[name]} and {path}, expected each "
                "well once. Take one out of the plate's metadata."
            )
        wells[name] = path.strip("/")
    if not wells:
        raise InputError(f"Found no well in the metadata of {plate}. Copy the plate again.")
    return wells


def _well_name(well: Mapping[str, Any], plate: Mapping[str, Any], folder: Path) -> str:
    """Return the name of a well of a plate's metadata, such as B02."""
    path = str(well["path"]).strip("/")
    row, _, column = path.partition("/")
    if not (row.isalpha() and row.isascii() and column.isdecimal()):
        raise InputError(
            f"Found the well '{path}' in {folder}, expected a letter and a number, such as B/2. "
            "Rename it in the plate's metadata."
        )
    for index, name, kind in (("rowIndex", row, "rows"), ("columnIndex", column, "columns")):
        if index in well and str(plate[kind][well[index]]["name"]) != name:
            raise InputError(
                f"Found the well '{path}' in {folder}, whose {index} {well[index]} is that of "
                f"'{plate[kind][well[index]]['name']}'. Correct the plate's metadata."
            )
    return f"{row.upper()}{int(column):02d}"


def fields_of(well: Path, acquisition: int | None) -> list[str]:
    """Return the paths of the fields of a well, all of one acquisition.

    Arguments:
        acquisition: Its number in the plate's metadata; None where there is one alone.

    Raises:
        InputError: There are fields of several acquisitions, or none of this one.
    """
    with _complete(well):
        images = [
            (str(image["path"]).strip("/"), int(image.get("acquisition") or 0))
            for image in attributes(well, "well")["well"]["images"]
        ]
    found = sorted({number for _, number in images})
    if acquisition is None and len(found) > 1:
        raise InputError(
            f"Found fields of {len(found)} acquisitions ({', '.join(map(str, found))}) in {well}, "
            "expected one. Choose it by list_plate.acquisition."
        )
    chosen = [path for path, number in images if acquisition in (None, number)]
    if not chosen:
        raise InputError(
            f"Found no field of acquisition {acquisition} in {well}, which has "
            f"{', '.join(map(str, found)) or 'no field at all'}. Correct list_plate.acquisition, "
            "or take the well out of the plate's metadata."
        )
    return chosen


def image_of(folder: Path) -> Image:
    """Return what the metadata say of one field.

    Raises:
        InputError: They are missing, incomplete, or of several images.
    """
    said = attributes(folder, "multiscales")
    with _complete(folder):
        (image,) = said["multiscales"]
        axes = [(str(axis["name"]).lower(), str(axis.get("unit", ""))) for axis in image["axes"]]
        common = _scale(image, len(axes))
        levels = tuple(
            Level(str(one["path"]), _times(_scale(one, len(axes)), common))
            for one in image["datasets"]
        )
        channels = said.get("omero", {}).get("channels", [])
        labels = tuple(str(channel.get("label") or "").strip() for channel in channels)
    names = "".join(name for name, _ in axes)
    units = {unit for name, unit in axes if name in "yx"}
    if len(names) != len(axes) or not names.endswith("yx") or set(names) - set(AXES):
        raise InputError(
            f"{folder} has the axes {', '.join(name for name, _ in axes)}, expected some of t, c "
            "and z, and then y and x. Write the plate again with these axes."
        )
    return Image(folder, names, units.pop() if len(units) == 1 else "", levels, labels)


def _scale(block: Mapping[str, Any], n_axes: int) -> tuple[float, ...]:
    """Return the scale of a block's coordinateTransformations; ones where it has none."""
    scales = [
        one["scale"] for one in block.get("coordinateTransformations", []) if one["type"] == "scale"
    ]
    if not scales:
        return (1.0,) * n_axes
    if len(scales) > 1 or len(scales[0]) != n_axes:
        raise ValueError(f"{len(scales)} scales of {len(scales[0])} axes, expected one of {n_axes}")
    return tuple(map(float, scales[0]))


def _times(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a * b for a, b in zip(one, other, strict=True))
