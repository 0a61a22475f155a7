"""Open a TIFF that another program wrote, and refuse one whose values or planes would mislead.

Taken are TIFF and BigTIFF of either byte order, in strips or tiles, uncompressed or with lossless
compression (LZW, deflate, PackBits, LZMA, Zstandard), with or without predictor, of 4 to 64 bits,
packed or not; as plain pages, OME-TIFF, ImageJ stacks, and the dialects that tifffile knows. Of a
pyramid the full size is read, and pages marked as reduced are passed over. An OME-TIFF whose image
lies in several files gives the planes that it holds itself; no other file is ever read.

Refused are lossy compression, white stored as 0, colour tables (but for a ramp of one hue), colour
models other than RGB, turned images, missing strips or planes, transparency, and headers that
promise more than the file can hold.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import ParseError

import numpy as np
import tifffile

from rls.io.broken_image import BrokenImage
from rls.io.ome_xml import Ome, length_um, own_part
from rls.runtime.errors import InputError, first_line

LOSSLESS = (1, 5, 8, 32773, 32946, 34925, 50000)  # Compression tag.
BLACK_IS_ZERO, RGB, PALETTE = 1, 2, 3  # Photometric tag.
DESCRIBED = ("ome", "imagej", "shaped")  # tifffile's name of series whose axes the file names.
ALPHA = (1, 2)  # ExtraSamples: associated and unassociated transparency.
SURELY_FITS = 2**26  # Bytes.
EXPANSION = 2000  # A compressed file holds fewer bytes of pixels than this, each.
# Whatever tifffile would only log is refused here, or of no consequence.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Picture:
    """One image of a file at full size.

    Attributes:
        shape, axes: Of its pixels, in tifffile's letters, without opaque transparency.
        colours: Whether its samples are red, green and blue.
        series: The image as tifffile knows it.
    """

    shape: tuple[int, ...]
    axes: str
    colours: bool
    series: tifffile.TiffPageSeries

    def read(self) -> np.ndarray:
        """Return the pixels.

        Raises:
            BrokenImage: It is transparent somewhere. What a damaged file raises besides becomes
                :class:`BrokenImage` in :func:`open_tiff`.
        """
        pixels = np.asarray(self.series.asarray())
        if pixels.size == math.prod(self.shape):
            return pixels.reshape(self.shape)
        pixels = np.moveaxis(pixels, self.series.axes.index("S"), -1)
        refuse_transparency(pixels[..., -1], str(self.series.keyframe.parent.filename))
        pixels = np.moveaxis(pixels[..., :-1], -1, self.series.axes.index("S"))
        return pixels.reshape(self.shape)


@dataclass(frozen=True)
class ForeignTiff:
    """An open TIFF.

    Attributes:
        pictures: Its images, at least one.
        ome: What its OME-XML says, None without one that describes images.
        labels: Labels of its pages in an ImageJ stack or in the tag PageName; () without.
        pixel_size_um: Width and height of a pixel in micrometres, None where unknown.
    """

    pictures: tuple[Picture, ...]
    ome: Ome | None
    labels: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None


@contextmanager
def open_tiff(path: Path) -> Iterator[ForeignTiff]:
    """Open a TIFF; any failure to read it inside the block becomes :class:`BrokenImage`.

    Raises:
        BrokenImage: The file is missing, damaged, or of a kind that is refused.
    """
    if not path.is_file():
        raise BrokenImage("missing file", f"The image {path} does not exist. Fetch it again.")
    try:
        # tifffile would read the neighbouring files of MMStack and NDTiff.
        with tifffile.TiffFile(path, is_mmstack=False, is_ndtiff=False) as plain:
            pages = list(_pages(plain))
            _check_length(pages, path)
            ome = _read_ome(plain, path)
            text = None if ome is None else ome.text
            with tifffile.TiffFile(
                path, omexml=text, is_ome=bool(text), is_mmstack=False, is_ndtiff=False
            ) as tiff:
                yield _describe(pages, tiff, ome if ome and ome.n_images else None, path)
    except InputError:
        raise
    except Exception as error:  # Damaged bytes raise whatever the parser or codec meets first.
        reason = first_line(error, 120)
        if "imagecodecs" in reason:
            raise BrokenImage(
                "compression not readable",
                f"The image {path} is compressed in a way that needs the package imagecodecs "
                f"({reason}). Install it (pip install imagecodecs), or save the image with deflate "
                "or uncompressed.",
            ) from error
        raise BrokenImage(
            "truncated or damaged file",
            f"The image {path} is cut off or damaged and cannot be read ({reason}). Fetch it or "
            "save it again.",
        ) from error


def refuse_transparency(alpha: np.ndarray, name: str) -> None:
    """Raise :class:`BrokenImage` unless every pixel is opaque, which leaves the others as they are.

    Arguments:
        alpha: The samples of transparency.
        name: The file.
    """
    opaque = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "ui" else 1
    if (alpha != opaque).any():
        raise BrokenImage(
            "transparent",
            f"The image {name} is transparent in {int((alpha != opaque).sum())} pixels, expected "
            "intensities. Save its channels without transparency.",
        )


def _pages(tiff: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    """Yield every page with its own tags.

    Raises:
        ValueError: A page leads back to an earlier one, so that there is no last one.
    """
    seen: set[int] = set()
    for page in tiff.pages:
        if page.offset in seen:
            raise ValueError("its pages lead in a circle")
        seen.add(page.offset)
        if isinstance(page, tifffile.TiffPage):
            yield page


def _check_length(pages: Sequence[tifffile.TiffPage], path: Path) -> None:
    """Refuse a file that ends before its pixels: some readers fill the rest with zeros.

    Raises:
        BrokenImage: Bytes are missing.
    """
    size, needed, lacking = path.stat().st_size, 0, 0
    for page in pages:
        counts = page.databytecounts
        needed = max([needed, *(a + n for a, n in zip(page.dataoffsets, counts, strict=True))])
        stored = math.ceil(page.imagewidth * page.bitspersample * page.samplesperpixel / 8)
        short = page.compression == 1 and sum(counts) < stored * page.imagelength
        lacking += short or 0 in counts
    if needed > size or lacking:
        what = f"it has {size} of {needed} bytes" if needed > size else "pixels are missing in it"
        raise BrokenImage(
            "truncated or damaged file",
            f"The image {path} is cut off: {what}. Copy or save it again.",
        )


def _read_ome(tiff: tifffile.TiffFile, path: Path) -> Ome | None:
    """Return what the OME-XML says of this file, None without one.

    Raises:
        BrokenImage: It cannot be read or lies in another file, and there are several pages.
    """
    if not tiff.is_ome:
        return None
    several = len(tiff.pages) > 1
    try:
        ome = own_part(tiff.ome_metadata or "", path, len(tiff.pages))
    except (ParseError, ValueError) as error:
        if isinstance(error, BrokenImage):
            raise
        if not several:
            return None
        raise BrokenImage(
            "damaged OME-XML",
            f"The OME-XML in {path} cannot be read ({first_line(error, 120)}), and without it "
            "nothing says which page is which channel. Save it again as OME-TIFF.",
        ) from error
    if "BinaryOnly" in ome.text and several and not ome.n_images:
        raise BrokenImage(
            "description elsewhere",
            f"{path} says that its description lies in another file, and without it nothing says "
            "which page is which channel. Export the image as one OME-TIFF.",
        )
    return ome


def _describe(
    pages: Sequence[tifffile.TiffPage], tiff: tifffile.TiffFile, ome: Ome | None, path: Path
) -> ForeignTiff:
    """Return what is read of ``tiff``, which has ``pages``.

    Raises:
        BrokenImage: See the head of this file.
    """
    series = [one for one in tiff.series if not one.keyframe.is_reduced]
    if not series or not all(math.prod(one.shape) for one in series):
        raise BrokenImage("no pixels", f"The image {path} holds no pixel. Save it again.")
    promised, limit = sum(one.nbytes for one in series), EXPANSION * path.stat().st_size
    if promised > max(limit, SURELY_FITS):
        raise BrokenImage(
            "truncated or damaged file",
            f"The header of {path} promises {promised / 2**30:.1f} GiB of pixels, more than the "
            f"file of {path.stat().st_size} bytes can hold: it is damaged. Fetch it or save it "
            "again.",
        )
    imagej = (tiff.imagej_metadata or {}) if tiff.is_imagej else {}
    _check_planes(pages, tiff, series, ome, path)
    for one in series:
        _check_pages(pages, one, path)
    tags = [page.tags.get("PageName") for page in pages]
    labels = imagej.get("Labels") or [str(tag.value) for tag in tags if tag is not None]
    size = ome.pixel_size_um if ome else _imagej_pixel_size(pages[0], imagej)
    return ForeignTiff(tuple(map(_picture, series)), ome, tuple(map(str, labels)), size)


def _check_planes(
    pages: Sequence[tifffile.TiffPage],
    tiff: tifffile.TiffFile,
    series: list[tifffile.TiffPageSeries],
    ome: Ome | None,
    path: Path,
) -> None:
    """Refuse a description that does not fit the pages: the planes would be guessed at.

    Raises:
        BrokenImage: A plane is missing, comes twice, lies in another file, or is not described.
    """
    planes = [plane for one in series for plane in one.pages]
    used = [plane.index for plane in planes if plane is not None]
    images = int((tiff.imagej_metadata or {}).get("images", 1)) if tiff.is_imagej else 1
    described = ome is not None or tiff.is_imagej
    fault = ""
    if len(used) < len(planes):
        fault = f"names {len(planes) - len(used)} planes that the file lacks"
    elif any(plane is not None and plane.parent is not tiff for plane in planes):
        fault = "names planes in other files"
    elif described and max(len(pages), images) > 1 and series[0].kind not in DESCRIBED:
        fault = "does not fit its pages"
    elif series[0].kind == "ome":
        shape = series[0].keyframe.shape
        alike = sum(page.shape == shape and not page.is_reduced for page in pages)
        if len(set(used)) < len(used):
            fault = "gives one page to several planes"
        elif alike > len(used) and ome and not ome.files:
            fault = f"tells of {len(used)} of its {alike} pages"
    if fault:
        raise BrokenImage(
            "planes missing",
            f"The description in {path} {fault}, so which page is which channel is unknown. Export "
            "the image again, as one file.",
        )


def _check_pages(
    pages: Sequence[tifffile.TiffPage], series: tifffile.TiffPageSeries, path: Path
) -> None:
    """Refuse pages whose tags change what a value or its place means.

    Raises:
        BrokenImage: A page is of such a kind, or the pages of an image differ in kind.
    """
    places = [plane.index for plane in series.pages if plane is not None]
    own = [pages[place] if isinstance(place, int) else series.keyframe for place in places]
    faults = {fault for page in own if (fault := _fault(page))}
    if len({page.hash for page in own}) > 1:
        faults.add("has pages that are stored in different ways. Save them all in one")
    for fault in sorted(faults):
        raise BrokenImage("values not readable", f"The image {path} {fault}.")


def _fault(page: tifffile.TiffPage) -> str:
    """Return what is wrong with a page and what to do, "" for one whose values are intensities."""
    photometric = page.tags.get("PhotometricInterpretation")
    kind = BLACK_IS_ZERO if photometric is None else int(photometric.value)
    turned = page.tags.get("Orientation")
    if int(page.compression) not in LOSSLESS:
        return (
            f"is compressed by {_name(page.compression)}, which may change intensities. Save the "
            "raw image uncompressed, or with LZW or deflate"
        )
    if kind == 0:
        return (
            "stores white as 0 (MinIsWhite), and programs differ in whether its values are to be "
            "inverted. Save it with black as 0 (MinIsBlack), so that bright cells have high values"
        )
    if kind not in (BLACK_IS_ZERO, RGB, PALETTE) or (kind == PALETTE and not _is_ramp(page)):
        return (
            f"holds colours ({_name(page.photometric)}), expected intensities. Save the raw "
            "channels in grey"
        )
    if turned is not None and int(turned.value) not in (0, 1):
        return (
            f"is stored turned or mirrored (orientation {turned.value}), which programs show in "
            "different ways. Save it upright"
        )
    if page.bitspersample == 1:
        return "is black and white (1 bit), expected intensities. Save the raw image"
    return ""


def _name(value: int) -> str:
    return str(getattr(value, "name", value))


def _is_ramp(page: tifffile.TiffPage) -> bool:
    """Return whether a colour table only tints: no colour falls as the value rises."""
    table = page.colormap
    return table is not None and bool((np.diff(table.astype(np.int64), axis=1) >= 0).all())


def _picture(series: tifffile.TiffPageSeries) -> Picture:
    shape, axes = tuple(series.shape), str(series.axes)
    photometric, extra = int(series.keyframe.photometric), series.keyframe.extrasamples
    # tifffile writes small images of 4 px as RGBA, unless told otherwise.
    guess = axes.endswith("YXS") and shape[-1] == shape[-2]
    if "S" in axes and extra and extra[-1] in ALPHA and not guess:
        place = axes.index("S")
        left = () if shape[place] == 2 else (shape[place] - 1,)
        shape = (*shape[:place], *left, *shape[place + 1 :])
        axes = axes if left else axes.replace("S", "")
    return Picture(shape, axes, photometric != BLACK_IS_ZERO and "S" in axes, series)


def _imagej_pixel_size(
    page: tifffile.TiffPage, imagej: Mapping[str, object]
) -> tuple[float, float] | None:
    """Return width and height of a pixel in um as ImageJ writes them: pixels a unit, and the unit.

    Inches are no measure, but the resolution of a screen.
    """
    unit = str(imagej.get("unit", "")).replace("\\u00B5", "µ")
    sizes = []
    for tag in (page.tags.get("XResolution"), page.tags.get("YResolution")):
        pixels, units = tag.value if tag is not None else (0, 1)
        sizes.append(length_um(str(units / pixels) if pixels else "", unit))
    width, height = sizes
    if width is None or height is None or unit.startswith("in"):
        return None
    return width, height
