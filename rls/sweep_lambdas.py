"""Search Eq. 5 under several lambda_w and lambda_c on cells of split tune (section 4.1).

Each list is walked with the other lambda at the method's own value. The method's own pair is always
among the points, and each pair is searched once. Writes one stack of all points, with one row for
each image and point, for ``analysis.measure_sweep``. Finished points are kept under ``--state``:
after an interruption the same command continues from there. Nothing here sees the evaluation cells.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rls.runtime.command import Parser, option, run
from rls.search.arguments import add_files, inputs_of, parse
from rls.search.settings import Settings as SearchSettings

NAME = "sweep_lambdas"


@dataclass(frozen=True)
class Settings:
    """Cells and weights of the sweep."""

    n_cells: int = option("Cells of split tune, the same number of each treatment.", least=1)
    lambdas_w: tuple[float, ...] = option(
        "Weights of P_w, searched at the method's lambda_c.", least=0
    )
    lambdas_c: tuple[float, ...] = option(
        "Weights of the cross term, at the method's lambda_w.", least=0
    )


@dataclass(frozen=True)
class AllSettings(Settings, SearchSettings):
    """Settings of the sweep, and those that all searches share."""


def main(argv: Sequence[str] | None = None) -> None:
    """Search all points and write them as one stack."""
    parser = Parser(__doc__, AllSettings, NAME, shared="super_resolve")
    add_files(parser, required=("generator", "flow", "styles"))
    args, settings, method = parse(parser, sys.argv[1:] if argv is None else argv)
    # Imported here, so that --help does not wait for torch.
    from rls.search.points import Points, read_task, search_and_write
    from rls.search.sweep import own_weights, sweep_points

    points = sweep_points(own_weights(method), settings.lambdas_w, settings.lambdas_c)
    task = read_task(inputs_of(args), settings, method, settings.n_cells, section=NAME)
    job = Points(NAME, points, "pairs of weights")
    search_and_write(job, task, method, settings, output=args.output, state=args.state)


if __name__ == "__main__":
    run(main)
