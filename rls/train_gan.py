"""Train the generator of high-resolution cells (StyleGAN2-ADA).

min_G max_D  E log D(x) + E log(1 - D(G(z))), in its non-saturating form, plus gamma/2 E |grad
D(x)|^2 and the path-length penalty (Karras et al. 2020a, b; section 3.2 of the article). The
command writes the averaged generator and, beside it, a grid of samples (.png), how they changed
(.progress.png) and the curves (.training.csv). A training that was stopped or killed resumes when
the same command is run again, and ends as if it had never stopped. With a larger total_kimg a
finished training continues.

On several GPUs:  torchrun --standalone --nproc-per-node 4 -m rls.train_gan ...
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from rls.runtime.command import Parser, run
from rls.stylegan2.settings import Settings, check_share

NAME = "train_gan"


def make_parser() -> Parser[Settings]:
    """Return the parser of the command line."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument(
        "--cells", type=Path, required=True, help="stack of cells, with a column split"
    )
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--output", type=Path, required=True, help="generator.safetensors to write")
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument(
        "--init-from", type=Path, help="folder with generator.safetensors and training.safetensors"
    )
    parser.add_argument(
        "--continue-from", type=Path, help="folder of pack_training: go on from another machine's"
    )
    parser.add_argument("--output-training", type=Path, help="weights for a later --init-from")
    parser.add_argument(
        "--dry-run", action="store_true", help="describe the training and its cost; train nothing"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args, settings = make_parser().parse(argv)
    # Imported here, so that --help does not wait for torch.
    from rls.io import read_intensity, read_stack
    from rls.runtime.checkpoint import StateFolder
    from rls.runtime.device import choose_device, choose_precision, computed_on
    from rls.runtime.distributed import started
    from rls.stylegan2 import training_loop
    from rls.stylegan2.architecture import architecture_of
    from rls.stylegan2.dry_run import describe
    from rls.stylegan2.held_out import make_held_out
    from rls.stylegan2.initial_weights import initial_settings, load_initial
    from rls.stylegan2.packed_state import continue_from
    from rls.stylegan2.trainer import Trainer
    from rls.stylegan2.training_identity import refuse_earlier, training_identity
    from rls.stylegan2.training_images import TrainingImages

    settings = initial_settings(settings, args.init_from)
    device = choose_device(settings.device, settings.threads)
    with contextlib.ExitStack() as resources:
        processes = resources.enter_context(started(device))
        resources.enter_context(training_loop.only_first_prints(processes))
        check_share(settings, processes.count)
        precision = choose_precision(settings.precision, device, "training")
        stack = read_stack(args.cells, memory_map=True)
        intensity = read_intensity(args.intensity)
        data = TrainingImages(stack, intensity, settings.image_size, settings.seed)
        architecture = architecture_of(settings, len(stack.channels))
        if args.dry_run:
            print(describe(settings, architecture, data, device, precision))
            return
        trainer = Trainer(settings, architecture, data, device, precision, processes)
        resources.enter_context(trainer.recorder.stream())
        if args.init_from is not None:
            load_initial(trainer, args.init_from)
        turns = "any angle" if data.turns_freely else "quarter turns"
        print(f"{NAME}: {len(data)} images, turned by {turns}", flush=True)
        print(f"{NAME}: {trainer.recorder.describe('phases of a step')}", flush=True)
        held_out = make_held_out(data, settings, device) if processes.is_first else None
        known = training_identity(settings, data.digest, args.init_from)
        if args.continue_from is None:
            refuse_earlier(args.state, NAME, known)
        machine = {**computed_on(device), **trainer.machine()}
        with StateFolder(
            args.state, NAME, known, writes=processes.is_first, output=args.output, machine=machine
        ) as state:
            continue_from(args.continue_from, state)
            processes.wait()
            rows, monitor = training_loop.train(settings, trainer, state, held_out)
        if processes.is_first:
            training_loop.write_results(args.output, args.output_training, trainer, rows, monitor)


if __name__ == "__main__":
    run(main)
