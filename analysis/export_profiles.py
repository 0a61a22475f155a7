"""Write the profiles of an assay's cells and wells for other programs, such as pycytominer.

One table has a row for each cell and method. The other has a row for each well, split and method:
the median of its cells, with their number in ``Metadata_Object_Count``. Columns of metadata begin
with ``Metadata_``, those of features with ``Cells_`` or ``Nuclei_``. A table holds all methods,
factors and splits, so choose one of each before you normalise (``Metadata_method``,
``Metadata_factor``, ``Metadata_degradation``, ``Metadata_split``). HR has factor 1. Features of
networks are left out. A path that ends with ``.h5ad`` is written as AnnData, for scanpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.run.description import Run, add_run
from rls.runtime.command import run
from rls.runtime.help import CommandParser
from rls.runtime.locks import hold_outputs


def main(argv: Sequence[str] | None = None) -> None:
    """Write both tables of one assay."""
    parser = CommandParser(__doc__)
    add_run(parser)
    parser.add_argument("--assay", required=True, help="the assay, by its name")
    text = "(.parquet or .h5ad)"
    parser.add_argument("--output-cells", type=Path, required=True, help=f"one row a cell {text}")
    parser.add_argument("--output-wells", type=Path, required=True, help=f"one row a well {text}")
    args = parser.parse_args(argv)
    hold_outputs(vars(args))
    # Imported here, so that --help does not wait for scikit-image.
    from analysis.profiles.profiles import cell_profiles, feature_names, well_profiles
    from analysis.profiles.writing import check_path, write_profiles

    for path in (args.output_cells, args.output_wells):
        check_path(path)
    described = Run.read(args.run)
    cells = cell_profiles(described, args.assay)
    wells = well_profiles(cells)
    names = feature_names(described, args.assay)
    write_profiles(args.output_cells, cells, names)
    write_profiles(args.output_wells, wells, names)
    print(f"export_profiles: {args.assay}, {len(cells)} profiles of cells, {len(wells)} of wells")


if __name__ == "__main__":
    run(main)
