"""Crop the cells of one plate: correct the illumination, find nuclei, cut a square around each.

The crops are larger than the images of the assay, so that they can be rotated later.
"""

from __future__ import annotations

from pathlib import Path

from analysis.cells.crop_settings import Settings
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError


def main(argv: list[str] | None = None) -> None:
    """Crop the cells of one plate."""
    parser = Parser(__doc__, Settings, "crop_cells")
    parser.add_argument("--sheet", type=Path, required=True, help="checked sheet of one plate")
    parser.add_argument("--channels", nargs="+", required=True, help="channels, in order")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument("--treatments", nargs="*", default=[], help="crop these only; none: all")
    parser.add_argument(
        "--factor", type=int, help="side of a model's image over crop_size, for low resolution"
    )
    parser.add_argument("--output", type=Path, required=True, help="stack of cells (.ome.tif)")
    parser.add_argument("--fields", type=Path, required=True, help="table of the fields (.csv)")
    parser.writes("fields")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for scikit-image.
    from analysis.cells.crop import crop_plate, position_of
    from analysis.cells.quality import flags_text
    from analysis.plates.sheet import check_sheet, read_sheet
    from rls.io import check_digest, write_stack, write_table

    if args.factor is not None and args.factor < 2:
        raise InputError(f"Found --factor {args.factor}, expected 2 or more. Correct it.")
    nucleus_channel = position_of(args.nucleus_channel, args.channels)
    check_digest(args.sheet)
    sheet = check_sheet(read_sheet(args.sheet, args.channels), args.channels, str(args.sheet))
    if args.treatments:
        sheet = sheet[sheet["treatment"].isin(args.treatments)]
    if sheet.empty or sheet["plate"].nunique() != 1:
        raise InputError(
            f"Found {sheet['plate'].nunique()} plates with the treatments "
            f"{', '.join(args.treatments) or 'of any name'} in {args.sheet}, expected one. "
            "Correct the assay's treatments, or run list_plate again."
        )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    images, table, fields = crop_plate(
        sheet,
        args.channels,
        nucleus_channel,
        args.sheet.parent,
        settings,
        args.output.parent,
        factor=args.factor,
    )
    write_stack(
        args.output,
        images,
        table,
        channels=args.channels,
        pixel_size_um=float(sheet["pixel_size_um"].iloc[0]),
        written_by="crop_cells",
    )
    write_table(args.fields, fields, written_by="crop_cells")
    text = flags_text(table)
    print(f"crop_cells: {len(table)} cells of {len(fields)} fields; flagged: {text}", flush=True)


if __name__ == "__main__":
    run(main)
