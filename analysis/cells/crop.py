"""Crop the cells of a plate: even out the light, find nuclei, cut a square around each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.cells.crop_settings import Settings
from analysis.cells.geometry import cut, share_outside
from analysis.cells.illumination import ProfileEstimator, correct
from analysis.cells.quality import flag, measure_quality
from analysis.cells.segment import Segmenter, make_segmenter
from analysis.plates.fields import read_field
from analysis.plates.image_files import BrokenField
from analysis.plates.sheet import Row
from rls.io.names import OK
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.streams import stream_seed

FIELD_COLUMNS = (
    *("plate", "well", "site", "treatment", "n_nuclei", "n_at_border", "n_cells", "status"),
    "reason",
)
CELL_COLUMNS = ("plate", "well", "site", "treatment", "compound", "dose", "dose_unit", "moa")
SKIPPED = "skipped"


def position_of(nucleus_channel: str, channels: Sequence[str]) -> int:
    """Return the position of ``nucleus_channel`` among ``channels``.

    Raises:
        InputError: It is none of them.
    """
    if nucleus_channel not in channels:
        raise InputError(
            f"Found nucleus_channel {nucleus_channel}, expected one of the channels "
            f"{', '.join(channels)}. Correct the assay."
        )
    return list(channels).index(nucleus_channel)


def find_cells(labels: np.ndarray) -> pd.DataFrame:
    """Return y_px, x_px (rounded centroid) and area_px of each nucleus in ``labels`` (y, x)."""
    index = np.arange(1, labels.max() + 1)
    if not len(index):
        return pd.DataFrame({"y_px": [], "x_px": [], "area_px": []}).astype(int)
    centres = np.asarray(ndimage.center_of_mass(labels > 0, labels, index))
    return pd.DataFrame(
        {
            "y_px": np.rint(centres[:, 0]).astype(int),
            "x_px": np.rint(centres[:, 1]).astype(int),
            "area_px": np.bincount(labels.ravel())[1:],
        }
    )


def crop_field(
    raw: np.ndarray,
    profile: np.ndarray | None,
    row: Row,
    nucleus_channel: int,
    settings: Settings,
    segmenter: Segmenter,
) -> tuple[np.ndarray, pd.DataFrame, int, int]:
    """Return the crops of one field ``raw`` (c, y, x) and their table.

    A crop that reaches over the border is 0 there, and flagged. Whole crops come first where there
    are more than ``cells_per_field``. No ``profile`` means no correction.

    Returns:
        (crops (n, c, y, x) uint16, their table, number of nuclei found, number of those that are
        too near to the border for a whole crop).

    Raises:
        BrokenField: No nucleus, or none far enough from the border.
    """
    name = f"plate {row['plate']}, well {row['well']}, site {row['site']}"
    nd, size = settings.nucleus_diameter_um / row["pixel_size_um"], settings.crop_size
    field = raw if profile is None else correct(raw, profile, settings.camera_offset_counts)
    labels = segmenter(field[nucleus_channel], nd)
    cells = find_cells(labels)
    if cells.empty:
        raise BrokenField(
            "no nucleus",
            f"Found no nucleus in {name}, expected some of about {nd:.0f} px. Look at the field; "
            "set on_broken_field: skip to leave it out, or correct nucleus_diameter_um.",
        )
    outside = share_outside(field.shape[1:], cells, size)
    if outside.min() > 0:
        raise BrokenField(
            "no whole cell",
            f"Found {len(cells)} nuclei in {name}, but none {size // 2} px from the border, as "
            f"crop_size {size} needs. Set on_broken_field: skip, or lower crop_size.",
        )
    place = f"{row['plate']}_{row['well']}_s{row['site']}"
    ids = [f"{place}_y{y}_x{x}" for y, x in cells[["y_px", "x_px"]].to_numpy()]
    draw = np.array([stream_seed(settings.seed, key, "crop_cells") for key in ids])
    keep = np.sort(np.lexsort((draw, outside > 0))[: settings.cells_per_field])
    kept = cells.iloc[keep].reset_index(drop=True)
    crops = cut(field, kept, size)
    quality = measure_quality(
        crops if profile is None else cut(raw, kept, size),
        crops,
        cut(labels[None], kept, size)[:, 0],
        keep + 1,
        outside=outside[keep],
        saturation=2 ** row["bit_depth"] - 1,
        nucleus_channel=nucleus_channel,
        nucleus_diameter_px=nd,
    )
    about = pd.DataFrame({"image_id": [ids[i] for i in keep]})
    about = about.assign(**{column: row[column] for column in CELL_COLUMNS})
    about = about.join(kept[["y_px", "x_px"]]).assign(crop_size_px=size)
    about["nucleus_area_um2"] = kept["area_px"] * row["pixel_size_um"] ** 2
    table = about.join(quality).join(flag(quality, settings))
    return crops, table, len(cells), int((outside > 0).sum())


def estimate_profile(
    rows: Sequence[Row],
    channels: Sequence[str],
    folder: Path,
    settings: Settings,
    advance: Callable[[int], None],
) -> tuple[np.ndarray, dict[tuple[str, int], str]]:
    """Read every field once and estimate the illumination of the plate.

    Returns:
        (profile (c, y, x) of mean 1, reason of each broken field by (well, site)).

    Raises:
        BrokenField: A field is broken and ``on_broken_field`` is stop.
    """
    estimator = ProfileEstimator(settings.camera_offset_counts)
    broken: dict[tuple[str, int], str] = {}
    for row in rows:
        try:
            field = read_field(row, channels, folder)
            if estimator.shape and field.shape != estimator.shape:
                raise BrokenField(
                    "field of another size",
                    f"Well {row['well']}, site {row['site']} of plate {row['plate']} is "
                    f"{field.shape[1:]} px, expected {estimator.shape[1:]} as the fields before. "
                    "Leave it out, or set on_broken_field: skip.",
                )
            estimator.add(field)
        except BrokenField as error:
            if settings.on_broken_field == "stop":
                raise
            broken[(row["well"], row["site"])] = error.reason
        advance(1)
    if not estimator.shape:
        return np.ones((len(channels), 1, 1), np.float32), broken
    return estimator.profile(), broken


def crop_plate(
    sheet: pd.DataFrame,
    channels: Sequence[str],
    nucleus_channel: int,
    folder: Path,
    settings: Settings,
    scratch: Path,
) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Return (crops (n, c, y, x) uint16 mapped on disk, their table, the table of fields).

    Crops go to a nameless file in ``scratch``, so that memory holds one field at a time.

    Raises:
        InputError: No field of the plate has a cell, or one is broken and ``on_broken_field`` is
            stop.
    """
    rows = sheet.to_dict("records")
    segmenter = make_segmenter(settings)
    tables: list[pd.DataFrame] = []
    fields: list[list[object]] = []
    profile: np.ndarray | None = None
    broken: dict[tuple[str, int], str] = {}
    passes = 1 if settings.illumination == "none" else 2
    with (
        tempfile.TemporaryFile(dir=scratch) as file,
        Progress(passes * len(rows), "crop_cells", "fields") as bar,
    ):
        if passes == 2:
            profile, broken = estimate_profile(rows, channels, folder, settings, bar.advance)
        for row in rows:
            found, border, n, reason = 0, 0, 0, broken.get((row["well"], row["site"]), "")
            if not reason:
                try:
                    raw = read_field(row, channels, folder)
                    crops, table, found, border = crop_field(
                        raw, profile, row, nucleus_channel, settings, segmenter
                    )
                    file.write(crops.tobytes())
                    tables.append(table)
                    n = len(table)
                except BrokenField as error:
                    if settings.on_broken_field == "stop":
                        raise
                    reason = error.reason
            about = [row[name] for name in FIELD_COLUMNS[:4]]
            fields.append([*about, found, border, n, SKIPPED if reason else OK, reason])
            bar.advance(1)
        field_table = pd.DataFrame(fields, columns=list(FIELD_COLUMNS))
        if not any(map(len, tables)):
            reasons = field_table["reason"].value_counts().to_dict()
            raise InputError(
                f"Found no cell in the {len(rows)} fields of plate {rows[0]['plate']} ({reasons}). "
                "Look at its images, or take the plate out of the assay."
            )
        file.flush()
        cells = pd.concat(tables, ignore_index=True)
        shape = (len(cells), len(channels), settings.crop_size, settings.crop_size)
        images = np.memmap(file, np.uint16, "r", shape=shape)
    return images, cells, field_table
