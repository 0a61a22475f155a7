"""Find the same pixels under two names: as two channels of a field, or in two fields."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.plates.image_files import BrokenField, channels_of, read_channels
from analysis.plates.sheet import Row, digest_columns, path_columns
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


def repeated_fields(table: pd.DataFrame, channels: Sequence[str], name: str, *, rows: bool) -> str:
    """Return the sentence about two fields with an equal file, '' where there are none.

    Files without a signal are equal by right, and broken: cropping names or skips them.

    Arguments:
        table, name: See :func:`refuse_repeated_channels`.
        rows: Whether the index of ``table`` says rows of ``name``.
    """
    seen: dict[str, tuple[int, str]] = {}
    blank: set[str] = set()
    columns = zip(digest_columns(channels, table), path_columns(channels, table), strict=True)
    for digest_column, place in columns:
        files = zip(table.index, table[digest_column], table[place], strict=True)
        for at, digest, path in files:
            first, other = seen.setdefault(digest, (at, path))
            if first == at or digest in blank:
                continue
            if not _has_signal(Path(path)):
                blank.add(digest)
                continue
            wells = " and ".join(
                f"well {table['well'][row]}, site {table['site'][row]}"
                + (f" (row {row + 2})" if rows else "")
                for row in (first, at)
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
        head = channels_of(Path(paths[0]))
    except BrokenField:
        return  # Broken files are for cropping to name, or to skip.
    if paths[0] != paths[1] and not _has_signal(Path(paths[0])):
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


def _has_signal(path: Path) -> bool:
    """Return whether a file can be read and some plane of it is not of one value."""
    try:
        return any(np.ptp(plane) > 0 for plane in read_channels(path))
    except BrokenField:
        return False
