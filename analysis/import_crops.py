"""Import the cells of one plate that are cropped already, and write what crop_cells would.

Nothing is corrected: crops do not show how the light falls over their field. The quality measures
and flags are those of crop_cells. Area and, without columns for them, positions are unknown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.cells.quality import FLAGS, Limits, flag, measure_quality, padded_share
from analysis.cells.segment import segment_nuclei
from analysis.crop_cells import FIELD_COLUMNS
from analysis.plates import png_archive
from analysis.plates.crops import STORED_AS, read_crops, read_labels
from rls.io import write_stack, write_table
from rls.runtime.command import Parser, option, run
from rls.runtime.errors import InputError


@dataclass(frozen=True)
class Settings(Limits):
    """Settings of section ``import_crops``."""

    stored_as: str = option("What the numbers of the file are.", choices=STORED_AS)
    treatment_by: str = option(
        "What makes a treatment in the table.", choices=("compound", "compound_dose")
    )
    crop_size: int = option("Side of a crop in px: image_size with a margin.")
    pixel_size_um: float = option("Side of a pixel, in um.")
    bit_depth: int = option("Bits of the camera.")
    nucleus_diameter_um: float = option("Typical diameter of a nucleus, in um.")
    saturation_counts: int | None = option(
        "Counts from which a pixel is saturated; none: the greatest that bit_depth allows."
    )
    resolution: str = option(
        "Of the cells; in low resolution neither focus nor noise can be seen.",
        choices=("high", "low"),
        default="high",
    )
    class_treatments: tuple[str, ...] = option(
        "Treatment of class 0, 1, ... of a zip of PNG; none: its CSV names compounds.", default=()
    )
    rgb_channels: tuple[str, ...] = option(
        "Channels that red, green and blue of a zip of PNG hold, 'none' for an unused one; none: "
        "the assay's in their order.",
        default=(),
    )
    unlisted_plates: str = option(
        "What is done with plates of the table that the assay does not list.",
        choices=("stop", "leave_out"), default="stop",
    )  # fmt: skip


def rows_of_plate(
    labels: pd.DataFrame, plate: str, plates: Sequence[str], treatments: Sequence[str], name: str,
    unlisted_plates: str = "stop",
) -> np.ndarray:  # fmt: skip
    """Return the positions of the crops of ``plate`` and ``treatments`` (none: all), sorted.

    Raises:
        InputError: None is left, the table has plates that ``plates`` has not (``unlisted_plates``
            stop), or no row of a treatment.
    """
    found = sorted(labels["plate"].unique())
    unlisted = [other for other in found if other not in plates]
    if unlisted and unlisted_plates == "leave_out":
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
    lacking = sorted(set(treatments) - set(labels["treatment"]))
    if lacking:
        raise InputError(
            f"Found no row of treatment {', '.join(lacking)} in {name}, which has "
            f"{', '.join(sorted(set(labels['treatment']))[:12])}. Correct the assay's treatments."
        )
    kept = labels["plate"] == plate
    if treatments:
        kept &= labels["treatment"].isin(treatments)
    if not kept.any():
        raise InputError(
            f"Found no crop of plate {plate} with the assay's treatments in {name}, which has the "
            f"plates {', '.join(found[:8])}. Take the plate out of the assay."
        )
    return np.flatnonzero(kept)


def describe(
    images: np.ndarray, labels: pd.DataFrame, nucleus_channel: int, settings: Settings
) -> pd.DataFrame:
    """Return the table that crop_cells writes, of ``images`` (n, c, y, x) and their ``labels``."""
    saturation = settings.saturation_counts
    nd = settings.nucleus_diameter_um / settings.pixel_size_um
    low = settings.resolution == "low"  # a nucleus of two pixels has no outline to find
    nuclei = np.zeros((len(images), *images.shape[2:]), int)
    if not low:
        nuclei = np.stack([segment_nuclei(image[nucleus_channel], nd) for image in images])
    quality = measure_quality(
        images,
        images,
        nuclei,
        central_labels(nuclei, nd),
        outside=padded_share(images),
        saturation=2**settings.bit_depth - 1 if saturation is None else saturation,
        nucleus_channel=nucleus_channel,
        nucleus_diameter_px=nd,
    )
    if low:
        names = ["noise_share", "blur_nd", "touching_share", "debris_height"]
        quality = quality.assign(**dict.fromkeys(names, np.nan))
    table = labels.reset_index(drop=True)
    table = table.assign(crop_size_px=settings.crop_size, nucleus_area_um2=np.nan)
    return table.join(quality).join(flag(quality, settings.limits))


def central_labels(labels: np.ndarray, nucleus_diameter_px: float) -> np.ndarray:
    """Return the label (n,) nearest to the middle of each of (n, y, x); 0 beyond half a nucleus."""
    ys, xs = (np.arange(size) - (size - 1) / 2 for size in labels.shape[1:])
    distance = np.hypot(ys[:, None], xs[None, :])
    away = np.where(labels > 0, distance, np.inf).reshape(len(labels), -1)
    nearest = away.argmin(axis=1)
    rows = np.arange(len(labels))
    found = labels.reshape(len(labels), -1)[rows, nearest]
    return np.where(away[rows, nearest] <= nucleus_diameter_px / 2, found, 0)


def count_fields(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of fields that crop_cells writes: every field with a crop, all ok."""
    columns = list(FIELD_COLUMNS[:4])
    fields = table.groupby(columns, as_index=False).size()
    fields = fields.rename(columns={"size": "n_nuclei"})
    fields = fields.assign(n_at_border=0, n_cells=fields["n_nuclei"], status="ok", reason="")
    return fields[list(FIELD_COLUMNS)]


def read_source(args: argparse.Namespace, settings: Settings) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the plate's crops (n, c, y, x) and their labels, from an array or a zip of PNG.

    Raises:
        InputError: Files and assay do not fit each other.
    """
    zipped = args.crops.suffix.lower() == ".zip"
    if zipped:
        labels = png_archive.read_labels(
            args.crops, args.labels, settings.class_treatments, args.plates, settings.treatment_by
        )
    elif args.labels is None:
        raise InputError(
            f"Found {args.crops} without a table, expected one row a crop. Name the CSV as the "
            "assay's sheet."
        )
    else:
        labels = read_labels(args.labels, settings.treatment_by)
    name = str(args.labels or args.crops)
    rows = rows_of_plate(
        labels, args.plate, args.plates, args.treatments, name, settings.unlisted_plates
    )
    chosen = labels.iloc[rows]
    if zipped:
        images = png_archive.read_images(
            args.crops, list(chosen["filename"]), args.channels, settings.rgb_channels,
            settings.crop_size,
        )  # fmt: skip
        return images, chosen.drop(columns="filename")
    images = read_crops(
        args.crops, rows, n_labels=len(labels), n_channels=len(args.channels),
        stored_as=settings.stored_as, bit_depth=settings.bit_depth,
    )  # fmt: skip
    if images.shape[-1] != settings.crop_size:
        raise InputError(
            f"Found crops of {images.shape[-1]} px in {args.crops}, expected crop_size "
            f"{settings.crop_size}. Correct the assay's crop_size."
        )
    return images, chosen


def main(argv: list[str] | None = None) -> None:
    """Import the crops of one plate."""
    parser = Parser(__doc__, Settings, "import_crops")
    parser.add_argument("--crops", type=Path, required=True, help=".npy, .npy.xz, .ome.tif or .zip")
    parser.add_argument("--labels", type=Path, help="table (CSV), row for row; of a .zip: by name")
    parser.add_argument("--plate", required=True, help="the plate to import")
    parser.add_argument("--plates", nargs="+", required=True, help="all plates of the assay")
    parser.add_argument("--channels", nargs="+", required=True, help="channels, in order")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument("--treatments", nargs="*", default=[], help="import these; none: all")
    parser.add_argument("--output", type=Path, required=True, help="stack of cells (.ome.tif)")
    parser.add_argument("--fields", type=Path, required=True, help="table of the fields (.csv)")
    args, settings = parser.parse(argv)
    if args.nucleus_channel not in args.channels:
        raise InputError(
            f"Found nucleus_channel {args.nucleus_channel}, expected one of the channels "
            f"{', '.join(args.channels)}. Correct the assay."
        )
    images, labels = read_source(args, settings)
    index = args.channels.index(args.nucleus_channel)
    table = describe(images, labels, index, settings)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_stack(
        args.output, images, table, channels=args.channels,
        pixel_size_um=settings.pixel_size_um, written_by="import_crops",
    )  # fmt: skip
    write_table(args.fields, count_fields(table), written_by="import_crops")
    flags = ", ".join(f"{int(table[name].sum())} {name}" for name in FLAGS)
    print(f"import_crops: {args.plate}, {len(table)} cells; flagged: {flags}", flush=True)


if __name__ == "__main__":
    run(main)
