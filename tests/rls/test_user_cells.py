"""A user's files become cells: one cell for the files of one image, or a sentence."""

from __future__ import annotations

import shutil

import imagecodecs
import numpy as np
import pytest
import tifffile

from rls.io import Intensity
from rls.pretrained.intensity_scale import choose_scale
from rls.pretrained.user_cells import check_pixel_size, read_cells
from rls.runtime.errors import InputError
from tests.rls.io.ome_sets import write_set

WANTED = ("dna", "nfkb")
CELL = np.random.default_rng(0).integers(0, 4000, (2, 4, 4)).astype(np.uint16)
OTHER = CELL + 5000


def test_the_files_of_one_image_are_one_cell(tmp_path):
    write_set(tmp_path, "cell1", CELL)
    write_set(tmp_path, "cell2", OTHER)
    cells = read_cells([tmp_path], WANTED)
    assert cells.image_ids == ("cell1", "cell2")
    np.testing.assert_array_equal(cells.images, [CELL, OTHER])
    assert cells.pixel_size_um == 0.5


def test_ome_xml_names_the_channels_of_files_whose_names_do_not(tmp_path):
    write_set(tmp_path, "cell1", CELL[::-1], WANTED[::-1], ("cell1_w1.tif", "cell1_w2.tif"))
    cells = read_cells([tmp_path], WANTED)
    assert cells.image_ids == ("cell1_w",)
    np.testing.assert_array_equal(cells.images, [CELL])


def test_a_lost_file_of_an_image_is_named(tmp_path):
    first, second = write_set(tmp_path, "cell1", CELL)
    with pytest.raises(InputError, match="lacks the file for nfkb. By the OME-XML of .*cell1_dna"):
        read_cells([first], WANTED)  # It is there, but was not given.
    second.unlink()
    with pytest.raises(InputError, match="it lies in cell1_nfkb.ome.tif, which was not given"):
        read_cells([tmp_path], WANTED)


def test_another_cells_file_is_never_taken_for_a_lost_one(tmp_path):
    write_set(tmp_path, "cell1", CELL)
    (tmp_path / "other").mkdir()
    write_set(tmp_path / "other", "cell2", OTHER)
    shutil.copy(tmp_path / "other" / "cell2_nfkb.ome.tif", tmp_path / "cell1_nfkb.ome.tif")
    with pytest.raises(InputError, match="belong to different images .the UUIDs"):
        read_cells([tmp_path / "cell1_dna.ome.tif", tmp_path / "cell1_nfkb.ome.tif"], WANTED)
    tifffile.imwrite(tmp_path / "cell1_nfkb.ome.tif", CELL[1], metadata=None)  # It has no OME-XML.
    with pytest.raises(InputError, match="belong to different images"):
        read_cells([tmp_path / "cell1_dna.ome.tif", tmp_path / "cell1_nfkb.ome.tif"], WANTED)


def test_a_copy_under_the_other_channels_name_is_found(tmp_path):
    first, second = write_set(tmp_path, "cell1", CELL)
    shutil.copy(first, second)
    with pytest.raises(InputError, match="cell1_nfkb.ome.tif is called nfkb and holds dna"):
        read_cells([tmp_path], WANTED)


def test_png_of_16_bits_keeps_them(tmp_path):
    """Case: RGB of dna, nfkb and an unused colour, and one grey file with alpha a channel."""
    rgb = np.stack([*CELL, np.zeros((4, 4), np.uint16)], axis=-1)
    (tmp_path / "cell1.png").write_bytes(imagecodecs.png_encode(rgb))
    cells = read_cells([tmp_path], WANTED, ("dna", "nfkb", "unused"))
    np.testing.assert_array_equal(cells.images, [CELL])
    assert not cells.eight_bit
    (tmp_path / "cell1.png").unlink()
    for name, plane in zip(WANTED, CELL, strict=True):
        grey = np.stack([plane, np.full((4, 4), 65535, np.uint16)], axis=-1)
        (tmp_path / f"cell1_{name}.png").write_bytes(imagecodecs.png_encode(grey))
    np.testing.assert_array_equal(read_cells([tmp_path], WANTED).images, [CELL])


def test_pages_that_may_be_cells_or_channels_are_asked_for(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.stack([CELL, OTHER]), photometric="minisblack")
    with pytest.raises(InputError, match="does not say which are channels.*--axes TCYX"):
        read_cells([tmp_path], WANTED, WANTED)
    for axes, expected in (("TCYX", [CELL, OTHER]), ("CTYX", np.stack([CELL, OTHER], axis=1))):
        cells = read_cells([tmp_path], WANTED, WANTED, axes)
        np.testing.assert_array_equal(cells.images, expected)


def test_axes_of_pages_do_not_take_colours_apart(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, (8, 6, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb")
    with pytest.raises(InputError, match="does not fit --axes TCYX"):
        read_cells([tmp_path], WANTED, WANTED, "TCYX")


@pytest.mark.parametrize(("unit", "warned"), [("µm", True), ("μm", True), ("nm", True)])
def test_another_pixel_size_is_warned_of_in_every_spelling(tmp_path, capsys, unit, warned):
    metadata = {"axes": "CYX", "Channel": {"Name": list(WANTED)}, "PhysicalSizeXUnit": unit}
    for size in (8.0, 1.0):
        size = size * (1000 if unit == "nm" else 1)
        tifffile.imwrite(
            tmp_path / "x.ome.tif", CELL, metadata=metadata | {"PhysicalSizeX": size},
            photometric="minisblack",
        )  # fmt: skip
        check_pixel_size(read_cells([tmp_path], WANTED), 1.0, 8)
    assert capsys.readouterr().out.count("warning: the files say 1 um a pixel") == warned


@pytest.mark.parametrize(("top", "warned"), [(1.0, True), (1.5, False)])
def test_floats_that_were_scaled_to_1_are_warned_of(tmp_path, capsys, top, warned):
    images = (CELL / CELL.max() * top).astype(np.float32)
    how = {"metadata": {"axes": "CYX", "Channel": {"Name": list(WANTED)}}}
    tifffile.imwrite(tmp_path / "x.ome.tif", images, photometric="minisblack", **how)
    model = Intensity(WANTED, (54.0, 56.0), (617.0, 2152.0))
    choose_scale(read_cells([tmp_path], WANTED), model, None, None, {})
    assert ("warning: the images hold no value above 1" in capsys.readouterr().out) == warned
