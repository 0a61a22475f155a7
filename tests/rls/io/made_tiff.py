"""TIFF files made tag by tag, as programs write them that tifffile does not imitate."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

FORMATS = {3: "H", 4: "I"}
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
OFFSETS, ORIENTATION, SAMPLES, ROWS, COUNTS, PLANAR = 273, 274, 277, 278, 279, 284
COLORMAP, EXTRA, FORMAT = 320, 338, 339


def write_page(path: Path, data: bytes, shape, tags=None, order="<") -> Path:
    """Write a TIFF of one page and one strip.

    Arguments:
        data: The strip.
        shape: Height and width.
        tags: {number: value or values}; None leaves a tag out. Default is grey of 16 bits.
        order: "<" for II, ">" for MM.
    """
    values = {
        WIDTH: shape[1], LENGTH: shape[0], BITS: 16, COMPRESSION: 1, PHOTOMETRIC: 1, OFFSETS: 0,
        SAMPLES: 1, ROWS: shape[0], COUNTS: len(data),
    } | (tags or {})  # fmt: skip
    values = {k: np.atleast_1d(v) for k, v in sorted(values.items()) if v is not None}
    tables = {k: v for k, v in values.items() if len(v) * 2 > 4}
    place = 8 + 2 + 12 * len(values) + 4
    where = {}
    for number, value in tables.items():
        where[number] = place
        place += 2 * len(value)
    values[OFFSETS] = np.array([place])
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    body = struct.pack(order + "H", len(values))
    for number, value in values.items():
        wide = number in (OFFSETS, COUNTS)
        body += struct.pack(order + "HHI", number, 4 if wide else 3, len(value))
        if number in where:
            body += struct.pack(order + "I", where[number])
        else:
            packed = struct.pack(order + FORMATS[4 if wide else 3] * len(value), *map(int, value))
            body += packed.ljust(4, b"\0")
    body += struct.pack(order + "I", 0)
    for value in tables.values():
        body += struct.pack(order + "H" * len(value), *map(int, value))
    path.write_bytes(head + body + data)
    return path


def pack_bits(values: np.ndarray, bits: int) -> bytes:
    """Return rows (y, x) of ``bits`` a value, each row filled up to whole bytes."""
    return b"".join(
        np.packbits(
            ((row[:, None].astype(np.int64) >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8)
        ).tobytes()
        for row in values
    )
