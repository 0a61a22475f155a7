"""Look into the images of an assay: the headers of all, and the pixels and cells of some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.cells.crop import crop_field, crop_low_resolution_field, position_of
from analysis.cells.crop_settings import Settings
from analysis.cells.segment import make_segmenter
from analysis.cells.skipped import SkippedFields
from analysis.checking.findings import DOUBT, FACT, FAULT, Findings
from analysis.plates.image_files import BrokenField, channels_of, check_header, read_field
from analysis.plates.sheet import path_columns
from analysis.run.values import Config, assay_factors, has_high_resolution, section_values
from rls.io.broken_image import BrokenImage
from rls.io.foreign_tiff import open_tiff
from rls.runtime.progress import Progress

# A wrong bit_depth, which concerns all fields, even where some happen to fit.
OF_CAMERA = ("above bit depth", "8-bit file")
N_SAMPLED = 6  # fields whose pixels are read
DIAMETERS = (0.7, 1.4)  # the measured diameter of nuclei over the one that the assay says
DARK = 16  # a camera of which so small a part is used may have fewer bits
PERCENTILES = (0.1, 99.9)
Size = tuple[int, int]  # height and width in px


@dataclass
class Sampled:
    """What the sampled fields hold.

    Attributes:
        usable: Cells that no flag leaves out, one number a field, by treatment.
        diameters_um: Diameters of all nuclei found.
        crops: (n, c, y, x) counts of each field's usable cells.
        low, high: Least and greatest count of each field.
    """

    usable: dict[str, list[int]] = field(default_factory=dict)
    diameters_um: list[float] = field(default_factory=list)
    crops: list[np.ndarray] = field(default_factory=list)
    low: list[int] = field(default_factory=list)
    high: list[int] = field(default_factory=list)

    def levels(self) -> np.ndarray | None:
        """Two percentiles of the counts of the usable cells, (2, c); None without a cell."""
        if not sum(map(len, self.crops)):
            return None
        return np.percentile(np.concatenate(self.crops), PERCENTILES, axis=(0, 2, 3))


def check_headers(
    findings: Findings, rows: pd.DataFrame, channels: Sequence[str], *, skip: bool
) -> tuple[pd.DataFrame, Size | None]:
    """Check the header of every file.

    Arguments:
        rows: Absolute paths.
        skip: Whether a run leaves out broken fields, and does not stop at the first.

    Returns:
        (the rows whose files have all channels, the most frequent size of a field).
    """
    skipped, sizes, good = SkippedFields(), Counter[Size](), []
    with Progress(len(rows), "check", "fields") as bar:
        for row in rows.to_dict("records"):
            try:
                places = check_header(row, channels, Path())
                sizes[channels_of(next(iter(places.values()))[0]).size] += 1
                good.append(True)
            except BrokenField as error:
                skipped.add(error)
                good.append(False)
            bar.advance(1)
    _report(findings, skipped, f"{len(rows)} fields", fault=not skip or not any(good))
    if len(sizes) > 1:
        text = ", ".join(f"{n} of {height} x {width} px" for (height, width), n in sizes.items())
        findings.add(
            DOUBT if skip else FAULT,
            f"The fields differ in size: {text}. Of a plate only those as large as its first field "
            "are used. Give the others to another assay.",
        )
    if not sizes:
        return rows[:0], None
    size, n = sizes.most_common(1)[0]
    fields = f"{n} field{'s' * (n > 1)} of {size[0]} x {size[1]} px"
    findings.add(FACT, f"Of {len(rows)}, {fields} hold the channels {', '.join(channels)}.")
    return rows[np.asarray(good, bool)], size


def _report(findings: Findings, skipped: SkippedFields, fields: str, *, fault: bool) -> None:
    """Add a sentence for each kind of broken field.

    Arguments:
        fields: How many were looked at, such as ``24 fields``.
        fault: Whether each kind is a fault, and not only left out by a run.
    """
    for reason, count in skipped.counts.most_common():
        wrong = fault or reason in OF_CAMERA
        left_out = "" if wrong else " As on_broken_field is skip, a run leaves such fields out."
        text = f"{count} of {fields}: {reason}. The first: {skipped.first[reason]}{left_out}"
        findings.add(FAULT if wrong else DOUBT, text)


def check_pixels(
    findings: Findings, config: Config, assay: str, settings: Settings, rows: pd.DataFrame
) -> Sampled:
    """Read some fields, find their cells, and compare them with what the assay says.

    Arguments:
        settings: Those of ``crop_cells``.
        rows: Checked rows with absolute paths, whose headers are right.
    """
    block = config["assays"][assay]
    segmenter = make_segmenter(settings)
    crop = partial(crop_field, segmenter=segmenter)
    factors = assay_factors(block, config["run"]["factors"])
    if not has_high_resolution(block) and factors:
        crop = partial(crop_low_resolution_field, segmenter=segmenter, factor=factors[0])
    flags = section_values(config, "select_cells", assay)["exclude_flags"]
    nucleus = position_of(block["nucleus_channel"], block["channels"])
    sampled, skipped = Sampled(), SkippedFields()
    chosen = sample(rows, N_SAMPLED)
    for row in chosen.to_dict("records"):
        try:
            raw = read_field(row, block["channels"], Path())
            sampled.low.append(int(raw.min()))
            sampled.high.append(int(raw.max()))
            crops, table, _, _ = crop(raw, None, row, nucleus, settings)
        except BrokenField as error:
            skipped.add(error)
            sampled.usable.setdefault(str(row["treatment"]), []).append(0)
            continue
        usable = ~table[list(flags)].any(axis=1).to_numpy()
        sampled.usable.setdefault(str(row["treatment"]), []).append(int(usable.sum()))
        sampled.crops.append(crops[usable])
        area = table["nucleus_area_um2"].to_numpy(float)
        sampled.diameters_um += list(np.sqrt(4 / np.pi * area[np.isfinite(area)]))
    fault = not sampled.crops or settings.on_broken_field == "stop"
    _report(findings, skipped, f"{len(chosen)} fields that were read", fault=fault)
    _check_metadata(findings, chosen, block)
    _check_counts(findings, sampled, block["bit_depth"], settings)
    _check_nuclei(findings, sampled, settings, len(chosen))
    return sampled


def sample(rows: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return at most ``n`` rows: treatments and plates by turns, each from its first field on."""
    turn = rows.groupby(["treatment", "plate"], sort=False).cumcount()
    return rows.iloc[np.argsort(turn.to_numpy(), kind="stable")[:n]]


def _check_metadata(findings: Findings, rows: pd.DataFrame, block: Config) -> None:
    """Say whether the files name a pixel size; another than the assay's is a fault of a header."""
    for path in rows[path_columns(block["channels"], rows)[0]]:
        try:
            with open_tiff(Path(path)) as tiff:
                if tiff.pixel_size_um:
                    return
        except BrokenImage:
            continue  # The check of the headers has said it.
    wanted = float(rows["pixel_size_um"].iloc[0])
    findings.add(
        DOUBT,
        f"The files name no pixel size, so nothing confirms the {wanted:g} um of the assay. "
        "Look it up: objective, camera and binning decide it.",
    )


def _check_counts(findings: Findings, sampled: Sampled, bit_depth: int, settings: Settings) -> None:
    """Compare the counts of the sampled fields with the camera that the assay describes."""
    if not sampled.high:
        return
    low, high, n = min(sampled.low), max(sampled.high), len(sampled.high)
    text = f"Counts of {n} field{'s' * (n > 1)} that were read: {low} to {high}"
    findings.add(FACT, f"{text}, of {2**bit_depth - 1} that {bit_depth} bits allow.")
    if high < 2**bit_depth // DARK:
        findings.add(
            DOUBT,
            f"The brightest pixel of {n} fields has {high} counts, and a camera of {bit_depth} "
            f"bits reaches {2**bit_depth - 1}. Is bit_depth right?",
        )
    if low < settings.camera_offset_counts:
        findings.add(
            DOUBT,
            f"The darkest pixel of {n} fields has {low} counts, less than camera_offset_counts "
            f"{settings.camera_offset_counts:g}, the counts without light. Set "
            "crop_cells.camera_offset_counts lower, or to 0 where it is not known.",
        )


def _check_nuclei(findings: Findings, sampled: Sampled, settings: Settings, n_fields: int) -> None:
    """Compare the nuclei that were found with the diameter that the assay says."""
    if not sampled.diameters_um:
        return
    median, said = float(np.median(sampled.diameters_um)), settings.nucleus_diameter_um
    n = len(sampled.diameters_um)
    text = f"{n} nuclei in {n_fields} fields have a diameter of {median:.3g} um in the median"
    if DIAMETERS[0] <= median / said <= DIAMETERS[1]:
        findings.add(FACT, f"{text}; nucleus_diameter_um is {said:g}.")
        return
    findings.add(
        DOUBT,
        f"{text}, and nucleus_diameter_um is {said:g}. Measure some nuclei in your images, and "
        "correct nucleus_diameter_um in crop_cells and measure, or the pixel size.",
    )
