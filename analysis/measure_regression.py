"""Ask the regression of ``train_regression`` for the features of every low-resolution image.

The table is that of ``measure_amortised``: features and their predicted sd, without images, metrics
or classes. The settings are those of ``measure``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import Measurement, add_measurement_flags, settings_class
from rls.io.names import REGRESSION
from rls.runtime.command import Parser, run

NAME = "measure_regression"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one stack."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--network", type=Path, required=True, help="regression.safetensors")
    parser.add_argument("--low-resolution", type=Path, required=True, help="LR stack")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--factor", type=int, required=True, help="side of HR over side of LR")
    add_measurement_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="*.features.parquet")
    args, settings = parser.parse(argv)

    # Imported here, so that --help does not wait for torch.
    from analysis.measuring.amortised import Cells, check_fits, predicted_table
    from analysis.measuring.tables import write_tables
    from rls.encoder.regression import load_regression
    from rls.io import read_intensity, read_stack
    from rls.runtime.device import choose_device

    device = choose_device(settings.device, settings.threads)
    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    regression = load_regression(args.network, device, REGRESSION)
    low, intensity = read_stack(args.low_resolution), read_intensity(args.intensity)
    cells = Cells(low, intensity, args.factor, args.low_resolution)
    check_fits(regression.header, cells, measurement, args.network)
    outputs = {args.output: predicted_table(regression, cells, settings.batch_size)}
    write_tables(outputs, low.table, REGRESSION, settings, weights={}, written_by=NAME)
    print(f"{NAME}: {len(low)} cells", flush=True)


if __name__ == "__main__":
    run(main)
