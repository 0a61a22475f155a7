"""Write the cells of a stack as OME-Zarr for viewers and other programs, with masks of the nuclei.

The image has a time point for each cell, the names of the channels and the size of a pixel. Its
label image ``nuclei`` has the nucleus of each cell as ``measure`` finds it, numbered like the cells
from 1. The properties of a label name its cell and treatment, and say why a cell has no nucleus.
Pixels are written as they are; viewers show the assay's intensity scale as black and white.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import settings_class
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError

RULE = "export_zarr"  # Also the name by which cells say who wrote them.


def main(argv: Sequence[str] | None = None) -> None:
    """Write one stack."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--stack", type=Path, required=True, help="cells, or reconstructions")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument("--splits", nargs="*", default=[], help="cells of these only; none: all")
    parser.add_argument(
        "--treatments", nargs="*", default=[], help="cells of these only; none: all"
    )
    parser.add_argument(
        "--ngff-version", choices=("0.4", "0.5"), default="0.5", help="version of OME-Zarr"
    )
    parser.add_argument("--output", type=Path, required=True, help="the folder (.ome.zarr)")
    parser.writes("output", folder=True)
    args, settings = parser.parse(argv)

    # Imported here, so that --help does not wait for scikit-image.
    from analysis.cells.zarr_cells import nuclei_of, write_cells
    from analysis.plates.folder import whole_folder
    from analysis.plates.zarr_files import need_zarr
    from rls.io import read_intensity, read_stack
    from rls.io.names import OK

    need_zarr()
    refuse_foreign(args.output)
    stack, intensity = read_stack(args.stack), read_intensity(args.intensity)
    for column, wanted in (("split", args.splits), ("treatment", args.treatments)):
        if wanted:
            stack = stack.select(stack.table[column].isin(wanted).to_numpy())
    if not len(stack):
        raise InputError(
            f"Found no cell of {', '.join([*args.splits, *args.treatments])} in {args.stack}, "
            "expected some. Correct --splits or --treatments."
        )
    masks, statuses = nuclei_of(stack, intensity, args.nucleus_channel, settings)
    with whole_folder(args.output) as folder:
        write_cells(folder, stack, masks, statuses, intensity, args.ngff_version, written_by=RULE)
    print(f"{RULE}: {len(stack)} cells, {statuses.count(OK)} nuclei, {args.output}")


def refuse_foreign(output: Path) -> None:
    """Raise :class:`InputError` unless ``output`` is new, empty, or what this command wrote."""
    if output.is_dir() and any(output.iterdir()):
        found = [output / name for name in ("zarr.json", ".zattrs") if (output / name).is_file()]
        if not any(f'"{RULE}"' in path.read_text(encoding="utf-8") for path in found):
            raise InputError(
                f"The folder {output} is not empty and was not written by this command. Give "
                "another --output."
            )


if __name__ == "__main__":
    run(main)
