"""A sheet that names files of microscopes' makers: the right image of each, and nothing guessed."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile

from analysis import list_plate
from analysis.plates.fields import read_field
from analysis.plates.image_files import BrokenField
from analysis.plates.sheet import check_sheet, read_sheet
from rls.runtime.errors import InputError
from tests.analysis.small_plate import CHANNELS, left_behind
from tests.rls.io.vendor_files import PIXEL_UM, pixels_of, write_czi, write_lif

WELLS = ("B02", "B03", "C02", "C03")
SCENES = [pixels_of(2, 1, 30, 40, seed=seed) for seed in range(4)]
SAID = {"channel_dna": "GFP", "channel_nfkb": "DAPI"}  # the other way round than in the file


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One file of each kind with the four fields, of one plane; and of three planes."""
    folder = tmp_path_factory.mktemp("vendor")
    write_czi(folder / "x.czi", SCENES, how="zstd1:ExplicitLevel=2")
    write_lif(folder / "x.lif", {f"P{place}": scene for place, scene in enumerate(SCENES)})
    write_czi(folder / "z.czi", [pixels_of(2, 3, 30, 40, seed=9)])
    write_czi(folder / "t.czi", [SCENES[0]], times=2)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    shutil.copytree(written, tmp_path / "mine")
    return tmp_path / "mine"


def sheet(path="x.czi", **columns):
    """A sheet of four wells, which are the scenes of a file in turn."""
    table = pd.DataFrame({"plate": "P1", "well": WELLS, "site": 1, "treatment": list("aabb"),
                          "path": path, "series": [0, 1, 2, 3], **SAID})  # fmt: skip
    return table.assign(bit_depth=12, **columns)


def list_it(folder, table, *more):
    table.to_csv(folder / "sheet.csv", index=False)
    output = folder / "out" / "P1.sheet.csv"
    list_plate.main(
        ["--source", "sheet", "--treatment-by", "compound", "--pixel-size-um", "none",
         "--bit-depth", "none", "--plate", "P1", "--plates", "P1", "--channels", *CHANNELS,
         "--sheet", str(folder / "sheet.csv"), "--output", str(output), *more]
    )  # fmt: skip
    return check_sheet(read_sheet(output, CHANNELS), CHANNELS, "sheet"), output.parent


def fields(listed, base):
    return [read_field(row, CHANNELS, base) for row in listed.to_dict("records")]


def refused(folder, table, message, *more):
    with pytest.raises(InputError, match=message):
        list_it(folder, table, *more)
    assert not (folder / "out").exists() and left_behind(folder) == []


@pytest.mark.parametrize("name", ["x.czi", "x.lif"])
def test_each_row_gives_its_own_image_and_each_channel_its_own_name(folder, name):
    listed, base = list_it(folder, sheet(name))
    assert set(listed["pixel_size_um"]) == {PIXEL_UM}
    for image, scene in zip(fields(listed, base), SCENES, strict=True):
        np.testing.assert_array_equal(image, scene[::-1, 0])


def test_images_may_be_named_and_stand_as_positions_in_the_checked_sheet(folder):
    turned = sheet("x.lif", series=["P3", "p2", "1", "P0"])
    listed, base = list_it(folder, turned)
    assert list(listed["series"]) == ["3", "2", "1", "0"]
    np.testing.assert_array_equal(fields(listed, base)[0], SCENES[3][::-1, 0])


def test_a_file_for_each_channel_and_a_tiff_beside_vendors_files(folder):
    table = sheet().drop(columns=["path", *SAID])
    for channel, place in (("dna", 1), ("nfkb", 0)):
        for well, scene in zip(WELLS, SCENES, strict=True):
            tifffile.imwrite(folder / f"{well}_{channel}.tif", scene[place, 0])
    table["path_dna"], table["channel_dna"] = "x.czi", "GFP"
    table["path_nfkb"] = [f"{well}_nfkb.tif" for well in WELLS]
    refused(folder, table.assign(pixel_size_um=PIXEL_UM), "only files of vendors .*hold several")
    table["path_nfkb"] = "x.lif"
    table["channel_nfkb"] = "DAPI"
    listed, base = list_it(folder, table)
    for image, scene in zip(fields(listed, base), SCENES, strict=True):
        np.testing.assert_array_equal(image, scene[::-1, 0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [({"series": None}, "Row 2 of .*holds 4 images .0, 1, 2, 3. and the sheet has no word"),
     ({"series": [0, 1, 2, 7]}, "Row 5 of .*has '7', which .*fits none"),
     ({"series": [0, 1, 2, 2]}, r"x.czi as path of two fields in .*rows 4, 5"),
     ({"channel_dna": "Cy5"}, "called DAPI, GFP: found no 'Cy5' for channel dna"),
     ({"channel_dna": "", "channel_nfkb": ""}, "found no channel dna"),
     ({"pixel_size_um": 0.65}, "says 0.325 x 0.325 um a pixel, but the sheet .*0.65"),
     ({"path": "z.czi", "series": 0, "well": "B02", "site": [1, 2, 3, 4], "treatment": "a"},
      "z.czi as path of two fields"),
     ({"path": ["z.czi", *["x.czi"] * 3], "projection": ["middle", "", "", ""]},
      "projection 'middle' in row 2 .*expected one of none, max, mean")],
)  # fmt: skip
def test_what_the_sheet_does_not_say_or_says_wrong_is_refused(folder, columns, message):
    refused(folder, sheet(**columns), message)


def test_one_image_under_two_names_is_refused(folder):
    refused(folder, sheet("x.lif", series=["P0", "0", "2", "3"]), "image 0 of .* as two fields")
    shutil.copy(folder / "x.lif", folder / "y.lif")
    table = sheet(["x.lif", "x.lif", "y.lif", "y.lif"], series=[0, 1, 2, 1])
    refused(folder, table, "same image in two fields .*well B03, site 1 .*well C03, site 1")
    refused(folder, sheet(channel_nfkb="GFP"), "one plane called GFP .*channel dna and as channel")


def test_the_configuration_s_pixel_size_must_be_the_file_s(folder):
    refused(folder, sheet(), "says 0.325 x 0.325 um", "--pixel-size-um", "0.5")
    listed, _ = list_it(folder, sheet(), "--pixel-size-um", "0.325")
    assert set(listed["pixel_size_um"]) == {PIXEL_UM}


def test_several_planes_are_projected_as_said_and_else_refused(folder):
    planes = pixels_of(2, 3, 30, 40, seed=9)[::-1].astype(float)
    one = sheet("z.czi").iloc[:1].assign(series="")
    refused(folder, one.assign(pixel_size_um=PIXEL_UM), "has 3 planes in z.*list_plate.projection")
    for how, wanted in (("max", planes.max(axis=1)), ("mean", np.rint(planes.mean(axis=1)))):
        for table, more in ((one, ("--projection", how)), (one.assign(projection=how), ())):
            listed, base = list_it(folder, table, *more)
            np.testing.assert_array_equal(fields(listed, base)[0], wanted)
    message = "projection 'mean' in row 2 .*, but max in the configuration"
    shutil.rmtree(folder / "out")
    refused(folder, one.assign(projection="mean"), message, "--projection", "max")


def test_time_points_are_refused_whatever_is_projected(folder):
    one = sheet("t.czi", pixel_size_um=PIXEL_UM).iloc[:1]
    for more in ((), ("--projection", "max")):
        refused(folder, one, "has 2 time points, expected one", *more)


def test_a_file_that_is_cut_off_is_a_broken_field_and_a_changed_one_no_field(folder):
    listed, base = list_it(folder, sheet(["x.lif", "x.czi", "x.czi", "x.czi"]))
    row = listed.to_dict("records")[1]
    assert read_field(row, CHANNELS, base).shape == (2, 30, 40)
    content = (folder / "x.czi").read_bytes()
    (folder / "x.czi").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="is not the file that was listed"):
        read_field(row, CHANNELS, base)
    with pytest.raises(BrokenField, match="cut off or damaged.*on_broken_field: skip"):
        read_field({k: v for k, v in row.items() if k != "digest"}, CHANNELS, base)


def test_a_missing_library_stops_the_listing_with_its_command(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "liffile", None)
    refused(folder, sheet("x.lif"), "no package liffile.*pip install 'liffile>=")
