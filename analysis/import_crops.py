"""Import cells that are cropped already, of one plate or of all, in the form of crop_cells.

Nothing is corrected, because crops do not show how the light falls over their field. The quality
measures and flags are those of crop_cells. Area and, without columns for them, positions are
unknown.
"""

from __future__ import annotations

from pathlib import Path

from analysis.cells.import_settings import Settings
from rls.runtime.command import Parser, run


def main(argv: list[str] | None = None) -> None:
    """Import crops."""
    parser = Parser(__doc__, Settings, "import_crops")
    parser.add_argument("--crops", type=Path, required=True, help=".npy, .npy.xz, .ome.tif or .zip")
    parser.add_argument("--labels", type=Path, help="table (CSV), row for row; of a .zip: by name")
    parser.add_argument("--plate", help="the plate to import; without it all of them")
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
    from analysis.cells.imported_crops import count_fields, import_cells
    from analysis.cells.quality import flags_text
    from rls.io import write_stack, write_table

    nucleus_channel = position_of(args.nucleus_channel, args.channels)
    wanted = [args.plate] if args.plate else args.plates
    args.output.parent.mkdir(parents=True, exist_ok=True)
    images, table = import_cells(
        args.crops,
        args.labels,
        wanted,
        args.plates,
        args.channels,
        nucleus_channel,
        args.treatments,
        settings,
        args.output.parent,
    )
    write_stack(
        args.output,
        images,
        table,
        channels=args.channels,
        pixel_size_um=settings.pixel_size_um,
        written_by="import_crops",
    )
    write_table(args.fields, count_fields(table), written_by="import_crops")
    whose = args.plate or f"{len(wanted)} plates"
    print(f"import_crops: {whose}, {len(table)} cells; flagged: {flags_text(table)}", flush=True)


if __name__ == "__main__":
    run(main)
