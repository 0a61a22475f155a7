"""The sample sheet, one row per field: every source is turned into it, or a user writes it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.plates.zarr_files import array_digest, is_array
from rls.io import file_digest
from rls.runtime.errors import InputError

COLUMNS = (
    *("plate", "well", "site", "treatment", "compound", "dose", "dose_unit", "moa"),
    *("pixel_size_um", "bit_depth"),
)
REQUIRED = ("plate", "well", "site", "treatment", "pixel_size_um", "bit_depth")
BIT_DEPTHS = (8, 10, 12, 14, 16)
PLATE_NAME = re.compile(r"[A-Za-z0-9.-][A-Za-z0-9_.-]*")

Row = Mapping[Hashable, Any]  # A row of a sheet, as pandas gives it.


def path_columns(channels: Sequence[str], table: pd.DataFrame) -> list[str]:
    """Return the columns of ``table`` with the files of a field: one, or one per channel."""
    return ["path"] if "path" in table else [f"path_{channel}" for channel in channels]


def digest_columns(channels: Sequence[str], table: pd.DataFrame) -> list[str]:
    """Return the columns with the digest of each file of :func:`path_columns`, in their order."""
    return [name.replace("path", "digest", 1) for name in path_columns(channels, table)]


def read_sheet(path: Path) -> pd.DataFrame:
    """Return a sheet's CSV unchecked; names of plates, wells and treatments are text.

    Raises:
        InputError: The file is missing, or is no CSV.
    """
    if not path.is_file():
        raise InputError(f"The sheet {path} does not exist. Give its path with --sheet.")
    text = dict.fromkeys(("plate", "well", "treatment", "compound", "dose_unit", "moa"), str)
    try:
        table = pd.read_csv(path, dtype=text, comment="#", skipinitialspace=True)
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"The sheet {path} is no CSV table: {error}. Save it as CSV.") from error
    return table.rename(columns=str.strip)


def check_sheet(table: pd.DataFrame, channels: Sequence[str], name: str) -> pd.DataFrame:
    """Return the sheet with every column, checked.

    Missing optional columns are filled: compound with the treatment, the others empty.

    Arguments:
        name: The sheet, as an error calls it.

    Raises:
        InputError: A column is missing or has an empty or impossible value, a row (plate, well,
            site) occurs twice, a well has two treatments, or pixel sizes or bit depths are mixed.
    """
    wanted = [*REQUIRED, *path_columns(channels, table)]
    missing = [column for column in wanted if column not in table]
    if missing:
        raise InputError(
            f"Found no column {', '.join(missing)} in {name}, expected {', '.join(wanted)} (files "
            "as one 'path' or one 'path_{channel}' a channel). Add what is missing."
        )
    if table.empty:
        raise InputError(f"Found no row in {name}, expected one a field. Fill the sheet.")
    for column in wanted:
        empty = table.index[table[column].isna()]
        if len(empty):
            raise InputError(
                f"Found {len(empty)} empty cells in column {column} of {name} (first in row "
                f"{empty[0] + 2}), expected a value in each. Fill or delete these rows."
            )
    _check_values(table, name)
    table = table.assign(
        site=table["site"].astype(int),
        bit_depth=table["bit_depth"].astype(int),
        pixel_size_um=table["pixel_size_um"].astype(float),
    )
    twice = table[table.duplicated(["plate", "well", "site"], keep=False)]
    if len(twice):
        plate, well, site = twice.iloc[0][["plate", "well", "site"]]
        rows = ", ".join(str(row + 2) for row in twice.index[:2])
        raise InputError(
            f"Found plate {plate}, well {well}, site {site} more than once in {name} (rows "
            f"{rows}), expected each field once. Delete one row or correct its site."
        )
    refuse_two_treatments(table, name)
    defaults: dict[str, pd.Series | float | str] = {
        "compound": table["treatment"],
        "dose": float("nan"),
        "dose_unit": "",
        "moa": "",
    }
    table = table.assign(**{k: v for k, v in defaults.items() if k not in table})
    table = table.fillna({"dose_unit": "", "moa": "", "compound": ""})
    named = [name for name in (f"channel_{channel}" for channel in channels) if name in table]
    table = table.assign(**{column: table[column].map(_as_name) for column in named})
    digests = [name for name in digest_columns(channels, table) if name in table]
    return table[[*COLUMNS, *path_columns(channels, table), *named, *digests]]


def resolve_paths(
    table: pd.DataFrame, channels: Sequence[str], folder: Path, name: str
) -> pd.DataFrame:
    """Return ``table`` with absolute paths; a relative one is relative to ``folder``.

    ``$VARIABLES`` and ``~`` in ``folder`` and in the paths are expanded.

    Arguments:
        name: The sheet, as an error calls it.

    Raises:
        InputError: A variable is not set, or a file does not exist or belongs to two fields.
    """
    base = Path(expand(str(folder)))
    table = table.copy()
    for column in path_columns(channels, table):
        paths = [base / expand(str(path)) for path in table[column]]
        lost = [path for path in paths if not path.is_file()]
        if lost:
            raise InputError(
                f"Found {len(lost)} of {len(paths)} files of column {column} in {name} missing, "
                f"first {lost[0]}. Correct the paths, or give their folder with --image-folder."
            )
        twice = table.index[pd.Series(paths, index=table.index).duplicated(keep=False)]
        if len(twice):
            raise InputError(
                f"Found the file {table[column][twice[0]]} as {column} of two fields in {name} "
                f"(rows {twice[0] + 2}, {twice[1] + 2}), expected one field a file. Correct the "
                "paths."
            )
        table[column] = [str(Path(os.path.abspath(path))) for path in paths]
    return table


def with_digests(
    table: pd.DataFrame, channels: Sequence[str], advance: Callable[[int], None] = lambda n: None
) -> pd.DataFrame:
    """Return ``table`` with the digest of each file, so that a later change is noticed.

    Arguments:
        advance: Called with 1 after each file.

    Raises:
        InputError: A file cannot be read.
    """
    table = table.copy()
    places = path_columns(channels, table)
    for name, place in zip(digest_columns(channels, table), places, strict=True):
        digests = []
        for path in table[place]:
            try:
                digests.append(listed_digest(Path(path)))
            except OSError as error:
                raise InputError(
                    f"The image {path} cannot be read ({error.strerror}). Make it readable, or "
                    "leave its field out of the sheet."
                ) from error
            advance(1)
        table[name] = digests
    return table


def listed_digest(path: Path) -> str:
    """Return the digest of a file, with a prefix so that no reader takes it for a number.

    The metadata file of a zarr array stands for the array with all its chunks.
    """
    return f"blake2b:{array_digest(path) if is_array(path) else file_digest(path)}"


def relative_paths(table: pd.DataFrame, channels: Sequence[str], folder: Path) -> pd.DataFrame:
    """Return ``table`` with paths relative to ``folder``, in which the sheet will lie."""
    columns = path_columns(channels, table)
    base = os.path.abspath(folder)
    return table.assign(
        **{column: [os.path.relpath(path, base) for path in table[column]] for column in columns}
    )


def expand(text: str) -> str:
    """Return ``text`` with ``~`` and ``$VARIABLES`` replaced.

    Raises:
        InputError: A variable is not set.
    """
    result = os.path.expandvars(os.path.expanduser(text))
    unset = re.search(r"\$(\w+|\{\w+\})", result)
    if unset:
        raise InputError(
            f"The variable {unset.group(0)} in the path {text} is not set. "
            f"Export {unset.group(1).strip('{}')} and run again."
        )
    return result


def refuse_two_treatments(table: pd.DataFrame, name: str) -> None:
    """Raise :class:`InputError` if a well of ``table`` has cells or fields of two treatments."""
    for (plate, well), part in table.groupby(["plate", "well"], sort=False):
        found = part["treatment"].unique()
        if len(found) > 1:
            raise InputError(
                f"Found well {well} of plate {plate} twice in {name}, as {found[0]} and as "
                f"{found[1]}, expected one treatment a well. Correct the well or the treatment."
            )


def refuse_unlisted(table: pd.DataFrame, plates: Sequence[str], name: str) -> None:
    """Raise InputError, with the YAML block to paste, if ``plates`` lacks a plate of ``table``."""
    found = sorted(table["plate"].unique())
    unlisted = [plate for plate in found if plate not in plates]
    if unlisted:
        block = "\n".join(["plates:", *(f"  - {plate}" for plate in found)])
        raise InputError(
            f"Found {len(unlisted)} plates in {name} that the configuration does not list: "
            f"{', '.join(unlisted[:5])}. List them in the assay, or remove their rows:\n{block}"
        )


def refuse_misspelt(table: pd.DataFrame, treatments: Sequence[str], name: str) -> list[str]:
    """Return the treatments of ``table`` that are not in ``treatments``.

    Raises:
        InputError: One of them differs from a listed one only in case, blanks or punctuation.
    """
    others = sorted(set(table["treatment"]) - set(treatments))
    listed = {_plain(treatment): treatment for treatment in treatments}
    for other in others:
        if _plain(other) in listed:
            well = table["well"][table["treatment"] == other].iloc[0]
            raise InputError(
                f"Found the unknown treatment '{other}' in well {well} of {name}, expected "
                f"'{listed[_plain(other)]}' as the assay lists it. Write it so in both."
            )
    return others


def _plain(treatment: str) -> str:
    """Return ``treatment`` without case, blanks and punctuation, but with points: 0.3 is not 3."""
    return re.sub(r"[^a-z0-9.]", "", treatment.lower())


def _as_name(value: object) -> str:
    """Return a value as text; pandas reads a column of 0, 1 and empty cells as 0.0, 1.0, nan."""
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"
    return str(value)


def _check_values(table: pd.DataFrame, name: str) -> None:
    """Raise :class:`InputError` on an impossible value, or on mixed bit depths or pixel sizes."""
    for plate in table["plate"].unique():
        if not PLATE_NAME.fullmatch(str(plate)):
            raise InputError(
                f"Found the plate name '{plate}' in {name}, expected letters, digits, '.', '-' "
                "and '_' only, for it names files. Rename the plate."
            )
    for column, low in (("site", 0), ("pixel_size_um", 0), ("bit_depth", 1)):
        numbers = pd.to_numeric(table[column], errors="coerce")
        bad = table.index[numbers.isna() | (numbers < low) | (numbers == float("inf"))]
        if column == "pixel_size_um":
            bad = bad.union(table.index[numbers == 0])
        if len(bad):
            raise InputError(
                f"Found {column} '{table[column][bad[0]]}' in row {bad[0] + 2} of {name}, expected "
                "a positive number. Correct the sheet."
            )
    depths = sorted(set(table["bit_depth"].astype(float)) - set(BIT_DEPTHS))
    if depths:
        raise InputError(
            f"Found bit_depth {depths[0]:g} in {name}, expected one of "
            f"{', '.join(map(str, BIT_DEPTHS))}. Give the bits of the camera."
        )
    if table["bit_depth"].astype(float).nunique() > 1:
        mixed = ", ".join(f"{depth:g}" for depth in sorted(set(table["bit_depth"].astype(float))))
        raise InputError(
            f"Found the bit depths {mixed} in {name}, expected one an assay: counts of two cameras "
            "are not comparable. Put plates of another camera into an assay of their own."
        )
    if table["pixel_size_um"].astype(float).nunique() > 1:
        raise InputError(
            f"Found {table['pixel_size_um'].nunique()} pixel sizes in {name}, expected one an "
            "assay. Put plates of another magnification into an assay of their own."
        )
