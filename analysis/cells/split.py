"""Assign cells to splits by plate, well, field or tile, so that no split knows another's cells.

Random choices hang on a seed and on names, never on the order of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rls.runtime.errors import InputError
from rls.runtime.streams import stream_seed

SPLITS = ("gan", "tune", "classifier", "evaluation")
LEVELS = ("plate", "well", "field", "tile")  # from the strictest to the finest
UNMEASURED = ("gan", "tune")  # where cells go that are not to be measured
DROPPED = ""


def unit_names(cells: pd.DataFrame, level: str, tile_px: int) -> pd.Series:
    """Return the name of each cell's unit at ``level``; a tile is a square of a field."""
    plate, well = cells["plate"].astype(str), cells["well"].astype(str)
    site = cells["site"].astype(str)
    names = {
        "plate": plate,
        "well": plate + "_" + well,
        "field": plate + "_" + well + "_s" + site,
    }
    if level != "tile":
        return names[level]
    rows = (cells["y_px"] // tile_px).astype(str)
    columns = (cells["x_px"] // tile_px).astype(str)
    return names["field"] + "_t" + rows + "-" + columns


def allocate(
    units: Mapping[str, int], shares: Mapping[str, float], seed: int, purpose: str,
    large_first: bool = False,
) -> dict[str, str]:  # fmt: skip
    """Return the split of each unit: {unit: split}, every split of a positive share at least one.

    Arguments:
        units: {name: cells in it}; only units with cells take part.
        shares: {split: share of the units}; they need not sum to 1.
        large_first: The one unit that every split has at least is one of the largest, so that none
            is left with a handful of cells.

    Raises:
        InputError: Fewer units than splits.
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
    cells: pd.DataFrame, level: str, shares: Mapping[str, float], seed: int, *,
    tile_px: int, crop_size: int, measured: pd.Series | None = None, large_first: bool = False,
) -> pd.Series:  # fmt: skip
    """Return the split of each cell; '' where a crop would reach into another split's tile.

    Wells, fields and tiles are drawn within each treatment; plates hold all treatments and are
    drawn together. Where ``measured`` (n,) leaves cells out, the others are drawn within each
    treatment and plate, so that every split has a large unit of each; the units of those left out
    are drawn together, for the splits of :data:`UNMEASURED` alone. ``large_first``: see
    :func:`allocate`.

    Raises:
        InputError: A treatment has fewer units than there are splits; says which level would do.
            Or a unit has cells that are measured and others that are not.
    """
    if level == "tile" and tile_px < crop_size:
        raise InputError(
            f"Found tile_px {tile_px} with crops of {crop_size} px, expected tiles that hold a "
            "crop. Set tile_px to several times crop_size."
        )
    names = unit_names(cells, level, tile_px)
    splits = pd.Series(DROPPED, index=cells.index, dtype=object)
    if measured is not None and not measured.all():
        _assign_unmeasured(names, splits, measured, shares, seed, level)
    among = cells if measured is None else cells[measured]
    by_plate = len(among) < len(cells)
    large = large_first or by_plate
    groups = [("all treatments", among.index)]
    if level != "plate":
        groups = list(among.groupby("treatment").groups.items())
        if by_plate:
            groups = [
                (f"{treatment} on plate {plate}", rows)
                for (treatment, plate), rows in among.groupby(["treatment", "plate"]).groups.items()
            ]
    for treatment, rows in groups:
        counts = names.loc[rows].value_counts().to_dict()
        try:
            chosen = allocate(counts, shares, seed, f"split_by_{level}", large_first=large)
        except InputError as error:
            raise InputError(
                f"Found {len(counts)} {level}s of {treatment}, expected at least one for each of "
                f"the splits {', '.join(s for s in SPLITS if shares.get(s, 0) > 0)}. "
                f"{_advice(cells.loc[rows], shares, tile_px)}"
            ) from error
        splits.loc[rows] = names.loc[rows].map(chosen)
    if level == "tile":
        splits[~_inside_own_split(cells, names, splits, tile_px, crop_size)] = DROPPED
    return splits


def assign_to_plates(
    cells: pd.DataFrame, level: str, shares: Mapping[str, float], seed: int,
    served: Mapping[str, Sequence[str]], *, tile_px: int, crop_size: int,
) -> pd.Series:  # fmt: skip
    """Return the split of each cell where each plate serves splits of its own; '' for none.

    A plate of one split goes to it whole; plates of the same several splits are divided among these
    by :func:`assign_splits`, in the proportion of their shares.

    Arguments:
        served: {plate: splits it serves}; ``analysis.cells.named_plates`` makes it.

    Raises:
        InputError: As :func:`assign_splits`.
    """
    splits = pd.Series(DROPPED, index=cells.index, dtype=object)
    groups = cells["plate"].map({plate: "+".join(names) for plate, names in served.items()})
    for key, rows in groups.groupby(groups).groups.items():
        names = [name for name in str(key).split("+") if name]
        if len(names) == 1:
            splits.loc[rows] = names[0]
        elif names:
            own = {split: share for split, share in shares.items() if split in names}
            splits.loc[rows] = assign_splits(
                cells.loc[rows], level, own, seed,
                tile_px=tile_px, crop_size=crop_size, large_first=True,
            )  # fmt: skip
    return splits


def _assign_unmeasured(
    names: pd.Series, splits: pd.Series, measured: pd.Series, shares: Mapping[str, float],
    seed: int, level: str,
) -> None:  # fmt: skip
    """Set the splits of the cells that are not measured; a single unit goes to gan."""
    rest = names[~measured]
    both = sorted(set(rest) & set(names[measured]))
    if both:
        raise InputError(
            f"Found {level} {both[0]} with cells that select_cells.measured_plates and "
            "measured_treatments name and others that they do not; no two splits may share it. "
            "Split by a finer level, or name whole units."
        )
    units = rest.value_counts().to_dict()
    wanted = {split: shares.get(split, 0) for split in UNMEASURED}
    if len(units) < len(wanted):
        wanted = {UNMEASURED[0]: 1.0}
    splits.loc[rest.index] = rest.map(allocate(units, wanted, seed, f"unmeasured_{level}"))


def choose_cells(
    cells: pd.DataFrame, splits: pd.Series, counts: Mapping[str, int], seed: int, *, take_all: bool
) -> pd.Series:
    """Return the splits with at most ``counts[split]`` cells a treatment kept, drawn at random.

    Raises:
        InputError: A treatment has fewer cells in a split than asked, and not ``take_all``.
    """
    draw = pd.Series(
        [stream_seed(seed, key, "select_cells") for key in cells["image_id"]],
        index=cells.index, dtype=np.int64,
    )  # fmt: skip
    kept = pd.Series(DROPPED, index=cells.index, dtype=object)
    lacking = []
    for treatment in sorted(cells["treatment"].unique()):
        for split, wanted in counts.items():
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
    levels = possible_levels(cells, shares, tile_px)
    if not levels:
        return "No level has enough units: add wells or plates."
    return f"Set split_by: {levels[0]}, the strictest that these cells allow, or add plates."


def _inside_own_split(
    cells: pd.DataFrame, names: pd.Series, splits: pd.Series, tile_px: int, crop_size: int
) -> np.ndarray:
    """Say of each cell whether all tiles its crop touches belong to its split, (n,) bool.

    A tile is at least as wide as a crop, so a crop touches at most the tiles of its corners. A
    touched tile without cells belongs to nobody and is no danger.
    """
    owner = dict(zip(names, splits, strict=True))
    field = unit_names(cells, "field", tile_px)
    low = crop_size // 2
    inside = np.ones(len(cells), bool)
    for shift_y in (-low, crop_size - low - 1):
        for shift_x in (-low, crop_size - low - 1):
            rows = ((cells["y_px"] + shift_y) // tile_px).astype(str)
            columns = ((cells["x_px"] + shift_x) // tile_px).astype(str)
            touched = field + "_t" + rows + "-" + columns
            found = [owner.get(name) for name in touched]
            inside &= [
                other is None or other == own for other, own in zip(found, splits, strict=True)
            ]
    return inside


def summarise(
    cells: pd.DataFrame, level: str, treatments: Sequence[str], counts: Mapping[str, int]
) -> pd.DataFrame:
    """Return one row a treatment and split: units and cells, and how many cells were asked."""
    rows = []
    for treatment in treatments:
        for split in SPLITS:
            part = cells[(cells["treatment"] == treatment) & (cells["split"] == split)]
            rows.append(
                {
                    "treatment": treatment,
                    "split": split,
                    "split_by": level,
                    "n_plates": part["plate"].nunique(),
                    "n_wells": unit_names(part, "well", 1).nunique(),
                    "n_fields": unit_names(part, "field", 1).nunique(),
                    "n_cells": len(part),
                    "n_cells_asked": counts[split],
                }
            )
    return pd.DataFrame(rows)
