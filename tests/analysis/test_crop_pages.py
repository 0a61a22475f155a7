"""Crops in a TIFF: pages whose order nothing tells are asked for; damage is one sentence."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile

from rls.runtime.errors import InputError
from tests.analysis.crops_of import crops_of
from tests.analysis.test_import_crops import load, made_up_crops, made_up_labels

# Case: dna is 100 to 105, nfkb 900 to 905 in the first pixel of cells 1 to 6.
CROPS = np.random.default_rng(0).integers(0, 4000, (6, 2, 4, 4)).astype(np.uint16)
CROPS[:, :, 0, 0] = np.arange(6)[:, None] + [100, 900]
BY_CELL = CROPS.reshape(12, 4, 4)
BY_CHANNEL = CROPS.swapaxes(0, 1).reshape(12, 4, 4)
GREY = {"photometric": "minisblack"}


def read(path, axes=None, channels=2, stored_as="counts"):
    return crops_of(
        path,
        range(6),
        n_labels=6,
        n_channels=channels,
        stored_as=stored_as,
        bit_depth=12,
        axes=axes,
    )


@pytest.mark.parametrize(("pages", "axes"), [(BY_CELL, "TCYX"), (BY_CHANNEL, "CTYX")])
def test_the_order_of_unnamed_pages_is_said_or_asked_for(tmp_path, pages, axes):
    path = tmp_path / "crops.tif"
    tifffile.imwrite(path, pages, metadata=None, **GREY)
    np.testing.assert_array_equal(read(path, axes), CROPS)
    with pytest.raises(InputError, match="does not say which are channels.*--axes TCYX"):
        read(path)


@pytest.mark.parametrize(
    ("pixels", "how"),
    [
        (CROPS.swapaxes(0, 1), {"ome": True, "metadata": {"axes": "CTYX"}}),
        (CROPS, {"ome": True, "metadata": {"axes": "TCYX"}}),
        (CROPS, {"imagej": True, "metadata": {"axes": "TCYX"}}),
        (CROPS, {"imagej": True, "metadata": {"axes": "ZCYX"}}),
        (CROPS, {"metadata": {"axes": "TCYX"}}),
    ],
)
def test_a_file_that_names_its_axes_is_read_by_them(tmp_path, pixels, how):
    name = "crops.ome.tif" if "ome" in how else "crops.tif"
    tifffile.imwrite(tmp_path / name, pixels, **GREY, **how)
    np.testing.assert_array_equal(read(tmp_path / name), CROPS)


def test_pages_of_one_channel_need_no_order(tmp_path):
    tifffile.imwrite(tmp_path / "crops.tif", CROPS[:, 0], metadata=None, **GREY)
    np.testing.assert_array_equal(read(tmp_path / "crops.tif", channels=1), CROPS[:, :1])


def test_differences_below_0_are_read_from_a_tiff(tmp_path):
    stored = np.diff(CROPS.astype(np.int16), axis=-1, prepend=np.int16(0))
    tifffile.imwrite(tmp_path / "c.ome.tif", stored, metadata={"axes": "TCYX"}, **GREY)
    found = read(tmp_path / "c.ome.tif", stored_as="horizontal_differences")
    np.testing.assert_array_equal(found, CROPS)


def test_import_crops_takes_the_order_as_a_flag(tmp_path):
    crops = made_up_crops(np.random.default_rng(3))
    made_up_labels().to_csv(tmp_path / "labels.csv", index=False)
    pages = crops.swapaxes(0, 1).reshape(-1, 30, 30)
    tifffile.imwrite(tmp_path / "counts.tif", pages, metadata=None, **GREY)
    with pytest.raises(InputError, match="does not say which are channels"):
        load(tmp_path, "P1", "counts.tif")
    path = load(tmp_path, "P1", "counts.tif", "--axes", "CTYX")
    np.testing.assert_array_equal(tifffile.imread(path), crops[len(crops) // 2 :])


@pytest.mark.parametrize(
    ("shape", "dtype"), [((6, 2, 2**20, 2**20), "<u2"), ((6, 2, 0, 0), "<u2"), ((6, 2, 4, 4), "|O")]
)
def test_a_header_of_npy_that_cannot_be_is_refused_before_memory_is_asked_for(
    tmp_path, shape, dtype
):
    file = io.BytesIO()
    head = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)
    (tmp_path / "crops.npy").write_bytes(file.getvalue() + b"\0" * 64)
    with pytest.raises(InputError, match="promises crops of|expected integers of 8"):
        read(tmp_path / "crops.npy")
