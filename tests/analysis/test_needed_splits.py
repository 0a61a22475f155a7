"""A control without cells in a split that needs them stops the selection, with what would do."""

from dataclasses import replace

import pytest

from analysis.cells.controls_of_run import controls_of_run, controls_text
from analysis.cells.selection import select
from rls.runtime.errors import InputError
from tests.analysis.small_plate import made_up_cells
from tests.analysis.test_select_cells import SETTINGS

CONTROLS = ("DMSO", "TNF-alpha")
TAKE_ALL = replace(
    SETTINGS, on_few_cells="take_all", exclude_flags=(), split_by="well", share_calibration=0.0
)


def cells(wells, plates=1):
    """Cells of both controls on a grid: each crop of 30 px reaches into four tiles of 30 px."""
    table = made_up_cells(CONTROLS, plates=plates, wells=wells, cells=9)
    place = table.groupby(["plate", "well"]).cumcount()
    return table.assign(y_px=30 + 30 * (place // 3), x_px=30 + 30 * (place % 3))


def test_a_split_by_tiles_that_holds_no_whole_crop_is_refused_and_wells_are_advised():
    table = cells(wells=4)
    settings = replace(TAKE_ALL, split_by="tile", tile_px=30, seed=5)
    with pytest.raises(InputError) as fault:
        select(table, CONTROLS, settings, CONTROLS)
    text = str(fault.value)
    assert "Found no cell of the control DMSO in split classifier, which classifiers are" in text
    assert "its 36 usable cells lie in 4 wells and 4 fields, and split_by: tile gave" in text
    assert text.endswith("Set split_by: well, which gives both controls cells in every split.")
    chosen = select(table, CONTROLS, replace(settings, split_by="well"), CONTROLS)
    assert {"classifier", "evaluation"} <= set(chosen["split"])


def test_where_no_level_would_do_shares_and_wells_are_advised():
    """The plate that is named for the evaluation has one of the controls alone."""
    table = cells(wells=4, plates=2)
    table = table[(table["plate"] == "P0") | (table["treatment"] == "TNF-alpha")]
    settings = replace(TAKE_ALL, plates_evaluation=("P1",))
    with pytest.raises(InputError) as fault:
        select(table, CONTROLS, settings, CONTROLS)
    assert "no cell of the control DMSO in split evaluation, which every table" in str(fault.value)
    assert "Raise share_evaluation, set the share of a split" in str(fault.value)


def test_splits_that_shall_have_no_cells_need_none():
    table = cells(wells=2)
    only = replace(TAKE_ALL, share_tune=0.0, share_classifier=0.0, share_gan=0.5)
    chosen = select(table, CONTROLS, only, CONTROLS)
    assert set(chosen["split"]) == {"gan", "evaluation"}
    nothing = replace(only, cells_classifier=0, share_classifier=0.2, share_gan=0.0)
    assert "classifier" not in set(select(table, CONTROLS, nothing, CONTROLS)["split"])
    dealt = replace(only, folds=2, fold=1, share_evaluation=0.0)
    assert "evaluation" in set(select(table, CONTROLS, dealt, CONTROLS)["split"])


def test_a_control_that_is_not_measured_needs_no_cells():
    table = cells(wells=3)
    settings = replace(
        TAKE_ALL, share_tune=0.2, share_classifier=0.0, measured_treatments=("TNF-alpha",)
    )
    chosen = select(table, CONTROLS, settings, CONTROLS)
    assert set(chosen[chosen["split"] == "evaluation"]["treatment"]) == {"TNF-alpha"}


def test_without_named_controls_nothing_is_refused():
    settings = replace(TAKE_ALL, split_by="tile", tile_px=30)
    assert len(select(cells(wells=4), CONTROLS, settings))


def test_jobs_find_the_controls_of_their_assay(tmp_path, monkeypatch):
    block = {"negative_control": "-DOX", "positive_control": "\u03b1", "title": "A"}
    monkeypatch.setenv("RLS_CONTROLS", controls_text({"mine": block, "other": block}))
    assert controls_of_run(tmp_path / "results" / "mine" / "cells.ome.tif") == ("-DOX", "\u03b1")
    assert controls_of_run(tmp_path / "cells.ome.tif") == ()
    monkeypatch.delenv("RLS_CONTROLS")
    assert controls_of_run(tmp_path / "mine" / "cells.ome.tif") == ()
