"""Read the image files of one field, whatever program wrote them, and refuse misleading ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from analysis.plates.field_image import BrokenField, Channels, Part, channels_of, read_channels
from analysis.plates.projections import project
from analysis.plates.sheet import Row, listed_digest
from rls.io.vendor import is_vendor
from rls.runtime.errors import InputError

SATURATED_SHARE = 0.5  # A channel with a greater share of saturated pixels shows nothing.
PIXEL_TOLERANCE = 0.03  # Relative; between the pixel size of a file and that of the sheet.


def read_field(row: Row, channels: Sequence[str], folder: Path) -> np.ndarray:
    """Return one field of a sheet as (c, y, x) uint16 counts.

    Arguments:
        row: A row of the sheet; its paths are relative to ``folder``. ``channel_{channel}`` is the
            name of the channel in a file of several channels, or its position from 0; without this
            column the channel has its own name in the file. ``digest`` or ``digest_{channel}`` is
            the digest of the file when it was listed. ``series`` is the image that is meant in a
            vendor's file, and ``projection`` what becomes of several planes in z.

    Raises:
        InputError: A file has disappeared or has changed since it was listed. Such a field must not
            be skipped as a broken one may be.
        BrokenField: See :func:`check_header`; or a file is not finite, its type does not fit
            ``bit_depth``, or a channel is black or saturated.
    """
    depth = int(str(row["bit_depth"]))
    part, images = Part.of(row), dict[str, np.ndarray]()
    files = {_path(row, channel, folder): channel for channel in channels}
    for path, channel in files.items():
        _check_digest(row, "digest" if "path" in row else f"digest_{channel}", path)
    places = check_header(row, channels, folder)
    for path in files:  # Memory holds one file at a time.
        own = {name: place for name, (file, place) in places.items() if file == path}
        stacks = read_channels(path, part, list(own.values()))
        for channel, place in own.items():
            image = project(to_counts(stacks[place], depth, path), part.projection, path)
            _check_signal(image, depth, channel, path)
            images[channel] = image
    return np.stack([images[channel] for channel in channels])


def check_header(row: Row, channels: Sequence[str], folder: Path) -> dict[str, tuple[Path, int]]:
    """Return the file of each channel of a field and its place there, from the headers alone.

    No pixel is read, so that a whole plate can be checked when it is listed.

    Arguments:
        row, channels, folder: See :func:`read_field`.

    Raises:
        BrokenField: A file is missing or not readable, lacks a channel, or belongs to another image
            than the rest of the field; channels differ in size; or a file says another size of a
            pixel than the sheet.
    """
    heads: dict[Path, Channels] = {}
    part = Part.of(row)
    places: dict[str, tuple[Path, int]] = {}
    for channel in channels:
        path = _path(row, channel, folder)
        head = heads[path] = heads[path] if path in heads else channels_of(path, part)
        places[channel] = path, _place(head, channel, row, channels, path)
        _check_pixel_size(head, row, path)
        first_path, first = next(iter(heads.items()))
        if head.size != first.size:
            raise BrokenField(
                "channels differ in size",
                f"{path} is {head.size} px, but channel {channels[0]} of the same field is "
                f"{first.size} px. Correct the sheet or leave the field out.",
            )
        if head.files != first.files:
            raise BrokenField(
                "files of different images",
                f"By their OME-XML, {path} and {first_path} belong to different images (the UUIDs "
                "of their files differ), expected the channels of one field. Correct the sheet; a "
                "renamed file may be the other field's.",
            )
    return places


def _check_pixel_size(head: Channels, row: Row, path: Path) -> None:
    """Raise :class:`BrokenField` if a file says another size of a pixel than its row."""
    said = float(str(row.get("pixel_size_um", "nan")))
    found = head.pixel_size_um
    if found and said > 0 and any(abs(size / said - 1) > PIXEL_TOLERANCE for size in found):
        raise BrokenField(
            "pixel size",
            f"{path} says {found[0]:g} x {found[1]:g} um a pixel, but the sheet or the "
            f"configuration {said:g} um: lengths and factors would be wrong. Correct pixel_size_um "
            "there, or the file.",
        )


def _path(row: Row, channel: str, folder: Path) -> Path:
    return folder / str(row["path"] if "path" in row else row[f"path_{channel}"])


def _check_digest(row: Row, column: str, path: Path) -> None:
    """Compare a file with its digest when it was listed.

    Raises:
        InputError: The file has disappeared or changed.
        BrokenField: The file cannot be read.
    """
    if column not in row:  # The sheet was not written by list_plate.
        return
    try:
        if _digest_now(path) == row[column]:
            return
        what = "is not the file that was listed (its digest differs): it was damaged, or replaced"
    except FileNotFoundError:
        what = "was there when its plate was listed, and is gone"
    except OSError as error:
        raise BrokenField(
            "not readable", f"The image {path} cannot be read ({error.strerror}). Make it readable."
        ) from error
    raise InputError(
        f"The image {path} {what}. Bring it back: one under data/ is made anew when you delete "
        f"{path.parent} and run the workflow again (rule simulate_plate or fetch_plate). If that "
        f"is meant, delete results/ASSAY/plates/{row['plate']}.sheet.csv (rule list_plate makes it "
        "anew), and leave a lost image out of your own sheet."
    )


def _digest_now(path: Path) -> str:
    """Return the digest of a file; of one with many fields, once as long as nobody writes it."""
    if not is_vendor(path):
        return listed_digest(path)
    state = path.stat()
    return _digest_as_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest_as_of(path: Path, size: int, mtime_ns: int) -> str:
    return listed_digest(path)


def _place(head: Channels, channel: str, row: Row, channels: Sequence[str], path: Path) -> int:
    """Return the position of ``channel`` in a file.

    Raises:
        BrokenField: The file has no such channel, or another number of channels.
    """
    count, column = head.count, f"channel_{channel}"
    said = str(row[column]).strip() if column in row and row[column] == row[column] else ""
    names = [name.strip().lower() for name in head.names]
    wanted = (said or channel).lower()
    if names.count(wanted) == 1:
        return names.index(wanted)
    if said.isdigit() and int(said) < count:
        return int(said)
    ours = [name for name in channels if name.lower() in names]
    if not (said or ours or (head.binding and count > 1)):
        if "path" in row and count == len(channels):
            return list(channels).index(channel)
        if "path" not in row and count == 1:
            return 0
    whose = f"'{said}' for channel {channel}" if said else f"channel {channel}"
    called = f", called {', '.join(head.names)}" if head.names else " without names"
    there = "".join(
        f" By the OME-XML, {name} lies in {file}: name the file of each channel in the sheet's "
        "columns path_{channel}."
        for name, file in list(head.elsewhere.items())[:1]
    )
    raise BrokenField(
        "channel missing" if said or ours or head.binding else "wrong shape",
        f"{path} has {count} channels of {head.size} px{called}: found no {whose}, "
        f"expected {len(channels) if 'path' in row else 1} channels "
        f"({', '.join(channels) if 'path' in row else channel}). Say what the file calls "
        f"each, or its place from 0: in list_plate.channel_labels of the configuration, or in the "
        f"sheet's columns channel_{{channel}}.{there}",
    )


def _check_signal(image: np.ndarray, depth: int, channel: str, path: Path) -> None:
    """Raise :class:`BrokenField` if a channel is one value throughout, or mostly saturated."""
    low, high = int(image.min()), int(image.max())
    if low == high:
        raise BrokenField(
            "black" if high == 0 else "one value",
            f"{path} holds the value {high} in every pixel of channel {channel}, expected an "
            "image: shutter, lamp or export failed. Leave the field out, or set on_broken_field: "
            "skip.",
        )
    share = float((image == 2**depth - 1).mean())
    if share > SATURATED_SHARE:
        raise BrokenField(
            "saturated",
            f"{path} is saturated in {share:.0%} of the pixels of channel {channel} (value "
            f"{2**depth - 1}), expected few. Leave the field out, or set on_broken_field: skip.",
        )


def to_counts(image: np.ndarray, bit_depth: int, path: Path) -> np.ndarray:
    """Return ``image`` as uint16 counts.

    Raises:
        BrokenField: Values are not finite, not whole or above ``bit_depth``, or the file has 8 bits
            where the sheet says more.
    """
    if image.dtype.kind == "f":
        if not np.isfinite(image).all():
            bad = int((~np.isfinite(image)).sum())
            raise BrokenField(
                "not finite",
                f"{path} has {bad} pixels that are not finite, expected raw counts. "
                "Export it again.",
            )
        if (image != np.rint(image)).any() or (image < 0).any():
            raise BrokenField(
                "not counts",
                f"{path} holds {image.dtype} that are no whole counts, expected raw counts. "
                "Export the raw image: intensities are measured, so a rescaled image misleads.",
            )
    elif image.dtype.kind not in "ui":
        raise BrokenField("not counts", f"{path} holds {image.dtype}, expected raw counts.")
    if image.dtype.itemsize == 1 and bit_depth > 8:
        raise BrokenField(
            "8-bit file",
            f"{path} is an 8-bit file, but bit_depth is {bit_depth}. "
            "Export the raw image, or write bit_depth 8.",
        )
    low, high = int(image.min()), int(image.max())
    if low < 0 or high >= 2**bit_depth:
        raise BrokenField(
            "above bit depth",
            f"{path} holds values from {low} to {high}, expected 0 to {2**bit_depth - 1} at "
            f"bit_depth {bit_depth}. Correct bit_depth where it stands, in the sheet or the assay.",
        )
    return image.astype(np.uint16)
