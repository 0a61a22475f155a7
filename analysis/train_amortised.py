"""Train a regression from y to the assay's features, on generated pairs alone.

A pair is an image x = G(w) of the generator and y = D(x), degraded as in ``degrade``. The features
h are measured on x by the code that measures HR. A small network learns the mean and the sd of
every h given y; no high-resolution image of a cell is seen. So the answer is E[h | y] under the
generator, in a millisecond a cell and without an image, and it is as good as the generator is.

The logarithm of a feature is learnt where all its values are positive and less skewed on that
scale. Of the pairs, ``held_out_share`` are held out: they choose the epoch, and the r of each
feature on them stands in the header of the network. It is no r on cells: the held-out pairs come
from the same generator. Pairs are kept in the state folder batch by batch; a training that was
stopped or killed resumes when the same command is run again, and on a CPU ends with the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import Measurement, add_measurement_flags
from analysis.measuring.amortised_settings import NAME, Settings, command_settings, own_settings
from rls.runtime.command import Parser, run
from rls.search.forward_model import add_operator, model_of


def make_parser() -> Parser[Settings]:
    """Return the parser of the command line."""
    parser = Parser(__doc__, command_settings(), NAME, shared="measure")
    parser.add_argument("--generator", type=Path, required=True, help="generator.safetensors")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--factor", type=int, required=True, help="side of x over side of y")
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
    from rls.io import read_intensity
    from rls.runtime.checkpoint import StateFolder
    from rls.runtime.device import choose_device, computed_on
    from rls.search.degradation import parse_chain
    from rls.search.forward import forward_operator
    from rls.stylegan2.generator_io import load_generator

    device = choose_device(settings.device, settings.threads)
    intensity, own = read_intensity(args.intensity), own_settings(settings)
    generator = load_generator(args.generator, device, channels=intensity.channels)
    forward, size = model_of(args), generator.image_size
    down = forward_operator(forward, (size, size), args.factor, generator.pixel_size_um)
    source = PairSource(
        generator,
        down.to(device),
        parse_chain(args.chain),
        args.quantise,
        own.pairs_at_once,
        own.mixing_probability,
        own.seed,
        NAME,
    )
    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    study = amortised.Study(source, forward, args.factor, intensity, measurement)
    known, machine = study.identity(own), computed_on(device)
    with StateFolder(args.state, NAME, known, output=args.output, machine=machine) as folder:
        pairs = amortised.draw(study, own.n_pairs, folder)
        state, scale = amortised.fit(study, *pairs, own, device, folder)
        found = amortised.write_result(args.output, study, state, scale, pairs, own)
        amortised.remove_batches(folder)
    for name, r in found.items():
        print(f"{NAME}: {name}, r {r:.3f} on {own.n_held_out} generated pairs held out", flush=True)


if __name__ == "__main__":
    run(main)
