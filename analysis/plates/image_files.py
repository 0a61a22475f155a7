"""Read the image files of one field, whatever program wrote them, and refuse misleading ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.plates.sheet import Row, listed_digest
from rls.io.broken_image import BrokenImage
from rls.io.foreign_tiff import ForeignTiff, Picture, open_tiff
from rls.runtime.errors import InputError

SATURATED_SHARE = 0.5  # A channel with a greater share of saturated pixels shows nothing.


class BrokenField(BrokenImage):
    """A field that cannot be used; ``reason`` is the short form for tables."""


@dataclass(frozen=True)
class Channels:
    """What the header of a file says of its channels.

    Attributes:
        count: Number of channels.
        size: Height and width in px.
        names: Name of each channel in the file, () where it has none.
        binding: Whether the names are those of an OME-TIFF; other labels are often mere numbers.
        files: The files of an image that is spread over several; () where this one holds it all.
        elsewhere: Of such an image, the file of every channel that this one lacks.
    """

    count: int
    size: tuple[int, int]
    names: tuple[str, ...]
    binding: bool
    files: tuple[tuple[str, str], ...]
    elsewhere: Mapping[str, str]


def read_field(row: Row, channels: Sequence[str], folder: Path) -> np.ndarray:
    """Return one field of a sheet as (c, y, x) uint16 counts.

    Arguments:
        row: A row of the sheet; its paths are relative to ``folder``. ``channel_{channel}`` is the
            name of the channel in a file of several channels, or its position from 0; without this
            column the channel has its own name in the file. ``digest`` or ``digest_{channel}`` is
            the digest of the file when it was listed.

    Raises:
        InputError: A file has disappeared or has changed since it was listed. Such a field must not
            be skipped as a broken one may be.
        BrokenField: See :func:`check_header`; or a file is not finite, its type does not fit
            ``bit_depth``, or a channel is black or saturated.
    """
    depth = int(str(row["bit_depth"]))
    read: dict[Path, np.ndarray] = {}
    images: list[np.ndarray] = []
    files = {_path(row, channel, folder): channel for channel in channels}
    for path, channel in files.items():
        _check_digest(row, "digest" if "path" in row else f"digest_{channel}", path)
    for channel, (path, place) in check_header(row, channels, folder).items():
        if path not in read:
            read = {path: read_channels(path)}  # Memory holds one file at a time.
        image = to_counts(read[path][place], depth, path)
        _check_signal(image, depth, channel, path)
        images.append(image)
    return np.stack(images)


def check_header(row: Row, channels: Sequence[str], folder: Path) -> dict[str, tuple[Path, int]]:
    """Return the file of each channel of a field and its place there, from the headers alone.

    No pixel is read, so that a whole plate can be checked when it is listed.

    Arguments:
        row, channels, folder: See :func:`read_field`.

    Raises:
        BrokenField: A file is missing or not readable, lacks a channel, or belongs to another image
            than the rest of the field; or channels differ in size.
    """
    heads: dict[Path, Channels] = {}
    places: dict[str, tuple[Path, int]] = {}
    for channel in channels:
        path = _path(row, channel, folder)
        head = heads[path] = heads[path] if path in heads else channels_of(path)
        places[channel] = path, _place(head, channel, row, channels, path)
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
        if listed_digest(path) == row[column]:
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


def channels_of(path: Path) -> Channels:
    """Return which channels a TIFF holds, from its header alone.

    Raises:
        BrokenField: The file is missing, cut off, no TIFF, holds more than the channels of one
            field, or is of a kind that :mod:`rls.io.foreign_tiff` refuses.
    """
    with _opened(path) as tiff:
        picture, count = _only_picture(tiff, path)
        names, binding = _names(tiff, count)
        height, width = (picture.shape[picture.axes.index(letter)] for letter in "YX")
        files, elsewhere = (tiff.ome.files, tiff.ome.elsewhere) if tiff.ome else ((), {})
    return Channels(count, (height, width), names, binding, files, elsewhere)


def read_channels(path: Path) -> np.ndarray:
    """Return the channels (c, y, x) of a TIFF as stored.

    Raises:
        BrokenField: See :func:`channels_of`.
    """
    with _opened(path) as tiff:
        picture, count = _only_picture(tiff, path)
        images = np.squeeze(picture.read())
        if picture.axes.endswith("S") and count > 1:
            images = np.moveaxis(images, -1, 0)
        return images.reshape(count, *images.shape[-2:])


def _only_picture(tiff: ForeignTiff, path: Path) -> tuple[Picture, int]:
    """Return the image of a field and its number of channels; smaller images are thumbnails.

    Raises:
        BrokenField: The file holds more than the channels of one field.
    """
    pictures = [one for one in tiff.pictures if one.shape == tiff.pictures[0].shape]
    picture = pictures[0]
    sizes = [s for s in zip(picture.axes, picture.shape, strict=True) if s[1] > 1 or s[0] in "YX"]
    more = [letter for letter, _ in sizes if letter not in "YX"]
    larger = any(np.prod(one.shape) > np.prod(picture.shape) for one in tiff.pictures)
    colours = "S" in more and picture.colours
    if len(pictures) > 1 or larger or len(more) > 1 or set(more) & set("ZT") or colours:
        axes = "".join(letter for letter, _ in sizes)
        several = f"{len(tiff.pictures)} images" if len(pictures) > 1 or larger else ""
        found = several or ("colours" if colours else f"the axes {axes}")
        raise BrokenField(
            "wrong shape",
            f"{path} has {found} of {' x '.join(map(str, picture.shape))}, expected the "
            "channels of one field. Save one plane a channel (project z first; a stack made "
            "in Fiji: Image > Hyperstacks, slices to channels).",
        )
    return picture, dict(sizes)[more[0]] if more else 1


@contextmanager
def _opened(path: Path) -> Iterator[ForeignTiff]:
    """Open a TIFF; any failure inside the block becomes :class:`BrokenField`."""
    try:
        with open_tiff(path) as tiff:
            yield tiff
    except BrokenField:
        raise
    except BrokenImage as error:
        raise BrokenField(
            error.reason, f"{error} Or set on_broken_field: skip, to leave such fields out."
        ) from error


def _names(tiff: ForeignTiff, count: int) -> tuple[tuple[str, ...], bool]:
    """Return (names of the channels, whether they are binding); () unless each has a name."""
    if tiff.ome is not None:
        named = tiff.ome.all_named and len(tiff.ome.names) == count
        return (tiff.ome.names, True) if named else ((), False)
    return (tiff.labels if len(tiff.labels) == count else ()), False


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
