"""Join the shards of one method: images, table and latents, as if all had been searched at once.

Every shard must be there, made with the same settings, models and images. The rows are put in the
order of an unsharded search. Where they are several solutions of each image (n_solutions above 1),
all of them go to solutions/NAME.searches.ome.tif beside the output NAME.ome.tif, and the output
holds the solution of least loss_total of each image of split evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.runtime.command import run
from rls.runtime.help import CommandParser
from rls.runtime.locks import hold_outputs
from rls.runtime.outputs import need_writable


def main(argv: Sequence[str] | None = None) -> None:
    """Gather shards."""
    parser = CommandParser(__doc__)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="*.ome.tif of each")
    parser.add_argument("--output", type=Path, required=True, help="stack to write, *.ome.tif")
    args = parser.parse_args(argv)
    need_writable(args.output, "--output")
    hold_outputs(vars(args))
    # Imported here, so that --help does not wait for torch.
    from rls.search.shards import gather

    gather(args.shards, args.output)


if __name__ == "__main__":
    run(main)
