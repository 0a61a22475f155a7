"""Super-resolve low-resolution images by regularised latent search, or by another method.

The search minimises Eq. 5 over w. This is the workflow's stage. To super-resolve your own cells
with a model folder, see ``python -m rls.super_resolve_files --help``.

``--search NAME`` runs ``rls/search/NAME.py`` on the rows of split ``evaluation``, batch by batch;
``--help --search NAME`` shows its own settings too. Every finished batch is kept under ``--state``:
after an interruption the same command continues from there and gives the same bits. Every batch is
filled up (the last by repeats), so that on one kind of CPU the result does not depend on the number
of shards.

With ``n_solutions`` above 1 the rows of the stack are (image, solution), of the splits evaluation
and calibration (for intervals); ``rls.gather_shards`` chooses each image's solution of least loss.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rls.pretrained.command_line import is_for_files, super_resolve_files
from rls.runtime.command import Parser, run
from rls.search.arguments import add_files, inputs_of, parse
from rls.search.settings import Settings

NAME = "super_resolve"


def main(argv: Sequence[str] | None = None) -> None:
    """Super-resolve one shard of a stack; with files or --model, a user's own files."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if is_for_files(argv):
        super_resolve_files(argv)
        return
    parser = Parser(__doc__, Settings, NAME)
    add_files(parser)
    parser.add_argument("--network", type=Path, help="the method's own network, where it has one")
    parser.add_argument("--shard", default="1-of-1", help="part of the images, I-of-N")
    args, settings, method = parse(parser, argv)
    # Imported here, so that --help does not wait for torch.
    from rls.runtime.checkpoint import StateFolder
    from rls.search.batches import remove_batches, result_digest, solve
    from rls.search.results import status_counts
    from rls.search.setup import exact_device, joint_digest, read_for, set_up
    from rls.search.shards import Shard
    from rls.search.solutions import (
        n_solutions_of,
        uses_of_cells,
        with_solutions,
        write_shard,
    )

    shard, n = Shard.parse(args.shard), n_solutions_of(method.settings, settings.noise)
    device = exact_device(settings)
    everything = read_for(args.low_resolution, *uses_of_cells(args.low_resolution, n))
    rows = shard.rows(len(everything))
    task = set_up(inputs_of(args), settings, everything.select(rows), device, method.settings)
    own = {"precision": task.problem.precision} | method.identity()
    # What determines the result, the same for all shards of a method.
    facts = task.facts() | {
        "method": method.name,
        "search": method.search,
        "settings": settings.identity() | own,
        "images": joint_digest(everything.table["image_digest"]),
    }
    print(
        f"{NAME}: {len(rows)} of {len(everything)} images by {method.name} ({method.search}), "
        f"{args.factor}x" + f", {n} solutions each" * (n > 1),
        flush=True,
    )
    known = {**facts, "shard": args.shard}
    with StateFolder(args.state, NAME, known, output=args.output) as state:
        problem = with_solutions(task.problem, n)
        solved = solve(method.module, method.settings, problem, settings.batch_size, state)
        digest = result_digest(facts, solved)
        write_shard(args.output, task, solved, n, method, digest, rows, len(everything))
        remove_batches(state)
    for status, count in status_counts(solved).items():
        print(f"{NAME}: {count} {'solutions' if n > 1 else 'images'} {status}", flush=True)


if __name__ == "__main__":
    run(main)
