"""From crops of plates to the cells of an assay."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import list_plate
from analysis.cells.select_settings import Settings as SelectSettings
from analysis.cells.selection import intensity_scale, select
from rls.io import read_intensity, read_stack, read_table, write_table
from rls.runtime.errors import InputError
from tests.analysis import small_plate
from tests.analysis.small_plate import SELECT, TREATMENTS, crop, made_up_cells, simulate

SETTINGS = SelectSettings(**SELECT | {"exclude_flags": tuple(SELECT["exclude_flags"])})


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plate")
    crop(folder, simulate(folder))
    small_plate.select(folder, ["P1"])
    return folder


@pytest.fixture
def folder(plate, tmp_path):
    """A copy of the plate and its crops without what select_cells wrote."""
    shutil.copytree(plate, tmp_path / "run", ignore=shutil.ignore_patterns("data"))
    for name in OUTPUTS:
        (tmp_path / "run" / name).unlink()
    return tmp_path / "run"


OUTPUTS = ("cells.ome.tif", "cells.parquet", "intensity.json", "selection.csv")


def assert_nothing_written(folder):
    assert not [name for name in OUTPUTS if (folder / name).exists()]
    assert small_plate.left_behind(folder) == []


def test_counts_are_those_asked_and_wells_are_not_shared(plate):
    stack = read_stack(plate / "cells.ome.tif", memory_map=True)
    assert list(stack.table["image_id"]) == sorted(stack.table["image_id"])
    counts = stack.table.groupby(["treatment", "split"]).size()
    for treatment in TREATMENTS:
        for split in ("gan", "tune", "classifier", "evaluation"):
            assert counts[treatment, split] == SELECT[f"cells_{split}"]
    assert (stack.table.groupby("well")["split"].nunique() == 1).all()


def test_pixels_are_those_of_the_plate(plate):
    cells, crops = read_stack(plate / "cells.ome.tif"), read_stack(plate / "P1.ome.tif")
    known = crops.table.set_index("image_id")["image_digest"]
    assert (known[cells.table["image_id"]].to_numpy() == cells.table["image_digest"]).all()


def test_intensity_comes_from_the_gan_split_alone(plate):
    stack = read_stack(plate / "cells.ome.tif")
    gan = stack.images[(stack.table["split"] == "gan").to_numpy()]
    scale = read_intensity(plate / "intensity.json")
    assert scale.channels == ("dna", "nfkb")
    low, high = np.percentile(gan, (0.1, 99.9), axis=(0, 2, 3))
    np.testing.assert_allclose(scale.black, low, atol=1)
    np.testing.assert_allclose(scale.white, high, rtol=0.02)


def test_percentiles_through_the_histogram_are_exact():
    images = np.arange(2000, dtype=np.uint16).reshape(5, 1, 20, 20)
    scale = intensity_scale(images, ("a",), 10, 90)
    assert scale.black == (199.0,) and scale.white == (1799.0,)


def test_the_selection_is_counted(plate):
    table = pd.read_csv(plate / "selection.csv").set_index(["treatment", "split"])
    assert set(table["split_by"]) == {"well"}
    assert table.loc[("DMSO", "gan"), "n_cells"] == SELECT["cells_gan"]
    held = table.drop(index="calibration", level="split")
    assert (held["n_wells"] == 1).all() and (table["n_fields_skipped"] == 0).all()


def test_flagged_cells_are_left_out():
    cells = made_up_cells(plates=1)
    flagged = cells["image_id"].str.endswith(("1", "3"))
    cells["noise"] = flagged
    chosen = select(cells, TREATMENTS, SETTINGS)
    assert not set(chosen["image_id"]) & set(cells["image_id"][flagged])
    cells["blank"] = True
    with pytest.raises(InputError, match="no usable cell of DMSO, TNF-alpha"):
        select(cells, TREATMENTS, SETTINGS)


def test_selection_does_not_depend_on_the_order_of_plates():
    cells = made_up_cells(plates=3)
    first = select(cells, TREATMENTS, SETTINGS)
    turned = select(cells.iloc[::-1].reset_index(drop=True), TREATMENTS, SETTINGS)
    pd.testing.assert_frame_equal(first, turned)


def test_a_treatment_without_cells_is_named():
    with pytest.raises(InputError, match="no usable cell of zinc"):
        select(made_up_cells(), (*TREATMENTS, "zinc"), SETTINGS)


def test_too_few_cells_stop_with_their_number_and_write_nothing(folder):
    with pytest.raises(InputError, match="too few cells: DMSO evaluation .* of 500"):
        small_plate.select(folder, ["P1"], "--cells-evaluation", "500")
    assert_nothing_written(folder)
    small_plate.select(folder, ["P1"], "--cells-evaluation", "500", "--on-few-cells", "take_all")
    table = pd.read_csv(folder / "selection.csv").set_index(["treatment", "split"])
    row = table.loc[("DMSO", "evaluation")]
    assert 0 < row["n_cells"] < row["n_cells_asked"] == 500


def test_a_strict_split_that_is_impossible_says_which_would_do(folder):
    with pytest.raises(InputError, match="1 plates of all treatments.*split_by: well"):
        small_plate.select(folder, ["P1"], "--split-by", "plate")
    assert_nothing_written(folder)


def test_tiles_split_a_field_and_the_level_is_said(folder, capsys):
    small_plate.select(folder, ["P1"], "--split-by", "tile", "--on-few-cells", "take_all")
    out = capsys.readouterr().out
    assert "share no tile" in out and "would also allow split_by: well, field" in out
    assert set(pd.read_csv(folder / "selection.csv")["split_by"]) == {"tile"}


def test_a_damaged_crop_is_found(folder):
    table = read_table(folder / "P1.parquet")
    table["image_digest"] = "0" * 32
    write_table(folder / "P1.parquet", table, written_by="crop_cells")
    with pytest.raises(InputError, match="damaged images in .*P1.ome.tif"):
        small_plate.select(folder, ["P1"])
    assert_nothing_written(folder)


def test_unknown_flags_are_refused():
    settings = SelectSettings(**SELECT | {"exclude_flags": ("ugly",)})
    with pytest.raises(InputError, match="exclude_flags ugly"):
        select(made_up_cells(), TREATMENTS, settings)


def test_two_real_wells_run_from_their_plate_map_to_cells(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("RLS_REAL_DATA", str(real_data))
    config = small_plate.write_config(tmp_path)
    sheet = Path(__file__).resolve().parents[2] / "config" / "bbbc014.csv"
    output = tmp_path / "P1.sheet.csv"
    list_plate.main(
        ["--config", str(config), "--source", "bbbc014", "--pixel-size-um", "1.0", "--bit-depth",
         "8", "--plate", "BBBC014", "--plates", "BBBC014", "--sheet", str(sheet),
         "--folder", "$RLS_REAL_DATA/bbbc014_fields", "--channels", *small_plate.CHANNELS,
         "--treatments", "untreated", "TNF-alpha", "--output", str(output)]
    )  # fmt: skip
    crop(tmp_path, output, "--crop-size", "46", "--cells-per-field", "1000",
         "--camera-offset-counts", "3")  # fmt: skip
    cells = read_table(tmp_path / "P1.parquet")
    assert (cells.groupby("treatment").size() > 450).all()
    settings = replace(SETTINGS, split_by="tile", tile_px=170)
    chosen = select(cells, ("untreated", "TNF-alpha"), settings)
    assert (chosen.groupby("treatment").size() == 27).all()


def test_measured_plates_and_treatments_alone_are_measured():
    cells = made_up_cells(plates=3)
    settings = replace(
        SETTINGS, split_by="field", on_few_cells="take_all", measured_plates=("P1",),
        measured_treatments=("DMSO",),
    )  # fmt: skip
    chosen = select(cells, TREATMENTS, settings)
    seen = chosen[chosen["split"].isin(["classifier", "evaluation"])]
    assert len(seen) and set(zip(seen["plate"], seen["treatment"], strict=True)) == {("P1", "DMSO")}
    with pytest.raises(InputError, match="plate P9"):
        select(cells, TREATMENTS, replace(settings, measured_plates=("P9",)))
