"""What a sheet leaves to a vendor's file: which image a name is, and the size of a pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.plates.field_files import Listings, expand, locate
from analysis.plates.sheet import Row, path_columns
from rls.io.broken_image import BrokenImage
from rls.io.vendor import Series, is_vendor, need_reader, open_vendor, place_of
from rls.runtime.errors import InputError

DIGITS = 5  # A size of a pixel has so many; files hold it as metres in binary.
SQUARE = 0.01  # Relative difference of width and height up to which a pixel counts as square.

Headers = dict[Path, tuple[Series, ...]]  # The images of files, () of one that cannot be read.


def with_pixel_sizes(
    table: pd.DataFrame, channels: Sequence[str], folder: Path, name: str
) -> pd.DataFrame:
    """Return ``table`` with pixel_size_um as its vendors' files say it, where the sheet does not.

    A file that cannot be read has the size of the others: cropping names or skips it.

    Arguments:
        folder: The folder of relative paths.
        name: The sheet, as an error calls it.

    Raises:
        InputError: A library is missing, a row names no image or several, or pixels are no squares.
    """
    said = table.get("pixel_size_um", pd.Series(np.nan, index=table.index)).astype(float)
    columns = [column for column in path_columns(channels, table) if column in table]
    base, listings, headers = Path(expand(str(folder))), Listings(), Headers()
    found = said.copy()
    for at, row in zip(table.index, table.to_dict("records"), strict=True):
        paths = _vendor_files(row, columns) if np.isnan(said[at]) else ()
        for path in paths:
            series = _opened(locate(base, str(path), listings), headers)
            if series and np.isnan(found[at]):
                place = _place(series, _said(row), path, f"Row {at + 2} of {name}: ")
                found[at] = _side_um(series[place], path)
    if found.notna().sum() == said.notna().sum():
        return table
    first = float(found.dropna().iloc[0])
    print(f"{name}: pixel_size_um is taken from the files, {first:g} um", flush=True)
    return table.assign(pixel_size_um=found.fillna(first))


def with_positions(table: pd.DataFrame, channels: Sequence[str], name: str) -> pd.DataFrame:
    """Return ``table`` with each name in column series as the position from 0 in its file.

    Arguments:
        table: Absolute paths; its index is the row in the file less 2.
        name: The sheet, as an error calls it.

    Raises:
        InputError: A library is missing, a file has no such image, or several and the sheet does
            not say which; or two fields are one image.
    """
    columns, headers = path_columns(channels, table), Headers()
    positions = {
        at: _said(row) for at, row in zip(table.index, table.to_dict("records"), strict=True)
    }
    taken: dict[tuple[Path, str], int] = {}
    for at, row in zip(table.index, table.to_dict("records"), strict=True):
        places: dict[Path, int] = {}
        for path in _vendor_files(row, columns):
            if series := _opened(path, headers):
                places[path] = _place(series, _said(row), path, f"Row {at + 2} of {name}: ")
        if len(set(places.values())) > 1:
            raise InputError(
                f"Found that '{_said(row)}' in column series of row {at + 2} of {name} is another "
                "position in each file of the row, expected the same. Write the position from 0."
            )
        for path, place in places.items():
            positions[at] = str(place)
            first = taken.setdefault((path, positions[at]), at)
            if first != at:
                raise InputError(
                    f"Found image {place} of {path} as two fields in {name} (rows {first + 2}, "
                    f"{at + 2}), expected one field an image. Correct the column series."
                )
    if "series" not in table and not any(positions.values()):
        return table
    return table.assign(series=pd.Series(positions, dtype=object))


def _vendor_files(row: Row, columns: Sequence[str]) -> Iterator[Path]:
    """Yield the files of vendors that a row names, each once."""
    yield from dict.fromkeys(path for name in columns if is_vendor(path := Path(str(row[name]))))


def _said(row: Row) -> str:
    """Return what a row says in column series."""
    said = row.get("series", "")
    return "" if said != said else str(said).strip()


def _opened(path: Path, headers: Headers) -> tuple[Series, ...]:
    """Return the images of a file from ``headers``, into which they are put; () without any.

    Raises:
        InputError: The library for this kind of file is not installed.
    """
    if path not in headers:
        need_reader(path)
        try:
            with open_vendor(path) as series:
                headers[path] = series
        except BrokenImage:
            headers[path] = ()
    return headers[path]


def _place(series: Sequence[Series], said: str, path: Path, where: str) -> int:
    """Return the position of an image.

    Raises:
        InputError: There is no such image, or there are several and ``said`` is none.
    """
    try:
        return place_of(series, said, path)
    except BrokenImage as error:
        raise InputError(f"{where}{error}") from error


def _side_um(series: Series, path: Path) -> float:
    """Return the side of a pixel; NaN where its file does not say it.

    Raises:
        InputError: Pixels are no squares.
    """
    if series.pixel_size_um is None:
        return np.nan
    width, height = series.pixel_size_um
    if abs(width / height - 1) > SQUARE:
        raise InputError(
            f"{path} has pixels of {width:g} by {height:g} um, expected squares. Resample the "
            "image in its program."
        )
    return float(f"{width:.{DIGITS}g}")
