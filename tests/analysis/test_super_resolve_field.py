"""super_resolve_field: nuclei of a low-resolution field are found, cut in the middle, placed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image

from analysis import crop_cells, super_resolve_field
from analysis.cells.geometry import cut
from analysis.cells.low_resolution_cut import are_inside, corners, cut_cells, find_nuclei
from analysis.cells.low_resolution_fields import (
    Fields,
    cut_fields,
    find_all,
    read_fields,
    read_positions,
)
from analysis.drawing.fields import GAP, TITLE
from rls.io import read_stack
from rls.runtime.errors import InputError
from rls.search.forward import downscale
from tests.analysis import small_plate
from tests.conftest import ROOT

MODEL = ROOT / "models" / "translocation_32px"  # 32 px of 1 um, channels dna and nfkb
FACTOR, SIDE, SIZE = 8, 4, 32


def lowered(field, factor=FACTOR):
    """A field (c, y, x) as the model's D shows it."""
    D = downscale(field.shape[1:], factor, "renormalize")
    return D(torch.as_tensor(field[None], dtype=torch.float32))[0].numpy()


def discs(height=320, width=400, n=12, seed=0):
    """Smooth round nuclei of 15 px apart from each other, (2, y, x), and their centres."""
    rng = np.random.default_rng(seed)
    grid = [(y, x) for y in range(40, height - 39, 70) for x in range(40, width - 39, 70)]
    centres = np.array(grid)[rng.permutation(len(grid))[:n]] + rng.integers(-9, 10, (n, 2))
    y, x = np.mgrid[:height, :width]
    nuclei = sum(400 / (1 + np.exp(np.hypot(y - cy, x - cx) - 7.5)) for cy, cx in centres)
    return np.stack([60 + nuclei, 80 + nuclei / 2]), centres


@pytest.fixture
def field(tmp_path):
    """``field.ome.tif``, 8x, beside the nuclei's centres in its pixels."""
    high, centres = discs()
    write(tmp_path / "field.ome.tif", lowered(high))
    return (centres + 0.5) / FACTOR - 0.5


def write(path, images, pixel_size_um=8.0):
    tifffile.imwrite(
        path, np.rint(images).astype(np.uint16), photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": ["dna", "nfkb"]},
                  "PhysicalSizeX": pixel_size_um, "PhysicalSizeXUnit": "µm"},
    )  # fmt: skip


def run(folder, *more, files=("field.ome.tif",)):
    super_resolve_field.main(
        [*(str(folder / name) for name in files), "--model", str(MODEL), "--factor", str(FACTOR),
         "--out", str(folder / "high.ome.tif"), "--search", "bicubic", "--threads", "1",
         *map(str, more)]
    )  # fmt: skip
    return read_stack(folder / "high.ome.tif")


FIND = ("--nucleus-channel", "dna", "--nucleus-diameter-um", "15")


def test_each_nucleus_is_found_once_and_cut_with_its_place_in_the_table(field, tmp_path):
    stack = run(tmp_path, *FIND)
    table = stack.table.sort_values(["y_px", "x_px"])
    want = field[np.lexsort(field.T[::-1])]
    assert len(table) == len(want)
    order = [int(np.hypot(*(table[["y_px", "x_px"]].to_numpy() - p).T).argmin()) for p in want]
    assert sorted(order) == list(range(len(want)))
    found = table[["y_px", "x_px"]].to_numpy()[order]
    assert np.abs(found - want).max() < 0.2  # pixels of the field, 1.6 of the model
    np.testing.assert_allclose(table["y_um"], 8 * table["y_px"])
    assert set(table["field"]) == {"field"} and table["image_id"].is_unique
    cells = read_stack(tmp_path / "high.cells.ome.tif")
    assert cells.images.shape == (len(want), 2, SIDE, SIDE)
    assert list(cells.table["image_id"]) == list(stack.table["image_id"])
    # The nucleus of each super-resolved cell lies in the middle.
    y, x = np.mgrid[:SIZE, :SIZE]
    weight = stack.images[:, 0] - stack.images[:, 0].min(axis=(1, 2), keepdims=True)
    for axis in (y, x):
        middle = (weight * axis).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
        assert np.abs(middle - SIZE // 2).max() < 1.6


def test_cells_are_those_that_the_model_is_given_in_training_and_whole_pixels_are_not():
    high, centres = discs()
    squares = cut(high, pd.DataFrame(centres, columns=["y_px", "x_px"]), SIZE)
    ideal = downscale(SIZE, FACTOR, "renormalize")(torch.as_tensor(squares)).numpy()
    low, positions = lowered(high), (centres + 0.5) / FACTOR - 0.5
    cells = cut_cells(low, positions, SIDE, FACTOR)
    first = np.rint(corners(positions, SIDE, FACTOR)).astype(int)
    whole = np.stack([low[:, y : y + SIDE, x : x + SIDE] for y, x in first])
    error, without = (np.sqrt(((a - ideal) ** 2).mean()) for a in (cells, whole))
    assert error < 0.4 * without


def test_a_cell_at_whole_pixels_is_cut_as_it_is():
    low = np.random.default_rng(0).uniform(50, 400, (2, 20, 30))
    positions = np.array([[7, 9], [12, 3]]) + SIDE / 2 - 0.5 + 0.5 / FACTOR
    cells = cut_cells(low, positions, SIDE, FACTOR)
    np.testing.assert_allclose(cells[0], low[:, 7:11, 9:13], rtol=1e-5)
    np.testing.assert_allclose(cells[1], low[:, 12:16, 3:7], rtol=1e-5)


def test_cells_that_reach_over_the_border_are_left_out_and_counted(capsys):
    low = lowered(discs()[0])
    middle, edge = [20.0, 20.0], [0.5, 20.0]
    fields = Fields(low[None], ("a",), ("dna", "nfkb"), SIDE, FACTOR, 8.0)
    images, table = cut_fields(fields, [np.array([middle, edge])])
    assert len(images) == len(table) == 1 and list(table["image_id"]) == ["a_y20.00_x20.00"]
    assert "1 of 2 cells are left out" in capsys.readouterr().out
    with pytest.raises(InputError, match="no cell that lies wholly in its field"):
        cut_fields(fields, [np.array([edge])])
    shape = low.shape[1:]
    first = 0.5 / FACTOR + SIDE / 2 - 1  # its first pixel ends where the field begins
    assert are_inside(shape, np.array([[first, 20.0]]), SIDE, FACTOR).all()
    assert not are_inside(shape, np.array([[first - 0.01, 20.0]]), SIDE, FACTOR).any()
    last = np.array([shape]) - 1 - first + 1 / FACTOR
    assert are_inside(shape, last, SIDE, FACTOR).all()
    assert not are_inside(shape, last + 0.01, SIDE, FACTOR).any()


@pytest.mark.parametrize("factor", [4, 8])
def test_crowded_nuclei_of_few_pixels_are_found(factor):
    high = small_plate.field(
        nucleus_diameter_px=16.0, field_height_px=320, field_width_px=320, neighbours=8.0
    )
    true = high.truth[["y_px", "x_px"]].to_numpy()
    found = (find_nuclei(lowered(high.counts, factor)[0], 16 / factor, factor) + 0.5) * factor
    near = np.hypot(*(true[:, None] - found[None]).transpose(2, 0, 1)).min(axis=1)
    assert len(true) > 40 and (near < 5).mean() > 0.9
    assert 0.9 < len(found) / len(true) < 1.1


@pytest.mark.parametrize("diameter", [1.9, 4.0, 15.0])
def test_noise_alone_holds_no_nucleus(diameter):
    noise = np.random.default_rng(0).poisson(60, (80, 90)).astype(float)
    assert len(find_nuclei(noise, diameter, FACTOR)) == 0
    fields = Fields(np.stack([noise] * 2)[None], ("a",), ("dna", "nfkb"), SIDE, FACTOR, 8.0)
    with pytest.raises(InputError, match="Found no nucleus of about"):
        find_all(fields, "dna", 8 * diameter)


def test_positions_of_a_table_are_taken_as_they_are(field, tmp_path, capsys):
    write(tmp_path / "other.ome.tif", lowered(discs(seed=1)[0]))
    given = pd.DataFrame(
        {"field": ["other", "field", "field"], "y_px": [20, 10.25, 30], "x_px": [20, 11, 12.5]}
    )
    given.to_csv(tmp_path / "positions.csv", index=False)
    stack = run(tmp_path, "--positions", tmp_path / "positions.csv",
                files=("field.ome.tif", "other.ome.tif"))  # fmt: skip
    back = stack.table.sort_values(["field", "y_px"])[["field", "y_px", "x_px"]].values.tolist()
    assert back == [["field", 10.25, 11.0], ["field", 30.0, 12.5], ["other", 20.0, 20.0]]
    said = capsys.readouterr().out
    for name in ("field", "other"):
        assert f"high.{name}.png" in said
        with Image.open(tmp_path / f"high.{name}.png") as picture:
            assert picture.size == (2 * 50 * 16 + GAP, 40 * 16 + TITLE)


def test_nothing_is_replaced_unless_that_is_asked(field, tmp_path):
    run(tmp_path, *FIND)
    before = (tmp_path / "high.cells.ome.tif").read_bytes()
    with pytest.raises(InputError, match="Give --overwrite"):
        run(tmp_path, "--nucleus-channel", "nfkb", "--nucleus-diameter-um", "15")
    assert (tmp_path / "high.cells.ome.tif").read_bytes() == before
    run(tmp_path, *FIND, "--overwrite")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "neither --positions nor both"),
        (("--nucleus-channel", "dna"), "neither --positions nor both"),
        (("--nucleus-channel", "dna", "--nucleus-diameter-um", "0"), "above 0"),
        (("--nucleus-channel", "dapi", "--nucleus-diameter-um", "15"), "nucleus_channel dapi"),
        (("--positions", "nowhere.csv"), "nowhere.csv does not exist"),
    ],
)
def test_what_is_missing_ends_in_one_sentence_and_writes_nothing(field, tmp_path, more, message):
    with pytest.raises(InputError, match=message):
        run(tmp_path, *more)
    assert [path.name for path in tmp_path.iterdir()] == ["field.ome.tif"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y_px\n3\n", "no column x_px"),
        ("y_px,x_px\n3,a\n", "x_px 'a' in row 2"),
        ("y_px;x_px\n3,5;\n", r"position \(3.5, nan\) in row 2"),
        ("y_px,x_px\n3,4\n40,50\n", r"position \(40, 50\) in row 3 .* within 40 rows and 50"),
        ("y_px,x_px\n3,4\n3,4.0\n", "position in row 3 .* twice"),
    ],
)
def test_faulty_positions_are_refused(field, tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    fields = read_fields([tmp_path / "field.ome.tif"], MODEL, FACTOR, None, None)
    with pytest.raises(InputError, match=message):
        read_positions(tmp_path / "p.csv", fields)


def test_positions_in_several_fields_name_one_of_them(field, tmp_path):
    write(tmp_path / "b.ome.tif", lowered(discs(seed=1)[0]))
    names = [tmp_path / name for name in ("field.ome.tif", "b.ome.tif")]
    fields = read_fields(names, MODEL, FACTOR, None, None)
    (tmp_path / "p.csv").write_text("y_px,x_px\n3,4\n")
    with pytest.raises(InputError, match="no column field"):
        read_positions(tmp_path / "p.csv", fields)
    (tmp_path / "p.csv").write_text("field,y_px,x_px\nc,3,4\n")
    with pytest.raises(InputError, match="field 'c' .* expected one of field, b"):
        read_positions(tmp_path / "p.csv", fields)


def test_pixels_of_another_size_are_refused_and_unknown_ones_taken_as_the_models(
    field, tmp_path, capsys
):
    low = lowered(discs()[0])
    write(tmp_path / "wide.ome.tif", low, pixel_size_um=6.0)
    with pytest.raises(InputError, match="The files say 6 um a pixel, expected 8 um"):
        read_fields([tmp_path / "wide.ome.tif"], MODEL, FACTOR, None, None)
    tifffile.imwrite(tmp_path / "plain.tif", np.rint(low).astype(np.uint16), metadata=None,
                     photometric="minisblack")  # fmt: skip
    fields = read_fields([tmp_path / "plain.tif"], MODEL, FACTOR, ["dna", "nfkb"], None)
    assert fields.pixel_size_um == 8.0 and "taken as 8 um" in capsys.readouterr().out


# ---- plates of such fields ---------------------------------------------------------------------


def low_plate(folder, factor=4):
    """A simulated plate whose fields are reduced; its checked sheet."""
    sheet = small_plate.simulate(folder, "P1", wells_per_treatment=1, field_height_px=160)
    table = pd.read_csv(sheet, comment="#")
    for path in table[["path_dna", "path_nfkb"]].to_numpy().ravel():
        image = tifffile.imread(folder / path)
        low = np.rint(lowered(image[None], factor)[0]).astype(np.uint16)
        tifffile.imwrite(folder / path, low)
    table = table.drop(columns=["digest_dna", "digest_nfkb"]).assign(pixel_size_um=1.5 * factor)
    table.to_csv(folder / "low.csv", index=False)
    return folder / "low.csv"


def crop(folder, sheet, *more):
    crop_cells.main(
        ["--config", str(folder / "config.yaml"), "--sheet", str(sheet), "--channels", "dna",
         "nfkb", "--nucleus-channel", "dna", "--output", str(folder / "P1.ome.tif"), "--fields",
         str(folder / "P1.fields.csv"), "--factor", "4", "--crop-size", "4",
         "--illumination", "none", "--contrast-min", "0", *more]
    )  # fmt: skip
    return read_stack(folder / "P1.ome.tif")


def test_a_plate_of_low_resolution_fields_gives_its_cells(tmp_path):
    sheet = low_plate(tmp_path)
    stack = crop(tmp_path, sheet, "--cells-per-field", "200")
    truth = pd.read_parquet(tmp_path / "P1.truth.parquet")
    assert stack.images.dtype == np.uint16 and stack.images.shape[1:] == (2, 4, 4)
    for (well, site), cells in stack.table.groupby(["well", "site"]):
        true = truth[(truth["well"] == well) & (truth["site"] == site)]
        true = true[["y_px", "x_px"]].to_numpy()
        found = (cells[["y_px", "x_px"]].to_numpy() + 0.5) * 4 - 0.5
        near = np.hypot(*(found[:, None] - true[None]).transpose(2, 0, 1)).min(axis=1)
        assert len(found) > 10 and (near < 3).mean() > 0.9
    table = stack.table
    assert (table["crop_size_px"] == 4).all() and table["nucleus_area_um2"].isna().all()
    assert table[["noise_share", "blur_nd", "touching_share", "debris_height"]].isna().all(None)
    assert not table[["noise", "out_of_focus", "overlapping", "debris", "border"]].any(axis=None)
    fields = pd.read_csv(tmp_path / "P1.fields.csv", comment="#")
    assert (fields["n_nuclei"] == fields["n_cells"] + fields["n_at_border"]).all()


def test_cells_of_a_field_are_drawn_and_a_factor_below_2_is_refused(tmp_path):
    sheet = low_plate(tmp_path)
    everything = crop(tmp_path, sheet).table
    some = crop(tmp_path, sheet, "--cells-per-field", "5").table
    assert (some.groupby(["well", "site"]).size() == 5).all()
    assert set(some["image_id"]) < set(everything["image_id"])
    with pytest.raises(InputError, match="Found --factor 1, expected 2 or more"):
        crop(tmp_path, sheet, "--factor", "1")
    with pytest.raises(InputError, match="Found no nucleus in plate P1"):
        crop(tmp_path, sheet, "--nucleus-diameter-um", "200", "--on-broken-field", "stop")
