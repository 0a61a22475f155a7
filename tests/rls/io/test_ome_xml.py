"""OME-XML of other writers: a file gives the planes that it holds, and no other file's."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tifffile

from rls.io.broken_image import BrokenImage
from rls.io.images import read_planes
from rls.io.ome_xml import length_um
from rls.runtime.errors import InputError
from tests.rls.io.ome_sets import set_xml, uuid_of, write_page, write_set

CELL = np.random.default_rng(0).integers(0, 4000, (2, 4, 4)).astype(np.uint16)
OTHER = CELL + 5000


# ---- several files ----------------------------------------------------------------------------


@pytest.mark.parametrize("beside", ["whole set", "alone", "another file of that name"])
def test_a_file_of_a_set_gives_its_own_planes_whatever_lies_beside_it(tmp_path, beside):
    files = write_set(tmp_path, "cell1", CELL)
    if beside == "alone":
        files[1].unlink()
    elif beside != "whole set":
        write_page(files[1], OTHER[1], set_xml(uuid_of("z", 9), [("x", uuid_of("z", 9))], (4, 4)))
    planes = read_planes(files[0], 2)
    np.testing.assert_array_equal(planes.images, CELL[None, :1])
    assert planes.channels == ("dna",) and planes.elsewhere == {"nfkb": "cell1_nfkb.ome.tif"}
    assert planes.pixel_size_um == 0.5 and len(planes.files) == 2


def test_a_renamed_file_of_a_set_is_known_by_its_uuid(tmp_path):
    files = write_set(tmp_path, "cell1", CELL)
    files[0].rename(tmp_path / "renamed.ome.tif")
    files[1].rename(tmp_path / "cell1_dna.ome.tif")
    for name, channel in (("renamed", 0), ("cell1_dna", 1)):
        planes = read_planes(tmp_path / f"{name}.ome.tif", 2)
        np.testing.assert_array_equal(planes.images[0, 0], CELL[channel])
        assert planes.channels == (("dna", "nfkb")[channel],)


@pytest.mark.parametrize(
    ("own", "files", "read"),
    [
        # One file is named: it is this one under an earlier name, unless its UUID denies it.
        ("a", [("x.ome.tif", "a")], True),
        ("a", [("earlier.ome.tif", "a")], True),
        (None, [("earlier.ome.tif", "b")], True),
        (None, [("earlier.ome.tif", None)], True),
        ("a", [("x.ome.tif", "b")], True),
        ("a", [("earlier.ome.tif", "b")], False),
        # Two files are named: only a UUID tells which is this one.
        (None, [("x.ome.tif", "a"), ("y.ome.tif", "b")], False),
        (None, [("x.ome.tif", None), ("y.ome.tif", None)], False),
        ("c", [("x.ome.tif", "a"), ("y.ome.tif", "b")], False),
        ("a", [("x.ome.tif", "a"), ("y.ome.tif", "a")], True),
        ("a", [("v.ome.tif", "a"), ("y.ome.tif", "a")], False),
    ],
)
def test_which_planes_are_a_files_own(tmp_path, own, files, read):
    path = tmp_path / "x.ome.tif"
    for name in ("earlier.ome.tif", "y.ome.tif", "v.ome.tif"):
        tifffile.imwrite(tmp_path / name, OTHER[0])
    write_page(path, CELL[0], set_xml(own, files, (4, 4)))
    if read:
        np.testing.assert_array_equal(read_planes(path, 1).images[0, 0], CELL[0])
        return
    with pytest.raises(BrokenImage, match="which of them this file is cannot be told"):
        read_planes(path, 1)


def test_one_z_of_many_is_not_taken_for_the_cell(tmp_path):
    files = write_set(tmp_path, "cell1", CELL, names=("dna", "dna2"), z=2)
    with pytest.raises(BrokenImage, match="1 planes of an image of 2 z .*project z first"):
        read_planes(files[0], 1)


def test_a_position_of_a_run_gives_its_own_image(tmp_path):
    """Micro-Manager writes a file a position, each with the OME-XML of all positions."""
    keys = [(f"run_Pos{i}.ome.tif", uuid_of("run", i)) for i in range(3)]
    images = "".join(
        f'<Image ID="Image:{i}"><Pixels ID="Pixels:{i}" DimensionOrder="XYCZT" Type="uint16" '
        'SizeX="4" SizeY="4" SizeC="2" SizeZ="1" SizeT="1"><Channel ID="Channel:0:0" Name="dna"/>'
        '<Channel ID="Channel:0:1" Name="nfkb"/>'
        + "".join(
            f'<TiffData FirstC="{c}" IFD="{c}" PlaneCount="1"><UUID FileName="{name}">{uuid}</UUID>'
            "</TiffData>"
            for c in range(2)
        )
        + "</Pixels></Image>"
        for i, (name, uuid) in enumerate(keys)
    )
    for i, (name, uuid) in enumerate(keys):
        xml = f'<?xml version="1.0"?><OME UUID="{uuid}">{images}</OME>'
        with tifffile.TiffWriter(tmp_path / name, ome=False) as tiff:
            for number, plane in enumerate(CELL + i):
                text = xml if number == 0 else None
                tiff.write(plane, description=text, metadata=None, photometric="minisblack")
    for i, (name, _) in enumerate(keys):
        planes = read_planes(tmp_path / name, 2)
        np.testing.assert_array_equal(planes.images, (CELL + i)[None])
        assert planes.channels == ("dna", "nfkb") and planes.files == ()


@pytest.mark.parametrize("pages", [1, 2])
def test_a_description_in_another_file_is_needed_only_for_several_pages(tmp_path, pages):
    xml = '<?xml version="1.0"?><OME UUID="a"><BinaryOnly MetadataFile="x.ome" UUID="b"/></OME>'
    path = tmp_path / "x.ome.tif"
    with tifffile.TiffWriter(path, ome=False) as tiff:
        for plane in CELL[:pages]:
            tiff.write(plane, description=xml, metadata=None, photometric="minisblack")
    if pages == 1:
        np.testing.assert_array_equal(read_planes(path, 2).images[0, 0], CELL[0])
        return
    with pytest.raises(BrokenImage, match="its description lies in another file"):
        read_planes(path, 2)


def test_damaged_ome_xml_is_needed_only_for_several_pages(tmp_path):
    for pages in (1, 2):
        with tifffile.TiffWriter(tmp_path / "x.ome.tif", ome=False) as tiff:
            for plane in CELL[:pages]:
                text = "<?xml version='1.0'?><OME><Image></OME>"
                tiff.write(plane, description=text, metadata=None, photometric="minisblack")
        if pages == 1:
            assert read_planes(tmp_path / "x.ome.tif", 2).images.shape == (1, 1, 4, 4)
    with pytest.raises(BrokenImage, match="OME-XML in .* cannot be read"):
        read_planes(tmp_path / "x.ome.tif", 2)


def test_a_copy_of_a_whole_file_is_read_as_it_is(tmp_path):
    """tifffile gives its files a UUID, and names no file in TiffData."""
    metadata = {"axes": "CYX", "Channel": {"Name": ["dna", "nfkb"]}}
    tifffile.imwrite(tmp_path / "x.ome.tif", CELL, metadata=metadata, photometric="minisblack")
    shutil.copy(tmp_path / "x.ome.tif", tmp_path / "y.ome.tif")
    np.testing.assert_array_equal(read_planes(tmp_path / "y.ome.tif", 2).images[0], CELL)


# ---- pixel sizes and names --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "um"),
    [
        ("0.25", "µm", 0.25), ("0.25", "μm", 0.25), ("250", "nm", 0.25), ("2.5e-4", "mm", 0.25),
        ("0,25", "µm", 0.25), ("2500", "Å", 0.25), ("250000", "pm", 0.25), ("2.5e-7", "m", 0.25),
        ("1", "in", 25400.0), ("1e-5", "cm", 0.1), (" 1 ", " um ", 1.0), ("1", "micron", 1.0),
        ("NaN", "µm", None), ("INF", "µm", None), ("0", "µm", None), ("-1", "µm", None),
        ("", "µm", None), (None, "µm", None), ("1,000.5", "µm", None), ("1", "pixel", None),
        ("1", "reference frame", None), ("1", "Mm", None), ("1", "PM", None), ("wide", "nm", None),
    ],
)  # fmt: skip
def test_lengths_in_any_unit_and_spelling(value, unit, um):
    found = length_um(value, unit)
    assert found == (um if um is None else pytest.approx(um))


def write_ome(path, image):
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.x.org/2016-06">{image}</OME>'
    )
    with tifffile.TiffWriter(path, ome=False) as tiff:
        for plane in CELL:
            tiff.write(plane, description=xml.encode(), metadata=None, photometric="minisblack")
    return path


def image_xml(sizes, names=(' Name="dna"', ' Name="nfkb"')):
    channels = "".join(f'<Channel ID="Channel:0:{i}"{n}/>' for i, n in enumerate(names))
    return (
        '<Image ID="Image:0"><Pixels ID="P" DimensionOrder="XYCZT" Type="uint16" SizeX="4" '
        f'SizeY="4" SizeC="2" SizeZ="1" SizeT="1" {sizes}>{channels}<TiffData/></Pixels></Image>'
    )


@pytest.mark.parametrize(
    ("sizes", "um"),
    [
        ('PhysicalSizeX="0,25" PhysicalSizeY="0,25"', 0.25),
        ('PhysicalSizeX="8" PhysicalSizeXUnit="μm"', 8.0),
        ('PhysicalSizeX="NaN" PhysicalSizeY="1"', None),
        ('PhysicalSizeX="2" PhysicalSizeY="2.001"', 2.0),
        ('PhysicalSizeX="2" PhysicalSizeY="0"', 2.0),
        ("", None),
    ],
)
def test_the_pixel_size_is_read_or_left_out(tmp_path, sizes, um):
    planes = read_planes(write_ome(tmp_path / "x.ome.tif", image_xml(sizes)), 2)
    assert planes.pixel_size_um == um and planes.channels == ("dna", "nfkb")
    np.testing.assert_array_equal(planes.images[0], CELL)


def test_pixels_that_are_not_square_are_said(tmp_path):
    sizes = 'PhysicalSizeX="0.5" PhysicalSizeY="1000" PhysicalSizeYUnit="nm"'
    planes = read_planes(write_ome(tmp_path / "x.ome.tif", image_xml(sizes)), 2)
    assert planes.pixel_size_um is None and "not square (0.5 x 1 um)" in planes.how


@pytest.mark.parametrize("image", ['<Image ID="Image:0"/>', '<Instrument ID="Instrument:0"/>', ""])
def test_ome_xml_without_an_image_says_nothing(tmp_path, image):
    planes = read_planes(write_ome(tmp_path / "x.ome.tif", image), 2)
    assert planes.channels is None and planes.pixel_size_um is None
    np.testing.assert_array_equal(planes.images[0], CELL)
    with pytest.raises(InputError, match="does not say which are channels"):
        read_planes(tmp_path / "x.ome.tif", 3)


@pytest.mark.parametrize("names", [("", ""), (' Name="dna"', ""), (' Name=" "', ' Name="nfkb"')])
def test_names_count_only_where_every_channel_has_one(tmp_path, names):
    path = write_ome(tmp_path / "x.ome.tif", image_xml("", names))
    assert read_planes(path, 2).channels is None


@pytest.mark.parametrize(
    ("unit", "pixels_a_unit", "um"),
    [("micron", 4, 0.25), ("\\u00B5m", 4, 0.25), ("um", 4, 0.25), ("nm", 0.004, 0.25),
     ("mm", 4000, 0.25), ("cm", 40, 250.0), ("inch", 72, None), ("pixel", 1, None),
     ("micron", 0, None)],
)  # fmt: skip
def test_imagej_says_pixels_a_unit(tmp_path, unit, pixels_a_unit, um):
    tifffile.imwrite(
        tmp_path / "x.tif", CELL, imagej=True, resolution=(pixels_a_unit, pixels_a_unit),
        metadata={"axes": "CYX", "unit": unit},
    )  # fmt: skip
    found = read_planes(tmp_path / "x.tif", 2).pixel_size_um
    assert found == (um if um is None else pytest.approx(um, rel=1e-4))


def test_the_resolution_of_a_screen_is_no_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", CELL[0], resolution=(72, 72), resolutionunit="inch")
    assert read_planes(tmp_path / "x.tif", 1).pixel_size_um is None
