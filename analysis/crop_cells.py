"""Crop the cells of one plate: even light, find nuclei, cut a square around each.

The crops are larger than the images of the assay, so that they can be rotated later.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.cells.illumination import ProfileEstimator, correct
from analysis.cells.quality import FLAGS, Limits, flag, measure_quality
from analysis.cells.segment import SEGMENTERS, Segmenter, make_segmenter
from analysis.plates.read import BrokenField, read_field
from analysis.plates.sheet import check_sheet, read_sheet
from rls.io import check_digest, write_stack, write_table
from rls.runtime.command import Parser, option, run
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.streams import stream_seed

FIELD_COLUMNS = (
    *("plate", "well", "site", "treatment", "n_nuclei", "n_at_border", "n_cells", "status"),
    "reason",
)
CELL_COLUMNS = ("plate", "well", "site", "treatment", "compound", "dose", "dose_unit", "moa")


@dataclass(frozen=True)
class Settings(Limits):
    """Settings of section ``crop_cells``."""

    crop_size: int = option("Side of a crop in px: image_size with a margin for rotation.")
    nucleus_diameter_um: float = option("Typical diameter of a nucleus, in um.")
    cells_per_field: int = option("At most this many cells of a field, drawn at random.")
    segmenter: str = option("How nuclei are found.", choices=SEGMENTERS)
    segmenter_weights: str | None = option(
        "Cellpose: file of its weights; train: from scratch, by train_segmenter. Else none."
    )
    flow_threshold: float = option("Cellpose: greatest error of a nucleus' flows; 0 keeps all.")
    illumination: str = option(
        "Even out the light: one profile a plate and channel.", choices=("plate", "none")
    )
    camera_offset_counts: float = option("Counts of the camera without light.")
    on_broken_field: str = option(
        "What a field that cannot be used does.", choices=("skip", "stop")
    )
    seed: int = option("Seed of the draw of cells_per_field.")
    device: str = option(
        "Of Cellpose: auto, cpu or cuda.", choices=("auto", "cpu", "cuda"), default="auto"
    )
    threads: int = option("CPU threads of Cellpose.", default=1)


def image_id(plate: str, well: str, site: int, y: int, x: int) -> str:
    """Return ``{plate}_{well}_s{site}_y{y}_x{x}``."""
    return f"{plate}_{well}_s{site}_y{y}_x{x}"


def segmenter_of(settings: Settings) -> Segmenter:
    """Return the segmenter that the settings name.

    Raises:
        InputError: Its weights are missing or of another kind.
    """
    if settings.segmenter == "threshold":
        return make_segmenter("threshold", None, settings.flow_threshold)
    from rls.runtime.device import choose_device  # imports torch, which the threshold does not need

    weights = None if settings.segmenter_weights is None else Path(settings.segmenter_weights)
    device = choose_device(settings.device, settings.threads)
    return make_segmenter(settings.segmenter, weights, settings.flow_threshold, device)


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


def cut(field: np.ndarray, cells: pd.DataFrame, size: int) -> np.ndarray:
    """Return (n, c, size, size): squares of ``field`` whose pixel size // 2 is the centre.

    What lies off the field is 0.
    """
    corners = cells[["y_px", "x_px"]].to_numpy() - size // 2
    squares = np.zeros((len(corners), len(field), size, size), field.dtype)
    for square, (y, x) in zip(squares, corners, strict=True):
        part = field[:, max(y, 0) : y + size, max(x, 0) : x + size]
        top, left = max(-y, 0), max(-x, 0)
        square[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    return squares


def share_outside(shape: tuple[int, ...], cells: pd.DataFrame, size: int) -> np.ndarray:
    """Return the share (n,) of each square of :func:`cut` that lies off a field of ``shape``."""
    corners = cells[["y_px", "x_px"]].to_numpy() - size // 2
    inside = np.minimum(corners + size, shape) - np.maximum(corners, 0)
    return 1 - np.prod(np.maximum(inside, 0), axis=1) / size**2


def crop_field(
    raw: np.ndarray,
    profile: np.ndarray | None,
    row: dict[str, Any],
    nucleus_channel: int,
    settings: Settings,
    segmenter: Segmenter,
) -> tuple[np.ndarray, pd.DataFrame, int, int]:
    """Return (crops (n, c, y, x) uint16, their table, nuclei found, at the border) of one field.

    A crop that reaches over the border is 0 there, and flagged; whole ones come first where there
    are more than ``cells_per_field``.

    Raises:
        BrokenField: No nucleus, or none far enough from the border.
    """
    name = f"plate {row['plate']}, well {row['well']}, site {row['site']}"
    nd, size = settings.nucleus_diameter_um / row["pixel_size_um"], settings.crop_size
    field = raw if profile is None else correct(raw, profile, settings.camera_offset_counts)
    labels = segmenter(field[nucleus_channel], nd)
    cells = find_cells(labels)
    found = len(cells)
    if not found:
        raise BrokenField(
            "no nucleus",
            f"Found no nucleus in {name}, expected some of about {nd:.0f} px. Look at the field; "
            "set on_broken_field: skip to leave it out, or correct nucleus_diameter_um.",
        )
    outside = share_outside(field.shape[1:], cells, size)
    if outside.min() > 0:
        raise BrokenField(
            "no whole cell",
            f"Found {found} nuclei in {name}, but none {size // 2} px from the border, as "
            f"crop_size {size} needs. Set on_broken_field: skip, or lower crop_size.",
        )
    ids = [
        image_id(row["plate"], row["well"], row["site"], y, x)
        for y, x in cells[["y_px", "x_px"]].to_numpy()
    ]
    draw = np.array([stream_seed(settings.seed, key, "crop_cells") for key in ids])
    keep = np.sort(np.lexsort((draw, outside > 0))[: settings.cells_per_field])
    cells = cells.iloc[keep].reset_index(drop=True)
    crops = cut(field, cells, size)
    quality = measure_quality(
        crops if profile is None else cut(raw, cells, size),
        crops,
        cut(labels[None], cells, size)[:, 0],
        keep + 1,
        outside=outside[keep],
        saturation=2 ** row["bit_depth"] - 1,
        nucleus_channel=nucleus_channel,
        nucleus_diameter_px=nd,
    )
    table = pd.DataFrame({"image_id": [ids[i] for i in keep]})
    table = table.assign(**{column: row[column] for column in CELL_COLUMNS})
    table[["y_px", "x_px"]] = cells[["y_px", "x_px"]]
    table["crop_size_px"] = size
    table["nucleus_area_um2"] = cells["area_px"] * row["pixel_size_um"] ** 2
    table = table.join(quality).join(flag(quality, settings.limits))
    return crops, table, found, int((outside > 0).sum())


def estimate_profile(
    rows: Sequence[dict[str, Any]],
    channels: Sequence[str],
    folder: Path,
    settings: Settings,
    advance: Callable[[int], None],
) -> tuple[np.ndarray, dict[tuple[str, int], str]]:
    """Read every field once; return (profile (c, y, x), reasons of the broken ones).

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
    sheet: pd.DataFrame, channels: Sequence[str], nucleus_channel: str, folder: Path,
    settings: Settings, scratch: Path,
) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Return (crops (n, c, y, x) uint16 mapped on disk, their table, the table of fields).

    Crops go to a nameless file in ``scratch``, so that memory holds one field at a time.

    Raises:
        InputError: No field of the plate has a cell, or one is broken and that is to stop.
    """
    rows = sheet.to_dict("records")
    index = list(channels).index(nucleus_channel)
    segmenter = segmenter_of(settings)
    tables, fields = [], []
    size, shape = 0, (len(channels), settings.crop_size, settings.crop_size)
    passes = 1 if settings.illumination == "none" else 2
    profile: np.ndarray | None = None
    broken: dict[tuple[str, int], str] = {}
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
                        raw, profile, row, index, settings, segmenter
                    )
                    file.write(crops.tobytes())
                    tables.append(table)
                    n = len(table)
                    size += n
                except BrokenField as error:
                    if settings.on_broken_field == "stop":
                        raise
                    reason = error.reason
            status = "skipped" if reason else "ok"
            fields.append(
                [*(row[name] for name in FIELD_COLUMNS[:4]), found, border, n, status, reason]
            )
            bar.advance(1)
        field_table = pd.DataFrame(fields, columns=list(FIELD_COLUMNS))
        if not size:
            reasons = field_table["reason"].value_counts().to_dict()
            raise InputError(
                f"Found no cell in the {len(rows)} fields of plate {rows[0]['plate']} ({reasons}). "
                "Look at its images, or take the plate out of the assay."
            )
        file.flush()
        images = np.memmap(file, np.uint16, "r", shape=(size, *shape))
    return images, pd.concat(tables, ignore_index=True), field_table


def main(argv: list[str] | None = None) -> None:
    """Crop the cells of one plate."""
    parser = Parser(__doc__, Settings, "crop_cells")
    parser.add_argument("--sheet", type=Path, required=True, help="checked sheet of one plate")
    parser.add_argument("--channels", nargs="+", required=True, help="channels, in order")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument("--treatments", nargs="*", default=[], help="crop these only; none: all")
    parser.add_argument("--output", type=Path, required=True, help="stack of cells (.ome.tif)")
    parser.add_argument("--fields", type=Path, required=True, help="table of the fields (.csv)")
    args, settings = parser.parse(argv)
    if args.nucleus_channel not in args.channels:
        raise InputError(
            f"Found nucleus_channel {args.nucleus_channel}, expected one of the channels "
            f"{', '.join(args.channels)}. Correct the assay."
        )
    check_digest(args.sheet)
    sheet = check_sheet(read_sheet(args.sheet), args.channels, str(args.sheet))
    if args.treatments:
        sheet = sheet[sheet["treatment"].isin(args.treatments)]
    if sheet.empty or sheet["plate"].nunique() != 1:
        raise InputError(
            f"Found {sheet['plate'].nunique()} plates with the treatments "
            f"{', '.join(args.treatments) or 'of any name'} in {args.sheet}, expected one. "
            "Correct the assay's treatments, or run list_plate again."
        )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    images, table, fields = crop_plate(
        sheet, args.channels, args.nucleus_channel, args.sheet.parent, settings, args.output.parent
    )
    write_stack(
        args.output, images, table, channels=args.channels,
        pixel_size_um=float(sheet["pixel_size_um"].iloc[0]), written_by="crop_cells",
    )  # fmt: skip
    write_table(args.fields, fields, written_by="crop_cells")
    skipped = fields[fields["status"] != "ok"]
    flags = ", ".join(f"{int(table[name].sum())} {name}" for name in FLAGS)
    print(f"crop_cells: {len(table)} cells of {len(fields)} fields; flagged: {flags}", flush=True)
    for reason, count in skipped["reason"].value_counts().items():
        print(f"crop_cells: skipped {count} fields: {reason}", flush=True)


if __name__ == "__main__":
    run(main)
