"""The files that a sheet names: found as they are meant, and no pixels under two names."""

from __future__ import annotations

import os
import shutil
import unicodedata

import numpy as np
import pandas as pd
import pytest
import tifffile

from analysis import list_plate
from analysis.plates.field_files import expand, resolve_paths, with_digests
from analysis.plates.repeated_images import refuse_repeated_channels, repeated_fields
from rls.runtime.errors import InputError
from tests.analysis.small_plate import CHANNELS, left_behind

WELLS = ("B02", "B03", "C02", "C03")


def resolve(folder, *names):
    table = pd.DataFrame({"path": list(names)})
    return [
        os.path.relpath(path, folder) for path in resolve_paths(table, (), folder, "s.csv")["path"]
    ]


@pytest.mark.parametrize(
    "name",
    ["B02$1_dna.tif", "$HOME.tif", "~x.tif", "-B02.tif", "a b#1 50%.tif", "药物.tif", "a\\b.tif",
     "ä.tif", "{x}[1]*.tif", "a;b,c.tif"],
)  # fmt: skip
def test_a_file_that_exists_is_taken_by_its_own_name(tmp_path, name, capsys):
    (tmp_path / name).touch()
    assert resolve(tmp_path, name) == [name] and capsys.readouterr().out == ""
    (tmp_path / "$X").mkdir()
    (tmp_path / "$X" / name).touch()
    assert resolve(tmp_path / "$X", name) == [name]


def test_back_slashes_are_read_as_slashes_where_such_a_file_lies(tmp_path, capsys):
    (tmp_path / "img" / "a").mkdir(parents=True)
    (tmp_path / "img" / "a" / "d.tif").touch()
    assert resolve(tmp_path, "img\\a\\d.tif") == ["img/a/d.tif"]
    assert "s.csv: back-slashes in 1 paths are read as slashes" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"1 of 1 files of column path .*img.other.d\.tif"):
        resolve(tmp_path, "img\\other\\d.tif")


@pytest.mark.parametrize(("on_disk", "said"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_may_be_composed_or_apart(tmp_path, on_disk, said):
    place = unicodedata.normalize(on_disk, "Müller/é1.tif")
    (tmp_path / place).parent.mkdir()
    (tmp_path / place).touch()
    assert resolve(tmp_path, unicodedata.normalize(said, "Müller/é1.tif")) == [place]
    with pytest.raises(InputError, match="missing"):
        resolve(tmp_path, "Müller/è1.tif")


def test_a_name_that_is_too_long_or_not_utf_8_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="missing"):
        resolve(tmp_path, "x" * 5000)
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    open(folder + b"/d.tif", "wb").close()
    with pytest.raises(InputError, match="not in UTF-8"):
        resolve(os.fsdecode(folder), "d.tif")


def test_variables_are_expanded_where_no_file_has_the_name(tmp_path, monkeypatch):
    (tmp_path / "d.tif").touch()
    monkeypatch.setenv("PLATE_NAME", "d")
    assert resolve(tmp_path, "${PLATE_NAME}.tif") == ["d.tif"]
    with pytest.raises(InputError, match=r"variable \$1_dna in .* not set, and nothing has that"):
        expand("B02$1_dna.tif")


def test_a_file_of_two_fields_is_named_with_its_own_rows(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.tif").touch()
    with pytest.raises(InputError, match=r"the file a.tif as path of two fields .*rows 2, 4"):
        resolve(tmp_path, "a.tif", "b.tif", "a.tif", "b.tif")


# ---- the same pixels twice ---------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A sheet of four wells and its images."""
    rng = np.random.default_rng(0)
    for well in WELLS:
        for channel in CHANNELS:
            pixels = rng.integers(1, 4000, (12, 14)).astype(np.uint16)
            tifffile.imwrite(tmp_path / f"{well}_{channel}.tif", pixels)
    return tmp_path


def sheet(**changes):
    columns = {
        "plate": "P1", "well": WELLS, "site": 1, "treatment": ("DMSO", "TNF") * 2,
        "pixel_size_um": 1.0, "bit_depth": 12,
        **{f"path_{channel}": [f"{well}_{channel}.tif" for well in WELLS] for channel in CHANNELS},
    }  # fmt: skip
    return pd.DataFrame(columns | changes)


def list_it(folder, table, *more, pixel_size="none", bit_depth="none"):
    text = table if isinstance(table, str) else table.to_csv(index=False)
    (folder / "s.csv").write_text(text)
    list_plate.main(
        ["--source", "sheet", "--treatment-by", "compound", "--pixel-size-um", pixel_size,
         "--bit-depth", bit_depth, "--plate", "P1", "--plates", "P1", "--sheet",
         str(folder / "s.csv"), "--channels", *CHANNELS, "--output",
         str(folder / "out" / "P1.sheet.csv"), *more]
    )  # fmt: skip
    return pd.read_csv(folder / "out" / "P1.sheet.csv")


def assert_refused(folder, table, message, *more, **settings):
    with pytest.raises(InputError, match=message) as error:
        list_it(folder, table, *more, **settings)
    assert "\n" not in str(error.value)
    assert not (folder / "out").exists() and left_behind(folder) == []


def copy(one, two):
    two.unlink()
    shutil.copy(one, two)


def soft_link(one, two):
    two.unlink()
    two.symlink_to(one.name)


def hard_link(one, two):
    two.unlink()
    two.hardlink_to(one)


def test_a_file_of_one_plane_is_not_two_channels(folder):
    assert len(list_it(folder, sheet())) == 4
    shutil.rmtree(folder / "out")
    filled_down = [*sheet()["path_nfkb"][:2], "C02_dna.tif", "C03_dna.tif"]
    message = "C02_dna.tif holds one plane and is named as channel dna and as channel nfkb in row 4"
    assert_refused(folder, sheet(path_nfkb=filled_down), message)


@pytest.mark.parametrize("repeat", [copy, soft_link, hard_link])
def test_an_equal_file_under_another_name_is_not_another_channel(folder, repeat):
    repeat(folder / "B03_dna.tif", folder / "B03_nfkb.tif")
    message = "B03_dna.tif, like its equal .*B03_nfkb.tif, holds one plane .* in row 3"
    assert_refused(folder, sheet(), message)


def test_a_file_of_two_planes_is_two_channels_unless_both_are_one_plane(folder):
    pixels = np.random.default_rng(1).integers(1, 4000, (4, 2, 12, 14)).astype(np.uint16)
    for well, planes in zip(WELLS, pixels, strict=True):
        tifffile.imwrite(folder / f"{well}.tif", planes, photometric="minisblack")
    both = sheet(**{f"path_{channel}": [f"{well}.tif" for well in WELLS] for channel in CHANNELS})
    same = both.assign(channel_dna=1, channel_nfkb=1)
    assert_refused(folder, same, "has one plane called 1 and is named as channel dna and as")
    one_column = same.drop(columns=["path_dna", "path_nfkb"]).assign(path=both["path_dna"])
    assert_refused(folder, one_column, "has one plane called 1 and is named as channel dna and as")
    assert len(list_it(folder, one_column.assign(channel_dna=0))) == 4
    assert len(list_it(folder, both.assign(channel_dna=0, channel_nfkb=1))) == 4


def test_a_plane_by_its_name_and_by_its_place_is_one(folder):
    pixels = np.random.default_rng(1).integers(1, 4000, (4, 2, 12, 14)).astype(np.uint16)
    for well, planes in zip(WELLS, pixels, strict=True):
        names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "FITC"]}}
        tifffile.imwrite(folder / f"{well}.ome.tif", planes, metadata=names, ome=True)
    path = [f"{well}.ome.tif" for well in WELLS]
    both = sheet(path_dna=path, path_nfkb=path, channel_dna=1)
    assert_refused(folder, both.assign(channel_nfkb="fitc"), "has one plane called 1 and fitc")
    assert len(list_it(folder, both.assign(channel_nfkb="DAPI"))) == 4


@pytest.mark.parametrize("repeat", [copy, soft_link, hard_link])
def test_two_fields_of_the_same_pixels_are_refused_with_their_rows(folder, repeat):
    repeat(folder / "B02_nfkb.tif", folder / "C02_nfkb.tif")
    message = r"same image in two fields of .*well B02, site 1 \(row 2\) and well C02, site 1 \(row"
    assert_refused(folder, sheet(), message)


def test_a_channel_of_one_field_is_not_another_channel_of_another(folder):
    copy(folder / "B02_dna.tif", folder / "C03_nfkb.tif")
    assert_refused(folder, sheet(), "same image in two fields")


def test_images_without_a_signal_and_broken_ones_are_for_cropping_to_judge(folder):
    for well in WELLS[:2]:
        for channel in CHANNELS:
            tifffile.imwrite(folder / f"{well}_{channel}.tif", np.zeros((12, 14), np.uint16))
        (folder / f"C0{well[-1]}_nfkb.tif").write_bytes(b"cut off")
    assert len(list_it(folder, sheet())) == 4


def test_a_source_without_a_sheet_is_told_and_goes_on(folder):
    copy(folder / "B02_nfkb.tif", folder / "C02_nfkb.tif")
    table = with_digests(resolve_paths(sheet(), CHANNELS, folder, "images"), CHANNELS)
    refuse_repeated_channels(table, CHANNELS, "images")
    said = repeated_fields(table, CHANNELS, "images", rows=False)
    assert "well B02, site 1 and well C02, site 1: " in said and "row" not in said


# ---- what the sheet says -----------------------------------------------------------------------


def test_two_spellings_of_a_well_are_one_well(folder):
    wells = ["B02", "B2", "c 02", "C - 2"]
    table = sheet(well=wells, site=[1, 2, "01", "2.0"], treatment=["DMSO", "DMSO", "TNF", "TNF"])
    found = list_it(folder, table)
    assert list(found["well"]) == ["B02", "B02", "C02", "C02"] and list(found["site"]) == [1, 2] * 2
    shutil.rmtree(folder / "out")
    (folder / "s.csv").unlink()
    twice = "well B02 of plate P1 twice .*as DMSO and as TNF .written B02 and B2."
    assert_refused(folder, table.assign(treatment=["DMSO", "TNF", "TNF", "TNF"]), twice)
    again = r"well B02, site 1 more than once .*rows 2, 3.*written B02 and B2"
    assert_refused(folder, table.assign(site=[1, "01", 1, 2]), again)


def test_names_stay_text_and_doses_numbers_on_every_plate(folder):
    table = sheet(plate="1E5", treatment=["NA", "None", "siRELA #1", "00123"], dose=[0, 1, 2, 10])
    (folder / "s.csv").write_text(table.to_csv(index=False))
    with pytest.raises(InputError, match="does not list: 1E5"):
        list_it(folder, table)
    found = list_it(
        folder, table.assign(plate="P1"), "--treatments", "NA", "None", "siRELA #1", "00123"
    )
    assert found["dose"].dtype == float
    text = (folder / "out" / "P1.sheet.csv").read_text()
    assert ",NA,NA,0.0,," in text and ",00123,00123,10.0,," in text


def test_a_text_for_a_number_and_a_part_of_a_site_are_refused_at_once(folder):
    assert_refused(folder, sheet(dose=["0", "2,5", "0", "0"]), "the dose '2,5' in row 3 of .*s.csv")
    assert_refused(folder, sheet(site=1.5), "the site '1.5' in row 2 .*a whole number from 0")
    shifted = sheet(dose=2).assign(dose_unit=["uM", "5", "uM", "uM"])
    assert_refused(folder, shifted, "the dose_unit '5' in row 3 .*a dose with a comma")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"pixel_size": "0.5"},
            "pixel_size_um 1 in row 2 of .*s.csv, but 0.5 in the configuration",
        ),
        ({"bit_depth": "8"}, "bit_depth 12 in row 2 of .*s.csv, but 8 in the configuration"),
    ],
)
def test_a_sheet_that_contradicts_the_configuration_is_refused(folder, settings, message):
    assert_refused(folder, sheet(), message, **settings)
    assert len(list_it(folder, sheet(), pixel_size="1.0", bit_depth="12")) == 4
    empty = sheet(pixel_size_um=None, bit_depth="")
    assert set(list_it(folder, empty, pixel_size="0.5", bit_depth="12")["pixel_size_um"]) == {0.5}
