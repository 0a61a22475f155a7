"""List one plate: read its source and write the checked sample sheet, one row per field."""

from __future__ import annotations

from pathlib import Path

from analysis.plates.list_settings import Settings
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress


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
    # Imported here, so that --help does not wait for pandas.
    from analysis.plates import listing
    from analysis.plates.field_files import relative_paths, resolve_paths, with_digests
    from analysis.plates.repeated_images import refuse_repeated_channels, repeated_fields
    from analysis.plates.sheet import path_columns
    from analysis.plates.vendor_rows import with_positions
    from rls.io import write_table

    listing.check_flags(settings.source, args.folder, args.sheet)
    sheet, everything, name = listing.read_source(
        settings, args.plate, args.plates, args.channels, args.folder, args.sheet, args.image_folder
    )
    if args.sheet and args.treatments:
        leave_out = settings.on_unlisted_treatment == "leave_out"
        listing.judge_unlisted(everything, args.treatments, name, leave_out=leave_out)
    listing.check_treatments(everything, args.plates, args.treatments, name)
    base = args.image_folder or (args.sheet.parent if args.sheet else args.folder)
    sheet = resolve_paths(sheet, args.channels, base, name)
    sheet = with_positions(sheet, args.channels, name)
    listing.check_channels(sheet, args.channels)
    n_files = len(sheet) * len(path_columns(args.channels, sheet))
    with Progress(n_files, "list_plate", "images") as bar:
        sheet = with_digests(sheet, args.channels, bar.advance)
    refuse_repeated_channels(sheet, args.channels, name)
    in_rows = settings.source != "bbbc014"  # Its fields are those of a folder.
    if sentence := repeated_fields(sheet, args.channels, name, rows=in_rows):
        if args.sheet:
            raise InputError(sentence)
        print(f"list_plate: {sentence}", flush=True)
    sheet = sheet.sort_values(["well", "site"], ignore_index=True)
    sheet = relative_paths(sheet, args.channels, args.output.parent)
    write_table(args.output, sheet, written_by="list_plate")
    print(
        f"list_plate: {args.plate}, {len(sheet)} fields, {sheet['well'].nunique()} wells, "
        f"{sheet['treatment'].nunique()} treatments",
        flush=True,
    )


if __name__ == "__main__":
    run(main)
