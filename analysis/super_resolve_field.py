"""Super-resolve the cells in low-resolution fields, at positions that are found or given.

    python -m analysis.super_resolve_field field.tif --model models/translocation_32px --factor 8 \\
        --nucleus-channel dna --nucleus-diameter-um 15 --out high.ome.tif

A field is a TIFF or PNG that shows many cells, or one such file for each channel. Its illumination
should be even. Nuclei are found in one channel; or --positions gives the cells, as a CSV with the
columns y_px and x_px (0 is the middle of the first pixel) and, with several fields, field (the name
of the file). Cells that do not lie wholly in their field are left out and counted.

The output is that of rls.super_resolve_files, with the position of each cell in its table. Beside
it are the cells as they were cut (.cells.ome.tif) and a picture of each field. The other flags are
those of that command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rls.pretrained.command_line import make_parser, model_flags, request_of, split_names
from rls.runtime.command import run
from rls.search.arguments import parse

NAME = "super_resolve_field"


def main(argv: Sequence[str] | None = None) -> None:
    """Super-resolve fields."""
    argv = sys.argv[1:] if argv is None else argv
    parser = make_parser(__doc__, f"python -m analysis.{NAME}")
    parser.add_argument(
        "--positions", type=Path, help="CSV of the cells; they are then not searched for"
    )
    parser.add_argument("--nucleus-channel", help="channel in which nuclei are found")
    parser.add_argument("--nucleus-diameter-um", type=float, help="typical diameter of a nucleus")
    args, settings, method = parse(parser, [*model_flags(argv), *argv])
    # Imported here, so that --help does not wait for torch.
    from dataclasses import replace

    from analysis.cells.low_resolution_fields import (
        cut_fields,
        find_all,
        read_fields,
        read_positions,
    )
    from analysis.drawing.fields import write_fields
    from rls.io import read_stack, write_stack
    from rls.pretrained.application import apply_model, refuse_existing

    request = request_of(args)
    refuse_existing(request)
    fields = read_fields(args.files, args.model, args.factor, split_names(args.channels), args.axes)
    if args.positions:
        positions = read_positions(args.positions, fields)
    else:
        positions = find_all(fields, args.nucleus_channel, args.nucleus_diameter_um)
    images, table = cut_fields(fields, positions)
    cells = args.out.with_name(args.out.name.removesuffix(".ome.tif") + ".cells.ome.tif")
    write_stack(
        cells,
        images,
        table,
        channels=fields.channels,
        pixel_size_um=fields.pixel_size_um,
        written_by=NAME,
    )
    print(f"{NAME}: {len(table)} cells of {len(fields.names)} fields, cut into {cells}", flush=True)
    apply_model(replace(request, files=[cells], channels=None, axes=None), settings, method)
    for path in write_fields(args.out, fields, read_stack(args.out)):
        print(f"{NAME}: picture  {path}", flush=True)


if __name__ == "__main__":
    run(main)
