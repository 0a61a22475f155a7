"""Train a regression from the low-resolution images of cells to the assay's features.

It is fitted to cells of split gan: their LR images, made as those of every other cell are, and the
features measured on their HR images. Two candidates stand for it, a ridge regression on the pixels
and a small network, both indifferent to turns and flips; for every feature the one with the lower
squared error on split tune is kept, and so are the ridge's penalty and the network's epoch. So the
answer for a cell is E[h | y], as far as so many cells can tell.

Its correlation with the features of HR on split evaluation is c: no method that sees LR alone can
have a higher one, but for what a better regression would find (docs/what_lr_knows.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.measuring.regression_settings import NAME, Settings
from rls.io.splits import CHOOSE, PREDICT
from rls.runtime.command import Parser, run


def make_parser() -> Parser[Settings]:
    """Return the parser of the command line."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument("--gan", type=Path, required=True, help="LR stack of the cells of gan")
    parser.add_argument("--gan-measured", type=Path, required=True, help="their HR features")
    parser.add_argument("--low-resolution", type=Path, required=True, help="LR of other cells")
    parser.add_argument("--measured", type=Path, required=True, help="their HR features")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--features", nargs="+", required=True, help="names in analysis/features")
    parser.add_argument("--output", type=Path, required=True, help="regression.safetensors")
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read cells, fit both candidates, and write the better one for each feature."""
    args, settings = make_parser().parse(argv)
    # Imported here, so that --help does not wait for torch.
    from analysis.measuring import regression
    from rls.encoder.regression import write_regression
    from rls.io import read_intensity
    from rls.runtime.checkpoint import StateFolder
    from rls.runtime.device import choose_device, computed_on
    from rls.runtime.graphs import Recorder

    device = choose_device(settings.device, settings.threads)
    intensity = read_intensity(args.intensity)
    columns = regression.columns_for(args.features, intensity.channels)
    shown = regression.read_known(args.gan, args.gan_measured, columns, PREDICT)
    held = regression.read_known(args.low_resolution, args.measured, columns, CHOOSE)
    study = regression.Study(tuple(args.features), columns, shown, held, intensity)
    study.check()
    recorder = Recorder(device, settings.cuda_graphs)
    print(f"{NAME}: {len(shown.low)} cells; {recorder.describe('steps')}", flush=True)
    with (
        recorder.stream(),
        StateFolder(
            args.state,
            NAME,
            study.identity(settings),
            output=args.output,
            machine=computed_on(device),
        ) as folder,
    ):
        found = regression.fit(study, settings, folder, recorder)
        write_regression(args.output, found)
        folder.clear()
    for name, r in found.header["r_tune"].items():
        said = "does not vary" if r is None else f"r {r:.3f}"
        by = found.header["chosen"][name]
        print(f"{NAME}: {name} {said} on {len(held.low)} cells of tune, by the {by}", flush=True)


if __name__ == "__main__":
    run(main)
