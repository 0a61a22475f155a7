"""Check how sensitive the features are to their thresholds, on HR controls of split tune.

Thresholds are constants of the configuration, fixed on HR and the same for HR, LR and every method;
nothing is fitted here, and no evaluation cell is used. For each feature of the assay, one row holds
the results with the given constants. For each constant, two more rows hold the results with a
quarter more and a quarter less of it: the cells measured, the medians of both controls, the AUC
between them, and the change of the cells' values. A constant is robust where these stay the same;
one that moves the AUC decides the result and must be justified. ``feature_settings`` is the digest
of the thresholds that measure writes into every table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import Measurement, add_measurement_flags, settings_class
from rls.io.splits import CHOOSE
from rls.runtime.command import Parser, run

NAME = "check_thresholds"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of the thresholds that were tried."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--high-resolution", type=Path, required=True, help="HR stack, all splits")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    add_measurement_flags(parser)
    parser.add_argument("--negative-control", required=True, help="a treatment")
    parser.add_argument("--positive-control", required=True, help="a treatment")
    parser.add_argument("--output-csv", type=Path, required=True, help="one row per trial")
    args, settings = parser.parse(argv)

    # Imported here, so that --help does not wait for scipy.
    from analysis.measuring import thresholds
    from rls.io import read_intensity, read_stack, write_table

    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    controls = (args.negative_control, args.positive_control)
    stack = thresholds.controls_of_tune(read_stack(args.high_resolution), controls)
    intensity = read_intensity(args.intensity)
    table = thresholds.threshold_table(stack, intensity, args.positive_control, measurement)
    write_table(args.output_csv, table, written_by=NAME)
    named = ", ".join(thresholds.decisive(table)) or "none"
    print(
        f"{NAME}: {len(stack)} HR cells of split {CHOOSE}; a quarter more or less moves AUC by "
        f"over {thresholds.MOVED_AUC} or the cells measured by over {thresholds.MOVED_SHARE:.0%} "
        f"for: {named}"
    )


if __name__ == "__main__":
    run(main)
