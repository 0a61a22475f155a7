"""Read the image files of one field, whatever program wrote them, and refuse misleading ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from analysis.plates.sheet import Row, listed_digest
from rls.io.images import end_of_pixels
from rls.runtime.errors import InputError

SATURATED_SHARE = 0.5  # A channel with a greater share of saturated pixels shows nothing.
COLOURS = (2, 3, 5, 6, 8)  # Photometric tag of a TIFF: RGB, palette, CMYK, YCbCr, CIELab.


class BrokenField(InputError):
    """A field that cannot be used; ``reason`` is the short form for tables."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Planes:
    """The channels of one file.

    Attributes:
        images: (c, y, x) as stored.
        names: Name of each channel in the file, () where it has none.
        binding: Whether the names are those of an OME-TIFF; other labels are often mere numbers.
    """

    images: np.ndarray
    names: tuple[str, ...]
    binding: bool


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
        BrokenField: A file is missing, cut off or not finite, lacks a channel, channels differ in
            size, the file's type does not fit ``bit_depth``, or a channel is black or saturated.
    """
    depth = int(str(row["bit_depth"]))
    read: dict[Path, Planes] = {}
    images: list[np.ndarray] = []
    for channel in channels:
        path = folder / str(row["path"] if "path" in row else row[f"path_{channel}"])
        if path not in read:
            _check_digest(row, "digest" if "path" in row else f"digest_{channel}", path)
            read = {path: read_planes(path)}  # Memory holds one file at a time.
        place = _place(read[path], channel, row, channels, path)
        image = to_counts(read[path].images[place], depth, path)
        _check_signal(image, depth, channel, path)
        images.append(image)
        if image.shape != images[0].shape:
            raise BrokenField(
                "channels differ in size",
                f"{path} is {image.shape} px, but channel {channels[0]} of the same field is "
                f"{images[0].shape} px. Correct the sheet or leave the field out.",
            )
    return np.stack(images)


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


def read_planes(path: Path) -> Planes:
    """Return the channels of a TIFF of one page, of several, or of an OME-TIFF.

    Raises:
        BrokenField: The file is missing, cut off, no TIFF, or holds more than the channels of one
            field.
    """
    with _opened(path) as tiff:
        series = [one for one in tiff.series if one.shape == tiff.series[0].shape]
        sizes = zip(series[0].axes, series[0].shape, strict=True)
        axes = "".join(letter for letter, size in sizes if size > 1 or letter in "YX")
        more = [letter for letter in axes if letter not in "YX"]
        colours = "S" in more and int(tiff.pages.first.photometric) in COLOURS
        if len(series) > 1 or len(more) > 1 or set(more) & set("ZT") or colours:
            what = "colours" if colours else f"the axes {axes}"
            found = f"{len(series)} images" if len(series) > 1 else what
            raise BrokenField(
                "wrong shape",
                f"{path} has {found} of {' x '.join(map(str, series[0].shape))}, expected the "
                "channels of one field. Save one plane a channel (project z first; a stack made "
                "in Fiji: Image > Hyperstacks, slices to channels).",
            )
        images = np.squeeze(series[0].asarray())
        if axes.endswith("S"):
            images = np.moveaxis(images, -1, 0)
        images = images.reshape(-1, *images.shape[-2:])
        names, binding = _names(tiff, len(images))
    return Planes(images, names, binding)


def read_image(path: Path) -> np.ndarray:
    """Return the pixels of a TIFF, axes of length one removed.

    Raises:
        BrokenField: The file is missing, cut off or no TIFF.
    """
    with _opened(path) as tiff:
        return np.squeeze(tiff.asarray())


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF; any failure inside the block becomes :class:`BrokenField`."""
    if not path.is_file():
        raise BrokenField("missing file", f"The image {path} does not exist. Fetch it again.")
    try:
        with tifffile.TiffFile(path) as tiff:
            # Some readers fill the missing end of a file with zeros.
            size, needed = path.stat().st_size, end_of_pixels(tiff)
            if needed > size:
                raise BrokenField(
                    "truncated or damaged file",
                    f"The image {path} is cut off: it has {size} of {needed} bytes. "
                    "Fetch it again, or set on_broken_field: skip.",
                )
            yield tiff
    except BrokenField:
        raise
    except Exception as error:  # Readers of broken files raise nearly any exception.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        if "imagecodecs" in reason:
            raise BrokenField(
                "compression not readable",
                f"The image {path} is compressed in a way that needs the package imagecodecs "
                f"({reason}). Install it (pip install imagecodecs), or save the image with deflate "
                "or uncompressed.",
            ) from error
        raise BrokenField(
            "truncated or damaged file",
            f"The image {path} is cut off or damaged ({reason}). Fetch it again, or set "
            "on_broken_field: skip.",
        ) from error


def _names(tiff: tifffile.TiffFile, count: int) -> tuple[tuple[str, ...], bool]:
    """Return (names of the channels, whether they are binding); () unless each has a name."""
    if tiff.is_ome:
        ome = tifffile.xml2dict(tiff.ome_metadata or "").get("OME", {}).get("Image", {})
        pixels = (ome[0] if isinstance(ome, list) else ome).get("Pixels", {})
        listed = pixels.get("Channel", [])
        listed = listed if isinstance(listed, list) else [listed]
        names = [str(channel.get("Name", "")) for channel in listed]
        # Bio-Formats writes Channel:0:0 where it knows no name.
        named = all(re.search("[A-Za-z]", name.removeprefix("Channel")) for name in names)
        if len(names) == count and named:
            return tuple(names), True
        return (), False
    labels = (tiff.imagej_metadata or {}).get("Labels") if tiff.is_imagej else None
    if labels is None:
        tags = [
            page.tags.get("PageName") for page in tiff.pages if isinstance(page, tifffile.TiffPage)
        ]
        labels = [str(tag.value) for tag in tags if tag is not None]
    return (tuple(map(str, labels)) if len(labels) == count else ()), False


def _place(planes: Planes, channel: str, row: Row, channels: Sequence[str], path: Path) -> int:
    """Return the position of ``channel`` in a file.

    Raises:
        BrokenField: The file has no such channel, or another number of channels.
    """
    count, column = len(planes.images), f"channel_{channel}"
    said = str(row[column]).strip() if column in row and row[column] == row[column] else ""
    names = [name.strip().lower() for name in planes.names]
    wanted = (said or channel).lower()
    if names.count(wanted) == 1:
        return names.index(wanted)
    if said.isdigit() and int(said) < count:
        return int(said)
    ours = [name for name in channels if name.lower() in names]
    if not (said or ours or (planes.binding and count > 1)):
        if "path" in row and count == len(channels):
            return list(channels).index(channel)
        if "path" not in row and count == 1:
            return 0
    whose = f"'{said}' of the column {column}" if said else f"channel {channel}"
    called = f", called {', '.join(planes.names)}" if planes.names else " without names"
    raise BrokenField(
        "channel missing" if said or ours or planes.binding else "wrong shape",
        f"{path} has {count} channels of {planes.images.shape[1:]} px{called}: found no {whose}, "
        f"expected {len(channels) if 'path' in row else 1} channels "
        f"({', '.join(channels) if 'path' in row else channel}). Say in the sheet's columns "
        "channel_{channel} what the file calls each, or its place from 0.",
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
            f"{path} is an 8-bit file, but the sheet says bit_depth {bit_depth}. "
            "Export the raw image, or write bit_depth 8.",
        )
    low, high = int(image.min()), int(image.max())
    if low < 0 or high >= 2**bit_depth:
        raise BrokenField(
            "above bit depth",
            f"{path} holds values from {low} to {high}, expected 0 to {2**bit_depth - 1} at "
            f"bit_depth {bit_depth}. Correct bit_depth in the sheet.",
        )
    return image.astype(np.uint16)
