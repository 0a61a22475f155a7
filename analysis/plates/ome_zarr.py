"""List the fields of an OME-Zarr plate (NGFF 0.4 and 0.5, HCS layout) as rows of a sheet.

A row's ``path`` is the metadata file of the array of one resolution, and ``channel_{channel}`` the
position of the channel in it. Pixels are read later, field by field (zarr_array.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.plates.list_settings import Settings
from analysis.plates.names import check_labels
from analysis.plates.ngff import UM, Image, fields_of, image_of, wells_of
from analysis.plates.projections import NONE
from analysis.plates.zarr_array import open_array
from analysis.plates.zarr_files import ARRAY_FILES, need_zarr
from rls.runtime.errors import InputError

ENDINGS = (".ome.zarr", ".zarr", "")
TOLERANCE = 0.03  # relative; between the assay's size of a pixel and that of a level
SHAPE_TOLERANCE = 0.02  # relative; between the shape of a level and that which its scale promises


@dataclass(frozen=True)
class Wanted:
    """What is taken from each field of a plate.

    Attributes:
        channels: The assay's channels, in its order.
        labels: What the plate calls each of them, or its position from 0; () for the same names.
        pixel_size_um: The assay's.
        finest_pixel_size_um: Of the finest level, for plates that do not say it.
        acquisition: Its number in the plate's metadata; None where there is one alone.
        projection: What becomes of several planes in z.
    """

    channels: Sequence[str]
    labels: Sequence[str]
    pixel_size_um: float
    finest_pixel_size_um: float | None
    acquisition: int | None
    projection: str = NONE

    @classmethod
    def of(cls, settings: Settings, channels: Sequence[str], pixel_size_um: float) -> Wanted:
        """Return what ``list_plate`` takes from the fields of an assay."""
        return cls(
            channels,
            settings.channel_labels,
            pixel_size_um,
            settings.finest_pixel_size_um,
            settings.acquisition,
            settings.projection,
        )


def to_sheet(
    folder: Path, plate: str, wanted: Wanted, plate_map: pd.DataFrame, map_name: str
) -> pd.DataFrame:
    """Return all columns of the sheet but those of the camera, with absolute paths.

    Arguments:
        folder: The folder that holds ``{plate}.ome.zarr`` or ``{plate}.zarr``.
        plate_map: Treatments by well; an error calls it ``map_name``.

    Raises:
        InputError: The plate, a well or a field is missing, a well has no treatment, or a field has
            no such channel or level, several time points, or several planes in z that nothing
            projects.
    """
    need_zarr()
    check_labels(wanted.labels, wanted.channels)
    group = find_plate(folder, plate)
    wells, treatments = wells_of(group), plate_map.set_index("well")
    unknown = sorted(set(wells) - set(treatments.index))
    if unknown:
        raise InputError(
            f"Found {len(unknown)} wells of unknown treatment ({', '.join(unknown[:5])}) in "
            f"{group}, expected a row for each in {map_name}. Add them; a treatment that the assay "
            "does not list is left out by list_plate.on_unlisted_treatment."
        )
    rows = []
    for well, path in sorted(wells.items()):
        about = {"plate": plate, "well": well, **dict(treatments.loc[well])}
        fields = fields_of(group / path, wanted.acquisition)
        numbered = all(name.isdecimal() for name in fields)
        for position, name in enumerate(fields):
            image = image_of(group / path / name)
            site = int(name) if numbered else position
            rows.append({**about, "site": site, **_places(image, wanted)})
    return pd.DataFrame(rows)


def find_plate(folder: Path, plate: str) -> Path:
    """Return the group of a plate in a folder of plates.

    Raises:
        InputError: There is none, or there are several.
    """
    found = [folder / f"{plate}{end}" for end in ENDINGS if (folder / f"{plate}{end}").is_dir()]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"Found {' and '.join(path.name for path in found)} in {folder}, expected one plate "
            f"{plate}. Move one away."
        )
    there = sorted(path.name for path in folder.iterdir())[:5] if folder.is_dir() else []
    raise InputError(
        f"Found no {plate}.ome.zarr or {plate}.zarr in {folder} ({', '.join(there) or 'nothing'} "
        "there), expected the folder that holds the plates. Correct the assay's image_folder or "
        "plates."
    )


def _places(image: Image, wanted: Wanted) -> dict[str, str]:
    """Return the path of a field's array, and the position of each channel in it."""
    level = choose_level(image, wanted.pixel_size_um, wanted.finest_pixel_size_um)
    folder = image.folder / level
    array = open_array(folder)
    if array.ndim != len(image.axes):
        raise InputError(
            f"{folder} has {array.ndim} axes and its metadata name {len(image.axes)} "
            f"({', '.join(image.axes)}). Correct the axes in the metadata."
        )
    projected = wanted.projection != NONE
    for axis, what in (("z", "planes in z"), ("t", "time points")):
        at = image.axis(axis)
        if at is not None and array.shape[at] != 1 and not (axis == "z" and projected):
            raise InputError(
                f"{image.folder} has {array.shape[at]} {what}, expected one: nothing says which "
                "is meant. Write a plate with the projection, or with the one that you want"
                + ("; or set list_plate.projection." if axis == "z" else ".")
            )
    at = image.axis("c")
    count = 1 if at is None else array.shape[at]
    metadata = next(folder / name for name in ARRAY_FILES if (folder / name).is_file())
    axes = {"axes": image.axes} if projected else {}
    return {"path": str(metadata), **_positions(image, count, wanted), **axes}


def _positions(image: Image, count: int, wanted: Wanted) -> dict[str, str]:
    """Return the position of each channel of the assay among ``count``, by column of the sheet."""
    if image.labels and len(image.labels) != count:
        raise InputError(
            f"{image.folder} names {len(image.labels)} channels and holds {count}, expected a "
            "name for each. Correct omero.channels in its metadata."
        )
    names = [label.casefold() for label in image.labels]
    places: dict[str, str] = {}
    for channel, label in zip(wanted.channels, wanted.labels or wanted.channels, strict=True):
        own = label.strip().casefold()
        if names.count(own) == 1:
            place = names.index(own)
        elif own not in names and wanted.labels and own.isdecimal() and int(own) < count:
            place = int(own)
        else:
            called = f"called {', '.join(image.labels)}" if any(names) else "without names"
            raise InputError(
                f"{image.folder} has {count} channels {called}: found {names.count(own)} of "
                f"'{label}' for channel {channel}, expected one. Say in list_plate.channel_labels "
                "what the plate calls each channel of the assay, or its position from 0."
            )
        if str(place) in places.values():
            raise InputError(
                f"Found channel {place} of {image.folder} for two channels of the assay, expected "
                "one each. Correct list_plate.channel_labels."
            )
        places[f"channel_{channel}"] = str(place)
    return places


def choose_level(image: Image, pixel_size_um: float, finest_um: float | None) -> str:
    """Return the path of the level whose pixels have the size of the assay's.

    Arguments:
        finest_um: Size of a pixel of the finest level, for plates that do not say it.

    Raises:
        InputError: No level has it, the metadata do not say it or contradict ``finest_um``, or the
            shape of a level is not that which its scale promises.
    """
    sizes = _sizes_um(image, finest_um)
    level = min(sizes, key=lambda path: abs(sizes[path] / pixel_size_um - 1))
    if abs(sizes[level] / pixel_size_um - 1) > TOLERANCE:
        found = ", ".join(f"{size:.4g}" for size in sizes.values())
        raise InputError(
            f"{image.folder} has levels of {found} um a pixel, expected one of {pixel_size_um:g} "
            f"(within {TOLERANCE:.0%}), the assay's pixel_size_um. Set that to the size of a "
            "level, or write the plate with a level of this size."
        )
    first, chosen = (
        open_array(image.folder / path).shape[-2:] for path in (image.levels[0].path, level)
    )
    ratio = sizes[level] / sizes[image.levels[0].path]
    for side, whole in zip(chosen, first, strict=True):
        if abs(side - whole / ratio) > max(2, SHAPE_TOLERANCE * side):
            raise InputError(
                f"Level {level} of {image.folder} is {chosen[0]} x {chosen[1]} px and the finest "
                f"{first[0]} x {first[1]}, but their pixels differ by {ratio:g} in size. Correct "
                "the coordinateTransformations."
            )
    return level


def _sizes_um(image: Image, finest_um: float | None) -> dict[str, float]:
    """Return the size of a pixel of every level in um."""
    factor = UM.get(image.unit)
    scales = {level.path: level.scale[-2:] for level in image.levels}
    for path, (y, x) in scales.items():
        if not (y > 0 and x > 0 and abs(y / x - 1) < 0.01):
            raise InputError(
                f"Level {path} of {image.folder} has pixels of {y:g} by {x:g}, expected squares. "
                "Resample the plate, or correct its coordinateTransformations."
            )
    finest = scales[image.levels[0].path][1]
    if factor is None:
        if finest_um is None:
            raise InputError(
                f"Found the unit '{image.unit}' of y and x in {image.folder}, expected micrometer "
                "or another unit of length. Correct the metadata, or say the size of the finest "
                "pixels in list_plate.finest_pixel_size_um."
            )
        factor = finest_um / finest
    elif finest_um is not None and abs(finest * factor / finest_um - 1) > TOLERANCE:
        raise InputError(
            f"The finest pixels of {image.folder} have {finest * factor:.4g} um by its metadata "
            f"and {finest_um:g} by list_plate.finest_pixel_size_um. Correct the one that is wrong."
        )
    return {path: x * factor for path, (_, x) in scales.items()}
