"""Open a vendor's file by the library for its kind; every failure becomes one sentence."""

from __future__ import annotations

import importlib.util
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from rls.io.broken_image import BrokenImage
from rls.io.vendor import czi, lif, nd2
from rls.io.vendor.series import Series
from rls.runtime.errors import InputError, first_line

Opener = Callable[[Path], AbstractContextManager[tuple[Series, ...]]]
# By the ending of a file: its library, the release that is taken, and what opens it.
READERS: dict[str, tuple[str, str, Opener]] = {
    ".czi": ("czifile", "czifile>=2019.7.2.3,<2026", czi.opened),
    ".lif": ("liffile", "liffile>=2026.2.16,<2027", lif.opened),
    ".nd2": ("nd2", "nd2>=0.11,<0.13", nd2.opened),
}
ENDINGS = tuple(READERS)
LARGEST_PLANE = 2**32  # px; no camera and no scene that is one field has more.


def is_vendor(path: Path) -> bool:
    """Return whether a file is of a kind that is read here, by its ending."""
    return path.suffix.lower() in READERS


def need_reader(path: Path) -> None:
    """Raise :class:`InputError` unless the library for a vendor's file is installed."""
    package, release, _ = READERS[path.suffix.lower()]
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"Found no package {package}, expected it for {path}. Run pip install '{release}' and "
            "the same command again."
        )


@contextmanager
def open_vendor(path: Path) -> Iterator[tuple[Series, ...]]:
    """Open a vendor's file and give its images, of which no pixel is read yet.

    Any failure to read it inside the block becomes :class:`BrokenImage`.

    Raises:
        InputError: The library for this kind of file is not installed.
        BrokenImage: The file is missing, damaged, or of a kind that is refused.
    """
    need_reader(path)
    if not path.is_file():
        raise BrokenImage("missing file", f"The image {path} does not exist. Fetch it again.")
    logging.getLogger("liffile").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with READERS[path.suffix.lower()][2](path) as series:
                _check(series, path)
                yield series
    except InputError:
        raise
    except Exception as error:  # Damaged bytes raise whatever the parser or codec meets first.
        raise BrokenImage(
            "truncated or damaged file",
            f"The image {path} is cut off or damaged and cannot be read "
            f"({type(error).__name__}: {first_line(error, 120)}). Copy it again.",
        ) from error


def only_series(path: Path, series: tuple[Series, ...]) -> Series:
    """Return the image of a file in which nothing is left to choose.

    Raises:
        BrokenImage: It holds several images, planes or time points.
    """
    first = series[0]
    found = [
        f"{count} {what}"
        for count, what in (
            (len(series), "images"),
            (max(one.n_planes for one in series), "planes in z"),
            (max(one.n_times for one in series), "time points"),
        )
        if count > 1
    ]
    if found:
        raise BrokenImage(
            "wrong shape",
            f"{path} holds {' and '.join(found)}, expected one image of one plane: nothing says "
            "which is meant. Export the one that you want as OME-TIFF.",
        )
    return first


def _check(series: tuple[Series, ...], path: Path) -> None:
    """Refuse a file without an image, or with one that cannot be.

    Raises:
        BrokenImage: There is such an image.
    """
    if not series:
        raise BrokenImage("no pixels", f"The image {path} holds no image. Save it again.")
    for one in series:
        if not 0 < math.prod(one.size) < LARGEST_PLANE:
            raise BrokenImage(
                "truncated or damaged file",
                f"The header of {path} promises a plane of {one.size[0]} x {one.size[1]} px, "
                "which cannot be: it is damaged. Copy it again.",
            )
