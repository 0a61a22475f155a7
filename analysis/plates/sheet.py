"""The sample sheet, one row per field: every source is turned into it, or a user writes it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.plates.names import refuse_two_treatments, spellings, with_well_names
from analysis.plates.projections import PROJECTIONS
from analysis.plates.user_numbers import NUMBER, check_numbers
from analysis.plates.user_table import read_user_table
from analysis.plates.zarr_files import array_digest, is_array
from rls.io import file_digest
from rls.runtime.errors import InputError

TEXTS = ("plate", "well", "treatment", "compound", "dose_unit", "moa", "series", "projection")
NUMBERS = ("site", "dose", "pixel_size_um", "bit_depth")
COLUMNS = (
    *("plate", "well", "site", "treatment", "compound", "dose", "dose_unit", "moa"),
    *("pixel_size_um", "bit_depth"),
)
REQUIRED = ("plate", "well", "site", "treatment", "pixel_size_um", "bit_depth")
BIT_DEPTHS = (8, 10, 12, 14, 16)
OF_IMAGES = ("series", "projection", "axes")  # Only of files of several images or planes.
PLATE_NAME = re.compile(r"[A-Za-z0-9.-][A-Za-z0-9_.-]*")

Row = Mapping[Hashable, Any]  # A row of a sheet, as pandas gives it.


def path_columns(channels: Sequence[str], table: pd.DataFrame) -> list[str]:
    """Return the columns of ``table`` with the files of a field: one, or one per channel."""
    return ["path"] if "path" in table else [f"path_{channel}" for channel in channels]


def digest_columns(channels: Sequence[str], table: pd.DataFrame) -> list[str]:
    """Return the columns with the digest of each file of :func:`path_columns`, in their order."""
    return [name.replace("path", "digest", 1) for name in path_columns(channels, table)]


def listed_digest(path: Path) -> str:
    """Return the digest of a file, with a prefix so that no reader takes it for a number.

    The metadata file of a zarr array stands for the array with all its chunks.
    """
    return f"blake2b:{array_digest(path) if is_array(path) else file_digest(path)}"


def read_sheet(path: Path, channels: Sequence[str]) -> pd.DataFrame:
    """Return a sheet's CSV unchecked: names are text, numbers are float64.

    Its index is the row in the file less 2.

    Raises:
        InputError: The file is missing, is no table, or has a text for a number.
    """
    files = [f"{kind}_{channel}" for kind in ("path", "channel", "digest") for channel in channels]
    return read_user_table(path, (*TEXTS, "axes", "path", "digest", *files), NUMBERS, "sheet")


def check_sheet(table: pd.DataFrame, channels: Sequence[str], name: str) -> pd.DataFrame:
    """Return the sheet with every column, checked.

    Missing optional columns are filled: compound with the treatment, the others empty. A well has
    one name, however it is written.

    Arguments:
        table: Its index is the row in the file less 2.
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
    _check_projections(table, name)
    written = table["well"]
    table = with_well_names(table, name).assign(
        site=table["site"].astype(int),
        bit_depth=table["bit_depth"].astype(int),
        pixel_size_um=table["pixel_size_um"].astype(float),
    )
    _refuse_repeated_fields(table, name, written)
    refuse_two_treatments(table, name, written)
    defaults: dict[str, pd.Series | float | str] = {
        "compound": table["treatment"],
        "dose": float("nan"),
        "dose_unit": "",
        "moa": "",
    }
    table = table.assign(**{k: v for k, v in defaults.items() if k not in table})
    table = table.fillna({"dose_unit": "", "moa": "", "compound": ""})
    table = table.assign(dose=table["dose"].astype(float))
    named = [name for name in (f"channel_{channel}" for channel in channels) if name in table]
    named += [name for name in OF_IMAGES if name in table]
    # A program that keeps 0, 1 and empty cells in one column writes 0.0, 1.0 and ''.
    table[named] = table[named].fillna("").replace(r"^(\d+)\.0$", r"\1", regex=True)
    digests = [name for name in digest_columns(channels, table) if name in table]
    return table[[*COLUMNS, *path_columns(channels, table), *named, *digests]]


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


def _refuse_repeated_fields(table: pd.DataFrame, name: str, written: pd.Series) -> None:
    """Raise :class:`InputError` if a field occurs twice.

    Arguments:
        written: The wells as the user wrote them, row by row.
    """
    fields = table[["plate", "well", "site"]]
    if not fields.duplicated().any():
        return
    first = fields[fields.duplicated()].iloc[0]
    rows = fields.index[(fields == first).all(axis=1)][:2]
    raise InputError(
        f"Found plate {first['plate']}, well {first['well']}, site {first['site']} more than once "
        f"in {name} (rows {rows[0] + 2}, {rows[1] + 2}){spellings(written[rows])}, expected each "
        "field once. Delete one row or correct its site."
    )


def _check_projections(table: pd.DataFrame, name: str) -> None:
    """Raise :class:`InputError` on an unknown word in column projection."""
    said = table.get("projection", pd.Series(dtype=object)).dropna()
    wrong = said[~said.isin([*PROJECTIONS, ""])]
    if len(wrong):
        raise InputError(
            f"Found the projection '{wrong.iloc[0]}' in row {wrong.index[0] + 2} of {name}, "
            f"expected one of {', '.join(PROJECTIONS)}. Correct the row."
        )


def _check_values(table: pd.DataFrame, name: str) -> None:
    """Raise :class:`InputError` on an impossible value, or on mixed bit depths or pixel sizes."""
    for plate in table["plate"].unique():
        if not PLATE_NAME.fullmatch(str(plate)):
            raise InputError(
                f"Found the plate name '{plate}' in {name}, expected letters, digits, '.', '-' "
                "and '_' only, for it names files. Rename the plate."
            )
    check_numbers(table["site"], name, whole=True)
    check_numbers(table["bit_depth"], name, whole=True)
    check_numbers(table["pixel_size_um"], name, above=0)
    units = table.get("dose_unit", pd.Series(dtype=object)).dropna()
    for unit in units.unique():
        if NUMBER.fullmatch(unit):
            raise InputError(
                f"Found the dose_unit '{unit}' in row {units.index[units == unit][0] + 2} of "
                f"{name}, expected a unit such as uM. Look for a dose with a comma in this row."
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
