"""Small valid image files, and the same with bytes changed, cut out, put in, or tags altered.

What becomes of such a file is the right array or one sentence: never another exception, never much
time or memory. :func:`check` tries ``count`` files of a kind, from a seed.
"""

from __future__ import annotations

import io
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from rls.runtime.errors import InputError

CELLS = np.random.default_rng(5).integers(0, 4000, (3, 2, 8, 8)).astype(np.uint16)
GREY = {"photometric": "minisblack"}
NAMED = {"axes": "TCYX", "Channel": {"Name": ["dna", "nfkb"]}, "PhysicalSizeX": 0.5}
TIFFS = {
    "plain": {"metadata": None},
    "shaped": {},
    "ome": {"ome": True, "metadata": NAMED},
    "imagej": {"imagej": True, "metadata": {"axes": "TCYX"}},
    "big": {"bigtiff": True, "byteorder": ">", "metadata": None},
    "tiled": {"tile": (16, 16), "metadata": None},
    "lzw": {"compression": "lzw", "predictor": True, "metadata": None},
}
NPY = ("npy", "npy.xz")
KINDS = (*TIFFS, "png", *NPY)
NUMBERS = (0, 1, 2, 3, 7, 8, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1)


def valid(kind: str) -> tuple[str, bytes, np.ndarray]:
    """Return (suffix, content, array (n, c, y, x)) of a file of ``kind``."""
    file = io.BytesIO()
    if kind in TIFFS:
        pages = CELLS.reshape(-1, 8, 8) if kind in ("plain", "big", "tiled", "lzw") else CELLS
        tifffile.imwrite(file, pages, **GREY, **TIFFS[kind])
        return (".ome.tif" if kind == "ome" else ".tif"), file.getvalue(), CELLS
    if kind == "png":
        pixels = np.stack([*CELLS[0], CELLS[1, 0]], axis=-1)
        return ".png", imagecodecs.png_encode(pixels), np.moveaxis(pixels, -1, 0)[None]
    np.save(file, CELLS)
    content = file.getvalue()
    return f".{kind}", lzma.compress(content) if kind == "npy.xz" else content, CELLS


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Return ``content`` with one to four faults."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(len(data)))
        if rng.random() < 0.5:  # Headers and tags stand at the ends of small files.
            place = int(rng.choice([place % 300, max(len(data) - 1 - place % 300, 0)])) % len(data)
        match int(rng.integers(6)):
            case 0:
                data[place] ^= 1 << int(rng.integers(8))
            case 1:
                data[place] = int(rng.integers(256))
            case 2:
                del data[place : place + int(rng.integers(1, 40))]
            case 3:
                data[place:place] = rng.bytes(int(rng.integers(1, 40)))
            case 4:
                number, order = int(rng.choice(NUMBERS)), str(rng.choice(["<", ">"]))
                data[place : place + 4] = struct.pack(order + "I", number)
            case _:
                del data[place:]
        if not data:
            break
    return bytes(data)


def alter_tag(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a TIFF of which one entry of a page has another number, type, count or value."""
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as tiff:
            tags = [tag for page in list(tiff.pages) for tag in page.tags]
            order, big = tiff.byteorder, tiff.is_bigtiff
    except Exception:  # An earlier fault made it unreadable.
        return content
    if not tags:
        return content
    tag = tags[int(rng.integers(len(tags)))]
    data = bytearray(content)
    fields = [(0, "H"), (2, "H"), (4, "Q" if big else "I"), (12 if big else 8, "Q" if big else "I")]
    shift, form = fields[int(rng.integers(4))]
    limit = 2 ** (8 * struct.calcsize(form))
    number = int(rng.choice(NUMBERS)) if rng.random() < 0.7 else int(rng.integers(400))
    struct.pack_into(order + form, data, tag.offset + shift, number % limit)
    return bytes(data)


def check(
    kind: str,
    seed: int,
    count: int,
    folder: Path,
    readers: dict[str, Callable[[Path], np.ndarray]],
) -> dict[str, int]:
    """Read ``count`` faulty files of ``kind``; return how many came out how.

    A format with checksums (PNG, xz) gives the right array or a sentence. In the others a changed
    pixel cannot be seen, so that an array only has to have the type that is read.

    Arguments:
        folder: Where the files are written, one after the other.
        readers: Functions that read a file, by name.

    Raises:
        AssertionError: Another exception, or a wrong array, with the seed and number of the file.
    """
    suffix, content, right = valid(kind)
    outcomes = {"array": 0, "sentence": 0}
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        altered = kind in TIFFS and rng.random() < 0.5
        data = alter_tag(content, rng) if altered else mutate(content, rng)
        path = folder / f"x{suffix}"
        path.write_bytes(data)
        for name, read in readers.items():
            where = f"{kind} by {name}, seed {seed}, number {number}"
            try:
                found = read(path)
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) > 30, f"{where}: {error}"
                outcomes["sentence"] += 1
                continue
            except BaseException as error:
                raise AssertionError(f"{where}: {error!r}") from error
            assert found.dtype.kind in "uif" and found.size > 0, where
            if kind in ("png", "npy.xz"):
                assert np.array_equal(found, right), where
            outcomes["array"] += 1
    return outcomes
