"""Pack an unfinished training into small files, to continue it on another machine.

Copy the folder to the other machine, and run the same train_gan command there with --continue-from
FOLDER. The training continues from the images seen, with the optimisers, the averaged weights and
the probability of augmentations as they were. Each file is under 12 MB if each tensor of the
networks is. A training that still runs may be packed: its newest checkpoint is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.runtime.command import run
from rls.runtime.help import CommandParser
from rls.runtime.outputs import need_writable

NAME = "pack_training"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = CommandParser(__doc__)
    parser.add_argument(
        "--state", type=Path, required=True, help="--state of train_gan, or one folder in it"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the files to write")
    args = parser.parse_args(argv)
    need_writable(args.output, "--output", folder=True)
    # Imported here, so that --help does not wait for torch.
    from rls.stylegan2.packed_state import find_state, pack

    folder = find_state(args.state)
    files, header = pack(folder, args.output)
    step = header["values"]["step"]
    seen = step * header["identity"]["batch_size"] / 1000
    print(f"{NAME}: {folder} at {seen:g} kimg (step {step})")
    for file in files:
        print(f"{NAME}: {file}, {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
