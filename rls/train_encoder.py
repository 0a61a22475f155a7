"""Train an encoder, which predicts from a low-resolution image where its search should start.

It maximises the mean of log q(w | y). The pairs (w, y = D(G(w)) + delta) are drawn from the
generator, with the assay's D, degradations and quantisation; no image of a cell is read. q is a
Gaussian over the whitened coordinates of one style, an amortised posterior, so that its mean is a
start near the answer and its draws are several starts (rls/encoder/network.py). The epoch with the
largest mean log q of held-out pairs is kept. A training that was stopped or killed resumes when the
same command is run again, and on a CPU ends with the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.encoder.settings import MAY_CHANGE, NAME, Settings
from rls.runtime.command import Parser, run
from rls.search.forward_model import add_operator, model_of


def make_parser() -> Parser[Settings]:
    """Return the parser of the command line."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument("--generator", type=Path, required=True, help="generator.safetensors")
    parser.add_argument("--styles", type=Path, required=True, help="styles.safetensors")
    parser.add_argument("--factor", type=int, required=True, help="side of HR over side of LR")
    parser.add_argument("--chain", nargs="*", default=[], help="name:value of each degradation")
    add_operator(parser)
    parser.add_argument("--quantise", choices=("8bit", "none"), required=True, help="as in degrade")
    parser.add_argument("--output", type=Path, required=True, help="encoder.safetensors to write")
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Draw pairs, train, and write the encoder."""
    args, settings = make_parser().parse(argv)
    # Imported here, so that --help does not wait for torch.
    from rls.encoder.pairs import PairSource
    from rls.encoder.pool import draw_pool, held_out, remove_pool
    from rls.encoder.training import describe, explained_variance, start, train, write_results
    from rls.prior.styles import read_styles
    from rls.prior.whitening import Whitening
    from rls.runtime.checkpoint import StateFolder, identity
    from rls.runtime.device import choose_device, computed_on
    from rls.runtime.graphs import Recorder
    from rls.search.degradation import parse_chain
    from rls.search.forward import forward_operator
    from rls.stylegan2.generator_io import load_generator

    chain, forward = parse_chain(args.chain), model_of(args)
    device = choose_device(settings.device, settings.threads)
    generator = load_generator(args.generator, device)
    w, styles_digest = read_styles(args.styles, generator)
    size, pixel_size_um = generator.image_size, generator.pixel_size_um
    operator = forward_operator(forward, size, args.factor, pixel_size_um).to(device)
    source = PairSource.of(generator, operator, chain, args.quantise, settings)
    facts: dict[str, object] = {
        "factor": args.factor,
        "forward": forward.to_text(with_file=False),
        "chain": list(args.chain),
        "quantise": args.quantise,
        "generator_digest": str(generator.header["digest"]),
        "styles_digest": styles_digest,
    }
    of_state = {**facts, "forward": forward.identity(pixel_size_um)}
    known = identity(settings, MAY_CHANGE, **of_state)
    state = start(
        len(generator.channels), operator.size_out[0], Whitening.of(w, leaky=True), settings, device
    )
    recorder = Recorder(device, settings.cuda_graphs)
    print(f"{NAME}: {describe(state, settings)}; {recorder.describe('steps')}", flush=True)
    with (
        recorder.stream(),
        StateFolder(
            args.state, NAME, known, output=args.output, machine=computed_on(device)
        ) as folder,
    ):
        judged = draw_pool(held_out(source), settings.n_held_out, folder.folder, NAME)
        pool = draw_pool(source, settings.n_pairs, folder.folder, NAME)
        judged = judged.to(device)
        train(state, pool.to(device), judged, settings, folder, recorder)
        facts |= {"explained_variance": explained_variance(state.encoder, judged)}
        write_results(args.output, state, generator, settings, facts)
        folder.clear()
        remove_pool(folder.folder)
    print(
        f"{NAME}: log q {state.best_log_prob:.2f} nats of held-out pairs in epoch "
        f"{state.best_epoch}; its mean explains {facts['explained_variance']:.0%} of the variance "
        "of w",
        flush=True,
    )


if __name__ == "__main__":
    run(main)
