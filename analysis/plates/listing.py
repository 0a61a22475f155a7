"""Read the source of a plate into a checked sheet, and compare its treatments with the assay's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.plates import bbbc014, bbbc021, ome_zarr
from analysis.plates.field_files import expand
from analysis.plates.image_files import BrokenField, check_header
from analysis.plates.list_settings import Settings
from analysis.plates.names import check_labels, refuse_misspelt
from analysis.plates.projections import NONE
from analysis.plates.sheet import check_sheet, read_sheet, refuse_unlisted
from analysis.plates.vendor_rows import with_pixel_sizes
from analysis.plates.zarr_array import is_field
from rls.runtime.errors import InputError

CHANNEL_REASONS = (
    "channel missing",
    "wrong shape",
    "pixel size",
    "series not said",
)  # Other files of the plate are likewise.


def check_flags(source: str, folder: Path | None, sheet: Path | None) -> None:
    """Raise :class:`InputError` unless folder and sheet are those that the source takes."""
    takes = {"sheet": (False, True), "bbbc014": (True, sheet is not None), "ome_zarr": (True, True)}
    if (folder is not None, sheet is not None) != takes.get(source, (True, False)):
        given = [flag for flag, value in (("--folder", folder), ("--sheet", sheet)) if value]
        raise InputError(
            f"Found source {source} with {' and '.join(given) or 'neither --folder nor --sheet'}; "
            "source sheet takes --sheet, bbbc014 and ome_zarr --folder and --sheet (the plate "
            "map), the others --folder."
        )


def read_source(
    settings: Settings,
    plate: str,
    plates: Sequence[str],
    channels: Sequence[str],
    folder: Path | None,
    sheet: Path | None,
    image_folder: Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return (checked sheet of ``plate``, plates and treatments of the source, its name).

    Arguments:
        plates: All plates of the assay.
        folder: Folder of the images, and of image.csv.
        sheet: The user's sheet, or the plate map of BBBC014 or of an OME-Zarr plate.
        image_folder: Folder of the relative paths of a user's sheet; None for the sheet's own.

    Raises:
        InputError: The source is incomplete, impossible, or does not know the plate.
    """
    if folder is None and sheet is not None:
        read = read_users_sheet(settings, channels, sheet, image_folder)
        table = check_sheet(read, channels, str(sheet))
        refuse_contradictions(table, settings, str(sheet))
        refuse_unlisted(table, plates, str(sheet))
        rows = table[table["plate"] == plate]
        if rows.empty:
            raise InputError(f"Found no row of plate {plate} in {sheet}. Correct the plates.")
        return rows, table, str(sheet)
    # The listed paths contain the folder already; resolve_paths must not add it again.
    folder = Path(expand(str(folder))).resolve()
    if settings.pixel_size_um is None or settings.bit_depth is None:
        raise InputError(
            f"Source {settings.source} needs list_plate.pixel_size_um and list_plate.bit_depth. "
            "Set both."
        )
    if settings.source == "bbbc014":
        if len(plates) > 1:
            raise InputError(
                f"Found {len(plates)} plates of source bbbc014 ({', '.join(plates[:3])}), expected "
                "one: its file names have no plate. Write a sheet (source: sheet) for more."
            )
        name = str(sheet)
        rows = bbbc014.to_sheet(folder, plate, channels, bbbc014.read_plate_map(sheet), name)
        everything = rows
    elif settings.source == "ome_zarr":
        name = str(sheet)
        plate_map = bbbc014.read_plate_map(sheet, plate)
        wanted = ome_zarr.Wanted.of(settings, channels, settings.pixel_size_um)
        everything = rows = ome_zarr.to_sheet(folder, plate, wanted, plate_map, name)
    else:
        name, by = str(folder), settings.treatment_by
        images, moa = bbbc021.read_metadata(folder)
        rows = bbbc021.rows_of_plate(images, plate, (), by, name)
        rows = bbbc021.to_sheet(rows, moa, channels, folder, treatment_by=by)
        everything = bbbc021.plates_and_treatments(images, by)
    rows = rows.assign(pixel_size_um=settings.pixel_size_um, bit_depth=settings.bit_depth)
    rows = _with_projection(rows, settings.projection, name)
    return check_sheet(rows, channels, name), everything, name


def read_users_sheet(
    settings: Settings, channels: Sequence[str], sheet: Path, image_folder: Path | None = None
) -> pd.DataFrame:
    """Return a user's sheet unchecked, with what the configuration says in place of a column.

    Pixel size and bit depth may be left to the configuration, and so may the names that the files
    give the channels (``channel_labels``) and what becomes of several planes in z. Where files of
    vendors know their pixel size, it is taken from there.

    Arguments:
        image_folder: Folder of the relative paths; None for the sheet's own.

    Raises:
        InputError: The file cannot be read, there is not one label for each channel, or a row
            contradicts the configuration.
    """
    table = read_sheet(sheet, channels)
    known = _of_camera(settings)
    lacking = [column for column in known if column not in table or table[column].isna().all()]
    table = table.assign(**{column: known[column] for column in lacking})
    check_labels(settings.channel_labels, channels)
    labels = zip(channels, settings.channel_labels, strict=False)
    named = {f"channel_{channel}": label for channel, label in labels}
    table = table.assign(**{column: text for column, text in named.items() if column not in table})
    table = with_pixel_sizes(table, channels, image_folder or sheet.parent, str(sheet))
    return _with_projection(table, settings.projection, str(sheet))


def _of_camera(settings: Settings) -> dict[str, float]:
    """Return what the configuration says of the camera, by column of a sheet."""
    said = {"pixel_size_um": settings.pixel_size_um, "bit_depth": settings.bit_depth}
    return {column: float(value) for column, value in said.items() if value is not None}


def _with_projection(table: pd.DataFrame, projection: str, name: str) -> pd.DataFrame:
    """Return ``table`` with what the configuration says of several planes in z, if it says it.

    Raises:
        InputError: A sheet says something else.
    """
    if projection == NONE:
        return table
    said = table.get("projection", pd.Series(projection, index=table.index)).fillna(projection)
    other = said[said != projection]
    if len(other):
        raise InputError(
            f"Found projection '{other.iloc[0]}' in row {other.index[0] + 2} of {name}, but "
            f"{projection} in the configuration. Correct the one that is wrong."
        )
    return table.assign(projection=said)


def refuse_contradictions(table: pd.DataFrame, settings: Settings, name: str) -> None:
    """Raise :class:`InputError` if a sheet and the configuration do not say the same.

    Arguments:
        table: A row whose cell is empty says nothing.
    """
    found = []
    for column, value in _of_camera(settings).items():
        said = table[column].dropna().astype(float)
        differ = said.index[~np.isclose(said, value, rtol=1e-6, atol=0)]
        if len(differ):
            row = f"in row {differ[0] + 2} of {name}"
            found.append(f"{column} {said[differ[0]]:g} {row}, but {value:g} in the configuration")
    if found:
        raise InputError(f"Found {'; '.join(found)}. Correct the one that is wrong.")


def check_channels(sheet: pd.DataFrame, channels: Sequence[str]) -> None:
    """Refuse a plate whose files all lack a channel: hours later every field would be skipped.

    One field that has them is enough; a field that is broken otherwise is left to crop_cells.

    Arguments:
        sheet: Rows with absolute paths.

    Raises:
        BrokenField: The sentence of the first field, which says how its file calls its channels.
    """
    first: BrokenField | None = None
    for row in sheet.to_dict("records"):
        if is_field(row):  # The metadata of a zarr plate have said its channels.
            return
        try:
            check_header(row, channels, Path())
            return
        except BrokenField as error:
            if error.reason not in CHANNEL_REASONS:
                return
            first = first or error
    if first is not None:
        raise first


def check_treatments(
    everything: pd.DataFrame, plates: Sequence[str], treatments: Sequence[str], name: str
) -> None:
    """Raise :class:`InputError` if a treatment of the assay has no row on its plates.

    A source that describes only some of the plates cannot tell; select_cells will.

    Arguments:
        everything: Columns ``plate`` and ``treatment`` of the source ``name``.
    """
    if not set(plates) <= set(everything["plate"]):
        return
    found = set(everything["treatment"][everything["plate"].isin(plates)])
    lacking = [treatment for treatment in treatments if treatment not in found]
    if lacking:
        raise InputError(
            f"Found no row of treatment {', '.join(lacking)} in {name}, which has "
            f"{', '.join(sorted(found)[:12])}. Correct the assay's treatments or the sheet."
        )


def judge_unlisted(
    everything: pd.DataFrame, treatments: Sequence[str], name: str, *, leave_out: bool
) -> None:
    """Refuse treatments of a user's file that the assay does not list, or print them.

    Arguments:
        leave_out: Print them, because they are to be left out.

    Raises:
        InputError: There is one, and not ``leave_out``; or it is a listed one, misspelt.
    """
    others = refuse_misspelt(everything, treatments, name)
    fields = int(everything["treatment"].isin(others).sum())
    if fields and not leave_out:
        first = everything[everything["treatment"].isin(others)].iloc[0]
        raise InputError(
            f"Found {fields} fields of the unknown treatment{'s' * (len(others) > 1)} "
            f"{', '.join(others[:12])} in {name} (first: well {first['well']}), expected those "
            f"of the assay: {', '.join(treatments[:12])}. List them in the assay, correct "
            "their rows, or set list_plate.on_unlisted_treatment: leave_out."
        )
    if fields:
        print(
            f"list_plate: {name} has {fields} fields of treatments that the assay does not list, "
            f"which are left out: {', '.join(others[:12])}",
            flush=True,
        )
