"""Train a generator of high-resolution cells (StyleGAN2-ADA).

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
from rls.stylegan2.settings import Settings

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
    from rls.runtime.device import choose_device
    from rls.runtime.distributed import started
    from rls.stylegan2 import training_loop
    from rls.stylegan2.settings import check_share
    from rls.stylegan2.stages import Stage, stages_of
    from rls.stylegan2.training_stage import describe_stage, images_of, train_stage

    last = Stage(settings, args.init_from, args.output, args.output_training)
    device = choose_device(settings.device, settings.threads)
    with contextlib.ExitStack() as resources:
        processes = resources.enter_context(started(device))
        resources.enter_context(training_loop.only_first_prints(processes))
        check_share(settings, processes.count)
        cells = read_stack(args.cells, memory_map=True), read_intensity(args.intensity)
        digest = images_of(last, cells).digest
        for stage in stages_of(last, args.state, digest, args.continue_from):
            if args.dry_run:
                describe_stage(stage, cells, device)
                continue
            train_stage(stage, cells, args.state, device, processes, args.continue_from)


if __name__ == "__main__":
    run(main)
