"""Copy a trained generator into a model folder, with a card that describes it.

The flow goes with it where the results hold one, and so do the search's settings and the trust that
measure_trust has written: with these the folder super-resolves other people's cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.runtime.command import run
from rls.runtime.help import CommandParser
from rls.runtime.outputs import need_writable


def main(argv: Sequence[str] | None = None) -> None:
    """Copy the files and write the card."""
    parser = CommandParser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of the assay's results")
    parser.add_argument("--output", type=Path, required=True, help="folder of the model")
    parser.add_argument("--title", required=True)
    parser.add_argument(
        "--about", required=True, help="what the model is, what it is good for, and what it is not"
    )
    parser.add_argument("--command", required=True, help="the command that makes it again")
    args = parser.parse_args(argv)
    need_writable(args.output, "--output", folder=True)
    # Imported here, so that --help does not wait for torch.
    from rls.pretrained.export import export

    export(args.results, args.output, args.title, args.about, args.command)
    print(f"export_model: {args.output}")


if __name__ == "__main__":
    run(main)
