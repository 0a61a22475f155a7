"""Train on this plate, test on that: which plates serve which split, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from analysis.cells import named_plates
from analysis.cells.select_settings import Settings
from analysis.cells.selection import select
from analysis.cells.split import unit_names
from rls.io.names import SPLITS
from rls.runtime.errors import InputError
from tests.analysis import small_plate
from tests.analysis.small_plate import SELECT, TREATMENTS, made_up_cells

NAMED = {"gan": (), "tune": ("P1",), "classifier": ("P1",), "evaluation": ("P2",)}
SETTINGS = replace(
    Settings(**SELECT | {"exclude_flags": ()}), on_few_cells="take_all", cells_classifier=1000
)


def selected(cells, named=NAMED, **changes):
    plates = {f"plates_{split}": names for split, names in named.items()}
    return select(cells, TREATMENTS, replace(SETTINGS, **plates, **changes))


def plates_by_split(chosen):
    return {split: set(rows["plate"]) for split, rows in chosen.groupby("split")}


def test_each_split_takes_cells_of_the_plates_it_names_and_the_rest_goes_to_who_names_none():
    chosen = selected(made_up_cells(plates=4))
    expected = {"classifier": {"P1"}, "tune": {"P1"}, "evaluation": {"P2"}, "gan": {"P0", "P3"}}
    assert plates_by_split(chosen) == expected
    for _, rows in chosen.groupby("split"):
        assert set(rows["treatment"]) == set(TREATMENTS)


@pytest.mark.parametrize("level", ["well", "field", "tile"])
def test_a_plate_of_two_splits_is_divided_and_they_share_no_unit(level):
    cells = made_up_cells(plates=3, cells=40)
    chosen = selected(cells, split_by=level, tile_px=120, share_tune=0.25, share_classifier=0.75)
    here = chosen[chosen["plate"] == "P1"]
    assert set(here["split"]) == {"tune", "classifier"}
    assert (here["split"].groupby(unit_names(here, level, 120)).nunique() == 1).all()
    if level == "well":  # of four wells a treatment, one for tune
        wells = here.groupby(["treatment", "split"])["well"].nunique()
        assert (wells.xs("tune", level="split") == 1).all()
        assert (wells.xs("classifier", level="split") == 3).all()


def test_no_split_is_left_with_a_crumb():
    cells = made_up_cells(plates=3)
    crumb = cells[cells["well"] == "B02"].groupby("plate").head(1).assign(well="B09")
    crumb["image_id"] += "_crumb"
    for seed in range(12):
        both = pd.concat([cells, crumb], ignore_index=True)
        chosen = selected(both, split_by="well", seed=seed, cells_tune=1000)
        here = chosen[(chosen["plate"] == "P1") & (chosen["treatment"] == "DMSO")]
        assert here.groupby("split").size().min() > 10


def test_a_plate_that_no_split_names_is_left_out_where_each_names_others(capsys):
    chosen = selected(made_up_cells(plates=4), NAMED | {"gan": ("P0",)})
    assert set(chosen["plate"]) == {"P0", "P1", "P2"}
    assert "plate P3: no split names it" in capsys.readouterr().out


def test_without_names_every_plate_serves_every_split_with_a_share():
    shares = {split: 1.0 for split in SPLITS[:-1]} | {SPLITS[-1]: 0.0}
    assert named_plates.splits_of_plate(dict.fromkeys(SPLITS, ()), shares, "P1") == SPLITS[:-1]
    cells = made_up_cells(plates=3)
    plain = selected(cells, {split: () for split in SPLITS}, cells_classifier=6)
    assert plain.equals(select(cells, TREATMENTS, replace(SETTINGS, cells_classifier=6)))


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"classifier": ("P9",)}, "plates_classifier names P9, which is no plate.*P0, P1, P2"),
        ({"gan": ("P0", "P0")}, "plates_gan names P0 twice"),
        ({"tune": ("P1", "P2")}, "plates_tune and select_cells.plates_evaluation both name P2"),
    ],
)
def test_unknown_plates_and_plates_named_twice_are_refused_by_name(named, message):
    with pytest.raises(InputError, match=message):
        selected(made_up_cells(plates=3), NAMED | named)


def test_measured_and_named_plates_exclude_each_other():
    with pytest.raises(InputError, match="unmeasured_units stand beside"):
        selected(made_up_cells(plates=3), measured_plates=("P1",))


def test_too_few_units_of_a_shared_plate_say_what_would_do():
    with pytest.raises(InputError, match="1 plates of all treatments.*split_by: well"):
        selected(made_up_cells(plates=3), split_by="plate")


def test_the_command_takes_them_and_writes_nothing_when_they_are_wrong(tmp_path):
    small_plate.crop(tmp_path, small_plate.simulate(tmp_path))
    with pytest.raises(InputError, match="plates_evaluation names P2, which is no plate"):
        small_plate.select(tmp_path, ["P1"], "--plates-evaluation", "P2")
    with pytest.raises(InputError, match="no cell of split 'gan' to set the intensity scale"):
        small_plate.select(
            tmp_path, ["P1"], "--plates-gan", "P1", "--plates-tune", "P1", "--plates-classifier",
            "P1", "--cells-gan", "0", "--on-few-cells", "take_all",
        )  # fmt: skip
    assert not (tmp_path / "cells.ome.tif").exists()
    assert not (tmp_path / "intensity.json").exists() and small_plate.left_behind(tmp_path) == []
