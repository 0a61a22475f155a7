"""Import the cells of one plate that are cropped already, in the form that crop_cells writes.

Nothing is corrected, because crops do not show how the light falls over their field. The quality
measures and flags are those of crop_cells. Area and, without columns for them, positions are
unknown.
"""

from __future__ import annotations

from pathlib import Path

from analysis.cells.import_settings import Settings
from rls.runtime.command import Parser, run


def main(argv: list[str] | None = None) -> None:
    """Import the crops of one plate."""
    parser = Parser(__doc__, Settings, "import_crops")
    parser.add_argument("--crops", type=Path, required=True, help=".npy, .npy.xz, .ome.tif or .zip")
    parser.add_argument("--labels", type=Path, help="table (CSV), row for row; of a .zip: by name")
    parser.add_argument("--plate", required=True, help="the plate to import")
    parser.add_argument("--plates", nargs="+", required=True, help="all plates of the assay")
    parser.add_argument("--channels", nargs="+", required=True, help="channels, in order")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument("--treatments", nargs="*", default=[], help="import these; none: all")
    parser.add_argument("--output", type=Path, required=True, help="stack of cells (.ome.tif)")
    parser.add_argument("--fields", type=Path, required=True, help="table of the fields (.csv)")
    parser.writes("fields")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for scikit-image.
    from analysis.cells.crop import position_of
    from analysis.cells.imported_crops import count_fields, describe, read_plate
    from analysis.cells.quality import flags_text
    from rls.io import write_stack, write_table

    nucleus_channel = position_of(args.nucleus_channel, args.channels)
    images, labels = read_plate(
        args.crops, args.labels, args.plate, args.plates, args.channels, args.treatments, settings
    )
    table = describe(images, labels, nucleus_channel, settings)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_stack(
        args.output,
        images,
        table,
        channels=args.channels,
        pixel_size_um=settings.pixel_size_um,
        written_by="import_crops",
    )
    write_table(args.fields, count_fields(table), written_by="import_crops")
    text = flags_text(table)
    print(f"import_crops: {args.plate}, {len(table)} cells; flagged: {text}", flush=True)


if __name__ == "__main__":
    run(main)
