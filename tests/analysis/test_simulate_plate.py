"""The folder of a simulated plate."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import tifffile

from analysis import simulate_plate
from analysis.plates.bbbc021 import COMPOUND, DOSE, PLATE, WELL
from analysis.simulation import plate
from rls.io import read_table
from rls.runtime.errors import InputError
from tests.analysis.small_plate import left_behind, simulate, write_config


def run(folder, plate="P1", **changes):
    config = write_config(folder, {"wells_per_treatment": 1} | changes)
    simulate_plate.main(
        ["--config", str(config), "--plate", plate, "--output", str(folder / plate),
         "--truth", str(folder / f"{plate}.parquet")]
    )  # fmt: skip
    return folder / plate


def pixels(folder):
    return {path.name: tifffile.imread(path) for path in sorted(folder.glob("*.tif"))}


def test_names_and_columns_are_those_of_bbbc021(tmp_path):
    folder = run(tmp_path, sites_per_well=2)
    images = pd.read_csv(folder / "image.csv")
    for column in ("TableNumber", "ImageNumber", "Replicate", PLATE, WELL, COMPOUND, DOSE):
        assert column in images
    names = [*images["Image_FileName_DAPI"], *images["Image_FileName_NFKB"]]
    assert sorted(names) == sorted(pixels(folder))
    assert all(re.fullmatch(r"[B-G]\d\d_s[12]_w[12][0-9A-F]{8}\.tif", name) for name in names)
    image = tifffile.imread(folder / names[0])
    assert image.dtype == np.uint16 and image.shape == (150, 160)


def test_truth_has_every_cell_of_the_plate(tmp_path):
    run(tmp_path)
    truth = read_table(
        tmp_path / "P1.parquet",
        columns=["plate", "well", "site", "treatment", "y_px", "x_px", "ratio", "true_ratio",
                 "in_focus"],
    )  # fmt: skip
    assert truth["y_px"].between(-0.5, 149.5).all() and truth["x_px"].between(-0.5, 159.5).all()
    medians = truth.groupby("treatment")["true_ratio"].median()
    assert medians["DMSO"] < 1.1 and medians["TNF-alpha"] > 1.6


def test_plates_differ_by_name_and_repeat_by_seed(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, again = (pixels(run(tmp_path / name)) for name in ("a", "b"))
    other = pixels(run(tmp_path / "a", plate="P2"))
    assert first.keys() == again.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert not any(np.array_equal(x, y) for x in first.values() for y in other.values())


def test_a_field_does_not_depend_on_how_many_wells_there_are(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    few = pixels(run(tmp_path / "a", wells_per_treatment=1))
    many = pixels(run(tmp_path / "b", wells_per_treatment=2))
    for name in few:
        np.testing.assert_array_equal(few[name], many[name])


def test_empty_wells_empty_fields_and_broken_fields_are_there(tmp_path):
    folder = run(tmp_path, wells_per_treatment=3, empty_wells=1, empty_fields=1, broken_fields=2)
    images = pd.read_csv(folder / "image.csv")
    assert (images[COMPOUND] == "empty").sum() == 1
    broken = 0
    for name in images["Image_FileName_DAPI"]:
        try:
            broken += tifffile.imread(folder / name).std() > 500
        except Exception:
            broken += 1
    assert broken == 2
    cells = read_table(tmp_path / "P1.parquet").groupby(["well"]).size()
    assert len(cells) == 5  # of seven wells, one is empty and one has the empty field


def test_nothing_is_left_when_a_simulation_fails(tmp_path, monkeypatch):
    calls = []

    def failing(*args, **more):
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("power cut")
        return original(*args, **more)

    original = plate.simulate_field
    monkeypatch.setattr(plate, "simulate_field", failing)
    with pytest.raises(RuntimeError):
        run(tmp_path)
    assert not (tmp_path / "P1").exists() and not (tmp_path / "P1.parquet").exists()
    assert left_behind(tmp_path) == []


def test_a_folder_that_is_no_plate_is_not_overwritten(tmp_path):
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "thesis.doc").write_text("years")
    with pytest.raises(InputError, match="not empty"):
        run(tmp_path)
    assert (tmp_path / "P1" / "thesis.doc").is_file()


def test_a_plate_can_be_simulated_again(tmp_path):
    first = simulate(tmp_path, wells_per_treatment=1).read_text()
    assert simulate(tmp_path, wells_per_treatment=1).read_text() == first
