"""Select the cells of an assay, assign them to splits, and set its one intensity scale.

[0, 1] = (counts - black) / (white - black), with black and white percentiles of the gan split
(of tune where share_gan is 0, or where prevalence_gan is set).
"""

from __future__ import annotations

from pathlib import Path

from analysis.cells.controls_of_run import controls_of_run, is_fetched
from analysis.cells.select_settings import Settings
from rls.io.names import SPLITS
from rls.runtime.command import Parser, run

FIELDS = ("treatment", "status")


def main(argv: list[str] | None = None) -> None:
    """Select the cells of an assay."""
    parser = Parser(__doc__, Settings, "select_cells")
    parser.add_argument("--plates", type=Path, nargs="+", required=True, help="stacks of plates")
    parser.add_argument("--fields", type=Path, nargs="+", required=True, help="tables of fields")
    parser.add_argument("--treatments", nargs="+", required=True, help="treatments of the assay")
    parser.add_argument(
        "--controls",
        nargs=2,
        default=(),
        help="negative and positive one, for prevalence_gan, and to be refused without cells",
    )
    parser.add_argument("--output", type=Path, required=True, help="stack of cells (.ome.tif)")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity scale (.json)")
    parser.add_argument("--selection", type=Path, required=True, help="what was selected (.csv)")
    parser.add_argument("--flags", type=Path, required=True, help="cells by quality flag (.csv)")
    parser.add_argument("--flagged", type=Path, required=True, help="examples of each (.ome.tif)")
    parser.writes("intensity", "selection", "flags", "flagged")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for pandas.
    import pandas as pd

    from analysis.cells.flagged_cells import count_flags, draw_examples
    from analysis.cells.selection import (
        count_selection,
        gather_cells,
        read_cells,
        scale_of_assay,
        select,
        write_cells,
    )
    from analysis.plates.repeated_images import refuse_shared_images
    from rls.io import read_table, write_intensity, write_table

    fields = pd.concat([read_table(path, columns=FIELDS) for path in args.fields])
    refuse_shared_images(fields, only_say=is_fetched(args.output))
    everything = read_cells(args.plates)
    controls = args.controls or controls_of_run(args.output)
    chosen = select(everything, args.treatments, settings, controls)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    cells = gather_cells(args.plates, chosen, args.output.parent)
    scale = scale_of_assay(cells, settings)
    selection = count_selection(everything, chosen, fields, args.treatments, settings, controls)
    write_cells(args.output, cells, compress=False)
    usable = everything[everything["treatment"].isin(args.treatments)].reset_index(drop=True)
    shown = gather_cells(args.plates, draw_examples(usable, settings.seed), args.output.parent)
    write_cells(args.flagged, shown, compress=True)
    write_table(args.flags, count_flags(usable, settings.exclude_flags), written_by="select_cells")
    write_intensity(args.intensity, scale, written_by="select_cells")
    write_table(args.selection, selection, written_by="select_cells")
    for split in SPLITS:
        part = selection[selection["split"] == split]
        print(
            f"select_cells: {split}: {part['n_cells'].sum()} cells, at least "
            f"{part['n_wells'].min()} wells a treatment",
            flush=True,
        )


if __name__ == "__main__":
    run(main)
