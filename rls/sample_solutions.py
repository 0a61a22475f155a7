"""Several solutions for each low-resolution image: article, section 4.5 and Fig. 8.

Images are drawn from the splits tune and evaluation, as many a treatment as can be; ``--kind`` says
how their solutions are found (see :mod:`rls.search.posterior`), ``--method`` names the RLS row
whose objective and course of search they share. The stack has a row for each (image, solution).
Finished batches are kept under ``--state``, as in super_resolve: the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rls import super_resolve
from rls.io import Stack, read_intensity, write_stack, write_weights
from rls.runtime.checkpoint import StateFolder, identity_digest
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.streams import stream_seed
from rls.search import Problem
from rls.search.arguments import parse
from rls.search.batches import Solved, clear, solve
from rls.search.forward import BORDERS
from rls.search.posterior import KINDS, Options, Sampler, solution_ids
from rls.super_resolve import RENAMED, latents_path, make_problem, read_split

NAME = "sample_solutions"
SPLITS = ("tune", "evaluation")


@dataclass(frozen=True)
class Settings:
    """How many solutions of how many images, and what the kinds need."""

    cells_per_split: int = option("Images of each of tune and evaluation, at most.")
    n_solutions: int = option("Solutions an image (Fig. 8: 5).")
    temperature: float = option("log p(w | y) is minus Eq. 5 over this; article and variational.")
    sigma_start: float = option("Start of sigma, in sd of w; article and variational.")
    sigma_learning_rate: float = option("Peak rate of log sigma; article and variational.")
    inverse_gamma_alpha: float = option("Shape of the inverse gamma of sigma; article.")
    inverse_gamma_beta: float = option("Scale of the inverse gamma of sigma; article.")
    restart_spread: float = option("Share of G_m(z) - mean in a start; restarts.")
    batch_size: int = option("Solutions searched at a time; batches are filled with whole images.")
    precision: str = option("Of the convolutions while searching, as in super_resolve.", choices=("auto", "float32", "bfloat16"))  # fmt: skip  # noqa: E501
    noise: str = option("Noise maps: shared by all, or per_image: each solution has its own.", choices=("shared", "per_image"))  # fmt: skip  # noqa: E501
    border: str = option("Border rule of D in the search, as in super_resolve.", choices=("as_degraded", *BORDERS))  # fmt: skip  # noqa: E501
    seed: int = option("Seed of the choice of images and of every draw.")
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.")

    def __post_init__(self) -> None:
        for name, least in (("cells_per_split", 1), ("n_solutions", 2), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise InputError(
                    f"Found {name} {getattr(self, name)}, expected {least} or more. Set it higher."
                )
        positive = ("temperature", "sigma_start", "sigma_learning_rate", "inverse_gamma_alpha",
                    "inverse_gamma_beta")  # fmt: skip
        for name in positive:
            if not getattr(self, name) > 0:
                raise InputError(
                    f"Found {name} {getattr(self, name)}, expected more than 0. Correct it."
                )

    def options(self, kind: str) -> Options:
        """Return what the searches need of the settings."""
        names = (name for name in Options.__dataclass_fields__ if name != "kind")
        return Options(kind, **{name: getattr(self, name) for name in names})

    def images_per_batch(self) -> int:
        """Return how many images' solutions make up a batch."""
        return max(1, self.batch_size // self.n_solutions)

    def of_searches(self) -> super_resolve.Settings:
        """Return what is shared with a single search."""
        names = super_resolve.Settings.__dataclass_fields__
        return super_resolve.Settings(**{name: getattr(self, name) for name in names})


def choose_rows(table: pd.DataFrame, most: int, seed: int) -> np.ndarray:
    """Return positions of at most ``most`` images a split, treatments in equal parts.

    Images are ranked by a hash of seed and id within their treatment; the treatments take turns,
    so that one with few images leaves its places to the others.

    Arguments:
        table: Columns image_id, split, treatment.
    """
    rank = [stream_seed(seed, name, "images with solutions") for name in table["image_id"]]
    ranked = table.assign(position=np.arange(len(table)), rank=rank).sort_values("rank")
    ranked["turn"] = ranked.groupby(["split", "treatment"]).cumcount()
    ranked = ranked.sort_values(["turn", "treatment"], kind="stable")
    chosen = ranked.groupby("split").head(most)
    return np.sort(chosen["position"].to_numpy())


def with_solutions(problem: Problem, n: int) -> Problem:
    """Return the problem whose rows are (image, solution), the solutions of an image together."""
    ids = solution_ids(problem.image_ids, n)
    return replace(problem, y=problem.y.repeat_interleave(n, 0), image_ids=ids)


def write_solutions(
    args: argparse.Namespace, stack: Stack, solved: Solved, n: int, generator: str, digest: str
) -> None:
    """Write stack, table and latents; every file says what made it."""
    table = stack.table.rename(columns=RENAMED | {"image_id": "source_image_id"})
    table = table.loc[table.index.repeat(n)].reset_index(drop=True)
    ids = solution_ids(list(stack.table["image_id"]), n)
    table.insert(0, "image_id", ids)
    table = table.assign(
        solution=np.tile(np.arange(1, n + 1), len(stack)), n_solutions=n, method=args.method,
        kind=args.kind, result_digest=digest, **solved.columns,
    )  # fmt: skip
    said = f"synthesised by {args.method}, {n} solutions an image ({args.kind})"
    header = {"kind": "latents", "image_ids": ids, "method": args.method, "generator": generator,
              "solutions": args.kind, "description": said}  # fmt: skip
    write_weights(latents_path(args.output), {"w": torch.as_tensor(solved.latents)}, header)
    write_stack(
        args.output,
        read_intensity(args.intensity).to_counts(solved.images),
        table,
        channels=stack.channels,
        pixel_size_um=stack.pixel_size_um / args.factor,
        written_by=NAME,
        description=f"{said}, generator {generator}",
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Sample solutions of one low-resolution stack."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument("--low-resolution", type=Path, required=True, help="stack, *.ome.tif")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--generator", type=Path, required=True, help="generator.safetensors")
    parser.add_argument("--flow", type=Path, help="flow.safetensors, for the prior")
    parser.add_argument("--styles", type=Path, required=True, help="styles.safetensors")
    parser.add_argument("--factor", type=int, required=True, help="side of x over side of y")
    parser.add_argument("--kind", required=True, choices=KINDS, help="how solutions are found")
    parser.add_argument("--output", type=Path, required=True, help="stack to write, *.ome.tif")
    parser.add_argument("--state", type=Path, required=True, help="folder of finished batches")
    args, settings, method, own = parse(parser, sys.argv[1:] if argv is None else argv)
    if args.search != "rls":
        raise InputError(
            f"The method {args.method} is a search '{args.search}', and solutions are sampled of "
            f"Eq. 5, the search 'rls'. Name a method with 'search: rls'."
        )
    args.network = None
    device = choose_device(settings.device, settings.threads)
    # "float32" means it: TF32 keeps 10 bits
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    everything = read_split(args.low_resolution, *SPLITS)
    stack = everything.select(
        choose_rows(everything.table, settings.cells_per_split, settings.seed)
    )
    one_each, models = make_problem(args, settings.of_searches(), stack, device)
    n = settings.n_solutions
    facts = {
        "method": args.method,
        "kind": args.kind,
        "settings": {k: v for k, v in asdict(settings).items() if k not in ("device", "threads")}
        | {"precision": one_each.precision}
        | asdict(own),
        "factor": args.factor,
        "border": one_each.forward.border,
        "intensity": read_intensity(args.intensity).as_dict(),
        "models": models.digests,
        "images": identity_digest({"all": list(stack.table["image_digest"])}),
    }
    print(f"{NAME}: {n} solutions of {len(stack)} images by {args.method} ({args.kind}), "
          f"{args.factor}x", flush=True)  # fmt: skip
    with StateFolder(args.state, NAME, facts) as state:
        rows = settings.images_per_batch() * n
        sampler = Sampler(settings.options(args.kind))
        solved = solve(sampler, own, with_solutions(one_each, n), rows, state, NAME)
        generator = models.digests.get("generator", "")
        write_solutions(args, stack, solved, n, generator, identity_digest(facts))
        clear(state)
    for name, count in pd.Series(solved.columns["search_status"]).value_counts().items():
        print(f"{NAME}: {count} solutions {name}", flush=True)


if __name__ == "__main__":
    run(main)
