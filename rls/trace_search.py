"""Search the same cells of split tune with ever more steps, to see how loss and features change.

Every checkpoint is a search of so many steps: with a schedule that depends on their number, such as
one_cycle_drop, the first N steps of a longer search are another search than one of N steps. Each
image is its iterate of least total loss; after 0 steps it is the start itself. The column
``seconds_per_cell`` is the wall time of a batch over its images and ``processor_seconds_per_cell``
that of the process on a CPU. Both are NaN in the first batch of each checkpoint, which warms up;
they alone are other numbers in another run.

Writes one stack with one row for each image and checkpoint, for ``analysis.measure_sweep``.
Finished batches are kept under ``--state``: after an interruption the same command continues from
there. Nothing here sees the evaluation cells.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rls.runtime.command import Parser, option, run
from rls.search.arguments import add_files, inputs_of, parse
from rls.search.settings import Settings as SearchSettings

NAME = "trace_search"


@dataclass(frozen=True)
class Settings:
    """Cells, checkpoints and methods of the traces."""

    n_cells: int = option("Cells of split tune, the same number of each treatment.", least=1)
    checkpoints: tuple[int, ...] = option(
        "Numbers of steps, each a search of its own; 0 is the start. None: the method's own "
        "number.",
        least=0,
    )
    methods: tuple[str, ...] = option(
        "Methods that figure starts and the table of choices follow, in their order and each by a "
        "job of its own.",
        default=(),
    )
    column: str | None = option(
        "Column of a feature that figure starts draws; null: that of the assay's first feature.",
        default=None,
    )


@dataclass(frozen=True)
class AllSettings(Settings, SearchSettings):
    """Settings of the trace, and those that all searches share."""


def main(argv: Sequence[str] | None = None) -> None:
    """Search at all checkpoints and write them as one stack."""
    parser = Parser(__doc__, AllSettings, NAME, shared="super_resolve")
    add_files(parser, required=("generator", "styles"))
    parser.add_argument(
        "--treatments", nargs="*", default=[], help="whose cells are searched; default all"
    )
    args, settings, method = parse(parser, sys.argv[1:] if argv is None else argv)
    # Imported here, so that --help does not wait for torch.
    from rls.search.points import Points, read_task, search_and_write
    from rls.search.trace import checkpoints_of, timed

    job = Points(NAME, checkpoints_of(method, settings.checkpoints), "numbers of steps")
    inputs = inputs_of(args)
    task = read_task(
        inputs, settings, method, settings.n_cells, section=NAME, treatments=args.treatments
    )
    chosen = timed(method)
    search_and_write(job, task, chosen, settings, output=args.output, state=args.state)


if __name__ == "__main__":
    run(main)
