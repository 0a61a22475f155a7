"""Measure the images of sweep_lambdas or trace_search, each against the HR image of its cell.

One row is written for each image and point of the stack: PSNR, MS-SSIM, mean |D(SR) - LR|, the
columns of the search (log prior, cross, status, mean pair distance of the styles), and on SR and on
HR the assay's features and random convolutions, of which the kernel distance is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import Measurement, add_measurement_flags, settings_class
from rls.runtime.command import Parser, run

NAME = "measure_sweep"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one sweep or trace."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument(
        "--stack", type=Path, required=True, help="stack of sweep_lambdas or trace_search"
    )
    parser.add_argument("--high-resolution", type=Path, required=True, help="HR stack")
    parser.add_argument("--low-resolution", type=Path, required=True, help="LR that was searched")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--factor", type=int, required=True, help="side of HR over side of LR")
    add_measurement_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="*.metrics.parquet")
    args, settings = parser.parse(argv)

    # Imported here, so that --help does not wait for torch.
    import torch

    from analysis.measuring.reference import StackPaths
    from analysis.measuring.sweep import sweep_table
    from rls.io import write_table

    torch.set_num_threads(settings.threads)
    paths = StackPaths(args.stack, args.high_resolution, args.low_resolution, args.intensity)
    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    write_table(args.output, sweep_table(paths, args.factor, measurement, NAME), written_by=NAME)


if __name__ == "__main__":
    run(main)
