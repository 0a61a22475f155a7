"""A PNG gives every bit that was stored, or a sentence that says why not."""

from __future__ import annotations

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from rls.io.broken_image import BrokenImage
from rls.io.images import read_planes
from rls.io.png import LARGEST, SIGNATURE, read_png
from rls.runtime.errors import InputError

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 2**16, (6, 9, 4)).astype(np.uint16)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(content, kind, body):
    """Return a PNG with one more chunk behind its header."""
    end = len(SIGNATURE) + 25
    return content[:end] + chunk(kind, body) + content[end:]


def png(depth, colour, samples, width=6, height=4):
    """Return a PNG of zeros with the header given."""
    row = b"\0" + bytes((width * depth * samples + 7) // 8)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * height))
        + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_sample_of_either_depth_is_kept(samples, dtype):
    pixels = DEEP[..., :samples].astype(dtype)
    if samples in (2, 4):
        pixels[..., -1] = np.iinfo(dtype).max
    found = read_png(imagecodecs.png_encode(np.squeeze(pixels)), "x.png")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels[..., : samples - (samples in (2, 4))])


def test_pillow_agrees_where_it_reads_all_bits():
    for pixels in (DEEP[..., 0], DEEP[..., :3].astype(np.uint8)):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png")
        np.testing.assert_array_equal(np.squeeze(read_png(file.getvalue(), "x")), pixels)


def test_a_grey_file_with_opaque_alpha_is_one_channel(tmp_path):
    pixels = DEEP[..., :2].copy()
    pixels[..., 1] = 65535
    (tmp_path / "cell1_dna.png").write_bytes(imagecodecs.png_encode(pixels))
    planes = read_planes(tmp_path / "cell1_dna.png", 2)
    assert planes.images.shape == (1, 1, 6, 9)
    np.testing.assert_array_equal(planes.images[0, 0], pixels[..., 0])
    pixels[2, 3, 1] = 65534
    (tmp_path / "cell1_dna.png").write_bytes(imagecodecs.png_encode(pixels))
    with pytest.raises(InputError, match="is transparent in 1 pixels"):
        read_planes(tmp_path / "cell1_dna.png", 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png(8, 3, 1), "indexed colours"),
        (png(1, 0, 1), "1 bits a sample"),
        (png(4, 0, 1), "4 bits a sample"),
        (with_chunk(png(16, 0, 1), b"sBIT", b"\x0c"), "12 significant bits of 16"),
        (with_chunk(png(8, 2, 3), b"sBIT", b"\x08\x07\x08"), "7 significant bits of 8"),
        (with_chunk(png(8, 0, 1), b"tRNS", b"\0\0"), "declares a colour transparent"),
        (with_chunk(png(8, 0, 1), b"acTL", b"\0\0\0\2\0\0\0\0"), "is an animation"),
    ],
)
def test_what_changes_the_meaning_of_a_value_is_refused(content, said):
    with pytest.raises(BrokenImage, match=said):
        read_png(content, "x.png")


def test_how_to_show_an_image_does_not_change_its_values():
    pixels = DEEP[..., :3].copy()
    content = imagecodecs.png_encode(pixels)
    shown = [(b"gAMA", struct.pack(">I", 45455)), (b"sBIT", b"\x10\x10\x10"), (b"sRGB", b"\0")]
    for kind, body in shown:
        np.testing.assert_array_equal(read_png(with_chunk(content, kind, body), "x"), pixels)
    grey = with_chunk(
        imagecodecs.png_encode(DEEP[..., 0].copy()), b"gAMA", struct.pack(">I", 45455)
    )
    np.testing.assert_array_equal(read_png(grey, "x")[..., 0], DEEP[..., 0])


@pytest.mark.parametrize("side", [14_000, 2**31 - 1])
def test_a_whole_well_is_one_sentence_and_no_memory(tmp_path, side):
    """Pillow calls images of 14,000 px a decompression bomb."""
    assert side**2 > LARGEST
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    content = SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "well_dna.png").write_bytes(content)
    with pytest.raises(InputError, match="expected one cell an image.*Crop a square") as error:
        read_planes(tmp_path / "well_dna.png", 2)
    assert "\n" not in str(error.value)
