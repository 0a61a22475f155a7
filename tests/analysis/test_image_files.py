"""Image files of a plate: headers are checked without pixels, and no file lends its pixels."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tifffile

from analysis.plates import image_files
from analysis.plates.image_files import BrokenField, channels_of, check_header, read_field
from tests.analysis.small_plate import CHANNELS
from tests.rls.io.ome_sets import write_set

FIELD = np.random.default_rng(0).integers(0, 4000, (2, 20, 30)).astype(np.uint16)
OTHER = FIELD + 5000
APART = {"path_dna": "f1_dna.ome.tif", "path_nfkb": "f1_nfkb.ome.tif", "bit_depth": 16}


def test_the_header_tells_channels_names_and_size_without_pixels(tmp_path, monkeypatch):
    names = {"axes": "CYX", "Channel": {"Name": ["NFKB", "DNA"]}}
    tifffile.imwrite(tmp_path / "x.ome.tif", FIELD, photometric="minisblack", metadata=names)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lambda *_: pytest.fail("read pixels"))
    head = channels_of(tmp_path / "x.ome.tif")
    assert (head.count, head.size, head.names, head.binding) == (2, (20, 30), ("NFKB", "DNA"), True)
    path = tmp_path / "x.ome.tif"
    row = {"path": "x.ome.tif", "bit_depth": 16}
    assert check_header(row, CHANNELS, tmp_path) == {"dna": (path, 1), "nfkb": (path, 0)}
    with pytest.raises(BrokenField, match="found no channel actin") as error:
        check_header(row, ("dna", "actin"), tmp_path)
    assert error.value.reason == "channel missing"


def test_a_field_of_two_files_is_read_from_each(tmp_path):
    write_set(tmp_path, "f1", FIELD)
    np.testing.assert_array_equal(read_field(APART, CHANNELS, tmp_path), FIELD)
    swapped = APART | {"path_dna": APART["path_nfkb"], "path_nfkb": APART["path_dna"]}
    with pytest.raises(BrokenField, match="called nfkb: found no channel dna"):
        read_field(swapped, CHANNELS, tmp_path)


def test_one_file_of_a_set_does_not_lend_the_other_ones_pixels(tmp_path):
    files = write_set(tmp_path, "f1", FIELD)
    row = {"path": "f1_dna.ome.tif", "bit_depth": 16}
    message = "found no channel nfkb.*By the OME-XML, nfkb lies in f1_nfkb.ome.tif.*path_"
    for _ in range(2):
        with pytest.raises(BrokenField, match=message):
            read_field(row, CHANNELS, tmp_path)
        if files[1].exists():
            files[1].unlink()


def test_files_of_different_fields_are_refused(tmp_path):
    write_set(tmp_path, "f1", FIELD)
    (tmp_path / "other").mkdir()
    write_set(tmp_path / "other", "f2", OTHER)
    shutil.copy(tmp_path / "other" / "f2_nfkb.ome.tif", tmp_path / "f1_nfkb.ome.tif")
    with pytest.raises(BrokenField, match="belong to different images .the UUIDs") as error:
        read_field(APART, CHANNELS, tmp_path)
    assert error.value.reason == "files of different images"
    tifffile.imwrite(tmp_path / "f1_nfkb.ome.tif", FIELD[1])
    with pytest.raises(BrokenField, match="belong to different images"):
        read_field(APART, CHANNELS, tmp_path)


def test_a_fault_of_the_file_keeps_its_short_form(tmp_path):
    how = {"photometric": "miniswhite", "metadata": None}
    tifffile.imwrite(tmp_path / "x.tif", FIELD[0], **how)
    with pytest.raises(BrokenField, match="white as 0.*on_broken_field: skip") as error:
        channels_of(tmp_path / "x.tif")
    assert error.value.reason == "values not readable"


def test_a_thumbnail_is_passed_over_and_a_larger_image_is_not(tmp_path):
    for first, second, right in ((FIELD, FIELD[:, :5, :6], True), (FIELD[:, :5, :6], FIELD, False)):
        with tifffile.TiffWriter(tmp_path / "x.tif") as tiff:
            for pixels in (first, second):
                tiff.write(pixels, photometric="minisblack", planarconfig="separate", metadata=None)
        row = {"path": "x.tif", "bit_depth": 16}
        if right:
            np.testing.assert_array_equal(read_field(row, CHANNELS, tmp_path), FIELD)
            continue
        with pytest.raises(BrokenField, match="has 2 images of 2 x 5 x 6"):
            read_field(row, CHANNELS, tmp_path)


def test_two_unnamed_axes_are_no_channels(tmp_path):
    pixels = np.stack([FIELD, FIELD + 1, FIELD + 2])
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="minisblack")
    with pytest.raises(BrokenField, match="the axes QQYX of 3 x 2 x 20 x 30"):
        channels_of(tmp_path / "x.tif")


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX", "TZCYX", "TCZYX"])
def test_planes_of_an_ome_tiff_are_projected_as_the_row_says(tmp_path, axes):
    stack = np.random.default_rng(1).integers(1, 4000, (2, 3, 20, 30)).astype(np.uint16)
    pixels = stack.transpose(["CZYX".index(letter) for letter in axes if letter != "T"])
    pixels = pixels[None] if "T" in axes else pixels
    names = {"axes": axes, "Channel": {"Name": ["NFKB", "DNA"]}}
    tifffile.imwrite(tmp_path / "x.ome.tif", pixels, photometric="minisblack", metadata=names)
    row = {"path": "x.ome.tif", "bit_depth": 12}
    with pytest.raises(BrokenField, match="has the axes .*list_plate.projection"):
        read_field(row, CHANNELS, tmp_path)
    wanted = {"max": stack.max(axis=1), "mean": np.rint(stack.mean(axis=1))}
    for how, images in wanted.items():
        found = read_field({**row, "projection": how}, CHANNELS, tmp_path)
        np.testing.assert_array_equal(found, images[::-1])


def test_time_points_and_unnamed_axes_are_no_planes(tmp_path):
    pixels = np.stack([FIELD, FIELD + 1])
    for name, how in (("t.ome.tif", {"metadata": {"axes": "TCYX"}}), ("q.tif", {})):
        tifffile.imwrite(tmp_path / name, pixels, photometric="minisblack", **how)
        row = {"path": name, "bit_depth": 16, "projection": "max"}
        with pytest.raises(BrokenField, match="has the axes"):
            read_field(row, CHANNELS, tmp_path)


def test_a_pixel_size_that_contradicts_the_sheet_is_refused(tmp_path):
    said = {"axes": "CYX", "Channel": {"Name": ["dna", "nfkb"]}}
    for axis in "XY":
        said |= {f"PhysicalSize{axis}": 0.65, f"PhysicalSize{axis}Unit": "µm"}
    tifffile.imwrite(tmp_path / "x.ome.tif", FIELD, photometric="minisblack", metadata=said)
    row = {"path": "x.ome.tif", "bit_depth": 16}
    for size in (0.65, 0.64, None):
        more = {} if size is None else {"pixel_size_um": size}
        np.testing.assert_array_equal(read_field({**row, **more}, CHANNELS, tmp_path), FIELD)
    with pytest.raises(BrokenField, match="says 0.65 x 0.65 um a pixel, but .* 0.325") as error:
        read_field({**row, "pixel_size_um": 0.325}, CHANNELS, tmp_path)
    assert error.value.reason == "pixel size"


def test_grey_with_alpha_is_one_channel(tmp_path):
    alpha = np.full((20, 30), 65535, np.uint16)
    pixels = np.stack([FIELD[0], alpha], axis=-1)
    how = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}
    tifffile.imwrite(tmp_path / "x.tif", pixels, extrasamples=["unassalpha"], **how)
    assert channels_of(tmp_path / "x.tif").count == 1
    row = {"path_dna": "x.tif", "bit_depth": 16}
    np.testing.assert_array_equal(read_field(row, ("dna",), tmp_path)[0], FIELD[0])
    with pytest.raises(BrokenField, match="has 1 channels"):
        read_field({"path": "x.tif", "bit_depth": 16}, CHANNELS, tmp_path)


def test_memory_holds_one_file_at_a_time(tmp_path, monkeypatch):
    write_set(tmp_path, "f1", FIELD)
    read, real = [], image_files.read_channels
    monkeypatch.setattr(
        image_files, "read_channels", lambda p, *of: read.append(p.name) or real(p, *of)
    )
    read_field(APART, CHANNELS, tmp_path)
    assert read == ["f1_dna.ome.tif", "f1_nfkb.ome.tif"]
