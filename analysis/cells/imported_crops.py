"""Convert crops that were made elsewhere into the form that crop_cells writes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.cells.crop import FIELD_COLUMNS
from analysis.cells.import_settings import Settings
from analysis.cells.quality import flag, measure_low_resolution, measure_quality, padded_share
from analysis.cells.segment import segment_nuclei
from analysis.plates import png_archive
from analysis.plates.crop_array import read_crops, read_labels
from analysis.plates.names import refuse_misspelt
from rls.io.names import OK
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress


def import_cells(
    crops: Path,
    sheet: Path | None,
    wanted: Sequence[str],
    plates: Sequence[str],
    channels: Sequence[str],
    nucleus_channel: int,
    treatments: Sequence[str],
    settings: Settings,
    scratch: Path,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Return (crops (n, c, y, x) uint16 mapped on disk, the table that crop_cells would write).

    The file is read once, block by block, and its order is kept. Crops go to a nameless file in
    ``scratch``, so that memory holds one block at a time.

    Arguments:
        crops: ``.npy``, ``.npy.xz``, ``.ome.tif``, or a ``.zip`` of PNG.
        sheet: Table of the crops (CSV); a zip may hold its own.
        wanted: Plates to import, some or all of ``plates``.
        plates: All plates of the assay.
        treatments: Treatments to import; empty for all.

    Raises:
        InputError: Files and assay do not fit each other.
    """
    labels = _read_labels(crops, sheet, plates, settings)
    name = str(sheet or crops)
    leave_out = settings.unlisted_plates == "leave_out"
    rows = rows_of_plates(labels, wanted, plates, treatments, name, leave_out=leave_out)
    tables = []
    with (
        tempfile.TemporaryFile(dir=scratch) as file,
        Progress(len(rows), "import_crops", "cells") as bar,
    ):
        for places, images in _read_images(crops, labels, rows, channels, settings):
            if images.shape[-1] != settings.crop_size:
                raise InputError(
                    f"Found crops of {images.shape[-1]} px in {crops}, expected crop_size "
                    f"{settings.crop_size}. Correct the assay's crop_size."
                )
            file.write(images.tobytes())
            tables.append(describe(images, labels.iloc[places], nucleus_channel, settings))
            bar.advance(len(places))
        file.flush()
        shape = (len(rows), len(channels), settings.crop_size, settings.crop_size)
        kept = np.memmap(file, np.uint16, "r", shape=shape)
    return kept, pd.concat(tables, ignore_index=True).drop(columns="filename", errors="ignore")


def _read_labels(
    crops: Path, sheet: Path | None, plates: Sequence[str], settings: Settings
) -> pd.DataFrame:
    """Return the table of all crops of a file."""
    if _zipped(crops):
        return png_archive.read_labels(
            crops, sheet, settings.class_treatments, plates, settings.treatment_by
        )
    if sheet is None:
        raise InputError(
            f"Found {crops} without a table, expected one row a crop. Name the CSV as the "
            "assay's sheet."
        )
    return read_labels(sheet, settings.treatment_by)


def _read_images(
    crops: Path,
    labels: pd.DataFrame,
    rows: np.ndarray,
    channels: Sequence[str],
    settings: Settings,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (positions in ``labels`` (k,), crops (k, c, y, x)) of ``rows``, block by block."""
    if _zipped(crops):
        names = list(labels["filename"].iloc[rows])
        for places, images in png_archive.read_images(
            crops, names, channels, settings.rgb_channels, settings.crop_size
        ):
            yield rows[places], images
        return
    yield from read_crops(
        crops,
        rows,
        n_labels=len(labels),
        n_channels=len(channels),
        stored_as=settings.stored_as,
        bit_depth=settings.bit_depth,
        axes=None if settings.axes == "file" else settings.axes,
    )


def _zipped(crops: Path) -> bool:
    return crops.suffix.lower() == ".zip"


def rows_of_plates(
    labels: pd.DataFrame,
    wanted: Sequence[str],
    plates: Sequence[str],
    treatments: Sequence[str],
    name: str,
    *,
    leave_out: bool,
) -> np.ndarray:
    """Return the positions of the crops of some plates and ``treatments`` (none: all), sorted.

    Arguments:
        wanted: The plates, each of which must have a crop.
        plates: All plates of the assay.
        name: The table, as an error calls it.
        leave_out: Ignore plates of the table that are none of ``plates``, instead of stopping.

    Raises:
        InputError: A plate has no crop left, the table has plates that ``plates`` has not (and not
            ``leave_out``), no row of a treatment, or a treatment that is misspelt.
    """
    found = sorted(labels["plate"].unique())
    unlisted = [other for other in found if other not in plates]
    if unlisted and leave_out:
        rows = int(labels["plate"].isin(unlisted).sum())
        print(
            f"import_crops: {rows} crops of {len(unlisted)} plates that the assay does not list "
            f"are left out",
            flush=True,
        )
    elif unlisted:
        raise InputError(
            f"Found {len(unlisted)} plates in {name} that the configuration does not list: "
            f"{', '.join(unlisted[:5])}. List them in the assay, or set "
            "import_crops.unlisted_plates: leave_out."
        )
    if treatments:
        refuse_misspelt(labels, treatments, name)
    lacking = sorted(set(treatments) - set(labels["treatment"]))
    if lacking:
        raise InputError(
            f"Found no row of treatment {', '.join(lacking)} in {name}, which has "
            f"{', '.join(sorted(set(labels['treatment']))[:12])}. Correct the assay's treatments."
        )
    kept = labels["plate"].isin(wanted)
    if treatments:
        kept &= labels["treatment"].isin(treatments)
    empty = [plate for plate in wanted if plate not in set(labels["plate"][kept])]
    if empty:
        raise InputError(
            f"Found no crop of plate {', '.join(empty)} with the assay's treatments in {name}, "
            f"which has the plates {', '.join(found[:8])}. Take the plate out of the assay."
        )
    return np.flatnonzero(kept)


def describe(
    images: np.ndarray, labels: pd.DataFrame, nucleus_channel: int, settings: Settings
) -> pd.DataFrame:
    """Return the table that crop_cells would write of ``images`` (n, c, y, x) and ``labels``."""
    nd = settings.nucleus_diameter_um / settings.pixel_size_um
    full = 2**settings.bit_depth - 1
    measure: Callable[..., pd.DataFrame] = measure_low_resolution
    if settings.resolution == "high":
        nuclei = np.stack([segment_nuclei(image[nucleus_channel], nd) for image in images])
        own = central_labels(nuclei, nd)
        measure = partial(measure_quality, crops=images, labels=nuclei, own=own)
    quality = measure(
        images,
        outside=padded_share(images),
        saturation=full if settings.saturation_counts is None else settings.saturation_counts,
        nucleus_channel=nucleus_channel,
        nucleus_diameter_px=nd,
    )
    table = labels.reset_index(drop=True)
    table = table.assign(crop_size_px=settings.crop_size, nucleus_area_um2=np.nan)
    return table.join(quality).join(flag(quality, settings))


def central_labels(labels: np.ndarray, nucleus_diameter_px: float) -> np.ndarray:
    """Return the label (n,) nearest to the centre of each of (n, y, x).

    It is 0 where no label lies within half a nuclear diameter of the centre.
    """
    ys, xs = (np.arange(size) - (size - 1) / 2 for size in labels.shape[1:])
    away = np.where(labels > 0, np.hypot(ys[:, None], xs[None, :]), np.inf).reshape(len(labels), -1)
    rows, nearest = np.arange(len(labels)), away.argmin(axis=1)
    found = labels.reshape(len(labels), -1)[rows, nearest]
    return np.where(away[rows, nearest] <= nucleus_diameter_px / 2, found, 0)


def count_fields(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of fields that crop_cells would write: every field with a crop, all ok."""
    fields = table.groupby(list(FIELD_COLUMNS[:4]), as_index=False).size()
    fields = fields.rename(columns={"size": "n_nuclei"})
    fields = fields.assign(n_at_border=0, n_cells=fields["n_nuclei"], status=OK, reason="")
    return fields[list(FIELD_COLUMNS)]
