"""Train Pix2Pix (Isola et al. 2017) or, with --adversarial-weight 0, its twin on L1 alone.

min_U max_P  a E[log P(s, x) + log(1 - P(s, U(s)))] + l1_weight E |x - U(s)|, where the first term
is non-saturating for U, and s is D(x) of a cell x, rounded to 256 levels as in ``degrade`` and
enlarged. The training cells are those of the split ``gan``, turned as in ``train_gan``. The L1
distance on the split ``tune`` is printed after each epoch; other splits are never read. The curves
lie beside the weights (.training.csv). A training that was stopped or killed resumes when the same
command is run again, and on a CPU ends with the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.io.splits import CHOOSE
from rls.networks.pix2pix_settings import MAY_CHANGE, NAME, Settings
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError
from rls.search.forward_model import add_operator, model_of


def make_parser() -> Parser[Settings]:
    """Return the parser of the command line."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument("--cells", type=Path, required=True, help="stack with a column split")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--factor", type=int, required=True, help="side of HR over side of LR")
    parser.add_argument(
        "--adversarial-weight",
        type=float,
        required=True,
        help="weight of the adversarial loss; 0: no discriminator, L1 alone",
    )
    add_operator(parser)
    parser.add_argument("--quantise", choices=("8bit", "none"), required=True, help="as in degrade")
    parser.add_argument("--output", type=Path, required=True, help="*.safetensors to write")
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the cells, train, and write the network with its curves."""
    args, settings = make_parser().parse(argv)
    if args.adversarial_weight < 0:
        raise InputError(
            f"Found --adversarial-weight {args.adversarial_weight:g}, expected 0 or more."
        )
    # Imported here, so that --help does not wait for torch.
    from rls.io import read_intensity, read_stack
    from rls.networks.pix2pix import Pairing
    from rls.networks.pix2pix_training import describe, start, train, write_results
    from rls.runtime.checkpoint import StateFolder, identity
    from rls.runtime.device import choose_device, computed_on
    from rls.runtime.graphs import Recorder
    from rls.search.forward import forward_operator
    from rls.stylegan2.training_images import TrainingImages

    device = choose_device(settings.device, settings.threads)
    stack = read_stack(args.cells, memory_map=True)
    intensity = read_intensity(args.intensity)
    data = TrainingImages(stack, intensity, settings.image_size, settings.seed)
    tune = TrainingImages(stack, intensity, settings.image_size, settings.seed, use=CHOOSE)
    forward = model_of(args)
    down = forward_operator(forward, settings.image_size, args.factor, stack.pixel_size_um)
    pairing = Pairing(down, args.quantise).to(device)
    state = start(len(stack.channels), args.adversarial_weight, settings, device)
    counts = f"{len(data)} images, {len(tune)} of {CHOOSE}"
    recorder = Recorder(device, settings.cuda_graphs)
    print(f"{NAME}: {counts}; {describe(state)}; {recorder.describe('steps')}", flush=True)
    facts = {
        "factor": args.factor,
        "adversarial_weight": args.adversarial_weight,
        "forward": forward.to_text(with_file=False),
        "quantise": args.quantise,
        "data_digest": data.digest,
        "tune_digest": tune.digest,
    }
    of_state = {**facts, "forward": forward.identity(stack.pixel_size_um)}
    known = identity(settings, MAY_CHANGE, **of_state)
    with (
        recorder.stream(),
        StateFolder(
            args.state, NAME, known, output=args.output, machine=computed_on(device)
        ) as folder,
    ):
        train(state, data, tune, pairing, settings, folder, recorder)
        write_results(args.output, state, settings, data, facts)
        folder.clear()


if __name__ == "__main__":
    run(main)
