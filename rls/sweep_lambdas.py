"""Search Eq. 5 under several lambda_w and lambda_c on cells of split tune (section 4.1).

Each list is walked with the other lambda at the method's own value. The method's own pair is always
among the points, and each pair is searched once. Writes one stack of all points, with one row for
each image and point, for ``analysis.measure_sweep``. Finished points are kept under ``--state``:
after an interruption the same command continues from there. Nothing here sees the evaluation cells.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rls.io.splits import CHOOSE
from rls.runtime.command import Parser, option, run
from rls.search.arguments import add_files, inputs_of, parse
from rls.search.settings import Settings as SearchSettings

NAME = "sweep_lambdas"


@dataclass(frozen=True)
class Settings:
    """Cells and weights of the sweep."""

    n_cells: int = option("Cells of split tune, the same number of each treatment.")
    lambdas_w: tuple[float, ...] = option("Weights of P_w, searched at the method's lambda_c.")
    lambdas_c: tuple[float, ...] = option("Weights of the cross term, at the method's lambda_w.")


@dataclass(frozen=True)
class AllSettings(Settings, SearchSettings):
    """Settings of the sweep, and those that all searches share."""


def main(argv: Sequence[str] | None = None) -> None:
    """Search all points and write them as one stack."""
    parser = Parser(__doc__, AllSettings, NAME, shared="super_resolve")
    add_files(parser, required=("generator", "flow", "styles"))
    args, settings, method = parse(parser, sys.argv[1:] if argv is None else argv)
    # Imported here, so that --help does not wait for torch.
    from rls.runtime.checkpoint import StateFolder
    from rls.search.batches import remove_batches
    from rls.search.setup import exact_device, read_for, set_up
    from rls.search.sweep import choose_cells, own_point, search_points, sweep_points, write_points

    points = sweep_points(own_point(method), settings.lambdas_w, settings.lambdas_c)
    device = exact_device(settings)
    tune = read_for(args.low_resolution, CHOOSE)
    stack = tune.select(choose_cells(tune.table, settings.n_cells, settings.seed))
    task = set_up(inputs_of(args), settings, stack, device, method.settings)
    facts = task.facts() | {
        "search": method.search,
        "seed": settings.seed,
        "batch_size": settings.batch_size,
        "precision": task.problem.precision,
        "noise": settings.noise,
    }
    print(
        f"{NAME}: {len(stack)} cells of split {CHOOSE}, {len(points)} points, {args.factor}x",
        flush=True,
    )
    own = asdict(method.settings)
    states = [
        StateFolder(
            args.state,
            NAME,
            {**facts, "own": own | asdict(point)},
            output=f"{args.output} {point.name}",
        )
        for point in points
    ]
    found = search_points(points, task.problem, method, settings.batch_size, states)
    write_points(args.output, task, points, found, method)
    for state in states:
        with state:
            remove_batches(state)


if __name__ == "__main__":
    run(main)
