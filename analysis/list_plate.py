"""List one plate: read its source and write the checked sample sheet, one row a field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.plates import bbbc021
from analysis.plates.sheet import (
    check_sheet,
    read_sheet,
    refuse_unlisted,
    relative_paths,
    resolve_paths,
)
from rls.command import Parser, option, run
from rls.errors import InputError
from rls.io import write_table


@dataclass(frozen=True)
class Settings:
    """Settings of section ``list_plate``."""

    source: str = option("Where the plate comes from.", choices=("simulate", "bbbc021", "sheet"))
    treatment_by: str = option(
        "What makes a treatment in image.csv.", choices=("compound", "compound_dose")
    )
    pixel_size_um: float | None = option("Pixel size in um; none: the sheet says it.")
    bit_depth: int | None = option("Bits of the camera, e.g. 12; none: the sheet says it.")


def list_folder(
    folder: Path, plate: str, channels: Sequence[str], settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (sheet of ``plate`` with absolute paths, plates and treatments of the source).

    Raises:
        InputError: Metadata are missing or do not name the plate.
    """
    if settings.pixel_size_um is None or settings.bit_depth is None:
        raise InputError(
            f"Source {settings.source} needs list_plate.pixel_size_um and list_plate.bit_depth, "
            "for image.csv has neither. Set both."
        )
    images, moa = bbbc021.read_metadata(folder)
    rows = images[images[bbbc021.PLATE] == plate]
    if rows.empty:
        found = sorted(images[bbbc021.PLATE].unique())
        raise InputError(
            f"Found no plate {plate} in the metadata of {folder}, which has "
            f"{', '.join(found[:8])}. Correct the assay's plates."
        )
    sheet = bbbc021.to_sheet(
        rows, moa, channels, folder, treatment_by=settings.treatment_by,
        pixel_size_um=settings.pixel_size_um, bit_depth=settings.bit_depth,
    )  # fmt: skip
    compound, dose = images[bbbc021.COMPOUND].astype(str), images[bbbc021.DOSE].astype(float)
    everything = pd.DataFrame({"plate": images[bbbc021.PLATE], "treatment": compound})
    if settings.treatment_by == "compound_dose":
        everything["treatment"] = bbbc021.treatment_names(compound, dose)
    return sheet, everything


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
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", type=Path, help="folder with image.csv and the images")
    source.add_argument("--sheet", type=Path, help="sample sheet of the assay (CSV)")
    parser.add_argument("--image-folder", type=Path, help="folder of a sheet's relative paths")
    parser.add_argument("--channels", nargs="+", required=True, help="channels, in order")
    parser.add_argument("--treatments", nargs="*", default=[], help="treatments of the assay")
    parser.add_argument("--output", type=Path, required=True, help="checked sheet (.csv)")
    args, settings = parser.parse(argv)
    if (settings.source == "sheet") != (args.sheet is not None):
        raise InputError(
            f"Found source {settings.source} with {'--sheet' if args.sheet else '--folder'}; "
            "source sheet takes --sheet, the others --folder."
        )
    if args.sheet is not None:
        name = str(args.sheet)
        everything = check_sheet(_with_defaults(read_sheet(args.sheet), settings), args.channels,
                                 name)  # fmt: skip
        refuse_unlisted(everything, args.plates, name)
        sheet = everything[everything["plate"] == args.plate]
        if sheet.empty:
            raise InputError(f"Found no row of plate {args.plate} in {name}. Correct the plates.")
    else:
        name = str(args.folder)
        # The listed paths hold the folder already; resolve_paths must not add it again.
        folder = args.folder.resolve()
        sheet, everything = list_folder(folder, args.plate, args.channels, settings)
        sheet = check_sheet(sheet, args.channels, name)
    check_treatments(everything, args.plates, args.treatments, name)
    base = args.image_folder or (args.sheet.parent if args.sheet else args.folder)
    sheet = resolve_paths(sheet, args.channels, base, name)
    sheet = sheet.sort_values(["well", "site"], ignore_index=True)
    sheet = relative_paths(sheet, args.channels, args.output.parent)
    write_table(args.output, sheet, written_by="list_plate")
    print(
        f"list_plate: {args.plate}, {len(sheet)} fields, {sheet['well'].nunique()} wells, "
        f"{sheet['treatment'].nunique()} treatments",
        flush=True,
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
