"""Read planes of one zarr array, and refuse chunks that are missing: zarr reads them as zeros.

It reads the array of a field that :mod:`analysis.plates.ome_zarr` listed: its last axes are y and
x, and of those before them the channels alone have more than one position, or z too where the row
says the axes and a projection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.plates.image_files import (
    BrokenField,
    Part,
    _check_digest,
    _check_signal,
    to_counts,
)
from analysis.plates.projections import NONE, project
from analysis.plates.sheet import Row
from analysis.plates.zarr_files import is_array, need_zarr
from rls.runtime.errors import InputError, first_line

if TYPE_CHECKING:
    import zarr

ABSENT = 2**64 - 1  # offset and length of a chunk that a shard does not have


def is_field(row: Row) -> bool:
    """Return whether a row of a sheet names a zarr array."""
    return "path" in row and is_array(Path(str(row["path"])))


def read_array_field(row: Row, channels: Sequence[str], folder: Path) -> np.ndarray:
    """Return one field of a sheet as (c, y, x) uint16 counts, read channel by channel.

    Arguments:
        row: A row of the sheet. ``path`` is the metadata file of the array, relative to ``folder``,
            and ``channel_{channel}`` the position of the channel in it. ``axes`` are those of the
            array, such as tczyx, where ``projection`` says what becomes of several planes in z.

    Raises:
        InputError: The array has disappeared or has changed since it was listed, or the row does
            not say where a channel is.
        BrokenField: A chunk is missing or damaged, the values do not fit ``bit_depth``, or a
            channel is black or saturated.
    """
    need_zarr()
    path, depth = folder / str(row["path"]), int(str(row["bit_depth"]))
    _check_digest(row, "digest", path)
    array = open_array(path.parent)
    part = Part.of(row)
    axes = _axes(array, row, part.projection, path.parent)
    count = array.shape[axes.index("c")] if "c" in axes else 1
    images = []
    for channel in channels:
        place = str(row.get(f"channel_{channel}", ""))
        if not place.isdecimal() or int(place) >= count:
            raise InputError(
                f"Found the position '{place}' of channel {channel} in {path.parent}, expected "
                f"one of its {count} from 0. List the plate by source "
                "ome_zarr, which writes the positions."
            )
        stack = _stack(array, axes, int(place), path.parent)
        image = project(to_counts(stack, depth, path.parent), part.projection, path.parent)
        _check_signal(image, depth, channel, path.parent)
        images.append(image)
    return np.stack(images)


def open_array(folder: Path) -> zarr.Array:
    """Return a zarr array, of which nothing but its metadata is read.

    Raises:
        BrokenField: The folder holds no array that can be read.
    """
    import zarr

    try:
        return zarr.open_array(folder, mode="r")
    except Exception as error:  # Readers of broken files raise nearly any exception.
        raise BrokenField(
            "truncated or damaged file",
            f"The array {folder} cannot be read ({first_line(error)}). Copy its plate again.",
        ) from error


def _axes(array: zarr.Array, row: Row, projection: str, folder: Path) -> str:
    """Return the axes of an array, such as tczyx; without a projection c is the one of several.

    Raises:
        InputError: The row lacks the axes, or they are not those of the array.
    """
    said = str(row.get("axes") or "")
    if projection == NONE:
        if sum(size > 1 for size in array.shape[:-2]) > 1:
            raise InputError(
                f"{folder} has the shape {array.shape}, expected several positions of the channels "
                "alone. List the plate by source ome_zarr."
            )
        longest = int(np.argmax([1, *array.shape[:-2]]))
        letters = ["c" if at == longest else "t" for at in range(1, array.ndim - 1)]
        return "".join(letters) + "yx"
    if len(said) != array.ndim or not said.endswith("yx") or len(set(said)) != len(said):
        raise InputError(
            f"Found the axes '{said}' of {folder}, which has {array.ndim}, expected a letter for "
            "each. List the plate by source ome_zarr, which writes them."
        )
    return said


def _stack(array: zarr.Array, axes: str, channel: int, folder: Path) -> np.ndarray:
    """Return one channel (z, y, x) as stored.

    Raises:
        BrokenField: A chunk is missing or damaged.
    """
    fixed = {"c": channel, "t": 0}
    index = [fixed[letter] if letter in fixed else slice(None) for letter in axes]
    try:
        missing = list(missing_chunks(array, index, folder))
        if missing:
            raise BrokenField(
                "missing chunk",
                f"The array {folder} lacks {len(missing)} chunks of channel {channel} (first: "
                f"{missing[0]}), expected all: zarr would read them as {array.fill_value}. Copy "
                "its plate again, or set on_broken_field: skip.",
            )
        return np.asarray(array[tuple(index)]).reshape(-1, *array.shape[-2:])
    except BrokenField:
        raise
    except Exception as error:  # Codecs raise nearly any exception.
        raise BrokenField(
            "truncated or damaged file",
            f"The array {folder} is cut off or damaged ({first_line(error)}). Copy its plate "
            "again, or set on_broken_field: skip.",
        ) from error


def missing_chunks(array: zarr.Array, index: Sequence[int | slice], folder: Path) -> Iterator[str]:
    """Yield the name of each chunk, or of each shard, that a plane needs and that is not there.

    Arguments:
        index: One position or the whole of each axis.

    Raises:
        BrokenField: The array's shards have an index in an unusual form.
    """
    grid = array.shards or array.chunks
    spans = [
        range(-(-size // step)) if isinstance(at, slice) else [at // step]
        for size, step, at in zip(array.shape, grid, index, strict=True)
    ]
    for place in product(*spans):
        file = folder / array.metadata.encode_chunk_key(place)
        if not file.is_file():
            yield file.relative_to(folder).as_posix()
        elif array.shards is not None:
            corner = [at * step for at, step in zip(place, grid, strict=True)]
            if any(_absent(array, index, corner, _shard_index(array, file, folder))):
                yield f"part of {file.relative_to(folder).as_posix()}"


def _absent(
    array: zarr.Array, index: Sequence[int | slice], corner: Sequence[int], entries: np.ndarray
) -> Iterator[bool]:
    """Yield, for every chunk of a shard that a plane needs, whether the shard lacks it."""
    inner = []
    for start, shard, step, size, at in zip(
        corner, array.shards, array.chunks, array.shape, index, strict=True
    ):
        end = min(start + shard, size)
        whole = range(-(-(end - start) // step))
        inner.append(whole if isinstance(at, slice) else [(at - start) // step])
    for place in product(*inner):
        yield bool((entries[place] == ABSENT).all())


def _shard_index(array: zarr.Array, file: Path, folder: Path) -> np.ndarray:
    """Return offset and length of every chunk of a shard, as zarr 3 stores them (..., 2)."""
    codec = array.metadata.codecs[0].to_dict()["configuration"]
    kinds = [one["name"] for one in codec["index_codecs"]]
    if kinds != ["bytes", "crc32c"]:
        raise BrokenField(
            "compression not readable",
            f"The shards of {folder} have an index by {', '.join(kinds)}, expected bytes and "
            "crc32c. Write the plate again without an index of its own.",
        )
    counts = [a // b for a, b in zip(array.shards, array.chunks, strict=True)]
    length = 16 * int(np.prod(counts))
    with file.open("rb") as handle:
        if codec["index_location"] == "end":
            handle.seek(-(length + 4), 2)
        return np.frombuffer(handle.read(length), "<u8").reshape(*counts, 2)
