"""A TIFF of any writer gives the values that were stored, or a sentence that says why not."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

from rls.io.broken_image import BrokenImage
from rls.io.foreign_tiff import open_tiff
from rls.io.images import read_planes
from rls.runtime.errors import InputError
from tests.rls.io import made_tiff as tags
from tests.rls.io.made_tiff import pack_bits, write_page

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 4000, (12, 16)).astype(np.uint16)
TWO = RNG.integers(0, 4000, (2, 48, 64)).astype(np.uint16)
PLAIN = {"photometric": "minisblack"}
NAMED = {"axes": "CYX", "Channel": {"Name": ["dna", "nfkb"]}}


def read(path):
    with open_tiff(path) as tiff:
        assert len(tiff.pictures) == 1
        return tiff.pictures[0].read()


# ---- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [4, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_packed_and_whole_bits_of_either_byte_order_are_read(tmp_path, bits, order):
    values = GREY & (2**bits - 1)
    data = values.astype(order + "u2").tobytes() if bits == 16 else pack_bits(values, bits)
    path = write_page(tmp_path / "x.tif", data, values.shape, {tags.BITS: bits}, order)
    np.testing.assert_array_equal(read(path), values)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [(np.int8, 2), (np.int16, 2), (np.int32, 2), (np.uint32, 1), (np.float32, 3), (np.float64, 3)],
)
def test_every_sample_format_is_read(tmp_path, dtype, stored):
    values = (GREY % 128).astype(dtype)
    more = {tags.BITS: values.itemsize * 8, tags.FORMAT: stored}
    path = write_page(tmp_path / "x.tif", values.tobytes(), values.shape, more)
    found = read_planes(path, 1).images[0, 0]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("how", [
    {"tile": (16, 16)}, {"bigtiff": True}, {"byteorder": ">"}, {"compression": "lzw"},
    {"compression": "deflate", "predictor": True}, {"compression": "zstd"},
    {"compression": "packbits"}, {"compression": "lzma"},
    {"byteorder": ">", "bigtiff": True, "tile": (16, 32), "compression": "lzw", "predictor": True},
    {"rowsperstrip": 5},
])  # fmt: skip
@pytest.mark.parametrize("kind", ["pages", "planar", "contiguous", "ome", "float"])
def test_storage_changes_no_value(tmp_path, how, kind):
    path, pixels = tmp_path / "x.tif", TWO
    if kind == "pages":
        with tifffile.TiffWriter(
            path, **{k: how[k] for k in how if k in ("bigtiff", "byteorder")}
        ) as f:
            for plane in pixels:
                more = {k: v for k, v in how.items() if k not in ("bigtiff", "byteorder")}
                f.write(plane, metadata=None, **PLAIN, **more)
    elif kind == "planar":
        tifffile.imwrite(path, pixels, planarconfig="separate", metadata=None, **PLAIN, **how)
    elif kind == "contiguous":
        pixels = np.ascontiguousarray(np.moveaxis(TWO, 0, -1))
        tifffile.imwrite(path, pixels, planarconfig="contig", metadata=None, **PLAIN, **how)
    elif kind == "ome":
        tifffile.imwrite(path, pixels, ome=True, metadata=NAMED, **PLAIN, **how)
    else:
        if how.get("predictor"):
            how = how | {"predictor": 3}
        pixels = TWO.astype(np.float32) / 7
        tifffile.imwrite(path, pixels, metadata=None, **PLAIN, **how)
    np.testing.assert_array_equal(read(path), pixels)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({tags.PHOTOMETRIC: 0}, "white as 0"),
        ({tags.PHOTOMETRIC: 5}, "holds colours .SEPARATED"),
        ({tags.PHOTOMETRIC: 6}, "holds colours .YCBCR"),
        ({tags.PHOTOMETRIC: 8}, "holds colours .CIELAB"),
        ({tags.PHOTOMETRIC: 32803}, "holds colours .CFA"),
        ({tags.ORIENTATION: 3}, "turned or mirrored .orientation 3"),
        ({tags.ORIENTATION: 6}, "turned or mirrored .orientation 6"),
        ({tags.BITS: 1}, "black and white"),
        ({tags.COMPRESSION: 7}, "compressed by JPEG, which may change"),
        ({tags.COMPRESSION: 34712}, "compressed by JPEG2000"),
        ({tags.COMPRESSION: 50001}, "compressed by WEBP"),
    ],
)
def test_a_tag_that_changes_what_a_value_means_is_refused(tmp_path, more, said):
    path = write_page(tmp_path / "x.tif", GREY.tobytes(), GREY.shape, more)
    with pytest.raises(BrokenImage, match=said):
        read(path)


def test_a_missing_photometric_tag_means_black_as_0(tmp_path):
    path = write_page(tmp_path / "x.tif", GREY.tobytes(), GREY.shape, {tags.PHOTOMETRIC: None})
    np.testing.assert_array_equal(read(path), GREY)
    upright = {tags.ORIENTATION: 1}
    path = write_page(tmp_path / "x.tif", GREY.tobytes(), GREY.shape, upright)
    np.testing.assert_array_equal(read(path), GREY)


def palette(table):
    return {tags.BITS: 8, tags.PHOTOMETRIC: 3, tags.COLORMAP: table.reshape(-1)}


def test_a_colour_table_that_only_tints_leaves_the_values(tmp_path):
    """ImageJ writes 8-bit images with a look-up table such as green so."""
    values, ramp = (GREY % 256).astype(np.uint8), np.arange(256) * 257
    green = np.stack([0 * ramp, ramp, 0 * ramp])
    path = write_page(tmp_path / "x.tif", values.tobytes(), values.shape, palette(green))
    np.testing.assert_array_equal(read(path), values)
    inverted = np.stack([ramp[::-1]] * 3)
    for table in (inverted, RNG.integers(0, 2**16, (3, 256))):
        write_page(path, values.tobytes(), values.shape, palette(table))
        with pytest.raises(BrokenImage, match="holds colours .PALETTE"):
            read(path)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_opaque_transparency_is_left_out_and_other_is_refused(tmp_path, planar):
    alpha = np.full((48, 64), 65535, np.uint16)
    for channels in (TWO[:1], np.stack([*TWO, TWO[0] + 1])):
        pixels = np.concatenate([channels, alpha[None]])
        if planar == "contig":
            pixels, channels = np.moveaxis(pixels, 0, -1), np.moveaxis(channels, 0, -1)
        kind = "rgb" if 3 in channels.shape else "minisblack"
        how = {"photometric": kind, "planarconfig": planar, "extrasamples": ["unassalpha"]}
        tifffile.imwrite(tmp_path / "x.tif", pixels, metadata=None, **how)
        np.testing.assert_array_equal(read(tmp_path / "x.tif"), np.squeeze(channels))
        spoilt = pixels.copy()
        spoilt[np.where(pixels == 65535)[0][0], 5, ...] = 3
        tifffile.imwrite(tmp_path / "x.tif", spoilt, metadata=None, **how)
        with pytest.raises(BrokenImage, match="is transparent in"):
            read(tmp_path / "x.tif")


def test_samples_that_are_no_transparency_are_channels(tmp_path):
    pixels = np.ascontiguousarray(np.moveaxis(TWO, 0, -1))
    how = {"planarconfig": "contig", "extrasamples": ["unspecified"], "metadata": None}
    tifffile.imwrite(tmp_path / "x.tif", pixels, **PLAIN, **how)
    np.testing.assert_array_equal(read_planes(tmp_path / "x.tif", 2).images[0], TWO)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (GREY.astype(np.int16) - 100, "int16 from -[0-9]+ to"),
        ((GREY.astype(np.uint16) + 40_000).view(np.int16), "16 bits were read as signed"),
        (GREY.astype(np.uint32) * 2**20, "expected counts from 0 to 16777216"),
        (GREY.astype(np.uint64) * 2**40, "expected counts from 0"),
        (GREY.astype(np.complex64), "complex64"),
        (np.where(GREY > 3000, np.inf, GREY), "not finite"),
    ],
)
def test_values_that_are_no_counts_are_refused(tmp_path, values, said):
    tifffile.imwrite(tmp_path / "x.tif", values, metadata=None, **PLAIN)
    with pytest.raises(InputError, match=said):
        read_planes(tmp_path / "x.tif", 1)


# ---- which planes -----------------------------------------------------------------------------


def test_of_a_pyramid_and_its_thumbnail_the_full_size_is_read(tmp_path):
    path = tmp_path / "x.tif"
    for where in ("subifds", "pages"):
        with tifffile.TiffWriter(path) as tiff:
            how = {"metadata": None, "tile": (16, 16), **PLAIN}
            tiff.write(TWO[0], subifds=2 if where == "subifds" else None, **how)
            for step in (2, 4):
                tiff.write(TWO[0, ::step, ::step], subfiletype=1, **how)
        np.testing.assert_array_equal(read(path), TWO[0])
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(TWO[0, :9, :11], subfiletype=1, metadata=None, **PLAIN)  # It comes first.
        tiff.write(TWO[0], metadata=None, **PLAIN)
    np.testing.assert_array_equal(read(path), TWO[0])


def test_pages_of_different_kinds_are_no_one_image(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.ome.tif", ome=False) as tiff:
        text = ome_of_pages(2)
        tiff.write(TWO[0], description=text, metadata=None, **PLAIN)
        tiff.write(TWO[1].astype(np.int16), metadata=None, **PLAIN)
    with pytest.raises(BrokenImage, match="stored in different ways"):
        read(tmp_path / "x.ome.tif")


def ome_of_pages(channels, data="<TiffData/>"):
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" '
        f'SizeX="64" SizeY="48" SizeC="{channels}" SizeZ="1" SizeT="1">'
        + "".join(f'<Channel ID="Channel:0:{i}" SamplesPerPixel="1"/>' for i in range(channels))
        + f"{data}</Pixels></Image></OME>"
    )


@pytest.mark.parametrize(
    ("channels", "data", "said"),
    [
        (3, "<TiffData/>", "names 1 planes that the file lacks"),
        (2, '<TiffData IFD="0" PlaneCount="1"/>', "names 1 planes that the file lacks"),
        (1, '<TiffData IFD="0" PlaneCount="1"/>', "tells of 1 of its 2 pages"),
        (2, '<TiffData IFD="0"/><TiffData IFD="0" FirstC="1"/>', "one page to several planes"),
        (2, "", "does not fit its pages"),
    ],
)
def test_ome_xml_that_does_not_fit_the_pages_is_refused(tmp_path, channels, data, said):
    path = tmp_path / "x.ome.tif"
    with tifffile.TiffWriter(path, ome=False) as tiff:
        tiff.write(TWO[0], description=ome_of_pages(channels, data), metadata=None, **PLAIN)
        tiff.write(TWO[1], metadata=None, **PLAIN)
    with pytest.raises(BrokenImage, match=said):
        read(path)


def test_an_imagej_stack_that_is_cut_off_is_not_read_as_its_first_page(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, TWO, imagej=True, metadata={"axes": "CYX"})
    np.testing.assert_array_equal(read(path), TWO)
    with tifffile.TiffFile(path) as tiff:
        end = tiff.pages[0].dataoffsets[0] + TWO[0].nbytes
    text = path.read_bytes()[:end]
    path.write_bytes(text)
    with pytest.raises(BrokenImage, match="cut off|does not fit its pages"):
        read(path)


# ---- damage -----------------------------------------------------------------------------------


def test_a_header_that_promises_gigabytes_is_refused_before_memory_is_asked_for(tmp_path):
    for compression in (1, 5, 8):
        more = {tags.COMPRESSION: compression, tags.ROWS: 60_000}
        path = write_page(tmp_path / "x.tif", GREY.tobytes(), (60_000, 60_000), more)
        with pytest.raises(BrokenImage, match="promises 6.7 GiB|pixels are missing"):
            read(path)


def test_missing_strips_are_not_filled_with_zeros(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, TWO[0], rowsperstrip=12, compression="deflate", metadata=None, **PLAIN)
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags["StripByteCounts"]
        place, size = tag.valueoffset, 4 if tag.dtype == 4 else 2
    content = bytearray(path.read_bytes())
    content[place + size : place + 2 * size] = struct.pack("<I" if size == 4 else "<H", 0)
    path.write_bytes(bytes(content))
    with pytest.raises(BrokenImage, match="pixels are missing"):
        read(path)


def test_pages_that_lead_in_a_circle_end_in_a_sentence(tmp_path):
    path = write_page(tmp_path / "x.tif", GREY.tobytes(), GREY.shape)
    content = bytearray(path.read_bytes())
    (entries,) = struct.unpack_from("<H", content, 8)
    struct.pack_into("<I", content, 10 + 12 * entries, 8)  # The next page is this one.
    path.write_bytes(bytes(content))
    with pytest.raises(BrokenImage, match="its pages lead in a circle"):
        read(path)
