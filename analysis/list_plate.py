"""List one plate: read its source and write the checked sample sheet, one row a field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.plates import bbbc014, bbbc021
from analysis.plates.sheet import (
    check_sheet,
    expand,
    path_columns,
    read_sheet,
    refuse_misspelt,
    refuse_unlisted,
    relative_paths,
    resolve_paths,
    with_digests,
)
from rls.io import write_table
from rls.runtime.command import Parser, option, run
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress


@dataclass(frozen=True)
class Settings:
    """Settings of section ``list_plate``."""

    source: str = option(
        "Where the plate comes from.", choices=("simulate", "bbbc021", "bbbc014", "sheet")
    )
    treatment_by: str = option(
        "What makes a treatment in image.csv.", choices=("compound", "compound_dose")
    )
    pixel_size_um: float | None = option("Pixel size in um; none: the sheet says it.")
    bit_depth: int | None = option("Bits of the camera, e.g. 12; none: the sheet says it.")
    on_unlisted_treatment: str = option(
        "What a treatment does that a user's sheet or plate map has and the assay does not list.",
        choices=("stop", "leave_out"),
        default="stop",
    )


def list_folder(
    folder: Path, plate: str, channels: Sequence[str], settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (sheet of ``plate`` with absolute paths, plates and treatments of the source).

    Raises:
        InputError: Metadata are missing or do not name the plate.
    """
    pixel_size_um, bit_depth = _scale(settings)
    images, moa = bbbc021.read_metadata(folder)
    rows = bbbc021.rows_of_plate(images, plate, (), settings.treatment_by, str(folder))
    sheet = bbbc021.to_sheet(
        rows, moa, channels, folder, treatment_by=settings.treatment_by,
        pixel_size_um=pixel_size_um, bit_depth=bit_depth,
    )  # fmt: skip
    treatments = bbbc021.treatments_of(images, settings.treatment_by)
    return sheet, pd.DataFrame({"plate": images[bbbc021.PLATE], "treatment": treatments})


def _scale(settings: Settings) -> tuple[float, int]:
    """Return (pixel size, bit depth), which sources without a sheet do not say themselves."""
    if settings.pixel_size_um is None or settings.bit_depth is None:
        raise InputError(
            f"Source {settings.source} needs list_plate.pixel_size_um and list_plate.bit_depth, "
            "for its files have neither. Set both."
        )
    return settings.pixel_size_um, settings.bit_depth


def read_source(
    settings: Settings, plate: str, plates: Sequence[str], channels: Sequence[str],
    folder: Path | None, sheet: Path | None,
) -> tuple[pd.DataFrame, pd.DataFrame, str]:  # fmt: skip
    """Return (checked sheet of ``plate``, plates and treatments of the source, its name).

    Raises:
        InputError: The source is incomplete, impossible, or does not know the plate.
    """
    if folder is None and sheet is not None:
        table = check_sheet(_with_defaults(read_sheet(sheet), settings), channels, str(sheet))
        refuse_unlisted(table, plates, str(sheet))
        rows = table[table["plate"] == plate]
        if rows.empty:
            raise InputError(f"Found no row of plate {plate} in {sheet}. Correct the plates.")
        return rows, table, str(sheet)
    # The listed paths hold the folder already; resolve_paths must not add it again.
    folder = Path(expand(str(folder))).resolve()
    if settings.source != "bbbc014":
        rows, everything = list_folder(folder, plate, channels, settings)
        return check_sheet(rows, channels, str(folder)), everything, str(folder)
    if len(plates) > 1:
        raise InputError(
            f"Found {len(plates)} plates of source bbbc014 ({', '.join(plates[:3])}), expected "
            "one: its file names have no plate. Write a sheet (source: sheet) for more."
        )
    pixel_size_um, bit_depth = _scale(settings)
    rows = bbbc014.to_sheet(
        folder, plate, channels, bbbc014.read_plate_map(sheet), str(sheet),
        pixel_size_um=pixel_size_um, bit_depth=bit_depth,
    )  # fmt: skip
    rows = check_sheet(rows, channels, str(sheet))
    return rows, rows, str(sheet)


def judge_unlisted(
    everything: pd.DataFrame, treatments: Sequence[str], name: str, *, leave_out: bool
) -> None:
    """Refuse the treatments of a user's file that the assay does not list, or say them.

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


def check_treatments(
    everything: pd.DataFrame, plates: Sequence[str], treatments: Sequence[str], name: str
) -> None:
    """Raise :class:`InputError` if a treatment of the config has no row on its plates.

    A source that describes some of the plates only cannot tell; select_cells will.
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


def main(argv: list[str] | None = None) -> None:
    """List a plate."""
    parser = Parser(__doc__, Settings, "list_plate")
    parser.add_argument("--plate", required=True, help="the plate to list")
    parser.add_argument("--plates", nargs="+", required=True, help="all plates of the assay")
    parser.add_argument("--folder", type=Path, help="folder with the images, and image.csv")
    parser.add_argument("--sheet", type=Path, help="sample sheet, or plate map of BBBC014 (CSV)")
    parser.add_argument("--image-folder", type=Path, help="folder of a sheet's relative paths")
    parser.add_argument("--channels", nargs="+", required=True, help="channels, in order")
    parser.add_argument("--treatments", nargs="*", default=[], help="treatments of the assay")
    parser.add_argument("--output", type=Path, required=True, help="checked sheet (.csv)")
    args, settings = parser.parse(argv)
    _check_flags(settings.source, args.folder, args.sheet)
    sheet, everything, name = read_source(
        settings, args.plate, args.plates, args.channels, args.folder, args.sheet
    )
    if args.sheet and args.treatments:
        leave_out = settings.on_unlisted_treatment == "leave_out"
        judge_unlisted(everything, args.treatments, name, leave_out=leave_out)
    check_treatments(everything, args.plates, args.treatments, name)
    base = args.image_folder or (args.sheet.parent if args.sheet else args.folder)
    sheet = resolve_paths(sheet, args.channels, base, name)
    n_files = len(sheet) * len(path_columns(args.channels, sheet))
    with Progress(n_files, "list_plate", "images") as bar:
        sheet = with_digests(sheet, args.channels, bar.advance)
    sheet = sheet.sort_values(["well", "site"], ignore_index=True)
    sheet = relative_paths(sheet, args.channels, args.output.parent)
    write_table(args.output, sheet, written_by="list_plate")
    print(
        f"list_plate: {args.plate}, {len(sheet)} fields, {sheet['well'].nunique()} wells, "
        f"{sheet['treatment'].nunique()} treatments",
        flush=True,
    )


def _check_flags(source: str, folder: Path | None, sheet: Path | None) -> None:
    """Raise :class:`InputError` unless folder and sheet are those that the source takes."""
    takes = {"sheet": (False, True), "bbbc014": (True, sheet is not None)}
    if (folder is not None, sheet is not None) != takes.get(source, (True, False)):
        given = [flag for flag, value in (("--folder", folder), ("--sheet", sheet)) if value]
        raise InputError(
            f"Found source {source} with {' and '.join(given) or 'neither --folder nor --sheet'}; "
            "source sheet takes --sheet, bbbc014 --folder and --sheet (the plate map), the others "
            "--folder."
        )


def _with_defaults(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Fill pixel size and bit depth from the settings where the sheet has no such column."""
    for column in ("pixel_size_um", "bit_depth"):
        value = getattr(settings, column)
        if column not in table and value is not None:
            table[column] = value
    return table


if __name__ == "__main__":
    run(main)
