"""Measure the features of a stack of cells, and how near its images are to HR (Table 1, Fig. 5).

Two tables are written, with one row per cell. ``features`` holds the measurements on an image
alone: the assay's features with units and status, 32 features of the treatment classifier where
there is one, 96 random convolutions, and features of VGG16 and Inception where weights are given.
``metrics`` holds the comparisons with other images of the same cell: PSNR, MS-SSIM and, where
weights are given, LPIPS by VGG16 and AlexNet against HR, and mean |D(SR) - LR| (Eq. 5), once with
the given LR image and once with the clean one that it was made from (section 4.3).

PSNR and MS-SSIM are computed on [0, 1], values beyond it clipped, as in the article's 8-bit images;
nothing else is clipped. ``--solutions`` makes the features means over several solutions of a cell;
all else is measured on the one image. A value that cannot be measured is NaN with a status.
``feature_settings`` is a digest of the features' settings: tables refuse a method measured with
other thresholds than HR. ``weights`` names the networks of other people that were used: tables
refuse others than the run's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import Measurement, add_measurement_flags, settings_class
from rls.runtime.command import Parser, run

NAME = "measure"


def main(argv: Sequence[str] | None = None) -> None:
    """Write both tables of one stack."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--stack", type=Path, required=True, help="the stack to measure")
    parser.add_argument(
        "--method", required=True, help="its name, or high_resolution or low_resolution"
    )
    parser.add_argument("--high-resolution", type=Path, required=True, help="HR stack")
    parser.add_argument("--low-resolution", type=Path, required=True, help="LR stack")
    parser.add_argument(
        "--clean-low-resolution", type=Path, help="LR of D alone; default --low-resolution"
    )
    parser.add_argument(
        "--solutions", type=Path, help="table of measure_solutions, whose means the features become"
    )
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--classifier", type=Path, help="classifier trained on HR; none: left out")
    parser.add_argument("--factor", type=int, required=True, help="side of HR over side of LR")
    add_measurement_flags(parser)
    parser.add_argument("--output-features", type=Path, required=True, help="*.features.parquet")
    parser.add_argument("--output-metrics", type=Path, required=True, help="*.metrics.parquet")
    args, settings = parser.parse(argv)

    # Imported here, so that --help does not wait for torch.
    from analysis.measuring import embeddings, reference, solutions, tables

    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    paths = reference.StackPaths(
        stack=args.stack,
        high_resolution=args.high_resolution,
        low_resolution=args.low_resolution,
        clean_low_resolution=args.clean_low_resolution,
        intensity=args.intensity,
    )
    inputs = reference.read_aligned(args.method, paths, args.factor)
    networks = embeddings.load_networks(args.classifier, inputs.high, settings)
    label = f"{NAME} {args.method}"
    features, metrics = tables.measure_aligned(inputs, measurement, networks, label)
    if args.solutions:
        features = solutions.averaged(
            features, inputs.stack, args.solutions, args.method, measurement
        )
    outputs = {args.output_features: features, args.output_metrics: metrics}
    cells, weights = inputs.high.table, networks.weights
    tables.write_tables(outputs, cells, args.method, settings, weights=weights, written_by=NAME)
    print(f"{label}: {tables.measurable(features)}", flush=True)


if __name__ == "__main__":
    run(main)
