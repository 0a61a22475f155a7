"""Read a user's image file as cells and channels: a TIFF of any dialect, a PNG, a vendor's file.

Which files are taken, and what in them is refused, is said in :mod:`rls.io.foreign_tiff`,
:mod:`rls.io.png` and :mod:`rls.io.vendor`. Here their axes become (cell, channel, row, column).
Nothing is guessed: where neither the file nor the user says which page is which channel, and their
number leaves a choice, the file is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rls.io.files import need_file
from rls.io.foreign_tiff import open_tiff
from rls.io.png import LARGEST, read_png
from rls.io.vendor import ENDINGS, is_vendor, only_series, open_vendor
from rls.runtime.errors import InputError

TIFF, PNG = (".tif", ".tiff"), (".png",)
SUFFIXES = (*TIFF, *PNG, *ENDINGS)
PLANE = "YX"
UNKNOWN = "QI"  # tifffile's letters for axes that the file does not name.
SQUARE = 0.01  # Relative difference of width and height up to which a pixel counts as square.
GREATEST_COUNT = 2**24  # Greater integers are no counts, and float32 rounds them.


@dataclass(frozen=True)
class Planes:
    """The images of one file.

    Attributes:
        images: (n, c, y, x) as stored: 8 or 16 bit, 32 bit or float.
        channels: Names that the file gives its channels, or None.
        pixel_size_um: Side of a pixel in micrometres where OME-XML or ImageJ says it, or None.
        how: How the file's axes were read.
        files: UUID and name of each file of an OME-TIFF image that lies in several; else ().
        elsewhere: Of such an image, the file of every channel that this one lacks.
    """

    images: np.ndarray
    channels: tuple[str, ...] | None
    pixel_size_um: float | None
    how: str
    files: tuple[tuple[str, str], ...] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)


def read_planes(path: Path, n_channels: int, axes: str | None = None) -> Planes:
    """Read intensities from a TIFF or PNG as (n, c, y, x).

    Arguments:
        path, n_channels, axes: See :func:`read_as_stored`.

    Raises:
        InputError: See :func:`read_as_stored`; or values are not finite, or no intensities.
    """
    planes = read_as_stored(path, n_channels, axes)
    _check_values(planes.images, path)
    return planes


def read_as_stored(path: Path, n_channels: int, axes: str | None = None) -> Planes:
    """Read a TIFF, a PNG or a vendor's file of one field as (n, c, y, x), whatever its values.

    Arguments:
        path: The file.
        n_channels: Number of channels that are expected; it decides how unnamed pages are read.
        axes: The axes of a TIFF, such as TCYX, where it does not name them or is wrong.

    Raises:
        InputError: The file is missing or damaged, has a format that is not supported, or its axes
            are ambiguous.
    """
    need_file(path, "image")
    if path.suffix.lower() in TIFF:
        return _read_tiff(path, n_channels, axes)
    if is_vendor(path):
        return _read_vendor(path)
    if path.suffix.lower() in PNG:
        pixels = read_png(path.read_bytes(), str(path))
        images, how = as_tcyx(pixels, "YXC", n_channels, path)
        return Planes(images, None, None, how)
    raise InputError(
        f"Found the file {path}, expected a TIFF, a PNG or a vendor's file "
        f"({', '.join(SUFFIXES)}). Save it as TIFF: formats such as JPEG change intensities."
    )


def _read_vendor(path: Path) -> Planes:
    """Return the only image of a vendor's file.

    Raises:
        InputError: The file is refused, or its pixels are no squares.
    """
    with open_vendor(path) as series:
        one = only_series(path, series)
        images = np.concatenate([one.read(place) for place in range(len(one.channels))])[None]
        names = one.channels if all(one.channels) else None
        width, height = one.pixel_size_um or (1.0, 1.0)
    if abs(width / height - 1) > SQUARE:
        raise InputError(
            f"{path} has pixels of {width:g} by {height:g} um, expected squares. Resample the "
            "image in its program."
        )
    how = f"1 field of {images.shape[1]} channels"
    return Planes(images, names, None if one.pixel_size_um is None else width, how)


def _check_values(images: np.ndarray, path: Path) -> None:
    """Refuse values that are no intensities.

    Raises:
        InputError: They are not finite, of another type, or integers that no camera counts.
    """
    if images.dtype.kind not in "uif":
        raise InputError(
            f"{path} holds values of type {images.dtype}, expected 8-bit, 16-bit or float "
            "intensities. Save it as one of these."
        )
    if images.dtype.kind == "f":
        if np.isfinite(images).all():
            return
        bad = np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))
        raise InputError(
            f"{path} has values that are not finite (NaN or infinite) in {len(bad)} of "
            f"{len(images)} images, first in number {bad[0] + 1}. Leave these out, or correct them."
        )
    low, high = int(images.min()), int(images.max())
    if low < 0 or high > GREATEST_COUNT:
        raise InputError(
            f"{path} holds {images.dtype} from {low} to {high}, expected counts from 0 to "
            f"{GREATEST_COUNT}: an offset was taken off, or 16 bits were read as signed. Save the "
            "raw counts, unsigned."
        )


def as_tcyx(
    array: np.ndarray, axes: str, n_channels: int, path: Path, said: str | None = None
) -> tuple[np.ndarray, str]:
    """Return (images (n, c, y, x), a text that says how the axes were read).

    Arguments:
        array: The pixels as tifffile returns them.
        axes: tifffile's letters of the array: T, Z, C, S (samples such as RGB), Y, X, and others.
        n_channels: Number of channels that are expected.
        path: The file, for error messages.
        said: The user's letters out of T, C, Y and X, which override ``axes``. Cells and channels
            may share one axis of pages, in which the later letter varies fastest.

    Raises:
        InputError: The axes do not tell cells from channels.
    """
    found = f"{path} has the axes {axes} of {' x '.join(map(str, array.shape))}"
    axes = _undo_colour_guess(array.shape, axes, n_channels)
    kept = [i for i, letter in enumerate(axes) if letter in PLANE or array.shape[i] != 1]
    array, axes = array.reshape([array.shape[i] for i in kept]), "".join(axes[i] for i in kept)
    if said is not None:
        array, axes = _as_said(array, axes, said.upper(), n_channels, found)
    elif "S" in axes and "C" not in axes:
        axes = axes.replace("S", "C")
    elif "C" not in axes:
        axes = _name_channels(array, axes, n_channels, found)
    cells = [letter for letter in axes if letter not in "CYX"]
    if len(cells) > 1 or "S" in axes:
        raise InputError(
            f"{found}: expected cells, channels, rows and columns. Save one plane a cell and "
            "channel (project z first), or say what the axes are with --axes, such as TCYX."
        )
    order = [*cells, *(["C"] if "C" in axes else []), "Y", "X"]
    array = array.transpose([axes.index(letter) for letter in order])
    array = array.reshape(
        array.shape[0] if cells else 1,
        array.shape[len(cells)] if "C" in axes else 1,
        *array.shape[-2:],
    )
    return array, f"{len(array)} cells of {array.shape[1]} channels from axes {axes}"


def _undo_colour_guess(shape: tuple[int, ...], axes: str, n_channels: int) -> str:
    """Return the axes with rows and columns of small images that their writer took for colours.

    Unless told otherwise, tifffile writes an array (..., 4, 4) as RGBA images of 4 px height. Axes
    whose width equals the number of samples are therefore read as rows and columns.
    """
    colours = axes.endswith("YXS") and shape[-1] == shape[-2]
    if not colours or (shape[-3] == shape[-2] and shape[-1] == n_channels):
        return axes
    return axes.removesuffix("YXS") + "QYX"


def _name_channels(array: np.ndarray, axes: str, n_channels: int, found: str) -> str:
    """Return axes in which C is named: unnamed pages are channels if their number fits.

    Raises:
        InputError: The number of pages does not tell which are channels.
    """
    unnamed = [i for i, letter in enumerate(axes) if letter in UNKNOWN]
    if n_channels == 1:
        if len(unnamed) == 1:
            return axes[: unnamed[0]] + "T" + axes[unnamed[0] + 1 :]
        return axes
    if len(unnamed) in (1, 2) and len(axes) == len(unnamed) + 2:
        last = unnamed[-1]
        either = len(unnamed) == 2 and array.shape[0] == array.shape[1]
        if array.shape[last] == n_channels and not either:
            named = axes[:last] + "C" + axes[last + 1 :]
            return named if len(unnamed) == 1 else "T" + named[1:]
    if any(letter not in PLANE for letter in axes) and unnamed:
        raise InputError(
            f"{found} and does not say which are channels, of which {n_channels} are expected. "
            "Give --axes TCYX (all channels of a cell behind one another), --axes CTYX (all cells "
            "of a channel), or --axes TYX where each file holds one channel; in a configuration "
            "import_crops.axes says it."
        )
    return axes


def _as_said(
    array: np.ndarray, axes: str, said: str, n_channels: int, found: str
) -> tuple[np.ndarray, str]:
    """Return the array and its axes by the user's letters; one axis of pages may be split in two.

    Raises:
        InputError: The letters are unknown, or do not fit the array.
    """
    if sorted(said) not in (sorted(s) for s in ("YX", "TYX", "CYX", "TCYX")):
        raise InputError(
            f"Found --axes {said}, expected T (cells), C (channels), Y and X, such as TCYX."
        )
    if len(said) == 4 and array.ndim == 3 and said.endswith(PLANE) and axes.endswith(PLANE):
        n = len(array) // n_channels
        if n * n_channels == len(array):
            shape = (n, n_channels) if said[0] == "T" else (n_channels, n)
            return array.reshape(*shape, *array.shape[1:]), said
    if len(said) == 4 and array.ndim == 3 and len(axes) == 3 and "C" in axes:
        said = said.replace("T", "")
    if len(said) == 4 and array.ndim == 3 and n_channels == 1:
        said = said.replace("C", "")
    if len(said) != array.ndim:
        raise InputError(
            f"{found}; that does not fit --axes {said} with {n_channels} channels. Give one letter "
            "an axis that is longer than 1."
        )
    return array, said


def _read_tiff(path: Path, n_channels: int, axes: str | None) -> Planes:
    with open_tiff(path) as tiff:
        for picture in tiff.pictures:
            _check_size(picture.shape, picture.axes, path)
        parts = [as_tcyx(one.read(), one.axes, n_channels, path, axes) for one in tiff.pictures]
        ome, size = tiff.ome, tiff.pixel_size_um
    shapes = {images.shape[1:] for images, _ in parts}
    if len(shapes) > 1:
        raise InputError(
            f"{path} holds images of different shapes, {', '.join(map(str, sorted(shapes)))} "
            "(channels, rows, columns). Save cells of one size in one file."
        )
    images = np.concatenate([images for images, _ in parts])
    how = parts[0][1] if len(parts) == 1 else f"{len(images)} cells from {len(parts)} images"
    if size is not None and abs(size[0] / size[1] - 1) > SQUARE:
        how += f"; their pixels are not square ({size[0]:g} x {size[1]:g} um)"
        size = None
    return Planes(
        images,
        ome.names if ome is not None and all(ome.names) and ome.names else None,
        None if size is None else size[0],
        how,
        () if ome is None else ome.files,
        {} if ome is None else ome.elsewhere,
    )


def _check_size(shape: tuple[int, ...], axes: str, path: Path) -> None:
    """Refuse a field before its pixels fill the memory.

    Raises:
        InputError: One plane is larger than any cell.
    """
    height, width = (shape[axes.index(letter)] for letter in PLANE)
    if height * width > LARGEST:
        raise InputError(
            f"The image {path} is of {height} x {width} px, expected one cell an image, of at "
            f"most {LARGEST} pixels. Crop a square around every nucleus of the field, nucleus in "
            "the middle, and give the crops."
        )
