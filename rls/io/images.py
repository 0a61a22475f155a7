"""Image files that other programs wrote: TIFF in its dialects, and PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from rls.io.files import need_file
from rls.runtime.errors import InputError, first_line

TIFF, PNG = (".tif", ".tiff"), (".png",)
SUFFIXES = (*TIFF, *PNG)
PLANE = "YX"
UNKNOWN = "QI"  # tifffile's letters for axes that the file does not name.
MICROMETRES = {"µm": 1.0, "um": 1.0, "nm": 1.0e-3, "mm": 1.0e3}


@dataclass(frozen=True)
class Planes:
    """The images of one file.

    Attributes:
        images: (n, c, y, x) as stored: 8 or 16 bit, 32 bit or float.
        channels: Names that the file gives its channels, or None.
        pixel_size_um: Side of a pixel in micrometres where an OME-TIFF names it, or None.
        how: How the file's axes were read.
    """

    images: np.ndarray
    channels: tuple[str, ...] | None
    pixel_size_um: float | None
    how: str


def read_planes(path: Path, n_channels: int, axes: str | None = None) -> Planes:
    """Read a TIFF or PNG as (n, c, y, x).

    Arguments:
        path: The file.
        n_channels: Number of channels that are expected; it decides how unnamed pages are read.
        axes: The file's axes, such as TCYX, where the file does not name them or is wrong.

    Raises:
        InputError: The file is missing or damaged, has values that are not finite, has a format
            or type that is not supported, or its axes are ambiguous.
    """
    need_file(path, "image")
    if path.suffix.lower() in TIFF:
        planes = _read_tiff(path, n_channels, axes)
    elif path.suffix.lower() in PNG:
        images, how = as_tcyx(_read_png(path), "YXS", n_channels, path, axes)
        planes = Planes(images, None, None, how)
    else:
        raise InputError(
            f"Found the file {path}, expected a TIFF or PNG ({', '.join(SUFFIXES)}). Save it as "
            "TIFF: formats such as JPEG change intensities."
        )
    images = planes.images
    if images.dtype.kind not in "uif":
        raise InputError(
            f"{path} holds values of type {images.dtype}, expected 8-bit, 16-bit or float "
            "intensities. Save it as one of these."
        )
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        bad = np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))
        raise InputError(
            f"{path} has values that are not finite (NaN or infinite) in {len(bad)} of "
            f"{len(images)} images, first in number {bad[0] + 1}. Leave these out, or correct them."
        )
    return planes


def end_of_pixels(tiff: tifffile.TiffFile) -> int:
    """Return the length in bytes that a TIFF must have for all its pixels.

    The caller compares it with the file, because some readers fill missing pixels with zeros.
    """
    return max(
        (
            offset + count
            for page in tiff.pages
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        ),
        default=0,
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
        if array.shape[last] == n_channels:
            named = axes[:last] + "C" + axes[last + 1 :]
            return named if len(unnamed) == 1 else "T" + named[1:]
    if any(letter not in PLANE for letter in axes) and unnamed:
        raise InputError(
            f"{found} and does not say which are channels; the model has {n_channels}. Give "
            "--axes TCYX (all channels of a cell behind one another), --axes CTYX (all cells of a "
            "channel), or --axes TYX where each file holds one channel."
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
    if len(said) == 4 and array.ndim == 3 and said.endswith(PLANE):
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
    try:
        with tifffile.TiffFile(path) as tiff:
            needed = end_of_pixels(tiff)
            series = [(one.asarray(), str(one.axes)) for one in tiff.series]
            ome = tifffile.xml2dict(tiff.ome_metadata or "") if tiff.is_ome else {}
    except Exception as error:  # Damaged bytes raise whatever the parser or codec meets first.
        raise InputError(
            f"The image {path} cannot be read ({first_line(error, 120)}). Save it again, as TIFF "
            "or PNG."
        ) from error
    if needed > path.stat().st_size:
        raise InputError(
            f"The image {path} is cut off: it has {path.stat().st_size} of {needed} bytes. "
            "Copy it again."
        )
    if not series or not series[0][0].size:
        raise InputError(f"The image {path} holds no pixel. Save it again.")
    parts = [as_tcyx(array, letters, n_channels, path, axes) for array, letters in series]
    shapes = {images.shape[1:] for images, _ in parts}
    if len(shapes) > 1:
        raise InputError(
            f"{path} holds images of different shapes, {', '.join(map(str, sorted(shapes)))} "
            "(channels, rows, columns). Save cells of one size in one file."
        )
    names, pixel_size = _ome_facts(ome)
    images = np.concatenate([images for images, _ in parts])
    how = parts[0][1] if len(parts) == 1 else f"{len(images)} cells from {len(parts)} images"
    return Planes(images, names, pixel_size, how)


def _ome_facts(ome: dict[str, Any]) -> tuple[tuple[str, ...] | None, float | None]:
    """Return (channel names if all have one, pixel size in um) of the first image in OME-XML."""
    image = ome.get("OME", {}).get("Image", {})
    pixels = (image[0] if isinstance(image, list) else image).get("Pixels", {})
    channels = pixels.get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    names = tuple(str(channel["Name"]) for channel in channels if channel.get("Name"))
    size = pixels.get("PhysicalSizeX")
    unit = MICROMETRES.get(str(pixels.get("PhysicalSizeXUnit", "µm")))
    known = size is not None and unit is not None
    return (
        names if names and len(names) == len(channels) else None,
        float(size) * unit if known and unit is not None else None,
    )


def _read_png(path: Path) -> np.ndarray:
    """Return the pixels (y, x, samples) of a PNG without its alpha channel, if that is opaque."""
    try:
        with Image.open(path) as image:
            mode, array = image.mode, np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(
            f"The image {path} cannot be read ({error}). Save it again, as TIFF or PNG."
        ) from error
    if mode in ("RGBA", "LA") and (array[..., -1] == 255).all():
        return array[..., :-1]
    if mode in ("L", "I", "F", "RGB") or mode.startswith("I;16"):
        return array if array.ndim == 3 else array[..., None]
    raise InputError(
        f"The image {path} is of the PNG mode {mode}, expected grey (8 or 16 bit) or RGB without "
        "transparency or indexed colours. Save it so."
    )
