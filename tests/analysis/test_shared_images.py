"""One image as a field of two plates: refused, or said where nobody can correct it."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from analysis.cells.controls_of_run import fetched_text, is_fetched
from analysis.plates.repeated_images import image_keys, refuse_shared_images
from rls.runtime.errors import InputError
from tests.analysis import small_plate

WELLS = ("B02", "C02")


def fields(*images, status="ok"):
    """The fields of plates P1, P1, P2, P2, with these keys of their files."""
    table = pd.DataFrame({"plate": ["P1", "P1", "P2", "P2"], "well": WELLS * 2, "site": 1})
    return table.assign(status=status, images=images)


def test_the_two_fields_are_named():
    table = fields("a|b", "c|d", "e|f", "g|c")
    message = "two plates, plate P1, well C02, site 1 and plate P2, well C02, site 1: "
    with pytest.raises(InputError, match=message):
        refuse_shared_images(table, only_say=False)


def test_of_fetched_plates_it_is_only_said(capsys):
    refuse_shared_images(fields("a", "b", "a", "c"), only_say=True)
    assert "same image in fields of two plates, plate P1, well B02" in capsys.readouterr().out


@pytest.mark.parametrize(
    "table",
    [fields("a", "b", "c", "d"), fields("a", "a", "c", "d"), fields(*"abab", status="skipped"),
     fields(*"abab").drop(columns="images"), fields(np.nan, "b", np.nan, "c"),
     fields("", "b", "", "c")],
)  # fmt: skip
def test_other_images_fields_without_a_signal_and_older_tables_are_not(table, capsys):
    refuse_shared_images(table, only_say=False)
    assert capsys.readouterr().out == ""


def test_images_of_one_file_are_told_apart():
    row = {"path": "x.czi", "digest": "d", "series": "0"}
    assert image_keys(row, ["dna"]) != image_keys(row | {"series": "1"}, ["dna"])
    assert image_keys({"path": "x.czi"}, ["dna"]) == []


def test_a_run_tells_its_jobs_which_assays_have_plates_of_others(tmp_path, monkeypatch):
    text = fetched_text({"a": {"source": "bbbc021"}, "b": {"source": "sheet"}})
    monkeypatch.setenv("RLS_FETCHED", text)
    assert is_fetched(tmp_path / "a" / "cells.ome.tif")
    assert not is_fetched(tmp_path / "b" / "cells.ome.tif")
    monkeypatch.delenv("RLS_FETCHED")
    assert not is_fetched(tmp_path / "a" / "cells.ome.tif")


def test_selection_stops_at_a_field_that_two_plates_share(tmp_path):
    """A laboratory's second plate has a file of the first under another name."""
    for plate, seed in (("P1", 1), ("P2", 2)):
        sheet = small_plate.simulate(tmp_path, plate, seed=seed)
    images = [
        next(iter(sorted((tmp_path / "data" / plate).rglob("*.tif")))) for plate in ("P1", "P2")
    ]
    shutil.copy(*images)
    small_plate.list_it(tmp_path, "P2")
    for plate in ("P1", "P2"):
        small_plate.crop(tmp_path, sheet.with_name(f"{plate}.sheet.csv"))
    with pytest.raises(InputError, match="same image in fields of two plates, plate P1, well"):
        small_plate.select(tmp_path, ["P1", "P2"])
    assert not (tmp_path / "cells.ome.tif").exists()
