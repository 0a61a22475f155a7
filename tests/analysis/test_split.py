"""Splits: no two share a unit, whatever the order of the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.cells.split import (
    DROPPED,
    _inside_own_split,
    allocate,
    assign_splits,
    choose_cells,
    possible_levels,
    unit_names,
)
from rls.io.names import SPLITS
from rls.runtime.errors import InputError
from tests.analysis.small_plate import TREATMENTS, made_up_cells

SHARES = {"gan": 0.3, "tune": 0.1, "calibration": 0.1, "classifier": 0.25, "evaluation": 0.25}


def for_each(counts):
    return {treatment: counts for treatment in TREATMENTS}


def assign(cells, level, seed=0, tile_px=100, crop_size=40):
    return assign_splits(cells, level, SHARES, seed, tile_px=tile_px, crop_size=crop_size)


@pytest.mark.parametrize("level", ["plate", "well", "field", "tile"])
def test_no_two_splits_share_a_unit_and_every_treatment_is_in_every_split(level):
    cells = made_up_cells(plates=5, wells=5)
    splits = assign(cells, level)
    kept = splits != DROPPED
    names = unit_names(cells, level, 100)
    assert (splits[kept].groupby(names[kept]).nunique() == 1).all()
    for treatment in TREATMENTS:
        assert set(splits[kept & (cells["treatment"] == treatment)]) == set(SPLITS)
    if level != "tile":
        assert kept.all()


def test_a_unit_of_a_coarse_level_holds_whole_units_of_the_finer_ones():
    cells = made_up_cells(plates=5, wells=5)
    splits = assign(cells, "plate")
    for level in ("well", "field"):
        assert (splits.groupby(unit_names(cells, level, 100)).nunique() == 1).all()


def test_crops_of_different_splits_never_share_a_pixel_of_a_tiled_field():
    cells = made_up_cells(plates=1, wells=1, cells=400)
    splits = assign(cells, "tile")
    assert (splits == DROPPED).mean() > 0.05
    corners = cells[["y_px", "x_px"]].to_numpy() - 20
    for treatment in TREATMENTS:
        rows = np.flatnonzero((cells["treatment"] == treatment) & (splits != DROPPED))
        gap = np.abs(corners[rows][:, None] - corners[rows][None]).max(axis=2)
        labels = splits.to_numpy()[rows]
        different = labels[:, None] != labels[None]
        assert gap[different].min() >= 40
        assert gap[~different & (gap > 0)].min() < 40


def test_splits_hang_on_names_and_seed_and_not_on_the_order_of_rows():
    cells = made_up_cells(plates=3)
    first = assign(cells, "well")
    turned = assign(cells.sample(frac=1, random_state=1), "well")
    assert first.equals(turned.sort_index())
    assert not first.equals(assign(cells, "well", seed=1))


def test_a_new_treatment_does_not_move_the_others():
    cells = made_up_cells((*TREATMENTS, "nocodazole"), plates=3)
    two = cells[cells["treatment"].isin(TREATMENTS)]
    assert assign(cells, "well").loc[two.index].equals(assign(two, "well"))


@pytest.mark.parametrize("n", [5, 6, 7, 12, 40])
def test_units_are_shared_out_by_their_shares_and_none_is_forgotten(n):
    units = {f"w{i}": 1 for i in range(n)}
    chosen = allocate(units, SHARES, 0, "test")
    counts = {split: list(chosen.values()).count(split) for split in SPLITS}
    assert sum(counts.values()) == n and min(counts.values()) >= 1
    for split, share in SHARES.items():
        assert abs(counts[split] - share * n) <= 1.5


def test_shares_that_come_out_even_are_met():
    units = {f"w{i}": 1 for i in range(40)}
    shares = {"a": 0.4, "b": 0.1, "c": 0.25, "d": 0.25}
    chosen = list(allocate(units, shares, 0, "test").values())
    assert [chosen.count(split) for split in shares] == [16, 4, 10, 10]


def test_a_split_with_share_zero_gets_no_unit():
    units = {f"w{i}": 1 for i in range(6)}
    chosen = allocate(units, SHARES | {"tune": 0.0}, 0, "test")
    assert set(chosen.values()) == {"gan", "calibration", "classifier", "evaluation"}


def test_every_split_begins_with_one_of_the_largest_units():
    units = {f"w{i}": 1 + i for i in range(12)}
    for seed in range(5):
        chosen = allocate(units, SHARES, seed, "test", large_first=True)
        assert {chosen[f"w{i}"] for i in (7, 8, 9, 10, 11)} == set(SHARES)
        assert set(chosen) == set(units)


@pytest.mark.parametrize("axis", ["y_px", "x_px"])
@pytest.mark.parametrize("crop_size", [10, 11])
def test_a_crop_may_reach_the_last_pixel_of_its_tile_and_no_further(axis, crop_size):
    """A crop of 10 px covers 5 px before its centre and 4 behind, one of 11 px 5 and 5."""
    last = 100 - crop_size + crop_size // 2
    at = [last, last + 1, 100 + crop_size // 2, 100 + crop_size // 2 - 1]
    cells = pd.DataFrame({"plate": "P", "well": "W", "site": 1, "y_px": 50, "x_px": 50}, range(4))
    cells[axis] = at
    splits = pd.Series(["gan", "gan", "tune", "tune"])
    found = _inside_own_split(cells, unit_names(cells, "tile", 100), splits, 100, crop_size)
    assert found.tolist() == [True, False, True, False]


def test_too_few_units_are_an_error_that_names_the_level_that_would_do():
    cells = made_up_cells(plates=2, wells=4)
    with pytest.raises(InputError, match="2 plates of all treatments.*split_by: well"):
        assign(cells, "plate")
    cells = made_up_cells(plates=1, wells=2)
    with pytest.raises(InputError, match="2 wells of DMSO.*split_by: tile"):
        assign(cells, "well")
    assert possible_levels(cells, SHARES, 100) == ["tile"]


def test_tiles_smaller_than_a_crop_are_refused():
    with pytest.raises(InputError, match="tile_px 30 with crops of 40 px"):
        assign(made_up_cells(), "tile", tile_px=30)


def test_cells_are_drawn_within_treatment_and_split():
    cells = made_up_cells(plates=3)
    splits = assign(cells, "well")
    counts = {"gan": 30, "tune": 5, "classifier": 12, "evaluation": 9}
    kept = choose_cells(cells, splits, for_each(counts), 0, take_all=False)
    for treatment in TREATMENTS:
        for split, count in counts.items():
            rows = (cells["treatment"] == treatment) & (kept == split)
            assert rows.sum() == count
            assert (splits[rows] == split).all()
    more = choose_cells(cells, splits, for_each(counts | {"gan": 40}), 0, take_all=False)
    assert set(cells.index[kept == "gan"]) < set(cells.index[more == "gan"])


def test_too_few_cells_stop_or_are_all_taken(capsys):
    cells = made_up_cells(plates=1, wells=5, cells=10)
    splits = assign(cells, "well")
    counts = {"gan": 5, "tune": 5, "classifier": 5, "evaluation": 1000}
    with pytest.raises(InputError, match="DMSO evaluation 10 of 1000; TNF-alpha evaluation 10 of"):
        choose_cells(cells, splits, for_each(counts), 0, take_all=False)
    kept = choose_cells(cells, splits, for_each(counts), 0, take_all=True)
    assert (kept == "evaluation").sum() == 20
    assert "DMSO evaluation 10 of 1000" in capsys.readouterr().out


MEASURED = ("P3", "P4")


def assign_measured(cells, level="field", seed=0, **changes):
    measured = cells["plate"].isin(MEASURED) & (cells["treatment"] == TREATMENTS[0])
    measured = changes.get("measured", measured)
    return assign_splits(cells, level, SHARES, seed, tile_px=100, crop_size=40, measured=measured)


def test_what_is_not_measured_goes_to_gan_and_tune_alone():
    cells = made_up_cells(plates=5, wells=5)
    splits = assign_measured(cells)
    assert (splits.groupby(unit_names(cells, "field", 100)).nunique() == 1).all()
    seen = cells[splits.isin(["classifier", "evaluation"])]
    assert set(seen["plate"]) == set(MEASURED) and set(seen["treatment"]) == {TREATMENTS[0]}
    rest = cells["plate"] == "P0"
    assert set(splits[rest]) <= {"gan", "tune"}


def test_every_split_has_a_large_unit_of_each_measured_plate():
    cells = made_up_cells(plates=5, wells=5)
    crumb = cells[cells["well"] == "B02"].groupby("plate").head(1).assign(well="B09")
    cells = pd.concat([cells, crumb], ignore_index=True)
    for seed in range(10):
        splits = assign_measured(cells, seed=seed)
        here = cells["plate"].isin(MEASURED) & (cells["treatment"] == TREATMENTS[0])
        counts = cells[here].groupby([cells["plate"], splits]).size()
        assert len(counts) == 2 * len(SPLITS) and counts.min() > 10


def test_a_unit_that_is_measured_in_part_is_refused():
    cells = made_up_cells(plates=5, wells=5)
    with pytest.raises(InputError, match="plate P3 with cells that select_cells.measured"):
        assign_measured(cells, level="plate")


def test_all_cells_measured_is_the_plain_split():
    cells = made_up_cells(plates=5, wells=5)
    whole = assign_measured(cells, measured=pd.Series(True, index=cells.index))
    assert whole.equals(assign(cells, "field"))
