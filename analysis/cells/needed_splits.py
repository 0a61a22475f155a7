"""Refuse a selection in which a control has no cell where a classifier or a measurement needs it.

With ``on_few_cells: take_all`` a split may come out empty without a fault: tiles of a small field
hold no whole crop, or all wells of a control went elsewhere. A run would end hours later in tables
without values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import pandas as pd

from analysis.cells.select_settings import Settings
from analysis.cells.split import LEVELS, unit_names
from rls.io.names import CALIBRATION, CLASSIFIER, EVALUATION
from rls.runtime.errors import InputError

Assign = Callable[[pd.DataFrame, Settings], pd.Series]
NEEDED_BY = {
    CLASSIFIER: "classifiers are trained on",
    CALIBRATION: "intervals are calibrated on",
    EVALUATION: "every table is measured on",
}


def refuse_empty(
    cells: pd.DataFrame,
    splits: pd.Series,
    controls: Sequence[str],
    settings: Settings,
    assign: Assign,
) -> None:
    """Refuse splits in which a control has no cell although they shall have some.

    A split shall have cells if its count and its share are above 0, or plates are named for it.
    Folds give cells to no split but evaluation. A control off the measured treatments has none.

    Arguments:
        splits: The split of each cell.
        assign: Gives the splits of cells under other settings.

    Raises:
        InputError: The sentence names the control, the split, what there is, and what would do.
    """
    for control in controls:
        if settings.measured_treatments and control not in settings.measured_treatments:
            continue
        own = cells["treatment"] == control
        for split in _wanted(settings):
            if not (own & (splits == split)).any():
                said = _sentence(cells[own], control, split, settings)
                raise InputError(said + _advice(cells, controls, settings, assign, split))


def _wanted(settings: Settings) -> Iterator[str]:
    for split in NEEDED_BY:
        shared = settings.shares[split] > 0 or bool(settings.named[split])
        if settings.counts[split] > 0 and (split == EVALUATION if settings.folds else shared):
            yield split


def _sentence(own: pd.DataFrame, control: str, split: str, settings: Settings) -> str:
    wells, fields = (unit_names(own, level, 1).nunique() for level in ("well", "field"))
    return (
        f"Found no cell of the control {control} in split {split}, which {NEEDED_BY[split]}: its "
        f"{len(own)} usable cells lie in {wells} wells and {fields} fields, and split_by: "
        f"{settings.split_by} gave this split none."
    )


def _advice(
    cells: pd.DataFrame,
    controls: Sequence[str],
    settings: Settings,
    assign: Assign,
    split: str,
) -> str:
    """Return what would give each control cells in every split that needs them."""
    for level in LEVELS:
        with suppress(InputError):  # The level has too few units, or does not fit other settings.
            found = assign(cells, replace(settings, split_by=level))
            table = pd.crosstab(cells["treatment"], found)
            table = table.reindex(list(controls), fill_value=0)
            if (table.reindex(columns=list(_wanted(settings)), fill_value=0) > 0).all(axis=None):
                return f" Set split_by: {level}, which gives both controls cells in every split."
    return (
        f" Raise share_{split}, set the share of a split that you do not need to 0, or add wells."
    )
