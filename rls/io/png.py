"""Read a PNG exactly: grey or RGB of 8 or 16 bits, in which nothing alters a value.

Pillow gives the upper bytes of 16-bit images of several samples, scales grey of fewer bits, and
does not say so; hence the header decides what is read, and by which library. Opaque transparency is
left out. The chunk gAMA and colour profiles tell how to show an image, and change no value.
Refused are colour tables, transparency, fewer than 8 bits, and sBIT of fewer bits than are stored,
because the counts were then multiplied when the file was written.

Source: W3C, Portable Network Graphics (PNG) Specification, third edition.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from rls.io.broken_image import BrokenImage
from rls.io.foreign_tiff import refuse_transparency
from rls.runtime.errors import InputError, first_line

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # Colour type of a PNG.
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
LARGEST = (
    2**26
)  # Pixels, 8192 x 8192: cells are far smaller, and Pillow refuses only from 2**27 on.


def read_png(content: bytes, where: str) -> np.ndarray:
    """Return the pixels (y, x, samples) uint8 or uint16 of a PNG.

    Arguments:
        content: The bytes of the file.
        where: The file, as an error calls it.

    Raises:
        BrokenImage: It is damaged, too large, or of a kind that is refused.
    """
    try:
        chunks = list(_chunks(content))
        if not chunks or chunks[0][0] != b"IHDR" or chunks[-1][0] != b"IEND":
            raise ValueError("it is no PNG, or cut off")
        width, height, depth, colour = struct.unpack(">IIBB", chunks[0][1][:10])
        _check_kind(width, height, depth, colour, dict(chunks), where)
        pixels = _decode(content, depth, colour).reshape(height, width, SAMPLES[colour])
    except InputError:
        raise
    except Exception as error:  # Decoders of broken files raise nearly any exception.
        raise BrokenImage(
            "truncated or damaged file",
            f"The image {where} is damaged and cannot be read ({first_line(error, 120)}). Save it "
            "again, as TIFF or PNG.",
        ) from error
    if colour in (GREY_ALPHA, RGB_ALPHA):
        refuse_transparency(pixels[..., -1], where)
        return pixels[..., :-1]
    return pixels


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, content) of every chunk up to the end of the image.

    Raises:
        ValueError: A checksum is wrong, or the file ends early.
    """
    if not content.startswith(SIGNATURE):
        raise ValueError("it is no PNG")
    place, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, place)
        body = content[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", content, place + 8 + length)
        if zlib.crc32(kind + body) != checksum:
            raise ValueError(f"the checksum of its part {kind.decode('latin-1')} is wrong")
        yield kind, body
        place += length + 12


def _check_kind(
    width: int, height: int, depth: int, colour: int, chunks: dict[bytes, bytes], where: str
) -> None:
    """Refuse a PNG whose values cannot be read as intensities.

    Raises:
        BrokenImage: It is of such a kind, or too large.
    """
    fault = ""
    bits = chunks.get(b"sBIT", b"")[: SAMPLES.get(colour, 0)]
    if width * height > LARGEST:
        raise BrokenImage(
            "too large",
            f"The image {where} is of {height} x {width} px, expected one cell an image, of at "
            f"most {LARGEST} pixels. Crop a square around every nucleus of the field, nucleus in "
            "the middle, and give the crops.",
        )
    if colour == PALETTE:
        fault = "has indexed colours (mode P)"
    elif depth < 8:
        fault = f"has {depth} bits a sample"
    elif b"tRNS" in chunks:
        fault = "declares a colour transparent"
    elif b"acTL" in chunks:
        fault = "is an animation"
    elif any(bit < depth for bit in bits):
        fault = (
            f"has {min(bits)} significant bits of {depth} (sBIT), so its counts were multiplied "
            "when it was written"
        )
    if fault:
        raise BrokenImage(
            "values not readable",
            f"The image {where} {fault}, expected grey or RGB of 8 or 16 bits without "
            "transparency or indexed colours. Save the raw image so, or as TIFF.",
        )


def _decode(content: bytes, depth: int, colour: int) -> np.ndarray:
    """Return the samples as they are stored."""
    if depth == 8 or colour == GREY:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return np.asarray(image)
    import imagecodecs  # Here, because a machine that only trains a generator may lack it.

    return np.asarray(imagecodecs.png_decode(content))
