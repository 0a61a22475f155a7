"""What an image file of a field holds, whatever program wrote it, and its channels as stacks of z.

A TIFF is read by :mod:`rls.io.foreign_tiff`, a vendor's file by :mod:`rls.io.vendor`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.plates.projections import NONE
from analysis.plates.sheet import Row
from rls.io.broken_image import BrokenImage
from rls.io.foreign_tiff import ForeignTiff, Picture, open_tiff
from rls.io.vendor import Series, is_vendor, open_vendor, place_of


class BrokenField(BrokenImage):
    """A field that cannot be used; ``reason`` is the short form for tables."""


@dataclass(frozen=True)
class Part:
    """What is taken of a file.

    Attributes:
        series: The image that is meant, by its name or its position from 0; "" for the only one.
        projection: What becomes of several planes in z, see :mod:`analysis.plates.projections`.
    """

    series: str = ""
    projection: str = NONE

    @classmethod
    def of(cls, row: Row) -> Part:
        """Return what a row of a sheet says."""
        series, projection = row.get("series", ""), row.get("projection", NONE)
        return cls(
            "" if pd.isna(series) else str(series).strip(),
            NONE if pd.isna(projection) or not projection else str(projection),
        )


WHOLE = Part()


@dataclass(frozen=True)
class Channels:
    """What the header of a file says of its channels.

    Attributes:
        count: Number of channels.
        size: Height and width in px.
        names: Name of each channel in the file, () where it has none.
        binding: Whether the names are those of an OME-TIFF or a vendor's file; other labels are
            often mere numbers.
        files: The files of an image that is spread over several; () where this one holds it all.
        elsewhere: Of such an image, the file of every channel that this one lacks.
        pixel_size_um: Width and height of a pixel; None where the file does not say it.
    """

    count: int
    size: tuple[int, int]
    names: tuple[str, ...]
    binding: bool
    files: tuple[tuple[str, str], ...] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    pixel_size_um: tuple[float, float] | None = None


def channels_of(path: Path, part: Part = WHOLE) -> Channels:
    """Return which channels a file holds, from its header alone.

    Raises:
        InputError: The library for this kind of file is not installed.
        BrokenField: The file is missing, cut off or no image, holds more than the channels of one
            field, or is of a kind that its reader refuses.
    """
    with _skippable():
        if is_vendor(path):
            with open_vendor(path) as every:
                series = _chosen(every, part, path)
                named = all(series.channels)
                names, size = series.channels if named else (), series.size
                count, pixels = len(series.channels), series.pixel_size_um
                return Channels(count, size, names, named, pixel_size_um=pixels)
        with _opened(path, part) as tiff:
            picture, count = _only_picture(tiff, path, part)
            names, binding = _names(tiff, count)
            height, width = (picture.shape[picture.axes.index(letter)] for letter in "YX")
            files, elsewhere = (tiff.ome.files, tiff.ome.elsewhere) if tiff.ome else ((), {})
        size = (height, width)
        return Channels(count, size, names, binding, files, elsewhere, tiff.pixel_size_um)


def read_channels(
    path: Path, part: Part = WHOLE, places: Sequence[int] | None = None
) -> dict[int, np.ndarray]:
    """Return channels of a file as stored, each (z, y, x), by their position from 0.

    Arguments:
        places: Those that are wanted; None for all.

    Raises:
        InputError: See :func:`channels_of`.
        BrokenField: See :func:`channels_of`.
    """
    with _skippable():
        if is_vendor(path):
            with open_vendor(path) as every:
                series = _chosen(every, part, path)
                wanted = range(len(series.channels)) if places is None else places
                return {place: series.read(place) for place in wanted}
        with _opened(path, part) as tiff:
            picture, count = _only_picture(tiff, path, part)
            images = _as_czyx(picture.read(), picture.axes)
    return {place: images[place] for place in (range(count) if places is None else places)}


def _chosen(every: Sequence[Series], part: Part, path: Path) -> Series:
    """Return the image that is meant.

    Raises:
        BrokenImage: It is not said, or has several time points, or planes that nothing projects.
    """
    series = every[place_of(every, part.series, path)]
    more = {"time points": series.n_times}
    if part.projection == NONE:
        more["planes in z"] = series.n_planes
    for what, count in more.items():
        if count > 1:
            raise BrokenImage(
                "wrong shape",
                f"Image {series.name} of {path} has {count} {what}, expected one"
                + (": set list_plate.projection." if what != "time points" else ". Export one."),
            )
    return series


def _only_picture(tiff: ForeignTiff, path: Path, part: Part) -> tuple[Picture, int]:
    """Return the image of a field and its number of channels; smaller images are thumbnails.

    Raises:
        BrokenField: The file holds more than the channels of one field, and their planes in z.
    """
    pictures = [one for one in tiff.pictures if one.shape == tiff.pictures[0].shape]
    picture = pictures[0]
    sizes = [s for s in zip(picture.axes, picture.shape, strict=True) if s[1] > 1 or s[0] in "YX"]
    planes = "YX" if part.projection == NONE else "ZYX"
    more = [letter for letter, _ in sizes if letter not in planes]
    larger = any(np.prod(one.shape) > np.prod(picture.shape) for one in tiff.pictures)
    colours = "S" in more and picture.colours
    if len(pictures) > 1 or larger or len(more) > 1 or set(more) & set("ZT") or colours:
        axes = "".join(letter for letter, _ in sizes)
        several = f"{len(tiff.pictures)} images" if len(pictures) > 1 or larger else ""
        found = several or ("colours" if colours else f"the axes {axes}")
        raise BrokenField(
            "wrong shape",
            f"{path} has {found} of {' x '.join(map(str, picture.shape))}, expected the "
            "channels of one field. Save one plane a channel (project z first, or set "
            "list_plate.projection; a stack made in Fiji: Image > Hyperstacks, slices to "
            "channels).",
        )
    return picture, dict(sizes)[more[0]] if more else 1


def _as_czyx(pixels: np.ndarray, axes: str) -> np.ndarray:
    """Return the pixels of a TIFF as (c, z, y, x); an axis of any other letter is the channels."""
    kept = [at for at, letter in enumerate(axes) if letter in "YX" or pixels.shape[at] > 1]
    letters = "".join(axes[at] for at in kept)
    pixels = pixels.reshape([pixels.shape[at] for at in kept])
    if "Z" not in letters:
        pixels, letters = pixels[None], "Z" + letters
    other = [letter for letter in letters if letter not in "ZYX"]
    if not other:
        pixels, letters = pixels[None], "C" + letters
    order = [letters.index(letter) for letter in (*(other or "C"), *"ZYX")]
    return pixels.transpose(order)


@contextmanager
def _opened(path: Path, part: Part) -> Iterator[ForeignTiff]:
    """Open a TIFF, of which no image can be chosen by the sheet."""
    if part.series:
        raise BrokenField(
            "series not said",
            f"The sheet names image '{part.series}' of {path}, and only files of vendors (CZI, "
            "LIF, ND2) hold several. Leave the column series empty in this row.",
        )
    with open_tiff(path) as tiff:
        yield tiff


@contextmanager
def _skippable() -> Iterator[None]:
    """Turn a fault of a file inside the block into :class:`BrokenField`, and say how to skip it."""
    try:
        yield
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
