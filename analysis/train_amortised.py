"""Train a regression from low-resolution images to the assay's features, on generated pairs alone.

A pair is an image x = G(w) of the generator and y = D(x), degraded as in ``degrade``. The features
h are measured on x by the code that measures HR. A small network learns the mean and the sd of
every h given y; no high-resolution image of a cell is seen. So the answer is E[h | y] under the
generator, in a millisecond a cell and without an image, and it is as good as the generator is.

The logarithm of a feature is learnt where all its values are positive and less skewed on that
scale. Pairs held out choose the epoch, and the r of each feature on them stands in the header of
the network. It is no r on cells: these pairs come from the same generator. Measured pairs are kept
in the state folder; a training that was stopped or killed resumes when the same command is run
again, and on a CPU ends with the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import Measurement, add_measurement_flags
from analysis.measuring.amortised_settings import NAME, CommandSettings, command_settings
from rls.runtime.command import Parser, run
from rls.search.forward_model import add_operator, model_of


def make_parser() -> Parser[CommandSettings]:
    """Return the parser of the command line."""
    parser = Parser(__doc__, command_settings(), NAME, shared="measure")
    parser.add_argument("--generator", type=Path, required=True, help="generator.safetensors")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--factor", type=int, required=True, help="side of HR over side of LR")
    add_operator(parser)
    parser.add_argument("--quantise", choices=("8bit", "none"), required=True, help="as in degrade")
    parser.add_argument("--chain", nargs="*", default=[], help="name:value of each degradation")
    add_measurement_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="amortised.safetensors")
    parser.add_argument("--state", type=Path, required=True, help="folder of pairs and checkpoints")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Draw pairs, measure them, fit the network, and write it."""
    args, settings = make_parser().parse(argv)
    # Imported here, so that --help does not wait for torch.
    from analysis.measuring import amortised
    from rls.encoder.pairs import PairSource
    from rls.encoder.pool import held_out, remove_pool
    from rls.encoder.regression import write_regression
    from rls.io import read_intensity
    from rls.runtime.checkpoint import StateFolder
    from rls.runtime.device import choose_device, computed_on
    from rls.runtime.graphs import Recorder
    from rls.search.degradation import parse_chain
    from rls.search.forward import forward_operator
    from rls.stylegan2.generator_io import load_generator

    device = choose_device(settings.device, settings.threads)
    intensity, own = read_intensity(args.intensity), settings.own
    generator = load_generator(args.generator, device, channels=intensity.channels)
    forward, size = model_of(args), generator.image_size
    down = forward_operator(forward, (size, size), args.factor, generator.pixel_size_um)
    source = PairSource(
        generator,
        down.to(device),
        parse_chain(args.chain),
        args.quantise,
        own.pair_batch_size,
        own.mixing_probability,
        own.seed,
        NAME,
    )
    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    study = amortised.Study(source, forward, args.factor, intensity, measurement)
    known, recorder = study.identity(own), Recorder(device, own.cuda_graphs)
    print(f"{NAME}: {own.n_pairs} pairs; {recorder.describe('steps')}", flush=True)
    with (
        recorder.stream(),
        StateFolder(
            args.state, NAME, known, output=args.output, machine=computed_on(device)
        ) as folder,
    ):
        held = amortised.draw(study, held_out(source), own.n_held_out, folder.folder)
        shown = amortised.draw(study, source, own.n_pairs, folder.folder)
        regression = amortised.fit(study, shown, held, own, folder, recorder)
        write_regression(args.output, regression)
        folder.clear()
        remove_pool(folder.folder)
    for name, r in regression.header["r_held_out"].items():
        said = "is the same on all" if r is None else f"r {r:.3f} on {own.n_held_out}"
        print(f"{NAME}: {name} {said} generated pairs held out", flush=True)


if __name__ == "__main__":
    run(main)
