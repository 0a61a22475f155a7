"""Set simulated cells beside real ones: pictures at one scale, and every statistic of both.

The cells of both went through the same stages, and both are measured by the same functions. For
each pair of treatments the table has the 5th, 50th and 95th percentile over the cells of nuclear
size, intensities, texture, radial profile, edge blur and density, and what a whole stack tells of
background and noise. Nothing is tested: it shows where a simulation differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.drawing.beside import CELLS_SHOWN, draw_cells, draw_statistics
from analysis.drawing.grids import choose_cells
from analysis.drawing.style import save
from analysis.features.settings import settings_class
from analysis.simulation.realism import describe
from rls.io import Stack, read_stack
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError

KEYS = ["statistic", "channel", "unit"]
FEWEST_CELLS = 5  # fewer say nothing of a distribution; their pictures are still shown


def pair_up(
    simulated: Stack, real: Stack, pairs: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return {name: (rows of ``simulated``, rows of ``real``)} of the pairs to compare.

    Arguments:
        pairs: ``SIMULATED=REAL``, names of treatments; none: those that both have.

    Raises:
        InputError: A pair is not written so, names a treatment without a cell, or there is none.
    """
    here, there = simulated.table["treatment"], real.table["treatment"]
    names = [pair.split("=") for pair in pairs]
    if not pairs:
        names = [[name, name] for name in dict.fromkeys(here) if name in set(there)]
    if not names:
        raise InputError(
            f"Found no treatment in both stacks ({', '.join(sorted(set(here)))}; "
            f"{', '.join(sorted(set(there)))}). Give --pairs SIMULATED=REAL."
        )
    found = {}
    for name in names:
        if len(name) != 2 or not all(name):
            raise InputError(f"Found the pair '{'='.join(name)}', expected SIMULATED=REAL.")
        rows = np.flatnonzero(here == name[0]), np.flatnonzero(there == name[1])
        for treatment, positions, column in zip(name, rows, (here, there), strict=True):
            if not len(positions):
                raise InputError(
                    f"Found no cell of treatment '{treatment}', expected one of: "
                    f"{', '.join(sorted(set(column)))}. Correct --pairs."
                )
        found[name[0] if name[0] == name[1] else f"{name[0]} | {name[1]}"] = rows
    return found


def compare(
    simulated: Stack, real: Stack, pairs: dict[str, tuple[np.ndarray, np.ndarray]],
    nucleus_channel: str, settings: Any, *, cells_at_most: int,  # noqa: ANN401
) -> pd.DataFrame:  # fmt: skip
    """Return one row a pair and statistic, with ``_real`` and ``_simulated`` of low, median, high.

    At most ``cells_at_most`` cells a treatment are measured, evenly taken from its rows.
    """
    tables = []
    for name, rows in pairs.items():
        if min(map(len, rows)) < FEWEST_CELLS:
            continue
        sides = []
        for stack, positions in zip((simulated, real), rows, strict=True):
            step = np.linspace(0, len(positions) - 1, min(cells_at_most, len(positions)))
            images = stack.images[positions[np.rint(step).astype(int)]]
            sides.append(
                describe(images, stack.channels, nucleus_channel, stack.pixel_size_um, settings)
            )
        both = sides[1].merge(sides[0], on=KEYS, how="left",
                              suffixes=("_real", "_simulated"))  # fmt: skip
        both.insert(0, "treatment", name)
        tables.append(both)
    if not tables:
        raise InputError(
            f"Found no pair of treatments with {FEWEST_CELLS} cells on both sides, which is the "
            "least that can be compared. Select more cells."
        )
    return pd.concat(tables, ignore_index=True)


def check_alike(simulated: Stack, real: Stack) -> None:
    """Raise :class:`InputError` unless channels and sizes in um of both stacks are the same."""
    for what, here, there in (
        ("channels", simulated.channels, real.channels),
        ("a pixel size in um of", simulated.pixel_size_um, real.pixel_size_um),
        ("crops of (px)", simulated.images.shape[2:], real.images.shape[2:]),
    ):
        if here != there:
            raise InputError(
                f"Found {what} {here} in the simulated stack and {there} in the real one, expected "
                "the same. Give the simulated assay the real one's."
            )


def shown(stack: Stack, rows: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Return images (k, c, y, x) and ids of at most ``count`` cells, by the hash of their ids."""
    part = stack.table.iloc[rows].assign(treatment="shown")
    ids = choose_cells(part, ["shown"], count, seed)["shown"]
    return stack.images[pd.Index(stack.table["image_id"]).get_indexer(ids)], ids


def main(argv: Sequence[str] | None = None) -> None:
    """Write both figures and their tables."""
    parser: Parser[Any] = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--simulated", type=Path, required=True, help="stack of simulated cells")
    parser.add_argument("--real", type=Path, required=True, help="stack of real cells")
    parser.add_argument("--pairs", nargs="*", default=[], help="SIMULATED=REAL; none: same names")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument(
        "--scale", choices=("shared", "own"), required=True,
        help="one grey scale, or one each: for cameras of another bit depth",
    )  # fmt: skip
    parser.add_argument("--cells-at-most", type=int, default=400, help="measured a treatment")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw of cells shown")
    parser.add_argument("--output", type=Path, required=True,
                        help="{output}_cells and {output}_statistics .pdf .png .csv")  # fmt: skip
    args, settings = parser.parse(argv)
    simulated, real = read_stack(args.simulated), read_stack(args.real)
    check_alike(simulated, real)
    pairs = pair_up(simulated, real, args.pairs)
    table = compare(
        simulated, real, pairs, args.nucleus_channel, settings, cells_at_most=args.cells_at_most
    )
    images, ids = {}, []
    for name, rows in pairs.items():
        chosen = [
            shown(stack, positions, CELLS_SHOWN, args.seed)
            for stack, positions in zip((real, simulated), rows[::-1], strict=True)
        ]
        images[name] = (chosen[0][0], chosen[1][0])
        ids += [
            {"treatment": name, "side": side, "image_id": image_id}
            for side, (_, names) in zip(("real", "simulated"), chosen, strict=True)
            for image_id in names
        ]
    figures = {
        "cells": (draw_cells(images, real.channels, real.pixel_size_um, args.scale),
                  pd.DataFrame(ids)),
        "statistics": (draw_statistics(table), table),
    }  # fmt: skip
    for name, (figure, numbers) in figures.items():
        pdf, png, csv = (
            args.output.with_name(f"{args.output.name}_{name}.{kind}")
            for kind in ("pdf", "png", "csv")
        )
        save(figure, numbers, pdf=pdf, png=png, csv=csv, written_by="compare_simulation")
    print(f"compare_simulation: {len(pairs)} pairs, {len(table)} statistics", flush=True)


if __name__ == "__main__":
    run(main)
