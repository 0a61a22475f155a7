"""Find the same pixels under two names: as two channels of a field, or in two fields."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.plates.image_files import BrokenField, read_channels
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
    if "path" in table:
        return
    digests = digest_columns(channels, table)
    several = table[digests].nunique(axis=1) < len(channels)
    for at, row in zip(table.index[several], table[several].to_dict("records"), strict=True):
        first: dict[str, str] = {}
        for channel in channels:
            other = first.setdefault(row[f"digest_{channel}"], channel)
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
    paths = [str(row[f"path_{channel}"]) for channel in (one, two)]
    places = [row.get(f"channel_{channel}") or channel for channel in (one, two)]
    planes = _planes(Path(paths[0]))
    if planes is None or (paths[0] != paths[1] and not _signal(planes)):
        return  # Broken files are for cropping to name, or to skip.
    count = len(planes)
    if count > 1 and str(places[0]).casefold() != str(places[1]).casefold():
        return
    what = "holds one plane" if count == 1 else f"has one plane called {places[0]}"
    files = paths[0] if paths[0] == paths[1] else f"{paths[0]}, like its equal {paths[1]},"
    raise InputError(
        f"The file {files} {what} and is named as channel {one} and as channel {two} in {where}, "
        "expected a plane of its own for each. Correct the paths."
    )


def _has_signal(path: Path) -> bool:
    """Return whether a file can be read and some plane of it is not of one value."""
    planes = _planes(path)
    return planes is not None and _signal(planes)


def _signal(planes: np.ndarray) -> bool:
    return any(np.ptp(plane) > 0 for plane in planes)


def _planes(path: Path) -> np.ndarray | None:
    """Return the planes (c, y, x) of a file, None of one that cannot be read."""
    try:
        return read_channels(path)
    except BrokenField:
        return None
