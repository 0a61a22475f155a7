"""Measure the assay's features on the high-resolution images of the generator's training cells.

The code and the settings are those of ``measure``. The table serves ``train_regression``, and the
figure of where a feature is lost; no table of results reads it. Images that the generator made from
nothing are measured in the same way; they have no split.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import Measurement, add_measurement_flags, settings_class
from rls.io.names import HIGH_RESOLUTION
from rls.io.splits import PREDICT
from rls.runtime.command import Parser, run

NAME = "measure_gan"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one stack."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--stack", type=Path, required=True, help="HR images of split gan")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    add_measurement_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="*.features.parquet")
    args, settings = parser.parse(argv)

    # Imported here, so that --help does not wait for scikit-image.
    from analysis.measuring.tables import features_of_stack, measurable, write_tables
    from rls.io import read_intensity, read_stack
    from rls.io.splits import check

    stack, intensity = read_stack(args.stack), read_intensity(args.intensity)
    check(PREDICT, stack.table.get("split", ()))
    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    table = features_of_stack(stack, intensity, measurement, NAME)
    outputs, cells = {args.output: table}, stack.table
    write_tables(outputs, cells, HIGH_RESOLUTION, settings, weights={}, written_by=NAME)
    print(f"{NAME}: {measurable(table)}", flush=True)


if __name__ == "__main__":
    run(main)
