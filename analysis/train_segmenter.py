"""Train Cellpose 3 from scratch on simulated fields, whose true masks are known.

Fields differ in density and in how near nuclei lie; everything else is that of section
simulate_plate. Prints F1 on fields that were not trained on, by gap, beside the threshold's.

    python -m analysis.train_segmenter --config my.yaml --seed 1 --output nuclei.cellpose
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.cells.segment import (
    CELLPOSE_DIAMETER_PX,
    CellposeTraining,
    Segmenter,
    load_cellpose,
    segment_nuclei,
    train_cellpose,
)
from analysis.cells.segmentation_accuracy import f1_by_gap
from analysis.simulation.field import Field, simulate_field
from analysis.simulation.optics import illumination_profile
from analysis.simulation.settings import Settings as Simulation
from rls.io import write_table
from rls.runtime.command import Parser, option, run
from rls.runtime.errors import InputError
from rls.runtime.streams import stream

LEAST_IOU = (0.5, 0.75)
LEAST_NUCLEI = 3  # of a field that is trained on
DRAWS = 20  # a field is drawn anew this often before the settings are held to be wrong
# Only the nucleus channel is used: what a marker does, and the plate around it, does not matter.
PLAIN = (
    *("--phenotype", "translocation", "--channels", "dna", "marker", "--treatments", "none"),
    *("--ratio-medians", "1.0", "--wells-per-treatment", "1", "--empty-wells", "0"),
    *("--empty-fields", "0", "--broken-fields", "0", "--pixel-size-um", "1.0"),
    *("--bit-depth", "16", "--seed", "0", "--nucleus-diameter-px", str(CELLPOSE_DIAMETER_PX)),
)


@dataclass(frozen=True)
class Settings:
    """Settings of section ``train_segmenter``."""

    fields: int = option("Simulated fields to train on.")
    held_out_fields: int = option("Simulated fields on which F1 is measured.")
    field_px: int = option("Side of a simulated field, in px; a nucleus is 17 px.")
    neighbours: tuple[float, ...] = option(
        "Least and greatest mean number of other cells in an area of 2x2 crops."
    )
    nearest_centres_nd: tuple[float, ...] = option(
        "Least and greatest of the least distance between two nuclei, in nd."
    )
    epochs: int = option("Passes of the training; the rate warms up over the first ten.")
    fields_per_epoch: int = option("Fields drawn in an epoch, a patch of each.")
    batch_size: int = option("Patches in a step.")
    patch_px: int = option("Side of a patch, in px; a multiple of 8.")
    learning_rate: float = option("Peak learning rate of AdamW.")
    weight_decay: float = option("Weight decay of AdamW.")
    flow_threshold: float = option("Of the held-out test; see section crop_cells.")
    seed: int = option("Seed of the fields and of the weights.")
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.")

    def __post_init__(self) -> None:
        for name in ("neighbours", "nearest_centres_nd"):
            values = getattr(self, name)
            if len(values) != 2 or values[0] > values[1]:
                raise InputError(
                    f"Found {name} {list(values)}, expected two numbers, least and greatest. "
                    f"Correct train_segmenter.{name}."
                )
        if self.patch_px % 8:
            raise InputError(
                f"Found patch_px {self.patch_px}, expected a multiple of 8: Cellpose halves it "
                "three times. Correct train_segmenter.patch_px."
            )


def draw_field(simulation: Simulation, settings: Settings, purpose: str, number: int) -> Field:
    """Simulate one field with nuclei of 17 px.

    Raises:
        InputError: The settings give fields with hardly a nucleus.
    """
    rng = stream(settings.seed, f"{purpose}/{number}", "train_segmenter")
    size = (settings.field_px, settings.field_px)
    for _ in range(DRAWS):
        drawn = replace(
            simulation,
            field_height_px=settings.field_px,
            field_width_px=settings.field_px,
            neighbours=float(rng.uniform(*settings.neighbours)),
            nearest_centres_nd=float(rng.uniform(*settings.nearest_centres_nd)),
        )
        profile = illumination_profile(size, drawn.illumination_depth, rng)
        profiles = np.stack([profile, profile])
        field = simulate_field(drawn, drawn.treatments[0], profiles, np.ones(2), rng)
        if field.nuclei.max() >= LEAST_NUCLEI:
            return field
    raise InputError(
        f"Found under {LEAST_NUCLEI} nuclei in each of {DRAWS} simulated fields of "
        f"{settings.field_px} px. Raise train_segmenter.field_px or neighbours."
    )


def score(fields: Sequence[Field], segmenters: dict[str, Segmenter]) -> pd.DataFrame:
    """Return F1 of each segmenter by gap class at two intersections over union."""
    rows = []
    for name, segmenter in segmenters.items():
        found = [segmenter(field.counts[0], CELLPOSE_DIAMETER_PX) for field in fields]
        for least in LEAST_IOU:
            pairs = zip((field.nuclei for field in fields), found, strict=True)
            table = f1_by_gap(pairs, CELLPOSE_DIAMETER_PX, least)
            rows.append(table.rename_axis("gap").reset_index().assign(segmenter=name, iou=least))
    columns = ["segmenter", "iou", "gap", "n_nuclei", "tp", "fp", "fn", "f1"]
    return pd.concat(rows, ignore_index=True)[columns]


def describe(scores: pd.DataFrame) -> Iterator[str]:
    """Yield a line for people per segmenter and intersection over union."""
    for (name, least), part in scores.groupby(["segmenter", "iou"], sort=False):
        values = ", ".join(
            f"{row.gap} {row.f1:.3f} (n {row.n_nuclei})" for row in part.itertuples()
        )
        yield f"train_segmenter: {name}, F1 at IoU {least}: {values}"


def main(argv: list[str] | None = None) -> None:
    """Train, write the weights, and measure them."""
    parser = Parser(__doc__, Settings, "train_segmenter")
    parser.add_argument("--output", type=Path, required=True, help="weights (.cellpose)")
    parser.add_argument("--scores", type=Path, help="table of F1 on held-out fields (.csv)")
    parser.add_argument(
        "--simulation", nargs=argparse.REMAINDER, default=[],
        help="last of all: flags of simulate_plate, in place of its section in --config",
    )  # fmt: skip
    args, settings = parser.parse(argv)
    section = Parser(None, Simulation, "simulate_plate")
    config = ["--config", str(args.config)] if args.config and not args.simulation else []
    _, simulation = section.parse([*config, *args.simulation, *PLAIN])
    # Imported here: torch takes seconds, and --help should not
    from rls.runtime.device import choose_device

    device = choose_device(settings.device, settings.threads)
    fields = [draw_field(simulation, settings, "train", i) for i in range(settings.fields)]
    print(
        f"train_segmenter: {settings.epochs} epochs of {settings.fields_per_epoch} patches of "
        f"{settings.patch_px} px from {len(fields)} simulated fields with "
        f"{sum(int(field.nuclei.max()) for field in fields)} nuclei", flush=True,
    )  # fmt: skip
    training = CellposeTraining(
        *(getattr(settings, name) for name in CellposeTraining.__dataclass_fields__)
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    losses = train_cellpose(
        [field.counts[0] for field in fields], [field.nuclei for field in fields],
        training, args.output, device,
    )  # fmt: skip
    print(f"train_segmenter: loss {losses[0]:.3f}, at the end {losses[-1]:.3f}", flush=True)
    held_out = [
        draw_field(simulation, settings, "held out", i) for i in range(settings.held_out_fields)
    ]
    trained = load_cellpose(args.output, settings.flow_threshold, device)
    scores = score(held_out, {"cellpose": trained, "threshold": segment_nuclei})
    for line in describe(scores):
        print(line, flush=True)
    if args.scores:
        write_table(args.scores, scores, written_by="train_segmenter")


if __name__ == "__main__":
    run(main)
