"""Fields that are left out: the whole sentence of the first is said, not its short reason alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile

from analysis import list_plate
from analysis.cells import crop
from analysis.cells.crop_settings import Settings
from analysis.cells.skipped import SkippedFields
from analysis.plates.image_files import BrokenField
from rls.io import read_table
from rls.runtime.errors import InputError

SETTINGS = Settings(
    **{"crop_size": 16, "nucleus_diameter_um": 8.0, "cells_per_field": 9, "segmenter": "threshold"},
    **{"segmenter_weights": None, "flow_threshold": 0.4, "illumination": "plate"},
    **{"camera_offset_counts": 0.0, "on_broken_field": "skip", "seed": 1},
    **{"saturated_share_max": 1.0, "contrast_min": 0.0, "blur_max_nd": 9.0, "noise_share_max": 1.0},
    **{"outside_share_max": 1.0, "touching_share_max": 1.0, "debris_height_max": 9.0},
)


def write(folder, site, names=("DAPI", "FITC"), cells=True):
    """Write a field of two channels, called as a microscope calls them."""
    y, x = np.mgrid[:64, :64]
    disc = ((y - 32) ** 2 + (x - 32) ** 2 < 16) * 3000
    image = (np.stack([disc, disc]) + 100 + (x + y) % 7).astype(np.uint16)
    image = image if cells else np.full_like(image, 100)
    path = folder / f"{site}.ome.tif"
    tifffile.imwrite(path, image, metadata={"axes": "CYX", "Channel": {"Name": list(names)}})
    return path.name


def rows(folder, paths):
    table = pd.DataFrame({"path": paths, "plate": "P1", "well": "B02", "treatment": "DMSO"})
    table["site"] = range(1, len(paths) + 1)
    empty = dict.fromkeys(("compound", "dose_unit", "moa"), "")
    return table.assign(pixel_size_um=1.0, bit_depth=12, dose=0.0, **empty)


def crop_plate(folder, table, settings=SETTINGS):
    return crop.crop_plate(table, ["DAPI", "FITC"], 0, folder, settings, folder)


@pytest.mark.parametrize("illumination", ["plate", "none"])
def test_a_plate_without_a_usable_field_ends_with_the_sentence_of_the_first(tmp_path, illumination):
    table = rows(tmp_path, [write(tmp_path, site, names=("A", "B")) for site in (1, 2)])
    with pytest.raises(InputError) as fault:
        crop_plate(tmp_path, table, replace(SETTINGS, illumination=illumination))
    text = str(fault.value)
    assert "None of the 2 fields of plate P1 can be used. 2 fields: channel missing; " in text
    assert "1.ome.tif has 2 channels" in text and "called A, B: found no channel DAPI" in text
    assert "or in the sheet's columns channel_{channel}." in text


def test_of_fields_that_are_skipped_each_reason_is_said_once(tmp_path, capsys):
    names = [write(tmp_path, 1), write(tmp_path, 2, names=("A", "B"))]
    names += [write(tmp_path, 3, names=("A", "B")), write(tmp_path, 4, cells=False)]
    _, cells, fields = crop_plate(tmp_path, rows(tmp_path, names))
    assert len(cells) == 1 and list(fields["status"]) == ["ok", "skipped", "skipped", "skipped"]
    said = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    assert said[0].startswith("crop_cells: skipped 2 fields: channel missing; the first: ")
    assert (
        "2.ome.tif has 2 channels" in said[0]
        and "skipped 1 field: one value; the first: " in said[1]
    )
    assert len(said) == 2
    assert list(fields["reason"][1:3]) == ["channel missing"] * 2


def test_the_commonest_reason_comes_first():
    skipped = SkippedFields()
    for reason, text in (("black", "A."), ("no nucleus", "B."), ("no nucleus", "C.")):
        assert skipped.add(BrokenField(reason, text)) == reason
    assert list(skipped.sentences()) == [
        *("2 fields: no nucleus; the first: B.", "1 field: black; the first: A.")
    ]
    with pytest.raises(InputError, match="None of the 3 fields of plate P1 can be used. 2 fields"):
        skipped.say("P1", 3, nothing=True)


def list_it(folder, names):
    table = rows(folder, names)
    table.to_csv(folder / "sheet.csv", index=False)
    list_plate.main(
        [*("--plate", "P1", "--plates", "P1", "--channels", "DAPI", "FITC"),
         *("--sheet", str(folder / "sheet.csv"), "--output", str(folder / "out" / "P1.csv")),
         *("--source", "sheet", "--treatment-by", "compound", "--pixel-size-um", "none"),
         *("--bit-depth", "none")]
    )  # fmt: skip
    return read_table(folder / "out" / "P1.csv")


def test_channels_that_no_file_has_are_found_when_the_plate_is_listed(tmp_path):
    names = [write(tmp_path, site, names=("A", "B")) for site in (1, 2)]
    with pytest.raises(InputError, match="called A, B: found no channel DAPI.*channel_{channel}"):
        list_it(tmp_path, names)
    assert not (tmp_path / "out" / "P1.csv").exists()


def test_one_field_with_the_channels_is_enough_and_other_faults_are_left_to_crop_cells(tmp_path):
    names = [write(tmp_path, 1, names=("A", "B")), write(tmp_path, 2)]
    assert len(list_it(tmp_path, names)) == 2
    (tmp_path / "1.ome.tif").write_bytes(b"no image")
    assert len(list_it(tmp_path, names)) == 2
