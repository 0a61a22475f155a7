"""Crops of a plate: where they lie, what they hold, what stops them."""

from __future__ import annotations

import shutil
import zlib

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.spatial import cKDTree

from rls.io import read_stack, read_table, write_table
from rls.runtime.errors import InputError
from tests.analysis.small_plate import crop, left_behind, list_it, simulate


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plate")
    sheet = simulate(folder, wells_per_treatment=2)
    crop(folder, sheet)
    return folder


@pytest.fixture
def folder(plate, tmp_path):
    """A copy of the plate without its crops."""
    shutil.copytree(plate, tmp_path / "run")
    for name in ("P1.ome.tif", "P1.parquet", "P1.fields.csv"):
        (tmp_path / "run" / name).unlink()
    return tmp_path / "run"


def assert_nothing_written(folder):
    assert not [p for p in ("P1.ome.tif", "P1.parquet", "P1.fields.csv") if (folder / p).exists()]
    assert left_behind(folder) == []


def first_file(folder, channel="dna"):
    table = pd.read_csv(folder / "P1.sheet.csv")
    return folder / table[f"path_{channel}"].iloc[0]


def test_crops_are_centred_on_nuclei_of_the_truth(plate):
    stack = read_stack(plate / "P1.ome.tif")
    truth = read_table(plate / "P1.truth.parquet")
    truth = truth[truth["in_focus"]]
    distances = []
    for (well, site), cells in stack.table.groupby(["well", "site"]):
        known = truth[(truth["well"] == well) & (truth["site"] == site)]
        tree = cKDTree(known[["y_px", "x_px"]])
        distances += list(tree.query(cells[["y_px", "x_px"]])[0])
    assert len(distances) > 60
    assert np.mean(np.array(distances) < 2.0) > 0.97


def test_pixels_are_those_of_the_field_around_the_position(folder):
    stack = read_stack(crop(folder, folder / "P1.sheet.csv", "--illumination", "none"))
    files = pd.read_csv(folder / "P1.sheet.csv").set_index("well")
    assert stack.images.dtype == np.uint16 and stack.images.shape[1:] == (2, 30, 30)
    for i in (0, len(stack) // 2, len(stack) - 1):
        row = stack.table.iloc[i]
        image = tifffile.imread(folder / files.loc[row["well"], "path_nfkb"])
        y, x = row["y_px"], row["x_px"]
        np.testing.assert_array_equal(stack.images[i, 1], image[y - 15 : y + 15, x - 15 : x + 15])
        assert row["image_id"] == f"P1_{row['well']}_s1_y{y}_x{x}"


def test_the_table_says_what_later_stages_need(plate):
    table = read_table(
        plate / "P1.parquet",
        columns=["image_id", "image_digest", "plate", "well", "site", "y_px", "x_px", "treatment",
                 "compound", "dose", "dose_unit", "moa", "nucleus_area_um2", "saturated", "blank",
                 "out_of_focus", "noise", "border", "overlapping", "debris", "blur_nd"],
    )  # fmt: skip
    assert table["nucleus_area_um2"].median() == pytest.approx(np.pi / 4 * 15**2, rel=0.25)
    assert table[["saturated", "blank", "noise"]].to_numpy().mean() < 0.05


def test_crops_repeat_and_do_not_depend_on_the_order_of_the_sheet(plate, folder):
    sheet = folder / "P1.sheet.csv"
    first = read_stack(plate / "P1.ome.tif")
    table = pd.read_csv(sheet)
    write_table(sheet, table.iloc[::-1], written_by="list_plate")
    turned = read_stack(crop(folder, sheet))
    known = first.table.set_index("image_id")["image_digest"].sort_index()
    assert known.equals(turned.table.set_index("image_id")["image_digest"].sort_index())


def test_cells_per_field_is_a_limit_and_a_random_draw(folder):
    sheet = folder / "P1.sheet.csv"
    every = read_stack(crop(folder, sheet, "--cells-per-field", "1000")).table
    few = read_stack(crop(folder, sheet, "--cells-per-field", "8")).table
    other = read_stack(crop(folder, sheet, "--cells-per-field", "8", "--seed", "1")).table
    assert (few.groupby("well").size() == 8).all()
    assert set(few["image_id"]) < set(every["image_id"])
    assert set(few["image_id"]) != set(other["image_id"])
    fields = pd.read_csv(folder / "P1.fields.csv")
    assert (fields["n_nuclei"] >= fields["n_at_border"] + fields["n_cells"]).all()
    assert not read_table(folder / "P1.parquet")["border"].any()  # whole cells come first
    assert (fields["n_nuclei"] > fields["n_cells"]).all() and (fields["n_cells"] == 8).all()


def test_only_the_treatments_asked_are_cropped(folder):
    table = read_stack(crop(folder, folder / "P1.sheet.csv", "--treatments", "DMSO")).table
    assert set(table["treatment"]) == {"DMSO"}
    with pytest.raises(InputError, match="treatments zinc"):
        crop(folder, folder / "P1.sheet.csv", "--treatments", "zinc")


def truncate(path):
    path.write_bytes(path.read_bytes()[:5000])


def shrink(path):
    tifffile.imwrite(path, tifffile.imread(path)[:-1])


def flatten(path):
    tifffile.imwrite(path, (tifffile.imread(path) // 16).astype(np.uint8))


def spoil(path):
    image = tifffile.imread(path).astype(np.float32)
    image[0, 0] = np.nan
    tifffile.imwrite(path, image)


def darken(path):
    image, rng = tifffile.imread(path), np.random.default_rng(zlib.crc32(path.name.encode()))
    tifffile.imwrite(path, rng.poisson(60, image.shape).astype(np.uint16))


def jam(path):
    image = tifffile.imread(path)
    noise = np.random.default_rng(0).integers(0, 4095, image.shape)
    tifffile.imwrite(path, noise.astype(np.uint16))


@pytest.mark.parametrize(
    ("harm", "message", "reason"),
    [
        (truncate, "is cut off", "truncated or damaged file"),
        (shrink, r"\(149, 160\) px", "channels differ in size"),
        (flatten, "8-bit file, but bit_depth is 12", "8-bit file"),
        (spoil, "1 pixels that are not finite", "not finite"),
        (darken, "no nucleus in plate P1, well B02, site 1", "no nucleus"),
        (jam, "no nucleus in plate P1", "no nucleus"),
    ],
)
def test_a_broken_field_stops_or_is_skipped_with_its_reason(folder, harm, message, reason):
    harm(first_file(folder))
    sheet = list_it(folder)
    with pytest.raises(InputError, match=message):
        crop(folder, sheet, "--on-broken-field", "stop")
    assert_nothing_written(folder)
    stack = read_stack(crop(folder, sheet, "--on-broken-field", "skip"))
    fields = pd.read_csv(folder / "P1.fields.csv").set_index("well")
    assert fields.loc["B02", "status"] == "skipped" and fields.loc["B02", "reason"] == reason
    assert (fields.drop("B02")["status"] == "ok").all()
    assert "B02" not in set(stack.table["well"])
    assert fields["n_cells"].sum() == len(stack)


@pytest.mark.parametrize("skip", ["stop", "skip"])
def test_an_image_that_is_lost_or_changed_after_it_was_listed_is_no_broken_field(folder, skip):
    path = first_file(folder, "nfkb")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    named = rf"{path.name} is not the file that was listed .*rule simulate_plate or fetch_plate"
    with pytest.raises(InputError, match=named):
        crop(folder, folder / "P1.sheet.csv", "--on-broken-field", skip)
    path.unlink()
    with pytest.raises(InputError, match=rf"{path.name} was there when .* and is gone"):
        crop(folder, folder / "P1.sheet.csv", "--on-broken-field", skip)
    assert_nothing_written(folder)


def test_an_image_that_cannot_be_read_is_a_broken_field(folder):
    path = first_file(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        crop(folder, folder / "P1.sheet.csv", "--on-broken-field", "stop")
    crop(folder, folder / "P1.sheet.csv", "--on-broken-field", "skip")
    assert "not readable" in set(pd.read_csv(folder / "P1.fields.csv")["reason"])


def test_a_damaged_sheet_is_named_with_its_rule(folder):
    sheet = folder / "P1.sheet.csv"
    sheet.write_text(sheet.read_text().replace("DMSO", "DMSP"))
    with pytest.raises(InputError, match="P1.sheet.csv is not the one .*rule list_plate"):
        crop(folder, sheet)


def test_a_plate_without_any_cell_is_an_error(folder):
    for path in (folder / "data" / "P1").glob("*.tif"):
        darken(path)
    list_it(folder)
    with pytest.raises(
        InputError, match="None of the 4 fields of plate P1 can be used. 4 fields: "
    ):
        crop(folder, folder / "P1.sheet.csv", "--on-broken-field", "skip")
    assert_nothing_written(folder)


def test_crops_wider_than_the_field_are_refused(folder):
    with pytest.raises(InputError, match="crop_size 200"):
        crop(folder, folder / "P1.sheet.csv", "--crop-size", "200")


def test_simulated_broken_fields_are_skipped(tmp_path):
    sheet = simulate(tmp_path, wells_per_treatment=3, empty_wells=1, empty_fields=1,
                     broken_fields=2)  # fmt: skip
    list_it(tmp_path, "P1", "--treatments", "DMSO", "TNF-alpha")
    crop(tmp_path, sheet, "--on-broken-field", "skip", "--treatments", "DMSO", "TNF-alpha")
    fields = pd.read_csv(tmp_path / "P1.fields.csv")
    assert len(fields) == 6
    skipped = fields[fields["status"] == "skipped"]["reason"]
    assert sorted(skipped) == ["no nucleus", "no nucleus", "truncated or damaged file"]


def test_illumination_is_evened_out(plate, folder):
    raw = read_stack(crop(folder, folder / "P1.sheet.csv", "--illumination", "none"))
    even = read_stack(plate / "P1.ome.tif")
    slopes = []
    for stack in (raw, even):
        distance = np.hypot(stack.table["y_px"] - 75, stack.table["x_px"] - 80)
        background = np.percentile(stack.images[:, 0], 5, axis=(1, 2)) - 20
        slopes.append(np.corrcoef(distance, background)[0, 1])
    assert slopes[0] < -0.3 and abs(slopes[1]) < abs(slopes[0]) - 0.1
