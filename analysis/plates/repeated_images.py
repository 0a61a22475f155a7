"""Find the same pixels under two names: as two channels of a field, or in two fields.

Files are compared by their digests: byte by byte, with the image that is meant in a vendor's file;
of an OME-Zarr field by the metadata of its array and all its chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.plates.field_image import BrokenField, Part, channels_of, read_channels
from analysis.plates.fields import read_field
from analysis.plates.sheet import Row, digest_columns, path_columns
from analysis.plates.zarr_files import is_array
from rls.io.names import OK
from rls.runtime.errors import InputError


def refuse_repeated_channels(table: pd.DataFrame, channels: Sequence[str], name: str) -> None:
    """Refuse two channels of a field that are one plane of one file, or of equal files.

    A file of several planes may be named for each of them.

    Arguments:
        table: Absolute paths and digests; its index is the row in the file less 2.
        name: The sheet, as an error calls it.

    Raises:
        InputError: There are such channels.
    """
    if "path" in table and not any(f"channel_{channel}" in table for channel in channels):
        return
    several = table[digest_columns(channels, table)].nunique(axis=1) < len(channels)
    for at, row in zip(table.index[several], table[several].to_dict("records"), strict=True):
        first: dict[str, str] = {}
        for channel in channels:
            other = first.setdefault(row.get("digest") or row[f"digest_{channel}"], channel)
            if other != channel:
                _refuse_one_plane(row, other, channel, f"row {at + 2} of {name}")


def image_keys(row: Row, channels: Sequence[str]) -> list[str]:
    """Return what tells the files of a field from others; [] for a row without digests."""
    columns = ["digest"] if "path" in row else [f"digest_{channel}" for channel in channels]
    series = Part.of(row).series
    return [f"{row[name]} {series}".strip() for name in columns if name in row]


def refuse_shared_images(fields: pd.DataFrame, *, only_say: bool) -> None:
    """Refuse an image that is a field of two plates, or print it.

    Fields without a signal are left out, and so are those of tables without the column ``images``.

    Arguments:
        fields: Columns plate, well, site, status and ``images``, the keys of a field's files with
            a bar between them.
        only_say: Print it: nobody can correct a plate that was fetched.

    Raises:
        InputError: There is such an image, and not ``only_say``.
    """
    if "images" not in fields:
        return
    used = fields[(fields["status"] == OK) & fields["images"].notna()]
    seen: dict[str, Row] = {}
    for row in used.to_dict("records"):
        for key in dict.fromkeys(str(row["images"]).split("|")):
            first = seen.setdefault(key, row)
            if not key or first["plate"] == row["plate"]:
                continue
            places = " and ".join(
                f"plate {one['plate']}, well {one['well']}, site {one['site']}"
                for one in (first, row)
            )
            sentence = (
                f"Found the same image in fields of two plates, {places}: their files are equal, "
                "byte by byte, so cells of one would be in two plates. Correct the paths in the "
                "sheet, or remove one of the fields."
            )
            if not only_say:
                raise InputError(sentence)
            print(sentence, flush=True)
            return


def repeated_fields(table: pd.DataFrame, channels: Sequence[str], name: str, *, rows: bool) -> str:
    """Return the sentence about two fields with an equal file, '' where there are none.

    Files without a signal are equal by right, and broken: cropping names or skips them.

    Arguments:
        table, name: See :func:`refuse_repeated_channels`.
        rows: Whether the index of ``table`` says rows of ``name``.
    """
    seen: dict[str, tuple[int, str]] = {}
    blank: set[str] = set()
    places = path_columns(channels, table)
    records = zip(table.index, table.to_dict("records"), strict=True)
    for at, row in records:
        for key, place in zip(image_keys(row, channels), places, strict=True):
            path = str(row[place])
            first, other = seen.setdefault(key, (at, path))
            if first == at or key in blank:
                continue
            if not _has_signal(row, path, channels):
                blank.add(key)
                continue
            wells = " and ".join(
                f"well {table['well'][one]}, site {table['site'][one]}"
                + (f" (row {one + 2})" if rows else "")
                for one in (first, at)
            )
            return (
                f"Found the same image in two fields of {name}, {wells}: {other} and {path} are "
                "equal, byte by byte. Correct the paths, or remove one of the fields."
            )
    return ""


def _refuse_one_plane(row: Row, one: str, two: str, where: str) -> None:
    """Raise :class:`InputError` unless two channels are different planes of their file."""
    paths = [str(row.get("path") or row[f"path_{channel}"]) for channel in (one, two)]
    try:
        head = channels_of(Path(paths[0]), Part.of(row))
    except BrokenField:
        return  # Broken files are for cropping to name, or to skip.
    if paths[0] != paths[1] and not _has_signal(row, paths[0], (one,)):
        return
    said = [str(row.get(f"channel_{channel}") or channel) for channel in (one, two)]
    if head.count > 1 and _place(head.names, said[0]) != _place(head.names, said[1]):
        return
    what = "holds one plane"
    if head.count > 1:
        what = f"has one plane called {' and '.join(dict.fromkeys(said))}"
    files = paths[0] if paths[0] == paths[1] else f"{paths[0]}, like its equal {paths[1]},"
    raise InputError(
        f"The file {files} {what} and is named as channel {one} and as channel {two} in {where}, "
        "expected a plane of its own for each. Correct the paths, or the columns channel_{channel}."
    )


def _place(names: Sequence[str], said: str) -> str:
    """Return the position from 0 of the plane that a sheet calls ``said``, or else ``said``."""
    called = [name.strip().casefold() for name in names]
    name = said.strip().casefold()
    return str(called.index(name)) if called.count(name) == 1 else name


def _has_signal(row: Row, path: str, channels: Sequence[str]) -> bool:
    """Return whether a file of a row can be read and some plane of it is not of one value."""
    try:
        if is_array(Path(path)):
            return len(read_field(row, channels, Path())) > 0  # It refuses channels of one value.
        stacks = read_channels(Path(path), Part.of(row))
    except BrokenField:
        return False
    return any(np.ptp(plane) > 0 for stack in stacks.values() for plane in stack)
