"""Compare a stack of simulated cells with a stack of real ones, treatment by treatment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.drawing.grids import choose_cells
from analysis.features.nuclei import NucleusSettings
from analysis.simulation.crop_statistics import KEYS, describe
from rls.io import Stack
from rls.runtime.errors import InputError

MIN_CELLS = 5  # Fewer cells show no distribution; their pictures are still drawn.
SIDES = ("real", "simulated")

Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]


def pair_up(simulated: Stack, real: Stack, pairs: Sequence[str]) -> Pairs:
    """Return {name: (rows of ``simulated``, rows of ``real``)} of the pairs to compare.

    Arguments:
        pairs: ``SIMULATED=REAL``, names of treatments; none: those that both have.

    Raises:
        InputError: A pair has not this form, names a treatment without a cell, or there is none.
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
    simulated: Stack,
    real: Stack,
    pairs: Pairs,
    nucleus_channel: str,
    settings: NucleusSettings,
    *,
    cells_at_most: int,
) -> pd.DataFrame:
    """Return one row per pair and statistic: low, median, high, each ``_real`` and ``_simulated``.

    Arguments:
        cells_at_most: Maximum number of cells measured per treatment, evenly spaced over its rows.

    Raises:
        InputError: No pair has enough cells.
    """
    tables = []
    for name, rows in pairs.items():
        if min(map(len, rows)) < MIN_CELLS:
            continue
        sides = []
        for stack, positions in zip((simulated, real), rows, strict=True):
            step = np.linspace(0, len(positions) - 1, min(cells_at_most, len(positions)))
            images = stack.images[positions[np.rint(step).astype(int)]]
            sides.append(
                describe(images, stack.channels, nucleus_channel, stack.pixel_size_um, settings)
            )
        both = sides[1].merge(sides[0], on=KEYS, how="left", suffixes=("_real", "_simulated"))
        both.insert(0, "treatment", name)
        tables.append(both)
    if not tables:
        raise InputError(
            f"Found no pair of treatments with {MIN_CELLS} cells on both sides, which is the "
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


def choose_examples(
    simulated: Stack, real: Stack, pairs: Pairs, count: int, seed: int
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], pd.DataFrame]:
    """Choose at most ``count`` cells per side of each pair, by the hash of their ids.

    Returns:
        ({name: (real, simulated) images, each (k, c, y, x)}, table of their ids).
    """
    images, ids = {}, []
    for name, rows in pairs.items():
        chosen = []
        for side, stack, positions in zip(SIDES, (real, simulated), rows[::-1], strict=True):
            part = stack.table.iloc[positions].assign(treatment=side)
            shown = choose_cells(part, [side], count, seed)[side]
            chosen.append(stack.images[pd.Index(stack.table["image_id"]).get_indexer(shown)])
            ids += [{"treatment": name, "side": side, "image_id": image_id} for image_id in shown]
        images[name] = (chosen[0], chosen[1])
    return images, pd.DataFrame(ids)
