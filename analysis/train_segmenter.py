"""Train Cellpose 3 from scratch on simulated fields, whose true masks are known.

Fields differ in density and in how near nuclei lie; everything else is that of section
simulate_plate. Prints F1 on fields that were not trained on, by gap, beside the threshold's.

    python -m analysis.train_segmenter --config my.yaml --seed 1 --output nuclei.cellpose
"""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.cells.segmenter_settings import CELLPOSE_DIAMETER_PX, Settings
from analysis.simulation.settings import Settings as Simulation
from rls.runtime.command import Parser, run

# Only the nucleus channel is used, so what the marker does and how the plate is laid out is fixed.
PLAIN = (
    *("--phenotype", "translocation", "--channels", "dna", "marker", "--treatments", "none"),
    *("--ratio-medians", "1.0", "--wells-per-treatment", "1", "--empty-wells", "0"),
    *("--empty-fields", "0", "--broken-fields", "0", "--pixel-size-um", "1.0"),
    *("--bit-depth", "16", "--seed", "0", "--nucleus-diameter-px", str(CELLPOSE_DIAMETER_PX)),
)


def main(argv: list[str] | None = None) -> None:
    """Train, write the weights, and measure them."""
    parser = Parser(__doc__, Settings, "train_segmenter")
    parser.add_argument("--output", type=Path, required=True, help="weights (.cellpose)")
    parser.add_argument("--scores", type=Path, help="table of F1 on held-out fields (.csv)")
    parser.add_argument(
        "--simulation",
        nargs=argparse.REMAINDER,
        default=[],
        help="last of all: flags of simulate_plate, in place of its section in --config",
    )
    parser.writes("scores")
    args, settings = parser.parse(argv)
    section = Parser(None, Simulation, "simulate_plate")
    config = ["--config", str(args.config)] if args.config and not args.simulation else []
    _, simulation = section.parse([*config, *args.simulation, *PLAIN])
    # Imported here, so that --help does not wait for torch.
    from analysis.cells.segment import load_cellpose, segment_nuclei, train_cellpose
    from analysis.cells.segmenter_training import describe, draw_field, score
    from rls.io import write_table
    from rls.runtime.device import choose_device

    device = choose_device(settings.device, settings.threads)
    fields = [draw_field(simulation, settings, "train", i) for i in range(settings.fields)]
    print(
        f"train_segmenter: {settings.epochs} epochs of {settings.fields_per_epoch} patches of "
        f"{settings.patch_px} px from {len(fields)} simulated fields with "
        f"{sum(int(field.nuclei.max()) for field in fields)} nuclei",
        flush=True,
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    images, labels = [field.counts[0] for field in fields], [field.nuclei for field in fields]
    losses = train_cellpose(images, labels, settings, args.output, device)
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
