"""Assign cells to splits by plate, well, field or tile, so that no two splits share a unit.

Random choices depend on a seed and on names, never on the order of rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rls.io.names import GAN, SPLITS, TUNE
from rls.io.splits import serves
from rls.runtime.errors import InputError
from rls.runtime.streams import stream_seed

LEVELS = ("plate", "well", "field", "tile")  # From the strictest to the finest.
OPEN_TO_ALL = (GAN, TUNE)  # The splits of cells off the measured plates and treatments.
DROPPED = ""


def unit_names(cells: pd.DataFrame, level: str, tile_px: int) -> pd.Series:
    """Return the name of each cell's unit at ``level``; a tile is a square of a field."""
    plate, well = cells["plate"].astype(str), cells["well"].astype(str)
    names = {"plate": plate, "well": plate + "_" + well}
    names["field"] = names["well"] + "_s" + cells["site"].astype(str)
    if level != "tile":
        return names[level]
    row, column = ((cells[name] // tile_px).astype(str) for name in ("y_px", "x_px"))
    return names["field"] + "_t" + row + "-" + column


def allocate(
    units: Mapping[str, int],
    shares: Mapping[str, float],
    seed: int,
    purpose: str,
    large_first: bool = False,
) -> dict[str, str]:
    """Return {unit: split}, so that every split of a positive share has at least one unit.

    Arguments:
        units: {name: number of cells}; only units with cells take part.
        shares: {split: share of the units}; they need not sum to 1.
        purpose: Name of the random stream.
        large_first: Choose the first unit of every split among the largest, so that no split is
            left with a handful of cells.

    Raises:
        InputError: There are fewer units than splits.
    """
    wanted = {split: share for split, share in shares.items() if share > 0}
    names = sorted(units, key=lambda name: stream_seed(seed, name, purpose))
    if len(names) < len(wanted):
        raise InputError(f"{len(names)} units cannot make {len(wanted)} splits.")
    total = sum(wanted.values())
    free = len(names) - len(wanted)
    exact = {split: max(share / total * len(names) - 1, 0) for split, share in wanted.items()}
    scale = free / max(sum(exact.values()), 1e-12)
    counts = {split: 1 + int(value * scale + 1e-9) for split, value in exact.items()}
    rest = sorted(wanted, key=lambda split: (counts[split] - 1 - exact[split] * scale, split))
    for split in rest[: len(names) - sum(counts.values())]:
        counts[split] += 1
    order = [split for split in wanted for _ in range(counts[split])]
    if large_first:
        largest = sorted(names, key=lambda name: -units[name])[: len(wanted)]
        names.sort(key=lambda name: name not in largest)
        order = [*wanted, *(split for split in wanted for _ in range(counts[split] - 1))]
    return dict(zip(names, order, strict=True))


def assign_splits(
    cells: pd.DataFrame,
    level: str,
    shares: Mapping[str, float],
    seed: int,
    *,
    tile_px: int,
    crop_size: int,
    measured: pd.Series | None = None,
    large_first: bool = False,
) -> pd.Series:
    """Return the split of each cell; '' where a crop would reach into another split's tile.

    Wells, fields and tiles are drawn within each treatment; plates hold all treatments and are
    drawn together. Where ``measured`` leaves cells out, the others are drawn within each treatment
    and plate, so that every split has a large unit of each; the units left out are drawn together,
    for the splits of :data:`OPEN_TO_ALL` alone.

    Arguments:
        level: One of :data:`LEVELS`.
        shares: {split: share of the units}.
        measured: (n,) bool, the cells that may be measured; None: all.
        large_first: See :func:`allocate`.

    Raises:
        InputError: A treatment has fewer units than there are splits (the message names a level
            that would do), or a unit has both measured and unmeasured cells.
    """
    if level == "tile" and tile_px < crop_size:
        raise InputError(
            f"Found tile_px {tile_px} with crops of {crop_size} px, expected tiles that hold a "
            "crop. Set tile_px to several times crop_size."
        )
    names = unit_names(cells, level, tile_px)
    splits = pd.Series(DROPPED, index=cells.index, dtype=object)
    if measured is not None and not measured.all():
        assign_unmeasured(names, splits, measured, shares, seed, level)
    among = cells if measured is None else cells[measured]
    by_plate = len(among) < len(cells)
    groups = {"all treatments": among}
    if level != "plate":
        keys = ["treatment", "plate"] if by_plate else ["treatment"]
        groups = {" on plate ".join(map(str, key)): part for key, part in among.groupby(keys)}
    for name, part in groups.items():
        units = Counter(names.loc[part.index])
        try:
            chosen = allocate(
                units, shares, seed, f"split_by_{level}", large_first=large_first or by_plate
            )
        except InputError as error:
            raise InputError(
                f"Found {len(units)} {level}s of {name}, expected at least one for each of "
                f"the splits {', '.join(s for s in SPLITS if shares.get(s, 0) > 0)}. "
                f"{_advice(part, shares, tile_px)}"
            ) from error
        splits.loc[part.index] = names.loc[part.index].map(chosen)
    if level == "tile":
        splits[~_inside_own_split(cells, names, splits, tile_px, crop_size)] = DROPPED
    return splits


def assign_to_plates(
    cells: pd.DataFrame,
    level: str,
    shares: Mapping[str, float],
    seed: int,
    served: Mapping[str, Sequence[str]],
    *,
    tile_px: int,
    crop_size: int,
) -> pd.Series:
    """Return the split of each cell if plates are assigned to splits by name; '' for none.

    A plate that serves one split goes to it whole. Plates that serve the same several splits are
    divided among them by :func:`assign_splits`, in the proportion of their shares.

    Arguments:
        served: {plate: splits it serves}, made by :mod:`analysis.cells.named_plates`.

    Raises:
        InputError: See :func:`assign_splits`.
    """
    splits = pd.Series(DROPPED, index=cells.index, dtype=object)
    groups = cells["plate"].map({plate: "+".join(names) for plate, names in served.items()})
    for key, part in cells.groupby(groups):
        names = [name for name in str(key).split("+") if name]
        if len(names) == 1:
            splits.loc[part.index] = names[0]
        elif names:
            own = {split: share for split, share in shares.items() if split in names}
            splits.loc[part.index] = assign_splits(
                part, level, own, seed, tile_px=tile_px, crop_size=crop_size, large_first=True
            )
    return splits


def assign_unmeasured(
    names: pd.Series,
    splits: pd.Series,
    measured: pd.Series,
    shares: Mapping[str, float],
    seed: int,
    level: str,
) -> None:
    """Set the splits of the unmeasured cells; a single unit goes to gan.

    Raises:
        InputError: A unit has both measured and unmeasured cells.
    """
    rest = names[~measured]
    both = sorted(set(rest) & set(names[measured]))
    if both:
        raise InputError(
            f"Found {level} {both[0]} with cells that select_cells.measured_plates and "
            "measured_treatments name and others that they do not; no two splits may share it. "
            "Split by a finer level, or name whole units."
        )
    units = Counter(rest)
    wanted = {split: shares.get(split, 0) for split in OPEN_TO_ALL}
    if len(units) < len(wanted):
        wanted = {OPEN_TO_ALL[0]: 1.0}
    splits.loc[rest.index] = rest.map(allocate(units, wanted, seed, f"unmeasured_{level}"))


def choose_cells(
    cells: pd.DataFrame,
    splits: pd.Series,
    counts: Mapping[str, Mapping[str, int]],
    seed: int,
    *,
    take_all: bool,
) -> pd.Series:
    """Return the splits with at most ``counts[treatment][split]`` cells, drawn at random.

    A smaller count takes some of the cells that a larger one takes.

    Raises:
        InputError: A treatment has too few cells in a split, and not ``take_all``.
    """
    draw = pd.Series(
        [stream_seed(seed, key, "select_cells") for key in cells["image_id"]],
        index=cells.index,
        dtype=np.int64,
    )
    kept = pd.Series(DROPPED, index=cells.index, dtype=object)
    lacking = []
    for treatment in sorted(cells["treatment"].unique()):
        for split, wanted in counts[treatment].items():
            rows = draw[(cells["treatment"] == treatment) & (splits == split)].sort_values().index
            if len(rows) < wanted:
                lacking.append(f"{treatment} {split} {len(rows)} of {wanted}")
            kept[rows[:wanted]] = split
    if lacking and not take_all:
        raise InputError(
            f"Found too few cells: {'; '.join(lacking)}. Lower the counts in select_cells, change "
            "the shares, add plates, or set on_few_cells: take_all."
        )
    for text in lacking:
        print(f"select_cells: too few cells, all taken: {text}", flush=True)
    return kept


def possible_levels(cells: pd.DataFrame, shares: Mapping[str, float], tile_px: int) -> list[str]:
    """Return the levels at which every treatment has a unit for each split, strictest first."""
    splits = sum(share > 0 for share in shares.values())
    levels = []
    for level in LEVELS:
        names = unit_names(cells, level, tile_px)
        if level == "plate":
            enough = names.nunique() >= splits
        else:
            enough = names.groupby(cells["treatment"]).nunique().min() >= splits
        if enough:
            levels.append(level)
    return levels


def _advice(cells: pd.DataFrame, shares: Mapping[str, float], tile_px: int) -> str:
    """Return a sentence on the strictest level at which ``cells`` could be split."""
    levels = possible_levels(cells, shares, tile_px)
    if not levels:
        return "No level has enough units: add wells or plates."
    return f"Set split_by: {levels[0]}, the strictest that these cells allow, or add plates."


def _inside_own_split(
    cells: pd.DataFrame, names: pd.Series, splits: pd.Series, tile_px: int, crop_size: int
) -> np.ndarray:
    """Return for each cell whether all tiles that its crop touches are of its split, (n,) bool.

    A tile is at least as wide as a crop, so a crop touches at most the tiles of its corners. A
    tile without cells belongs to no split and does no harm.
    """
    owner = dict(zip(names, splits, strict=True))
    low = crop_size // 2
    inside = np.ones(len(cells), bool)
    for shift_y in (-low, crop_size - low - 1):
        for shift_x in (-low, crop_size - low - 1):
            corner = cells.assign(y_px=cells["y_px"] + shift_y, x_px=cells["x_px"] + shift_x)
            found = [owner.get(name) for name in unit_names(corner, "tile", tile_px)]
            inside &= [
                other is None or other == own for other, own in zip(found, splits, strict=True)
            ]
    return inside


def summarise(
    cells: pd.DataFrame,
    level: str,
    treatments: Sequence[str],
    counts: Mapping[str, Mapping[str, int]],
) -> pd.DataFrame:
    """Return one row per treatment and split: what it serves, numbers of units and cells."""
    rows = []
    for treatment in treatments:
        for split in SPLITS:
            part = cells[(cells["treatment"] == treatment) & (cells["split"] == split)]
            rows.append(
                {
                    "treatment": treatment,
                    "split": split,
                    "serves": serves(split),
                    "split_by": level,
                    "n_plates": part["plate"].nunique(),
                    "n_wells": unit_names(part, "well", 1).nunique(),
                    "n_fields": unit_names(part, "field", 1).nunique(),
                    "n_cells": len(part),
                    "n_cells_asked": counts[treatment][split],
                }
            )
    return pd.DataFrame(rows)
