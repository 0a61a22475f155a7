"""Files of microscopes' makers: pixels equal, nothing guessed, every fault one sentence."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest

from rls.io.broken_image import BrokenImage
from rls.io.images import read_planes
from rls.io.vendor import open_vendor, place_of
from rls.runtime.errors import InputError
from tests.rls.io.vendor_files import NAMES, PIXEL_UM, pixels_of, write_czi, write_lif

FIELD = pixels_of(2, 1, 40, 50)
OTHER = pixels_of(2, 1, 40, 50, seed=1)
HOW = ("uncompressed:", "zstd0:ExplicitLevel=3", "zstd1:ExplicitLevel=2;PreProcess=HiLoByteUnpack")


def read(path, place=0):
    with open_vendor(path) as series:
        one = series[place]
        return np.stack([one.read(channel) for channel in range(len(one.channels))])


def refused(path, message, reason=None):
    with pytest.raises(BrokenImage, match=message) as error:
        read(path)
    assert reason in (None, error.value.reason)


# ---- CZI --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("how", HOW)
def test_scenes_and_channels_of_a_czi_are_read_pixel_by_pixel(tmp_path, how, bits):
    scenes = [pixels_of(2, 3, 41, 51, bits=bits, seed=seed) for seed in range(3)]
    path = write_czi(tmp_path / "x.czi", scenes, how=how)
    with open_vendor(path) as series:
        assert [one.name for one in series] == ["0", "1", "2"]
        assert all(one.channels == NAMES and one.size == (41, 51) for one in series)
        assert all((one.n_planes, one.n_times) == (3, 1) for one in series)
        assert series[0].pixel_size_um == pytest.approx((PIXEL_UM, PIXEL_UM))
    for place, scene in enumerate(scenes):
        np.testing.assert_array_equal(read(path, place), scene)


def test_smooth_pixels_are_packed_and_come_back(tmp_path):
    ramp = np.arange(2000, dtype=np.uint16).reshape(1, 1, 40, 50) * 30
    for how in HOW[1:]:
        path = write_czi(tmp_path / f"{how[:5]}.czi", [ramp], how=how, names=("DAPI",))
        assert path.stat().st_size < ramp.nbytes + 8000
        np.testing.assert_array_equal(read(path), ramp)


def test_tiles_that_fit_together_are_one_image_and_others_are_images_of_their_own(tmp_path):
    fitting = [(0, 0, 25, 20), (0, 20, 25, 30), (25, 0, 15, 50)]
    path = write_czi(tmp_path / "fit.czi", [FIELD], tiles=fitting)
    np.testing.assert_array_equal(read(path), FIELD)
    apart = [(0, 0, 40, 30), (0, 25, 40, 25)]
    path = write_czi(tmp_path / "over.czi", [FIELD, OTHER], tiles=apart)
    with open_vendor(path) as series:
        assert [one.name for one in series] == ["0/0", "0/1", "1/0", "1/1"]
    np.testing.assert_array_equal(read(path, 3), OTHER[:, :, :, 25:])


@pytest.mark.parametrize(
    ("tiles", "left_out"),
    [(None, (0, 1, 0, 0)), (None, (0, 0, 1, 0)), ([(0, 0, 40, 20), (0, 20, 40, 30)], (0, 1, 1, 1))],
)
def test_a_missing_plane_or_tile_is_never_zeros(tmp_path, tiles, left_out):
    images = pixels_of(2, 2, 40, 50)
    path = write_czi(tmp_path / "x.czi", [images], tiles=tiles, leave_out=left_out)
    refused(path, "a channel or a plane is missing", "planes missing")


def test_a_czi_that_is_cut_off_is_refused_wherever_the_cut_lies(tmp_path):
    path = write_czi(tmp_path / "x.czi", [FIELD, OTHER], how=HOW[2])
    whole = path.read_bytes()
    for share in np.linspace(0, 0.98, 30):
        path.write_bytes(whole[: int(share * len(whole))])
        refused(path, "cut off or damaged", "truncated or damaged file")


def test_a_czi_that_is_still_written_or_whose_directory_is_gone_is_refused(tmp_path):
    path = write_czi(tmp_path / "x.czi", [FIELD])
    whole = path.read_bytes()
    harmed = bytearray(whole)
    harmed[32 + 68 : 32 + 72] = struct.pack("<i", -1)
    path.write_bytes(harmed)
    refused(path, "still written")
    path.write_bytes(whole.replace(b"ZISRAWDIRECTORY", b"ZISRAWSOMETHING"))
    refused(path, "cut off or damaged")


def test_tiles_that_are_exchanged_are_found(tmp_path):
    """The directory says where a tile lies, and the tile itself which one it is."""
    path = write_czi(tmp_path / "x.czi", [FIELD])
    whole = path.read_bytes()
    at = whole.index(b"ZISRAWDIRECTORY") + 32 + 128
    first, second = at, at + 32 + 20 * struct.unpack_from("<i", whole, at + 28)[0]
    harmed = bytearray(whole)
    harmed[first + 6 : first + 14] = whole[second + 6 : second + 14]
    harmed[second + 6 : second + 14] = whole[first + 6 : first + 14]
    path.write_bytes(harmed)
    refused(path, "a tile is not the one of the directory")


def test_a_czi_without_a_pixel_size_says_none(tmp_path):
    with open_vendor(write_czi(tmp_path / "x.czi", [FIELD], pixel_um=0.0)) as series:
        assert series[0].pixel_size_um is None


# ---- LIF, written by hand ---------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16])
def test_images_of_a_lif_are_read_pixel_by_pixel(tmp_path, bits):
    images = {"A1": pixels_of(2, 3, 41, 51, bits=bits), "A2": pixels_of(2, 3, 41, 51, bits=bits)}
    images["A2"] += 1
    path = write_lif(tmp_path / "x.lif", images)
    with open_vendor(path) as series:
        assert [one.name for one in series] == ["A1", "A2"]
        assert (series[0].channels, series[0].size, series[0].n_planes) == (NAMES, (41, 51), 3)
        assert series[0].pixel_size_um == pytest.approx((PIXEL_UM, PIXEL_UM))
    for place, image in enumerate(images.values()):
        np.testing.assert_array_equal(read(path, place), image)


def test_a_lif_says_its_time_points_and_no_size_in_another_unit(tmp_path):
    path = write_lif(tmp_path / "x.lif", {"A1": pixels_of(2, 4, 20, 30)}, axes="CTYX", unit="inch")
    with open_vendor(path) as series:
        assert (series[0].n_planes, series[0].n_times, series[0].pixel_size_um) == (1, 4, None)


def test_a_lif_that_is_cut_off_is_refused(tmp_path):
    path = write_lif(tmp_path / "x.lif", {"A1": FIELD})
    whole = path.read_bytes()
    for share in np.linspace(0, 0.98, 12):
        path.write_bytes(whole[: int(share * len(whole))])
        refused(path, "cut off or damaged", "truncated or damaged file")


# ---- any of them ------------------------------------------------------------------------------


def test_an_image_is_named_by_its_name_or_its_position_and_never_guessed(tmp_path):
    images = {name: FIELD for name in ("A1", "2", "A1 ", "B1")}
    path = write_lif(tmp_path / "x.lif", images)
    with open_vendor(path) as series:
        assert [place_of(series, said, path) for said in ("b1", "3", "0")] == [3, 3, 0]
        for said in ("", "2", "A1", "9", "C1", "-1", "1.5"):
            with pytest.raises(BrokenImage, match="holds 4 images .A1, 2, A1 , B1") as error:
                place_of(series, said, path)
            assert error.value.reason == "series not said"


@pytest.mark.parametrize("ending", ["czi", "lif", "nd2"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    tmp_path, monkeypatch, ending
):
    package = {"czi": "czifile", "lif": "liffile", "nd2": "nd2"}[ending]
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / f"x.{ending}").touch()
    with pytest.raises(InputError, match=f"no package {package}.*pip install '{package}>="):
        read(tmp_path / f"x.{ending}")


@pytest.mark.parametrize(("ending", "package"), [("czi", "czifile"), ("lif", "liffile"),
                                                 ("nd2", "nd2")])  # fmt: skip
def test_any_other_bytes_are_refused_in_one_sentence(tmp_path, ending, package):
    pytest.importorskip(package)
    path = tmp_path / f"x.{ending}"
    with pytest.raises(BrokenImage, match="does not exist"):
        read(path)
    for content in (b"", b"\0" * 5000, b"ZISRAWFILE" + b"\0" * 500, bytes(range(256)) * 40):
        path.write_bytes(content)
        with pytest.raises(BrokenImage, match="cut off or damaged|holds no image"):
            read(path)


def test_a_users_field_is_read_where_nothing_is_left_to_choose(tmp_path):
    planes = read_planes(write_czi(tmp_path / "x.czi", [FIELD]), 2)
    np.testing.assert_array_equal(planes.images[0], FIELD[:, 0])
    assert planes.channels == NAMES and planes.pixel_size_um == pytest.approx(PIXEL_UM)
    for name, scenes, found in (
        ("s", [FIELD, OTHER], "2 images"),
        ("z", [pixels_of(2, 3, 40, 50)], "3 planes in z"),
    ):
        path = write_czi(tmp_path / f"{name}.czi", scenes)
        with pytest.raises(InputError, match=f"holds {found}, expected one image of one plane"):
            read_planes(path, 2)
