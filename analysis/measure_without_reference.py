"""Measure a stack of cells that were acquired in low resolution, where no HR image exists.

The two tables are those of ``measure``, row by row. Features and random convolutions need the image
alone; of the metrics only mean |D(SR) - LR| (Eq. 5) can be measured. Values that need HR, and all
values in the rows of HR itself, are NaN with the status ``not_measurable:no_high_resolution``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import Measurement, add_measurement_flags, settings_class
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION
from rls.runtime.command import Parser, run

NAME = "measure_without_reference"


def main(argv: Sequence[str] | None = None) -> None:
    """Write both tables of one stack."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--stack", type=Path, help="the stack to measure; not of high_resolution")
    parser.add_argument(
        "--method", required=True, help="its name, or high_resolution or low_resolution"
    )
    parser.add_argument("--low-resolution", type=Path, required=True, help="LR as acquired")
    parser.add_argument(
        "--solutions", type=Path, help="table of measure_solutions, whose means the features become"
    )
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--factor", type=int, required=True, help="side of SR over side of LR")
    add_measurement_flags(parser)
    parser.add_argument("--output-features", type=Path, required=True, help="*.features.parquet")
    parser.add_argument("--output-metrics", type=Path, required=True, help="*.metrics.parquet")
    args, settings = parser.parse(argv)

    # Imported here, so that --help does not wait for torch.
    from analysis.measuring import reference, solutions, tables
    from rls.io import read_intensity, read_stack

    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    low, intensity = read_stack(args.low_resolution), read_intensity(args.intensity)
    stack = None
    if args.method != HIGH_RESOLUTION:
        stack = low if args.method == LOW_RESOLUTION else read_stack(args.stack)
        reference.check_cells(args.method, stack, low, args.stack)
        low = reference.align(stack.table["image_id"], low, (args.stack, args.low_resolution))
    features, metrics = tables.measure_acquired(
        stack, low, intensity, measurement, method=args.method, factor=args.factor
    )
    if args.solutions and stack is not None:
        features = solutions.averaged(features, stack, args.solutions, args.method, measurement)
    outputs = {args.output_features: features, args.output_metrics: metrics}
    tables.write_tables(outputs, low.table, args.method, settings, weights={}, written_by=NAME)
    print(f"{NAME} {args.method}: {tables.measurable(features)}", flush=True)


if __name__ == "__main__":
    run(main)
