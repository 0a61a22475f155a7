"""Measure the assay's features on every solution of every image, for the intervals of Fig. 8.

One row per solution is written; ``source_image_id`` is the image that it super-resolves. Only the
features are measured; a value that cannot be measured is NaN with a status. The settings are those
of ``measure``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import Measurement, add_measurement_flags, settings_class
from rls.io.names import OK
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError

NAME = "measure_solutions"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one stack of solutions."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--stack", type=Path, required=True, help="stack of sample_solutions")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    add_measurement_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="*.features.parquet")
    args, settings = parser.parse(argv)

    # Imported here, so that --help does not wait for torch.
    from analysis.measuring.solutions import check_solutions, solution_table
    from rls.io import read_intensity, read_stack, write_table

    stack, intensity = read_stack(args.stack), read_intensity(args.intensity)
    if stack.channels != intensity.channels:
        raise InputError(
            f"{args.stack} has the channels {', '.join(stack.channels)}, {args.intensity} has "
            f"{', '.join(intensity.channels)}. Give files of one assay."
        )
    check_solutions(stack, args.stack)
    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    table = solution_table(stack, intensity, measurement, NAME)
    write_table(args.output, table, written_by=NAME)
    measured = int((table["status"] == OK).sum())
    print(f"{NAME}: {measured} of {len(table)} solutions measurable", flush=True)


if __name__ == "__main__":
    run(main)
