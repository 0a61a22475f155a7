"""Read the image files of one field, whatever wrote them, and refuse those that would mislead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tifffile

from rls.errors import InputError
from rls.io.images import end_of_pixels


class BrokenField(InputError):
    """A field that cannot be used; ``reason`` is the short form for tables."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def read_field(row: Mapping[str, object], channels: Sequence[str], folder: Path) -> np.ndarray:
    """Return one field of a sheet as (c, y, x) uint16 counts.

    Arguments:
        row: A row of the sheet; its paths are relative to ``folder``.

    Raises:
        BrokenField: A file is missing, cut off or not finite, channels differ in size, or the
            file's type does not fit ``bit_depth``.
    """
    depth = int(str(row["bit_depth"]))
    if "path" in row:
        path = folder / str(row["path"])
        image = read_image(path)
        if image.ndim != 3 or len(image) != len(channels):
            raise BrokenField(
                "wrong shape",
                f"{path} has shape {image.shape}, expected {len(channels)} channels "
                f"({', '.join(channels)}) of one field as (c, y, x). Correct the sheet.",
            )
        return to_counts(image, depth, path)
    images = []
    for channel in channels:
        path = folder / str(row[f"path_{channel}"])
        image = read_image(path)
        if image.ndim != 2:
            raise BrokenField(
                "wrong shape",
                f"{path} has shape {image.shape}, expected one channel (y, x). "
                "Give a file with several channels in the column 'path'.",
            )
        images.append(to_counts(image, depth, path))
        if image.shape != images[0].shape:
            raise BrokenField(
                "channels differ in size",
                f"{path} is {image.shape} px, but channel {channels[0]} of the same field is "
                f"{images[0].shape} px. Correct the sheet or leave the field out.",
            )
    return np.stack(images)


def read_image(path: Path) -> np.ndarray:
    """Return the pixels of a TIFF, axes of length one removed.

    Raises:
        BrokenField: The file is missing, cut off or no TIFF.
    """
    if not path.is_file():
        raise BrokenField("missing file", f"The image {path} does not exist. Fetch it again.")
    try:
        with tifffile.TiffFile(path) as tiff:
            _check_length(tiff, path)
            return np.squeeze(tiff.asarray())
    except BrokenField:
        raise
    except Exception as error:  # readers of broken files raise nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise BrokenField(
            "truncated or damaged file",
            f"The image {path} is cut off or damaged ({reason}). Fetch it again, or set "
            "on_broken_field: skip.",
        ) from error


def to_counts(image: np.ndarray, bit_depth: int, path: Path) -> np.ndarray:
    """Return ``image`` as uint16 counts.

    Raises:
        BrokenField: Values are not finite, not whole or above ``bit_depth``, or an 8-bit file
            stands where the sheet says more.
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


def _check_length(tiff: tifffile.TiffFile, path: Path) -> None:
    """Refuse a file that ends before its pixels do: some readers fill the rest with zeros."""
    size = path.stat().st_size
    needed = end_of_pixels(tiff)
    if needed > size:
        raise BrokenField(
            "truncated or damaged file",
            f"The image {path} is cut off: it has {size} of {needed} bytes. "
            "Fetch it again, or set on_broken_field: skip.",
        )
