"""Select the cells of an assay from its plates, and set its one intensity scale."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.cells import folds, named_plates
from analysis.cells.needed_splits import refuse_empty
from analysis.cells.prevalence import wanted_cells
from analysis.cells.quality_settings import FLAGS
from analysis.cells.select_settings import Settings
from analysis.cells.split import (
    DROPPED,
    assign_splits,
    assign_to_plates,
    choose_cells,
    possible_levels,
    summarise,
    unit_names,
)
from rls.io import (
    Intensity,
    Stack,
    image_digests,
    read_stack,
    read_table,
    table_path,
    write_stack,
)
from rls.io.names import GAN, OK, TUNE
from rls.io.splits import SCALE, rows_for
from rls.runtime.errors import InputError

NEEDED = (
    *("image_id", "plate", "well", "site", "y_px", "x_px", "crop_size_px", "treatment"),
    *FLAGS,
)


def read_cells(plates: Sequence[Path]) -> pd.DataFrame:
    """Return the tables of the stacks ``plates``, with ``source``: the position of the stack."""
    tables = [
        read_table(table_path(path), columns=NEEDED).assign(source=index)
        for index, path in enumerate(plates)
    ]
    return pd.concat(tables, ignore_index=True)


def select(
    cells: pd.DataFrame,
    treatments: Sequence[str],
    settings: Settings,
    controls: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the selected rows of ``cells`` with their ``split``, sorted by image_id.

    Arguments:
        controls: The negative and the positive control, which prevalence_gan needs; none of them
            may lack cells in a split that a classifier or a measurement needs.

    Raises:
        InputError: A treatment has no cell, too few units or too few cells.
    """
    unknown = [name for name in settings.exclude_flags if name not in FLAGS]
    if unknown:
        raise InputError(
            f"Found exclude_flags {', '.join(unknown)}, expected some of {', '.join(FLAGS)}. "
            "Correct select_cells.exclude_flags."
        )
    cells = cells[cells["treatment"].isin(treatments)]
    cells = cells[~cells[list(settings.exclude_flags)].any(axis=1)]
    cells = cells.sort_values("image_id", ignore_index=True)
    lacking = [name for name in treatments if name not in set(cells["treatment"])]
    if lacking:
        raise InputError(
            f"Found no usable cell of {', '.join(lacking)} among {len(cells)} cells. Correct the "
            "assay's treatments, or look at the skipped fields and flags of its plates."
        )
    splits = assign(cells, settings)
    take_all = settings.on_few_cells == "take_all"
    wanted = wanted_cells(settings, treatments, controls)
    kept = choose_cells(cells, splits, wanted, settings.seed, take_all=take_all)
    refuse_empty(cells, kept, controls, settings, assign)
    _say_level(cells, splits, settings)
    return cells.assign(split=kept)[kept != DROPPED].reset_index(drop=True)


def assign(cells: pd.DataFrame, settings: Settings) -> pd.Series:
    """Return the split of each cell, by folds or by plates where the settings name them.

    Raises:
        InputError: A plate is unknown, named twice, or both measured and named; or there are too
            few units.
    """
    if settings.folds:
        return folds.assign_to_fold(cells, settings, measured(cells, settings))
    crop_size = int(cells["crop_size_px"].max())
    if not any(settings.named.values()):
        return assign_splits(
            cells,
            settings.split_by,
            settings.shares,
            settings.seed,
            tile_px=settings.tile_px,
            crop_size=crop_size,
            measured=measured(cells, settings),
        )
    plates = sorted(cells["plate"].unique())
    found = list(named_plates.faults(settings.named, plates))
    if settings.measured_plates or settings.measured_treatments or settings.unmeasured_units:
        found.append(
            "select_cells.measured_plates, measured_treatments or unmeasured_units stand beside "
            "plates_gan to plates_evaluation; both say what is measured. Keep one of them."
        )
    if found:
        raise InputError(" ".join(found))
    served = {
        plate: named_plates.splits_of_plate(settings.named, settings.shares, plate)
        for plate in plates
    }
    for plate, names in served.items():
        text = ", ".join(names) or "no split names it and each names others: left out"
        print(f"select_cells: plate {plate}: {text}", flush=True)
    return assign_to_plates(
        cells,
        settings.split_by,
        settings.shares,
        settings.seed,
        served,
        tile_px=settings.tile_px,
        crop_size=crop_size,
    )


def measured(cells: pd.DataFrame, settings: Settings) -> pd.Series:
    """Return for each cell whether its plate, treatment and unit may be measured, (n,) bool.

    Raises:
        InputError: A plate, treatment or unit of the settings has no cell.
    """
    result = pd.Series(True, index=cells.index)
    for column in ("plate", "treatment"):
        names = getattr(settings, f"measured_{column}s")
        lacking = [name for name in names if name not in set(cells[column])]
        if lacking:
            raise InputError(
                f"Found no usable cell of {column} {', '.join(lacking)}, expected some. Correct "
                f"select_cells.measured_{column}s."
            )
        if names:
            result &= cells[column].isin(names)
    units = unit_names(cells, settings.split_by, settings.tile_px)
    lacking = sorted(set(settings.unmeasured_units) - set(units))
    if lacking:
        raise InputError(
            f"Found no usable cell of {settings.split_by} {', '.join(lacking)}, expected some. "
            f"Correct select_cells.unmeasured_units; a unit is named as {units.iloc[0]}."
        )
    return result & ~units.isin(settings.unmeasured_units)


def scale_of_assay(cells: Stack, settings: Settings) -> Intensity:
    """Return the intensity scale of an assay, from two percentiles of its gan split.

    An assay that trains no generator may have no gan split; its scale comes from tune. So does the
    scale of an assay with prevalence_gan, since it must not depend on the share of treated cells.
    Cells of evaluation are never used.

    Raises:
        InputError: The split has no cell.
    """
    as_drawn = settings.prevalence_gan is None
    split = GAN if as_drawn and (settings.share_gan > 0 or settings.plates_gan) else TUNE
    rows = rows_for(SCALE, cells.table, "The selection", split=split)
    images = (cells.images[row] for row in rows)
    percentiles = settings.black_percentile, settings.white_percentile
    return intensity_scale(images, cells.channels, *percentiles)


def intensity_scale(
    images: Iterable[np.ndarray], channels: Sequence[str], black: float, white: float
) -> Intensity:
    """Return the scale of ``images``, n arrays (c, y, x) uint16, from two percentiles per channel.

    The percentiles of all pixels are taken from histograms, so memory holds one image at a time.
    """
    histograms = np.zeros((len(channels), 2**16), np.int64)
    for image in images:
        for channel, histogram in enumerate(histograms):
            histogram += np.bincount(image[channel].ravel(), minlength=2**16)
    levels = []
    for histogram in histograms:
        cumulative = np.cumsum(histogram)
        ranks = np.array([black, white]) / 100 * cumulative[-1]
        levels.append(np.searchsorted(cumulative, np.maximum(ranks, 1)))
    lows, highs = zip(*levels, strict=True)
    return Intensity(tuple(channels), tuple(map(float, lows)), tuple(map(float, highs)))


def gather_cells(paths: Sequence[Path], chosen: pd.DataFrame, scratch: Path) -> Stack:
    """Return the cells ``chosen`` of the stacks ``paths``, their images mapped on disk.

    Memory holds one plate at a time.

    Arguments:
        chosen: Rows of :func:`read_cells`.
        scratch: Folder of the nameless file that holds the images.

    Raises:
        InputError: Plates differ in channels, crop size or pixel size; or an image is damaged.
    """
    images: np.ndarray | None = None
    first = None
    with tempfile.TemporaryFile(dir=scratch) as file:
        for index, path in enumerate(paths):
            rows = np.flatnonzero(chosen["source"] == index)
            if not len(rows):
                continue
            stack = read_stack(path, verify=False)
            facts = (stack.channels, stack.pixel_size_um, stack.images.shape[1:])
            if images is None:
                first = (path, facts)
                shape = (len(chosen), *stack.images.shape[1:])
                # After truncate, a write to the map would end in SIGBUS on a full disk.
                os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)) * 2)
                images = np.memmap(file, np.uint16, "r+", shape=shape)
            elif first is not None and facts != first[1]:
                raise InputError(
                    f"Found channels, pixel size and shape {facts} in {path}, but {first[1]} in "
                    f"{first[0]}; an assay has one of each. Move the plate to another assay."
                )
            position = pd.Series(range(len(stack.table)), index=stack.table["image_id"])
            taken = stack.select(position[chosen["image_id"].iloc[rows]].to_numpy())
            # Only the selected images are checked; the others of the plate are not used.
            digests = taken.table["image_digest"].to_numpy()
            wrong = np.asarray(image_digests(taken.images)) != digests
            if wrong.any():
                damaged = taken.table["image_id"].iloc[int(np.flatnonzero(wrong)[0])]
                raise InputError(
                    f"Found {wrong.sum()} damaged images in {path} (first {damaged}). Delete it "
                    "and run crop_cells again."
                )
            images[rows] = taken.images
    if images is None or first is None:
        raise InputError("Found no selected cell, expected some. Raise the counts.")
    table = chosen.drop(columns=["source", "image_digest"], errors="ignore")
    return Stack(images, table, first[1][0], first[1][1])


def write_cells(path: Path, cells: Stack, *, compress: bool) -> None:
    """Write a stack of :func:`gather_cells`; a stack that training maps is not compressed."""
    write_stack(
        path,
        cells.images,
        cells.table,
        channels=cells.channels,
        pixel_size_um=cells.pixel_size_um,
        written_by="select_cells",
        compress=compress,
    )


def count_selection(
    everything: pd.DataFrame,
    chosen: pd.DataFrame,
    fields: pd.DataFrame,
    treatments: Sequence[str],
    settings: Settings,
    controls: Sequence[str] = (),
) -> pd.DataFrame:
    """Return one row per treatment and split: cells selected, flagged, and fields skipped.

    Arguments:
        everything: All cells of the plates.
        chosen: The cells that were selected.
        fields: ``treatment`` and ``status`` of all fields.
        controls: As for :func:`select`.
    """
    wanted = wanted_cells(settings, treatments, controls)
    selection = summarise(chosen, settings.split_by, treatments, wanted)
    flagged = everything[everything[list(settings.exclude_flags)].any(axis=1)]
    skipped = fields[fields["status"] != OK]
    for column, lost in (("n_fields_skipped", skipped), ("n_cells_flagged", flagged)):
        counts = selection["treatment"].map(lost["treatment"].value_counts())
        selection[column] = counts.fillna(0).astype(int)
    return selection


def _say_level(cells: pd.DataFrame, splits: pd.Series, settings: Settings) -> None:
    """Print the level of the split, what it dropped, and whether a stricter one was possible."""
    stricter: list[str] = []
    if not any(settings.named.values()) and not settings.folds:
        among = cells[measured(cells, settings)]
        levels = possible_levels(among, settings.shares, settings.tile_px)
        stricter = levels[: levels.index(settings.split_by)] if settings.split_by in levels else []
    dropped = int((splits == DROPPED).sum())
    text = f"select_cells: splits share no {settings.split_by}"
    if dropped:
        why = "reach into another split or are of plates that serve none"
        text += f"; {dropped} of {len(cells)} crops {why} and are left out"
    if stricter:
        text += f"; these cells would also allow split_by: {', '.join(stricter)}"
    elif settings.split_by == "tile":
        text += "; no stricter split is possible: treatment and well may be one"
    print(text, flush=True)
