"""Find several solutions for each low-resolution image (section 4.5 and Fig. 8 of the article).

Images are drawn from the splits calibration and evaluation, in equal parts of the treatments as far
as possible: intervals are learnt on the one and judged on the other. ``--kind`` says how their
solutions are found (see ``rls/search/posterior.py``), and ``--method`` names the RLS row whose
objective and course of search they share. The stack has a row for each (image, solution). Finished
batches are kept under ``--state``, as in super_resolve: after an interruption the same command
continues from there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rls.io.names import SOLUTION_KINDS
from rls.io.splits import CALIBRATE, REPORT
from rls.runtime.command import Parser, need_at_least, option, run
from rls.runtime.errors import InputError
from rls.search.arguments import add_files, inputs_of, parse
from rls.search.settings import Settings as SearchSettings

NAME = "sample_solutions"
POSITIVE = (
    "temperature",
    "sigma_start",
    "sigma_learning_rate",
    "inverse_gamma_alpha",
    "inverse_gamma_beta",
)
OPTIONS = (*POSITIVE, "restart_spread")


@dataclass(frozen=True)
class Settings(SearchSettings):
    """Numbers of images and solutions, and the settings of each kind."""

    batch_size: int | Literal["auto"] = option(
        "Solutions searched at a time; batches are filled with whole images. auto: what the memory "
        "of the GPU allows, 64 at most; on a CPU 4.",
        least=1,
    )
    noise: str = option(
        "Noise maps: shared by all, or per_image: each solution has its own.",
        choices=("shared", "per_image"),
    )
    seed: int = option("Seed of the choice of images and of every draw.", least=0)
    cells_per_split: int = option("Most images of each of calibration and evaluation.", least=1)
    n_solutions: int = option("Solutions an image (Fig. 8: 5).", least=2)
    temperature: float = option(
        "log p(w | y) is minus Eq. 5 divided by this; article and variational.", above=0
    )
    sigma_start: float = option("Start of sigma, in sd of w; article and variational.", above=0)
    sigma_learning_rate: float = option("Peak rate of log sigma; article and variational.", above=0)
    inverse_gamma_alpha: float = option("Shape of the inverse gamma of sigma; article.", above=0)
    inverse_gamma_beta: float = option("Scale of the inverse gamma of sigma; article.", above=0)
    restart_spread: float = option("Share of G_m(z) - mean in a start; restarts.", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_at_least(self, cells_per_split=1, n_solutions=2)
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise InputError(
                    f"Found {name} {getattr(self, name)}, expected more than 0. Correct it."
                )


def main(argv: Sequence[str] | None = None) -> None:
    """Sample solutions of one low-resolution stack."""
    parser = Parser(__doc__, Settings, NAME)
    add_files(parser, required=("generator", "styles"))
    parser.add_argument(
        "--kind", required=True, choices=SOLUTION_KINDS, help="how solutions are found"
    )
    args, settings, method = parse(parser, sys.argv[1:] if argv is None else argv)
    # Imported here, so that --help does not wait for torch.
    from rls.runtime.checkpoint import StateFolder
    from rls.search import rls
    from rls.search.batches import remove_batches, result_digest, solve
    from rls.search.posterior import Options, Sampler
    from rls.search.results import status_counts
    from rls.search.setup import exact_device, read_for, set_up
    from rls.search.solutions import choose_rows, with_solutions, write_solutions

    own = method.settings
    if not isinstance(own, rls.Settings):
        raise InputError(
            f"The method {method.name} is a search '{method.search}', and solutions are sampled of "
            f"Eq. 5, the search 'rls'. Name a method with 'search: rls'."
        )
    device = exact_device(settings)
    everything = read_for(args.low_resolution, CALIBRATE, REPORT)
    rows = choose_rows(everything.table, settings.cells_per_split, settings.seed)
    task = set_up(inputs_of(args), settings, everything.select(rows), device, method.settings)
    facts = task.facts() | {
        "method": method.name,
        "kind": args.kind,
        # The command's own n_solutions counts, not the method's.
        "settings": asdict(own) | settings.identity() | {"precision": task.problem.precision},
    }
    n = settings.n_solutions
    print(
        f"{NAME}: {n} solutions of {len(rows)} images by {method.name} ({args.kind}), "
        f"{args.factor}x",
        flush=True,
    )
    with StateFolder(args.state, NAME, facts, output=args.output) as state:
        values = {name: getattr(settings, name) for name in OPTIONS}
        sampler = Sampler(Options(args.kind, n, **values))
        problem = with_solutions(task.problem, n)
        solved = solve(sampler, own, problem, settings.batch_size, state, NAME, group=n)
        columns = {"result_digest": result_digest(facts, solved)}
        write_solutions(
            args.output, task, solved, n, method, columns, kind=args.kind, written_by=NAME
        )
        remove_batches(state)
    for status, count in status_counts(solved).items():
        print(f"{NAME}: {count} solutions {status}", flush=True)


if __name__ == "__main__":
    run(main)
