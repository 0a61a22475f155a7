"""Crop the cells of a plate: even out the light, find nuclei, cut a square around each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.cells.crop_settings import Settings
from analysis.cells.geometry import cut, find_cells, share_outside
from analysis.cells.illumination import ProfileEstimator, correct
from analysis.cells.low_resolution_cut import are_inside, cut_cells, find_nuclei
from analysis.cells.quality import flag, measure_low_resolution, measure_quality
from analysis.cells.segment import Segmenter, make_segmenter
from analysis.cells.skipped import SkippedFields
from analysis.plates.fields import read_field
from analysis.plates.image_files import BrokenField
from analysis.plates.repeated_images import image_keys
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
    nd, size = settings.nucleus_diameter_um / row["pixel_size_um"], settings.crop_size
    field = raw if profile is None else correct(raw, profile, settings.camera_offset_counts)
    labels = segmenter(field[nucleus_channel], nd)
    cells = find_cells(labels)
    if cells.empty:
        raise _no_nucleus(row, nd)
    outside = share_outside(field.shape[1:], cells, size)
    if outside.min() > 0:
        raise _no_whole_cell(row, len(cells), size)
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
    kept = kept.assign(image_id=[ids[i] for i in keep])
    area = kept["area_px"] * row["pixel_size_um"] ** 2
    table = _cells_table(row, kept, area, quality, settings)
    return crops, table, len(cells), int((outside > 0).sum())


def crop_low_resolution_field(
    raw: np.ndarray,
    profile: np.ndarray | None,
    row: Row,
    nucleus_channel: int,
    settings: Settings,
    segmenter: Segmenter,
    *,
    factor: int,
) -> tuple[np.ndarray, pd.DataFrame, int, int]:
    """Return the cells of one low-resolution field and their table, as :func:`crop_field` does.

    Cells are cut between pixels where their nucleus lies there, and rounded to whole counts; those
    that reach over the border are left out.

    Arguments:
        factor: Side of a low-resolution pixel over one of the model's.

    Raises:
        BrokenField: No nucleus, or none far enough from the border.
    """
    size = settings.crop_size
    nd = settings.nucleus_diameter_um / row["pixel_size_um"]
    field = raw if profile is None else correct(raw, profile, settings.camera_offset_counts)
    places = find_nuclei(field[nucleus_channel], nd, factor, segmenter)
    if not len(places):
        raise _no_nucleus(row, nd)
    whole = are_inside(field.shape[1:], places, size, factor)
    if not whole.any():
        raise _no_whole_cell(row, len(places), size)
    inside = places[whole]
    place = f"{row['plate']}_{row['well']}_s{row['site']}"
    ids = [f"{place}_y{y:.2f}_x{x:.2f}" for y, x in inside]
    draw = [stream_seed(settings.seed, key, "crop_cells") for key in ids]
    keep = np.sort(np.argsort(draw)[: settings.cells_per_field])
    cells = cut_cells(field, inside[keep], size, factor)
    crops = np.rint(cells).clip(0, np.iinfo(np.uint16).max).astype(np.uint16)
    quality = measure_low_resolution(
        crops,
        outside=np.zeros(len(crops)),
        saturation=2 ** row["bit_depth"] - 1,
        nucleus_channel=nucleus_channel,
        nucleus_diameter_px=nd,
    )
    kept = pd.DataFrame(inside[keep], columns=["y_px", "x_px"])
    kept = kept.assign(image_id=[ids[i] for i in keep])
    table = _cells_table(row, kept, np.nan, quality, settings)
    return crops, table, len(places), int((~whole).sum())


def _cells_table(
    row: Row,
    cells: pd.DataFrame,
    area_um2: pd.Series | float,
    quality: pd.DataFrame,
    settings: Settings,
) -> pd.DataFrame:
    """Return the table of a field's crops.

    Arguments:
        cells: ``image_id``, ``y_px`` and ``x_px`` of each.
        area_um2: Areas of their nuclei, NaN where unknown.
        quality: Measures of the crops.
    """
    about = cells[["image_id"]].assign(**{column: row[column] for column in CELL_COLUMNS})
    about = about.join(cells[["y_px", "x_px"]]).assign(crop_size_px=settings.crop_size)
    about["nucleus_area_um2"] = area_um2
    return about.join(quality).join(flag(quality, settings))


def _no_nucleus(row: Row, nucleus_diameter_px: float) -> BrokenField:
    return BrokenField(
        "no nucleus",
        f"Found no nucleus in {_name(row)}, expected some of about {nucleus_diameter_px:.2g} px. "
        "Look at the field; set on_broken_field: skip to leave it out, or correct "
        "nucleus_diameter_um.",
    )


def _no_whole_cell(row: Row, n: int, size: int) -> BrokenField:
    return BrokenField(
        "no whole cell",
        f"Found {n} nuclei in {_name(row)}, but none {size // 2} px from the border, as "
        f"crop_size {size} needs. Set on_broken_field: skip, or lower crop_size.",
    )


def _name(row: Row) -> str:
    return f"plate {row['plate']}, well {row['well']}, site {row['site']}"


def estimate_profile(
    rows: Sequence[Row],
    channels: Sequence[str],
    folder: Path,
    settings: Settings,
    advance: Callable[[int], None],
) -> tuple[np.ndarray, dict[tuple[str, int], BrokenField]]:
    """Read every field once and estimate the illumination of the plate.

    Returns:
        (profile (c, y, x) of mean 1, fault of each broken field by (well, site)).

    Raises:
        BrokenField: A field is broken and ``on_broken_field`` is stop.
    """
    estimator = ProfileEstimator(settings.camera_offset_counts)
    broken: dict[tuple[str, int], BrokenField] = {}
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
            broken[(row["well"], row["site"])] = error
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
    factor: int | None = None,
) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Return (crops (n, c, y, x) uint16 mapped on disk, their table, the table of fields).

    Crops go to a nameless file in ``scratch``, so that memory holds one field at a time.

    Arguments:
        factor: Side of a pixel over one of the model's, for fields of low resolution; else None.

    Raises:
        InputError: No field of the plate has a cell, or one is broken and ``on_broken_field`` is
            stop.
    """
    rows = sheet.to_dict("records")
    segmenter = make_segmenter(settings)
    crop = partial(crop_low_resolution_field, factor=factor) if factor else crop_field
    tables: list[pd.DataFrame] = []
    fields: list[list[object]] = []
    profile: np.ndarray | None = None
    broken: dict[tuple[str, int], BrokenField] = {}
    skipped = SkippedFields()
    passes = 1 if settings.illumination == "none" else 2
    with (
        tempfile.TemporaryFile(dir=scratch) as file,
        Progress(passes * len(rows), "crop_cells", "fields") as bar,
    ):
        if passes == 2:
            profile, broken = estimate_profile(rows, channels, folder, settings, bar.advance)
        for row in rows:
            found, border, n, reason = 0, 0, 0, ""
            try:
                if (row["well"], row["site"]) in broken:
                    raise broken[(row["well"], row["site"])]
                raw = read_field(row, channels, folder)
                cropped = crop(raw, profile, row, nucleus_channel, settings, segmenter)
                crops, table, found, border = cropped
                file.write(crops.tobytes())
                tables.append(table)
                n = len(table)
            except BrokenField as error:
                if settings.on_broken_field == "stop":
                    raise
                reason = skipped.add(error)
            about = [row[name] for name in FIELD_COLUMNS[:4]]
            keys = "|".join(image_keys(row, channels))
            fields.append([*about, found, border, n, SKIPPED if reason else OK, reason, keys])
            bar.advance(1)
        field_table = pd.DataFrame(fields, columns=[*FIELD_COLUMNS, "images"])
        skipped.say(rows[0]["plate"], len(rows), nothing=not any(map(len, tables)))
        file.flush()
        cells = pd.concat(tables, ignore_index=True)
        shape = (len(cells), len(channels), settings.crop_size, settings.crop_size)
        return np.memmap(file, np.uint16, "r", shape=shape), cells, field_table
