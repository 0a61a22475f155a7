"""BBBC014's file names and a plate map: what they say, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tifffile

from analysis import list_plate
from analysis.plates import bbbc014
from analysis.plates.image_files import read_field
from rls.runtime.errors import InputError
from tests.analysis.small_plate import CHANNELS
from tests.conftest import ROOT

WELLS = ("01-A-01", "12-A-12", "13-B-01")
TREATMENTS = "well,treatment\nA01,TNF\nA-12,DMSO\nB1,DMSO\n"


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for i, well in enumerate(WELLS):
        for channel in (1, 2):
            pixels = np.arange(600, dtype=np.uint8).reshape(20, 30) // 10 + 100 * channel + i
            tifffile.imwrite(images / f"Channel {channel}-{well}.tif", pixels)
    (tmp_path / "map.csv").write_text(TREATMENTS)
    return tmp_path


def list_it(folder, *more, plates=("B",), plate_map=True):
    output = folder / "out" / "B.sheet.csv"
    list_plate.main(
        ["--source", "bbbc014", "--treatment-by", "compound", "--pixel-size-um", "1.0",
         "--bit-depth", "8", "--plate", "B", "--plates", *plates, "--folder",
         str(folder / "images"), "--channels", *CHANNELS, "--output", str(output),
         *(["--sheet", str(folder / "map.csv")] if plate_map else []), *more]
    )  # fmt: skip
    return pd.read_csv(output)


def test_names_and_map_become_a_sheet(folder):
    table = list_it(folder)
    assert list(table["well"]) == ["A01", "A12", "B01"] and set(table["site"]) == {1}
    assert list(table["treatment"]) == ["TNF", "DMSO", "DMSO"]
    assert set(table["bit_depth"]) == {8} and set(table["pixel_size_um"]) == {1.0}
    field = read_field(table.iloc[1].to_dict(), CHANNELS, folder / "out")
    assert field[:, 0, 0].tolist() == [201, 101]  # dna is channel 2, nfkb channel 1


def test_numbers_of_fields_compounds_and_doses_are_kept(folder):
    for path in list((folder / "images").iterdir()):
        path.rename(path.with_name(path.stem + "-00.tif"))
    for channel in (1, 2):
        pixels = np.arange(600, dtype=np.uint8).reshape(20, 30) // 10 + 50 * channel + 7
        tifffile.imwrite(folder / "images" / f"Channel {channel}-01-A-01-01.TIF", pixels)
    rows = ["A01,high,TNF,10,ng/mL", "A12,none,DMSO,,", "B01,low,TNF,0.1,ng/mL"]
    head = "well,treatment,compound,dose,dose_unit"
    (folder / "map.csv").write_text("\n".join([head, *rows]))
    table = list_it(folder)
    assert list(zip(table["well"], table["site"], strict=True))[:2] == [("A01", 1), ("A01", 2)]
    assert list(table["dose"].fillna(-1)) == [10, 10, -1, 0.1]
    assert list(table["compound"]) == ["TNF", "TNF", "DMSO", "TNF"]


def remove_channel(folder):
    (folder / "images" / "Channel 1-12-A-12.tif").unlink()


def remove_all(folder):
    for path in (folder / "images").iterdir():
        path.unlink()


def copy(folder):
    (folder / "images" / "copy").mkdir()
    path = folder / "images" / "Channel 2-12-A-12.tif"
    (path.parent / "copy" / path.name).write_bytes(path.read_bytes())


def map_of(text):
    return lambda folder: (folder / "map.csv").write_text(text)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (remove_channel, r"no image of channel nfkb \(Channel 1\) for well A12, field 1"),
        (remove_all, "no image such as 'Channel 1-01-A-01.tif'"),
        (copy, "channel dna of well A12 twice"),
        (map_of("well,treatment\nA01,TNF\n"), r"2 wells of unknown treatment \(A12, B01\)"),
        (map_of("well,drug\nA01,TNF\n"), "no column treatment in the plate map"),
        (
            map_of(TREATMENTS + "a 1,x\n"),
            r"well A01 more than once .*rows 2, 5. .written A01 and a",
        ),
        (map_of("well,treatment\nA01,TNF\nQ99,x\n"), "well 'Q99' .*in row 3"),
        (map_of("well,treatment\nA01,\n"), "treatment 'nan' in row 2"),
        (map_of("well,treatment,dose\nA01,x,1 uM\n"), "the dose '1 uM'"),
        (lambda folder: (folder / "map.csv").unlink(), "plate map .* does not exist"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_and_nothing_is_written(folder, harm, message):
    harm(folder)
    with pytest.raises(InputError, match=message):
        list_it(folder)
    assert not (folder / "out").exists()


def test_without_a_plate_map_the_treatments_are_unknown(folder):
    with pytest.raises(InputError, match="no plate map .*treatments are unknown .*well, treatment"):
        list_it(folder, plate_map=False)


def test_what_the_assay_asks_for_must_be_there(folder):
    with pytest.raises(InputError, match="no row of treatment LPS"):
        list_it(folder, "--treatments", "DMSO", "TNF", "LPS")
    with pytest.raises(InputError, match="unknown treatment 'TNF' .*expected 'tnf'"):
        list_it(folder, "--treatments", "DMSO", "tnf")
    with pytest.raises(InputError, match="1 fields of the unknown treatment TNF in .*map.csv"):
        list_it(folder, "--treatments", "DMSO")
    with pytest.raises(InputError, match="2 plates of source bbbc014"):
        list_it(folder, plates=("B", "C"))
    with pytest.raises(InputError, match="channel actin, expected BBBC014's nfkb, dna"):
        bbbc014.find_fields(folder / "images", ("dna", "actin"))


def test_treatments_that_the_assay_leaves_out_are_said(folder, capsys):
    list_it(folder, "--treatments", "DMSO", "--on-unlisted-treatment", "leave_out")
    assert "1 fields of treatments that the assay does not list" in capsys.readouterr().out


def test_the_two_real_wells_fit_their_plate_map(real_data):
    plate_map = bbbc014.read_plate_map(ROOT / "config" / "bbbc014.csv")
    folder = real_data / "bbbc014_fields"
    table = bbbc014.to_sheet(folder, "BBBC014", CHANNELS, plate_map, "map").assign(
        pixel_size_um=1.0, bit_depth=8
    )
    assert list(table["well"]) == ["A01", "A12"]
    assert list(table["treatment"]) == ["TNF-alpha", "untreated"]
    field = read_field(table.iloc[0].to_dict(), CHANNELS, folder)
    assert field.shape == (2, 1024, 1360) and field.max() < 256
