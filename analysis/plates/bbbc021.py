"""Make a sheet of metadata in BBBC021's form: image.csv, and moa.csv where there is one.

Source: BBBC021v1, Caie et al. 2010, Broad Bioimage Benchmark Collection (Ljosa et al. 2012).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.plates.user_table import read_user_table
from rls.io import check_digest
from rls.runtime.errors import InputError

PLATE, WELL = "Image_Metadata_Plate_DAPI", "Image_Metadata_Well_DAPI"
COMPOUND, DOSE = "Image_Metadata_Compound", "Image_Metadata_Concentration"
DOSE_UNIT = "uM"
MOA, MOA_DOSE = ("compound", "moa"), "concentration"
MAY_BE_EMPTY = ("moa",)
IMAGE_CSV = ("image.csv", "BBBC021_v1_image.csv")
MOA_CSV = ("moa.csv", "BBBC021_v1_moa.csv")
ARCHIVE = "BBBC021_v1_images_{plate}.zip"
SITE = re.compile(r"_s(\d+)_")
ALIASES = {"dna": "dapi"}  # BBBC021 names the nucleus channel by its dye.
FILE_NAME = "Image_FileName_"  # Beginning of the columns of file names.


def read_metadata(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Read image.csv and, where there is one, moa.csv of ``folder``.

    Raises:
        InputError: image.csv is missing, damaged or lacks a column.
    """
    path, moa_path = (
        next((folder / name for name in names if (folder / name).is_file()), None)
        for names in (IMAGE_CSV, MOA_CSV)
    )
    if path is None:
        raise InputError(
            f"Found no {' or '.join(IMAGE_CSV)} in {folder}. Fetch or simulate the plate first."
        )
    check_digest(path, folder)  # A simulated or fetched plate has a digest; a user's own has none.
    images = _read(path, (PLATE, WELL, COMPOUND), DOSE)
    if moa_path is None:
        return images, None
    check_digest(moa_path, folder)
    return images, _read(moa_path, MOA, MOA_DOSE)


def _read(path: Path, texts: Sequence[str], number: str) -> pd.DataFrame:
    """Return a CSV of BBBC021 with these columns; no name in it is empty.

    Raises:
        InputError: A column is missing, a text is empty, or a number is none.
    """
    table = read_user_table(path, texts, (number,), "table")
    missing = [column for column in (*texts, number) if column not in table]
    if missing:
        raise InputError(
            f"Found no column {', '.join(missing)} in {path}, expected the columns of BBBC021. "
            "Fetch the file again, or write a sheet of your own."
        )
    for column in (column for column in texts if column not in MAY_BE_EMPTY):
        empty = table.index[table[column].isna()]
        if len(empty):
            raise InputError(
                f"Found no {column} in row {empty[0] + 2} of {path}, expected one in each row. "
                "Fill the row or delete it."
            )
    return table


def to_sheet(
    images: pd.DataFrame,
    moa: pd.DataFrame | None,
    channels: Sequence[str],
    folder: Path,
    *,
    treatment_by: str,
) -> pd.DataFrame:
    """Return the sheet of one plate but for the columns of the camera, with absolute paths.

    Its index is that of ``images``.

    Arguments:
        images: Rows of image.csv.
        moa: moa.csv, if there is one.
        folder: Folder of the images.
        treatment_by: See :func:`treatment_names`.

    Raises:
        InputError: A channel has no column, or a file name has no site.
    """
    compound, dose = images[COMPOUND], images[DOSE]
    columns = {channel: _column(images, channel) for channel in channels}
    names = images[columns[channels[0]]]
    sites = [SITE.search(str(name)) for name in names]
    if not all(sites):
        bad = str(names.iloc[[match is None for match in sites].index(True)])
        raise InputError(
            f"Found the file name {bad}, expected the site in it, as in B02_s1_w1....tif. "
            "Write a sheet of your own for files with other names."
        )
    sheet = pd.DataFrame(
        {
            "plate": images[PLATE],
            "well": images[WELL],
            "site": [int(match.group(1)) for match in sites if match],
            "treatment": treatment_names(compound, dose, treatment_by),
            "compound": compound,
            "dose": dose,
            "dose_unit": DOSE_UNIT,
            "moa": _mechanisms(compound, dose, moa),
        }
    )
    for channel, column in columns.items():
        folders = column.replace("FileName", "PathName")
        paths = images[folders] if folders in images else [""] * len(images)
        sheet[f"path_{channel}"] = [
            str(_locate(folder, str(path), str(name)))
            for path, name in zip(paths, images[column], strict=True)
        ]
    return sheet


def rows_of_plate(
    images: pd.DataFrame, plate: str, treatments: Sequence[str], treatment_by: str, name: str
) -> pd.DataFrame:
    """Return the rows of ``plate`` with these treatments (none: all of them).

    Raises:
        InputError: The metadata ``name`` lack the plate, or have it without these treatments.
    """
    rows = images[images[PLATE] == plate]
    if rows.empty:
        found = sorted(images[PLATE].unique())
        raise InputError(
            f"Found no plate {plate} in the metadata of {name}, which has "
            f"{', '.join(found[:8])}. Correct the assay's plates."
        )
    if not treatments:
        return rows
    there = plates_and_treatments(rows, treatment_by)["treatment"]
    rows = rows[there.isin(treatments)]
    if rows.empty:
        raise InputError(
            f"Found no treatment of the assay on plate {plate} in {name}, which has "
            f"{', '.join(sorted(there.unique())[:8])}. Take the plate out of the assay, or correct "
            "its treatments."
        )
    return rows


def file_names(rows: pd.DataFrame, channels: Sequence[str]) -> list[str]:
    """Return the names of the image files of ``rows``, channel after channel.

    Raises:
        InputError: A channel has no column, or a field has no file of a channel.
    """
    names: list[str] = []
    for channel in channels:
        column = rows[_column(rows, channel)]
        if column.isna().any():
            well = rows.loc[column.isna(), WELL].iloc[0]
            raise InputError(
                f"Found no file of channel {channel} for well {well} in image.csv, expected one. "
                "Correct the metadata, or take the plate out of the assay."
            )
        names += [str(name) for name in column]
    return names


def plates_and_treatments(images: pd.DataFrame, treatment_by: str) -> pd.DataFrame:
    """Return ``plate`` and ``treatment`` of each row of image.csv."""
    compound, dose = images[COMPOUND], images[DOSE]
    treatment = treatment_names(compound, dose, treatment_by)
    return pd.DataFrame({"plate": images[PLATE], "treatment": treatment})


def treatment_names(compound: pd.Series, dose: pd.Series, treatment_by: str) -> pd.Series:
    """Return the treatment of each row.

    Arguments:
        treatment_by: ``compound``, or ``compound_dose`` for names such as ``taxol_0.3uM``; a
            compound at dose 0 (DMSO) keeps its plain name.
    """
    if treatment_by == "compound":
        return compound
    return (compound + "_" + dose.map("{:g}".format) + DOSE_UNIT).where(dose > 0, compound)


def _column(images: pd.DataFrame, channel: str) -> str:
    """Return the column of file names of ``channel``, whatever the case of its name.

    Raises:
        InputError: image.csv has no such channel.
    """
    columns = [str(column) for column in images if str(column).startswith(FILE_NAME)]
    found = {column.removeprefix(FILE_NAME).lower(): column for column in columns}
    name = channel.lower()
    if name not in found and ALIASES.get(name) not in found:
        raise InputError(
            f"Found the channels {', '.join(found)} in image.csv, expected {channel}. "
            "Correct the assay's channels."
        )
    return found[name] if name in found else found[ALIASES[name]]


def _mechanisms(compound: pd.Series, dose: pd.Series, moa: pd.DataFrame | None) -> list[str]:
    """Return the mechanism of action of each row, empty where none is annotated."""
    if moa is None:
        return [""] * len(compound)
    annotated = zip(moa["compound"], moa[MOA_DOSE].round(6), strict=True)
    known = dict(zip(annotated, moa["moa"].fillna(""), strict=True))
    keys = zip(compound, dose.round(6), strict=True)
    # moa.csv annotates DMSO at a concentration that no row of image.csv has.
    return [known.get(key, "DMSO" if key[0] == "DMSO" else "") for key in keys]


def _locate(folder: Path, path: str, name: str) -> Path:
    """Return where a file lies: in the folder, or in a subfolder as image.csv says."""
    places = (folder / name, folder / path / name, folder / Path(path).name / name)
    return next((place for place in places if place.is_file()), places[0])
