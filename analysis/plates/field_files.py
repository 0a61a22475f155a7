"""The image files that a sheet names: where they lie, and their digests."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from analysis.plates.sheet import digest_columns, listed_digest, path_columns
from rls.runtime.errors import InputError

Listings = dict[Path, dict[str, str]]  # Names in a folder, by their composed form.


def resolve_paths(
    table: pd.DataFrame, channels: Sequence[str], folder: Path, name: str
) -> pd.DataFrame:
    """Return ``table`` with absolute paths; a relative one is relative to ``folder``.

    A path is taken as it stands where such a file exists. Else ``$VARIABLES`` and ``~`` are
    expanded, back-slashes are read as slashes, which is printed, and accents may be composed
    otherwise than in the file's name, as a Mac does.

    Arguments:
        table: Its index is the row in the file less 2.
        name: The sheet, as an error calls it.

    Raises:
        InputError: A variable is not set, or a file does not exist, belongs to two fields or has a
            name that is not UTF-8.
    """
    base, listings, turned = Path(expand(str(folder))), Listings(), 0
    table = table.copy()
    for column in path_columns(channels, table):
        paths = [locate(base, str(path), listings) for path in table[column]]
        lost = [path for path in paths if not os.path.isfile(path)]
        if lost:
            raise InputError(
                f"Found {len(lost)} of {len(paths)} files of column {column} in {name} missing, "
                f"first {lost[0]}. Correct the paths, or the folder that they start from "
                "(image_folder of the assay, or --image-folder)."
            )
        files = pd.Series(paths, index=table.index)
        if "series" in table:  # Several images of one vendor's file.
            files = files.astype(str) + "\n" + table["series"].fillna("").astype(str)
        twice = table.index[files.isin(files[files.duplicated()][:1])]
        if len(twice):
            raise InputError(
                f"Found the file {table[column][twice[0]]} as {column} of two fields in {name} "
                f"(rows {twice[0] + 2}, {twice[1] + 2}), expected one field a file. Correct the "
                "paths."
            )
        pairs = zip(table[column], paths, strict=True)
        turned += sum("\\" in text and "\\" not in str(path) for text, path in pairs)
        table[column] = [_in_utf8(os.path.abspath(path)) for path in paths]
    if turned:
        print(f"{name}: back-slashes in {turned} paths are read as slashes", flush=True)
    return table


def with_digests(
    table: pd.DataFrame, channels: Sequence[str], advance: Callable[[int], None] = lambda n: None
) -> pd.DataFrame:
    """Return ``table`` with the digest of each file, so that a later change is noticed.

    Arguments:
        advance: Called with 1 for each path.

    Raises:
        InputError: A file cannot be read.
    """
    table = table.copy()
    places = path_columns(channels, table)
    known: dict[str, str] = {}
    for name, place in zip(digest_columns(channels, table), places, strict=True):
        for path in table[place]:
            try:
                known[path] = known.get(path) or listed_digest(Path(path))
            except OSError as error:
                raise InputError(
                    f"The image {path} cannot be read ({error.strerror}). Make it readable, or "
                    "leave its field out of the sheet."
                ) from error
            advance(1)
        table[name] = table[place].map(known)
    return table


def relative_paths(table: pd.DataFrame, channels: Sequence[str], folder: Path) -> pd.DataFrame:
    """Return ``table`` with paths relative to ``folder``, in which the sheet will lie."""
    columns = path_columns(channels, table)
    base = os.path.abspath(folder)
    return table.assign(
        **{column: [os.path.relpath(path, base) for path in table[column]] for column in columns}
    )


def expand(text: str) -> str:
    """Return ``text`` with ``~`` and ``$VARIABLES`` replaced, unless such a path exists.

    Raises:
        InputError: A variable is not set.
    """
    if os.path.exists(text):
        return text
    result = os.path.expandvars(os.path.expanduser(text))
    unset = re.search(r"\$(\w+|\{\w+\})", result)
    if unset:
        raise InputError(
            f"The variable {unset.group(0)} in the path {text} is not set, and nothing has that "
            f"name. Export {unset.group(1).strip('{}')} and run again, or correct the path."
        )
    return result


def locate(base: Path, text: str, listings: Listings) -> Path:
    """Return the file that a sheet means by ``text``; where there is none, its likeliest path.

    Arguments:
        base: The folder of relative paths.
        listings: Of folders that were looked at; it is filled.

    Raises:
        InputError: A variable is not set.
    """
    if os.path.isfile(base / text):
        return base / text
    plain = base / expand(text)
    for path in (plain, base / expand(text.replace("\\", "/"))):
        found = path if os.path.isfile(path) else _look_alike(path, listings)
        if found:
            return found
    return plain


def _look_alike(path: Path, listings: Listings) -> Path | None:
    """Return the file whose path differs from ``path`` only in how accents are composed."""
    if str(path).isascii():
        return None
    first, *parts = Path(os.path.abspath(path)).parts
    found = Path(first)
    for part in parts:
        if not os.path.lexists(found / part):
            if found not in listings:
                names = os.listdir(found) if os.access(found, os.R_OK) else []
                listings[found] = {unicodedata.normalize("NFC", each): each for each in names}
            alike = listings[found].get(unicodedata.normalize("NFC", part))
            if alike is None:
                return None
            part = alike
        found = found / part
    return found if os.path.isfile(found) else None


def _in_utf8(path: str) -> str:
    """Return ``path``.

    Raises:
        InputError: A sheet cannot hold it, because the system's bytes for it are not UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"Found a path that is not in UTF-8, {path!r}, expected one that a sheet can hold. "
            "Rename the file or its folder."
        ) from error
    return path
