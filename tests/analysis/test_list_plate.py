"""list_plate: the checked sheet, and what it refuses."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from analysis import list_plate
from rls.runtime.errors import InputError
from tests.analysis.small_plate import CHANNELS, left_behind, list_it, simulate


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plate")
    simulate(folder, wells_per_treatment=1, field_height_px=40, field_width_px=40)
    return folder


@pytest.fixture
def folder(plate, tmp_path):
    shutil.copytree(plate, tmp_path / "run")
    return tmp_path / "run"


def list_sheet(folder, table, *more, plates=("P1",)):
    sheet = folder / "mine" / "sheet.csv"
    sheet.parent.mkdir(exist_ok=True)
    table.to_csv(sheet, index=False)
    output = folder / "out" / "P1.sheet.csv"
    list_plate.main(
        ["--source", "sheet", "--treatment-by", "compound", "--pixel-size-um", "none",
         "--bit-depth", "none", "--plate", "P1", "--plates", *plates, "--sheet", str(sheet),
         "--channels", *CHANNELS, "--output", str(output), *more]
    )  # fmt: skip
    return pd.read_csv(output)


def user_sheet(folder):
    """The sheet a user would write: paths relative to the folder of the images."""
    table = pd.read_csv(folder / "P1.sheet.csv")
    for channel in CHANNELS:
        table[f"path_{channel}"] = [path.split("/")[-1] for path in table[f"path_{channel}"]]
    return table


def assert_nothing_written(folder):
    assert not (folder / "out").exists()
    assert left_behind(folder) == []


def test_paths_are_relative_to_the_sheet_that_is_written(folder):
    table = pd.read_csv(folder / "P1.sheet.csv")
    assert len(table) == 2
    assert all((folder / path).is_file() for path in table["path_dna"])
    moved = folder.with_name("moved")
    folder.rename(moved)
    assert all((moved / path).is_file() for path in table["path_dna"])


def test_a_users_sheet_takes_its_images_from_the_image_folder(folder, monkeypatch):
    monkeypatch.setenv("PLATES", str(folder / "data"))
    table = list_sheet(folder, user_sheet(folder), "--image-folder", "$PLATES/P1")
    assert all((folder / "out" / path).is_file() for path in table["path_nfkb"])


def test_pixel_size_and_bit_depth_may_come_from_the_settings(folder):
    table = user_sheet(folder).drop(columns=["pixel_size_um", "bit_depth"])
    images = str(folder / "data" / "P1")
    listed = list_sheet(folder, table, "--image-folder", images, "--pixel-size-um", "0.7",
                        "--bit-depth", "12")  # fmt: skip
    assert set(listed["pixel_size_um"]) == {0.7} and set(listed["bit_depth"]) == {12}


def test_a_missing_column_is_named(folder):
    with pytest.raises(InputError, match="no column treatment in .*sheet.csv"):
        list_sheet(folder, user_sheet(folder).drop(columns="treatment"))
    assert_nothing_written(folder)


def test_a_missing_file_is_named(folder):
    images = folder / "data" / "P1"
    lost = user_sheet(folder)["path_dna"].iloc[0]
    (images / lost).unlink()
    with pytest.raises(InputError, match=f"1 of 2 files of column path_dna.*{lost}"):
        list_sheet(folder, user_sheet(folder), "--image-folder", str(images))
    with pytest.raises(InputError, match=lost):
        (folder / "P1.sheet.csv").unlink()
        list_it(folder)
    assert not (folder / "P1.sheet.csv").exists()
    assert_nothing_written(folder)


def test_an_image_that_cannot_be_read_is_named(folder, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("analysis.plates.sheet.file_digest", refused)
    with pytest.raises(InputError, match=r"image .*\.tif cannot be read \(Permission denied\)"):
        list_it(folder)


def change(row, **values):
    """Return a change of one row of the sheet."""

    def harm(table):
        for column, value in values.items():
            table[column] = table[column].astype(object)
            table.loc[row, column] = value
        return table

    return harm


def repeat(**values):
    """Return a change that adds the first row again, with other values."""
    return lambda table: pd.concat([table, table.iloc[:1].assign(**values)], ignore_index=True)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (repeat(), r"well B02, site 1 more than once in .*sheet.csv \(rows 2, 4\)"),
        (repeat(site=2, treatment="TNF-alpha"), "well B02 of plate P1 twice .*as DMSO and as TNF"),
        (repeat(site=2), "the file B02_s1_w1.*tif as path_dna of two fields .*rows 2, 4"),
        (change(1, treatment="zinc"), "1 fields of the unknown treatment zinc .*first: well B03"),
        (
            change(1, treatment="tnf alpha"),
            "treatment 'tnf alpha' in well B03 .*expected 'TNF-alpha'",
        ),
        (change(1, pixel_size_um=0.3), "2 pixel sizes in .*expected one"),
        (change(1, bit_depth=16), "the bit depths 12, 16 in .*expected one"),
    ],
)
def test_a_faulty_sheet_ends_in_one_sentence_and_writes_nothing(folder, harm, message):
    images = ("--image-folder", str(folder / "data" / "P1"))
    with pytest.raises(InputError, match=message) as error:
        list_sheet(folder, harm(user_sheet(folder)), *images, "--treatments", "DMSO", "TNF-alpha")
    assert "\n" not in str(error.value)
    assert_nothing_written(folder)


def test_a_treatment_may_be_left_out_if_the_config_says_so(folder, capsys):
    more = ("--image-folder", str(folder / "data" / "P1"), "--treatments", "DMSO")
    table = list_sheet(folder, user_sheet(folder), *more, "--on-unlisted-treatment", "leave_out")
    assert set(table["treatment"]) == {"DMSO", "TNF-alpha"}  # crop_cells takes the listed ones
    assert "1 fields of treatments that the assay does not list" in capsys.readouterr().out


def test_a_control_that_no_row_has_is_named(folder):
    """The assay's controls are among its treatments: the configuration holds that."""
    table = user_sheet(folder).iloc[:1]
    images = ("--image-folder", str(folder / "data" / "P1"))
    with pytest.raises(InputError, match="no row of treatment TNF-alpha in .*sheet.csv"):
        list_sheet(folder, table, *images, "--treatments", "DMSO", "TNF-alpha")
    assert_nothing_written(folder)


def test_plates_the_config_does_not_list_are_refused_with_the_block_to_paste(folder):
    table = user_sheet(folder)
    both = pd.concat([table, table.assign(plate="P2")])
    with pytest.raises(InputError, match="does not list: P2.*\nplates:\n  - P1\n  - P2"):
        list_sheet(folder, both)
    assert_nothing_written(folder)


def test_a_plate_without_rows_is_refused(folder):
    with pytest.raises(InputError, match="no row of plate P1"):
        list_sheet(folder, user_sheet(folder).assign(plate="P2"), plates=("P1", "P2"))
    with pytest.raises(InputError, match="no plate P9"):
        (folder / "data" / "P1").rename(folder / "data" / "P9")
        list_it(folder, "P9")


def test_a_treatment_that_no_row_has_is_named(folder):
    with pytest.raises(InputError, match="no row of treatment nocodazole.*DMSO, TNF-alpha"):
        list_it(folder, "P1", "--treatments", "DMSO", "nocodazole")
    list_it(folder, "P1", "--treatments", "DMSO", "TNF-alpha")


def test_source_and_flags_must_agree(folder):
    with pytest.raises(InputError, match="source sheet takes --sheet"):
        list_it(folder, "P1", "--source", "sheet")
    with pytest.raises(InputError, match="needs list_plate.pixel_size_um"):
        list_it(folder, "P1", "--pixel-size-um", "none")
