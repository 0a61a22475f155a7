"""Whichever program wrote a file, its pixels are read in their places, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from rls.io.images import read_planes
from rls.runtime.errors import InputError

CELLS = np.random.default_rng(0).integers(0, 4000, (5, 2, 4, 4)).astype(np.uint16)
GREY = {"photometric": "minisblack"}


@pytest.mark.parametrize(
    ("array", "how", "axes", "expected"),
    [
        (CELLS, {"imagej": True, "metadata": {"axes": "TCYX"}}, None, CELLS),
        (CELLS, {"imagej": True, "metadata": {"axes": "ZCYX"}}, None, CELLS),
        (CELLS[:, 0], {"imagej": True, "metadata": {"axes": "ZYX"}, **GREY}, None, CELLS[:, :1]),
        (CELLS[0], {"imagej": True, "metadata": {"axes": "CYX"}, **GREY}, None, CELLS[:1]),
        (CELLS, {"ome": True, "metadata": {"axes": "TCYX"}, **GREY}, None, CELLS),
        (CELLS, GREY, None, CELLS),
        (CELLS, {}, None, CELLS),  # tifffile takes 4 px for RGBA.
        (CELLS[0], GREY, None, CELLS[:1]),
        (CELLS.reshape(10, 4, 4), {"metadata": None, **GREY}, "TCYX", CELLS),
        (CELLS.swapaxes(0, 1).reshape(10, 4, 4), {"metadata": None, **GREY}, "CTYX", CELLS),
        (CELLS[:, 0], {"metadata": None, **GREY}, "TYX", CELLS[:, :1]),
        (CELLS[0, 0], GREY, None, CELLS[:1, :1]),
        (CELLS.astype(np.float32) / 7, GREY, None, CELLS.astype(np.float32) / 7),
        ((CELLS / 16).astype(np.uint8), GREY, None, (CELLS / 16).astype(np.uint8)),
    ],
)
def test_tiff_dialects_give_the_same_cells(tmp_path, array, how, axes, expected) -> None:
    path = tmp_path / ("x.ome.tif" if how.get("ome") else "x.tif")
    tifffile.imwrite(path, array, **how)
    planes = read_planes(path, 2, axes)
    assert planes.images.dtype == expected.dtype
    assert np.array_equal(planes.images, expected)


def test_an_ome_tiff_gives_its_names_and_pixel_size(tmp_path: Path) -> None:
    metadata = {"axes": "TCYX", "Channel": {"Name": ["DNA", "NFkB"]}, "PhysicalSizeX": 250.0,
                "PhysicalSizeXUnit": "nm"}  # fmt: skip
    tifffile.imwrite(tmp_path / "x.ome.tif", CELLS, metadata=metadata, **GREY)
    planes = read_planes(tmp_path / "x.ome.tif", 2)
    assert planes.channels == ("DNA", "NFkB") and planes.pixel_size_um == pytest.approx(0.25)
    tifffile.imwrite(tmp_path / "y.tif", CELLS, **GREY)
    assert read_planes(tmp_path / "y.tif", 2).channels is None


def test_unnamed_pages_are_cells_where_there_is_one_channel(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", CELLS[:, 0], metadata=None, **GREY)
    assert np.array_equal(read_planes(tmp_path / "x.tif", 1).images, CELLS[:, :1])


@pytest.mark.parametrize("bits", [np.uint8, np.uint16])
def test_png_of_either_depth_keeps_its_values(tmp_path: Path, bits) -> None:
    grey = (CELLS[0, 0] // (16 if bits == np.uint8 else 1)).astype(bits)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_planes(tmp_path / "grey.png", 1).images[0, 0], grey)
    rgb = np.random.default_rng(1).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    assert np.array_equal(read_planes(tmp_path / "rgb.png", 3).images[0], rgb.transpose(2, 0, 1))
    opaque = np.concatenate([rgb, np.full((4, 4, 1), 255, np.uint8)], axis=2)
    Image.fromarray(opaque).save(tmp_path / "rgba.png")
    assert read_planes(tmp_path / "rgba.png", 3).images.shape == (1, 3, 4, 4)


def write_bad(path: Path, kind: str) -> Path:
    path = path / ("bad.png" if kind in ("palette", "transparent") else "bad.tif")
    if kind == "pages":
        tifffile.imwrite(path, CELLS[:, 0], metadata=None, **GREY)
    elif kind == "t and z":
        tifffile.imwrite(path, CELLS.reshape(5, 2, 1, 4, 4), imagej=True,
                         metadata={"axes": "TZCYX"})  # fmt: skip
    elif kind == "nan":
        tifffile.imwrite(path, np.where(CELLS.max() == CELLS, np.nan, CELLS).astype("f4"), **GREY)
    elif kind == "complex":
        tifffile.imwrite(path, CELLS.astype(np.complex64), **GREY)
    elif kind == "cut off":
        tifffile.imwrite(path, np.zeros((8, 2, 64, 64), np.uint16), **GREY)
        path.write_bytes(path.read_bytes()[:30_000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "palette":
        Image.fromarray(CELLS[0, 0].astype(np.uint8)).convert("P").save(path)
    elif kind == "transparent":
        Image.fromarray(np.zeros((4, 4, 4), np.uint8), "RGBA").save(path)
    elif kind == "jpeg":
        path = path.with_suffix(".jpg")
        Image.fromarray(CELLS[0, 0].astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("pages", "--axes TCYX"),
        ("t and z", "project z first"),
        ("nan", "not finite"),
        ("complex", "complex64"),
        ("cut off", "cut off|cannot be read"),
        ("empty", "cannot be read"),
        ("palette", "mode P"),
        ("transparent", "is transparent in 16 pixels"),
        ("jpeg", "expected a TIFF, a PNG or"),
        ("missing", "does not exist"),
    ],
)
def test_what_would_mislead_is_refused(tmp_path: Path, kind: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_planes(write_bad(tmp_path, kind), 2)
