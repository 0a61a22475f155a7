"""Predict the features of every low-resolution image with a regression, without any search.

The regression is that of ``train_amortised``, fitted to generated pairs, or that of
``train_regression``, fitted to pairs of cells; its file says which. The table has the columns of
``measure``: one row for each cell with its keys, every feature of the assay, ``status``, and
``feature_settings``, by which tables refuse other thresholds than those of HR. ``*_predicted_sd``
is the sd of each feature given y, from which the table of features makes the intervals of cells.
The row has no image, so it has no metrics and no class. The settings are those of ``measure``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import Measurement, add_measurement_flags, settings_class
from rls.io.names import AMORTISED, WITHOUT_IMAGES
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError

NAME = "measure_predicted"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one stack."""
    parser = Parser(__doc__, settings_class(), "measure")
    names = " or ".join(f"{name}.safetensors" for name in WITHOUT_IMAGES)
    parser.add_argument("--network", type=Path, required=True, help=names)
    parser.add_argument("--generator", type=Path, help="the assay's generator, for amortised")
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
    from rls.io import read_intensity, read_stack, read_weights
    from rls.runtime.device import choose_device

    device = choose_device(settings.device, settings.threads)
    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    regression = load_regression(args.network, device)
    row, digest = regression.header["kind"], ""
    if (row == AMORTISED) != (args.generator is not None):
        needed = "needs" if row == AMORTISED else "takes no"
        raise InputError(
            f"{args.network} holds the regression '{row}', which {needed} --generator."
        )
    if args.generator is not None:
        digest = str(read_weights(args.generator, kind="generator")[1]["digest"])
    low, intensity = read_stack(args.low_resolution), read_intensity(args.intensity)
    cells = Cells(low, intensity, args.factor, args.low_resolution, digest)
    check_fits(regression.header, cells, measurement, args.network)
    table = predicted_table(regression, cells, settings.batch_size)
    write_tables({args.output: table}, low.table, row, settings, weights={}, written_by=NAME)
    print(f"{NAME}: {len(table)} cells", flush=True)


if __name__ == "__main__":
    run(main)
