"""Make a sheet of BBBC014's images, named ``Channel 1-01-A-01-00.tif``, and a plate map.

Source: BBBC014v1, NF-kB translocation (Ilya Ravkin), Broad Bioimage Benchmark Collection. A name
holds the channel, the number of the well, its row and column, and, in some copies, the field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.plates.names import row_and_column, spellings
from analysis.plates.user_table import read_user_table
from rls.io.debris import without_debris
from rls.runtime.errors import InputError

NAME = re.compile(
    r"Channel (?P<channel>\d)-\d+-(?P<row>[A-P])-(?P<column>\d{2})(?:-(?P<field>\d+))?\.tiff?",
    re.IGNORECASE,
)
NUMBERS = {"nfkb": 1, "dna": 2}  # Channel 1 is FITC (p65), channel 2 the nuclear stain.
ALIASES = {"fitc": "nfkb", "p65": "nfkb", "dapi": "dna", "nucleus": "dna"}
MAP_COLUMNS = ("well", "treatment")
TEXTS = ("well", "treatment", "compound", "dose_unit", "moa")


def to_sheet(
    folder: Path,
    plate: str,
    channels: Sequence[str],
    plate_map: pd.DataFrame,
    map_name: str,
) -> pd.DataFrame:
    """Return all columns of the sheet but those of the camera, with absolute paths.

    Arguments:
        plate_map: Treatments by well, from :func:`read_plate_map`; an error calls it ``map_name``.

    Raises:
        InputError: No file has a name of BBBC014, a field lacks a channel, or a well has no
            treatment.
    """
    fields = find_fields(folder, channels)
    wells = plate_map.set_index("well")
    unknown = sorted({well for well, _ in fields} - set(wells.index))
    if unknown:
        raise InputError(
            f"Found images of {len(unknown)} wells of unknown treatment ({', '.join(unknown[:5])}) "
            f"in {folder}, expected a row for each in {map_name}. Add them; a treatment "
            "that the assay does not list is left out by list_plate.on_unlisted_treatment."
        )
    rows = [
        {
            "plate": plate,
            "well": well,
            "site": site,
            **wells.loc[well].to_dict(),
            **{f"path_{channel}": str(path) for channel, path in files.items()},
        }
        for (well, site), files in sorted(fields.items())
    ]
    return pd.DataFrame(rows)


def find_fields(folder: Path, channels: Sequence[str]) -> dict[tuple[str, int], dict[str, Path]]:
    """Return {(well, site): {channel: file}} of the images in ``folder`` and its subfolders.

    Raises:
        InputError: There is no image, a channel is not BBBC014's, or a field lacks a channel or has
            it twice.
    """
    numbers: dict[int, str] = {}
    for channel in channels:
        name = ALIASES.get(channel.lower(), channel.lower())
        if name not in NUMBERS:
            raise InputError(
                f"Found the channel {channel}, expected BBBC014's {', '.join(NUMBERS)}. Correct "
                "the assay's channels."
            )
        numbers[NUMBERS[name]] = channel
    fields: dict[tuple[str, int], dict[str, Path]] = {}
    for path in sorted(without_debris(list(folder.rglob("*")), folder)):
        match = NAME.fullmatch(path.name)
        if match is None or int(match["channel"]) not in numbers:
            continue
        well = f"{match['row'].upper()}{match['column']}"
        files = fields.setdefault((well, int(match["field"] or 0) + 1), {})
        channel = numbers[int(match["channel"])]
        if channel in files:
            raise InputError(
                f"Found channel {channel} of well {well} twice, {files[channel]} and {path}, "
                "expected it once. Give a folder with one copy of the plate."
            )
        files[channel] = path
    if not fields:
        raise InputError(
            f"Found no image such as 'Channel 1-01-A-01.tif' in {folder}, expected those of "
            "BBBC014. Correct the assay's image_folder, or write a sheet (source: sheet)."
        )
    for (well, site), files in fields.items():
        for number, channel in numbers.items():
            if channel not in files:
                raise InputError(
                    f"Found no image of channel {channel} (Channel {number}) for well {well}, "
                    f"field {site} in {folder}, expected one a channel. Fetch it, or remove the "
                    "field."
                )
    return fields


def read_plate_map(path: Path | None, plate: str = "") -> pd.DataFrame:
    """Return a plate map with well names such as ``A01`` and a numeric dose.

    Arguments:
        plate: The plate whose rows are read, if the map has a column ``plate``.

    Raises:
        InputError: No file is given, it does not exist, a column or value is missing, a dose is no
            number, or a well occurs twice.
    """
    if path is None:
        raise InputError(
            "Found no plate map for plates whose treatments are unknown without one: expected a "
            f"CSV with the columns {', '.join(MAP_COLUMNS)}. Name it as the assay's sheet."
        )
    table = read_user_table(path, (*TEXTS, "plate"), ("dose",), "plate map")
    missing = [column for column in MAP_COLUMNS if column not in table]
    if missing:
        raise InputError(
            f"Found no column {', '.join(missing)} in the plate map {path}, expected "
            f"{', '.join(MAP_COLUMNS)}. Add what is missing."
        )
    if plate and "plate" in table:
        table = table[table["plate"] == plate]
        if table.empty:
            raise InputError(f"Found no row of plate {plate} in {path}. Correct the plate map.")
    written = table["well"].fillna("")
    wells = written.map(row_and_column)
    bad = table.index[wells.isna() | table["treatment"].isna()]
    if len(bad):
        row = table.loc[bad[0]]
        raise InputError(
            f"Found well '{row['well']}' with treatment '{row['treatment']}' in row {bad[0] + 2} "
            f"of {path}, expected a well such as A01 and a treatment. Correct the plate map."
        )
    twice = table.index[wells == wells[wells.duplicated()].min()]
    if len(twice):
        raise InputError(
            f"Found well {wells[twice[0]]} more than once in {path} (rows {twice[0] + 2}, "
            f"{twice[1] + 2}){spellings(written[twice])}, expected each once. Delete one."
        )
    dose = table["dose"] if "dose" in table else float("nan")
    return table.assign(well=wells, dose=dose)[[*(c for c in TEXTS if c in table), "dose"]]
