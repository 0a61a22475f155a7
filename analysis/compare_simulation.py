"""Compare simulated cells with real ones: pictures at one scale, and the statistics of both.

Both stacks went through the same stages, and both are measured by the same functions. For each pair
of treatments the table has the 5th, 50th and 95th percentile over cells of nuclear size,
intensities, texture, radial profile, edge blur and density, and the background and noise of the
whole stack. No hypothesis is tested: the table shows where a simulation differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.features.settings import settings_class
from rls.runtime.command import Parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write both figures and their tables."""
    parser: Parser[Any] = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--simulated", type=Path, required=True, help="stack of simulated cells")
    parser.add_argument("--real", type=Path, required=True, help="stack of real cells")
    parser.add_argument("--pairs", nargs="*", default=[], help="SIMULATED=REAL; none: same names")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument(
        "--scale",
        choices=("shared", "own"),
        required=True,
        help="one grey scale for both, or one for each, for cameras of different bit depths",
    )
    parser.add_argument(
        "--cells-at-most", type=int, default=400, help="most cells measured per treatment"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw of cells shown")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="{output}_cells and {output}_statistics .pdf .png .csv",
    )
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.beside import CELLS_SHOWN, draw_cells, draw_statistics
    from analysis.drawing.style import save
    from analysis.simulation.comparison import check_alike, choose_examples, compare, pair_up
    from rls.io import read_stack

    simulated, real = read_stack(args.simulated), read_stack(args.real)
    check_alike(simulated, real)
    pairs = pair_up(simulated, real, args.pairs)
    table = compare(
        simulated, real, pairs, args.nucleus_channel, settings, cells_at_most=args.cells_at_most
    )
    images, ids = choose_examples(simulated, real, pairs, CELLS_SHOWN, args.seed)
    figures = {
        "cells": (draw_cells(images, real.channels, real.pixel_size_um, args.scale), ids),
        "statistics": (draw_statistics(table), table),
    }
    for name, (figure, numbers) in figures.items():
        pdf, png, csv = (
            args.output.with_name(f"{args.output.name}_{name}.{kind}")
            for kind in ("pdf", "png", "csv")
        )
        save(figure, numbers, pdf=pdf, png=png, csv=csv, written_by="compare_simulation")
    print(f"compare_simulation: {len(pairs)} pairs, {len(table)} statistics", flush=True)


if __name__ == "__main__":
    run(main)
