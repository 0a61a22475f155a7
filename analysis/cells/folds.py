"""Deal the units of each treatment over folds, so that every cell can be evaluated.

Two assays of one configuration differ in ``select_cells.fold`` alone. The units (wells, by
``split_by``) of an assay's own fold are evaluated, and the generator learns from those of the other
folds. So no network sees the unit of a cell that it super-resolves, and over all folds each unit is
evaluated once. This is cross-fitting (Chernozhukov et al. 2018, doi:10.1111/ectj.12097).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import pandas as pd

from analysis.cells.select_settings import Settings
from analysis.cells.split import assign_unmeasured, unit_names
from rls.io.names import CALIBRATION, CLASSIFIER, EVALUATION, GAN
from rls.runtime.errors import InputError
from rls.runtime.streams import stream_seed


def deal(units: Mapping[str, int], folds: int, seed: int, name: str) -> dict[str, int]:
    """Return {unit: fold}, folds from 1 on, nearly even in cells.

    Each unit, from the largest to the smallest, goes to the fold with the fewest cells so far.
    Hashes decide between equals, so that single units of many treatments do not all meet in one
    fold.

    Arguments:
        units: {name: number of cells}.
        name: Name of the group of units, such as its treatment.
    """
    held = dict.fromkeys(range(1, folds + 1), 0)
    rank = {fold: stream_seed(seed, f"{name} {fold}", "folds") for fold in held}
    found = {}
    for unit in sorted(units, key=lambda one: (-units[one], stream_seed(seed, one, "fold"))):
        fold = min(held, key=lambda one: (held[one], rank[one]))
        found[unit] = fold
        held[fold] += units[unit]
    return found


def fold_of_cells(names: pd.Series, treatments: pd.Series, folds: int, seed: int) -> pd.Series:
    """Return the fold of each cell, from 1 on.

    The units of each treatment are dealt out by themselves. A unit of several treatments, such as a
    plate, is dealt out with all units of all treatments.

    Arguments:
        names: Unit of each cell.
        treatments: Treatment of each cell.
    """
    result = pd.Series(0, index=names.index, dtype=int)
    shared = treatments.groupby(names).nunique().max() > 1
    groups = pd.Series("all", index=names.index) if shared else treatments
    for group, part in names.groupby(groups):
        result.loc[part.index] = part.map(deal(Counter(part), folds, seed, str(group)))
    return result


def assign_to_fold(cells: pd.DataFrame, settings: Settings, measured: pd.Series) -> pd.Series:
    """Return the split of each cell: evaluation in the assay's own fold, gan in every other.

    Cells off the measured plates and treatments go to gan and tune by their shares, in all folds
    alike.

    Arguments:
        measured: (n,) bool, the cells that may be measured.

    Raises:
        InputError: The settings contradict each other, or a unit has both measured and unmeasured
            cells.
    """
    faults = list(_faults(settings))
    if faults:
        raise InputError(" ".join(faults))
    names = unit_names(cells, settings.split_by, settings.tile_px)
    splits = pd.Series(GAN, index=cells.index, dtype=object)
    if not measured.all():
        assign_unmeasured(
            names, splits, measured, settings.shares, settings.seed, settings.split_by
        )
    dealt = fold_of_cells(
        names[measured], cells["treatment"][measured], settings.folds, settings.seed
    )
    splits.loc[dealt.index[dealt == settings.fold]] = EVALUATION
    return splits


def _faults(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each setting that does not fit the folds."""
    folds, fold = settings.folds, settings.fold
    if folds < 2 or not 1 <= fold <= folds:
        yield (
            f"Found fold {fold} of {folds} folds, expected two folds or more and a fold from 1 to "
            "their number. Correct select_cells.folds and fold."
        )
    if settings.split_by == "tile":
        yield (
            "Found split_by: tile with folds, expected plate, well or field: a crop may reach into "
            "a tile of another fold. Set split_by."
        )
    if any(settings.named.values()):
        yield (
            "select_cells.folds stands beside plates_gan to plates_evaluation; both say what is "
            "evaluated. Keep one of them, and name measured_plates."
        )
    for split in (CALIBRATION, CLASSIFIER):
        if settings.shares[split] > 0:
            yield (
                f"Found share_{split} {settings.shares[split]} with folds, which give cells to "
                f"{GAN} and {EVALUATION} alone. Set share_{split} to 0."
            )
