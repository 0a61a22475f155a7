"""Cells dealt over folds by unit: every unit is evaluated once, and no network has seen it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.cells.folds import deal
from analysis.cells.select_settings import Settings
from analysis.cells.selection import select
from rls.runtime.errors import InputError
from tests.analysis.small_plate import SELECT, made_up_cells

TREATMENTS = ("DMSO", "drug", "rare")
NONE = {"share_classifier": 0.0, "share_calibration": 0.0}
SETTINGS = Settings(
    **SELECT | NONE | {"exclude_flags": (), "on_few_cells": "take_all", "folds": 2, "fold": 1}
)
ALL = replace(SETTINGS, cells_gan=10**6, cells_tune=10**6, cells_evaluation=10**6)


@pytest.fixture
def cells():
    """Two plates: four wells a treatment and plate, but the rare one has one well in all."""
    table = made_up_cells(TREATMENTS)
    lone = (table["plate"] == "P0") & (table["well"] == "D02")
    return table[(table["treatment"] != "rare") | lone].reset_index(drop=True)


def wells_of(chosen: pd.DataFrame, split: str) -> set[str]:
    part = chosen[chosen["split"] == split]
    return set(part["plate"] + "_" + part["well"])


@pytest.mark.parametrize("folds", [2, 3])
def test_every_cell_is_evaluated_in_one_fold_and_trains_the_others(cells, folds):
    chosen = [
        select(cells, TREATMENTS, replace(ALL, folds=folds, fold=fold))
        for fold in range(1, folds + 1)
    ]
    seen = Counter(
        image for table in chosen for image in table.loc[table["split"] == "evaluation", "image_id"]
    )
    assert seen == Counter(cells["image_id"])
    for table in chosen:
        assert set(table["image_id"]) == set(cells["image_id"])
        assert not wells_of(table, "evaluation") & wells_of(table, "gan")
    assert "rare" in set().union(
        *(table.loc[table["split"] == "evaluation", "treatment"] for table in chosen)
    )


def test_unmeasured_units_and_plates_train_and_tune_every_fold_alike(cells):
    named = ("P0_B02", "P0_B03", "P0_B04")
    settings = replace(ALL, unmeasured_units=named, share_gan=0.6, share_tune=0.3)
    chosen = [select(cells, TREATMENTS, replace(settings, fold=fold)) for fold in (1, 2)]
    tuned = [wells_of(table, "tune") for table in chosen]
    assert tuned[0] == tuned[1] and len(tuned[0]) == 1 and tuned[0] < set(named)
    for table in chosen:
        assert not wells_of(table, "evaluation") & set(named)
        assert set(named) <= wells_of(table, "gan") | wells_of(table, "tune")
    with pytest.raises(InputError, match=r"no usable cell of well P7_B02.*named as P0_"):
        select(cells, TREATMENTS, replace(settings, unmeasured_units=("P7_B02",)))


def test_folds_do_not_depend_on_the_order_of_rows(cells):
    shuffled = cells.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        select(cells, TREATMENTS, SETTINGS), select(shuffled, TREATMENTS, SETTINGS)
    )


def test_units_are_dealt_evenly_in_cells():
    dealt = deal({"a": 50, "b": 30, "c": 20, "d": 6, "e": 4}, 2, seed=0, name="drug")
    sizes = {"a": 50, "b": 30, "c": 20, "d": 6, "e": 4}
    held = Counter({fold: 0 for fold in dealt.values()})
    for unit, fold in dealt.items():
        held[fold] += sizes[unit]
    assert sorted(held) == [1, 2] and abs(held[1] - held[2]) <= 2


def test_single_units_of_many_treatments_meet_in_no_one_fold():
    folds = [deal({"A1": 3}, 2, seed=0, name=f"drug{n}")["A1"] for n in range(40)]
    assert 10 <= np.sum(np.equal(folds, 1)) <= 30


def test_a_plate_of_all_treatments_is_dealt_whole(cells):
    chosen = select(cells, TREATMENTS[:2], replace(ALL, split_by="plate"))
    plates = chosen.groupby("split")["plate"].unique()
    assert set(plates.index) == {"gan", "evaluation"}
    assert plates["gan"].tolist() != plates["evaluation"].tolist()
    assert (chosen.groupby("plate")["split"].nunique() == 1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 1}, "fold 1 of 1 folds"),
        ({"fold": 3}, "fold 3 of 2 folds"),
        ({"fold": 0}, "fold 0 of 2 folds"),
        ({"split_by": "tile"}, "tile with folds"),
        ({"plates_gan": ("P0",)}, "folds stands beside plates_gan"),
        ({"share_classifier": 0.2}, "share_classifier 0.2 with folds"),
    ],
)
def test_settings_that_contradict_folds_are_refused(cells, changes, message):
    with pytest.raises(InputError, match=message):
        select(cells, TREATMENTS, replace(SETTINGS, **changes))
