"""Search Eq. 5 under several lambda_w and lambda_c on cells of split tune (section 4.1).

Each list is walked with the other lambda at the method's own value; the method's own pair is always
among the points and each pair is searched once. Writes one stack of all points, one row an image
and point, for ``analysis.measure_sweep``. Finished points are kept under ``--state``: the same
command goes on after an interruption. Nothing here sees the evaluation cells.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from rls import super_resolve
from rls.io import Stack, read_intensity, write_stack
from rls.runtime.checkpoint import StateFolder, identity_digest
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.streams import stream
from rls.search import Method, Problem
from rls.search.arguments import parse
from rls.search.batches import Solved, clear, solve
from rls.search.objective import mean_distance

SPLIT = "tune"
SHARED = "super_resolve"  # the section of what all searches share
LAMBDAS = ("lambda_w", "lambda_c")


@dataclass(frozen=True)
class Settings:
    """Which cells and which weights."""

    n_cells: int = option("Cells of split tune, the same number of each treatment.")
    lambdas_w: tuple[float, ...] = option("Weights of P_w, searched at the method's lambda_c.")
    lambdas_c: tuple[float, ...] = option("Weights of the cross term, at the method's lambda_w.")


@dataclass(frozen=True)
class AllSettings(Settings, super_resolve.Settings):
    """These beside what all searches share."""


class SweepParser(Parser[AllSettings]):
    """Reads what all searches share from their own section."""

    def _section_values(self, path: Path | None) -> Mapping[str, Any]:
        own = super()._section_values(path)
        content = yaml.safe_load(path.read_text()) if path else {}
        return {**content.get(SHARED, {}), **own}


@dataclass(frozen=True)
class Point:
    """One pair of weights."""

    lambda_w: float
    lambda_c: float

    @property
    def name(self) -> str:
        """Such as ``w5e-05_c0.01``."""
        return f"w{self.lambda_w:g}_c{self.lambda_c:g}"


def points_of(settings: Settings, own: Point) -> list[Point]:
    """Return the method's own pair, then both lists with the other weight at its own value.

    Raises:
        InputError: A weight is negative.
    """
    along_w = [Point(value, own.lambda_c) for value in settings.lambdas_w]
    along_c = [Point(own.lambda_w, value) for value in settings.lambdas_c]
    points = list(dict.fromkeys([own, *along_w, *along_c]))
    wrong = [point.name for point in points if min(point.lambda_w, point.lambda_c) < 0]
    if wrong:
        raise InputError(f"Found the weights {wrong[0]}, expected 0 or more.")
    return points


def choose_cells(table: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """Return the positions of ``count`` rows, as many of each treatment as of any other.

    Whichever cells stand in the table and in whatever order, a cell's rank is its id's own.

    Raises:
        InputError: A treatment has too few cells, or ``count`` is under one a treatment.
    """
    treatments = sorted(set(table["treatment"]))
    share, rest = divmod(count, len(treatments))
    chosen: list[int] = []
    for place, treatment in enumerate(treatments):
        here = np.flatnonzero(table["treatment"] == treatment)
        wanted = share + (place < rest)
        if not 0 < wanted <= len(here):
            raise InputError(
                f"{count} cells of split {SPLIT} are {wanted} of treatment '{treatment}', which "
                f"has {len(here)} (of {len(treatments)} treatments). Set sweep_lambdas.n_cells to "
                f"fit, or select_cells.cells_tune."
            )
        ids = table["image_id"].to_numpy()[here]
        rank = [stream(seed, str(name), "sweep_lambdas").random() for name in ids]
        chosen += list(here[np.argsort(rank)[:wanted]])
    return np.sort(np.array(chosen))


def search_points(
    points: Sequence[Point],
    problem: Problem,
    method: Method,
    own: Any,  # noqa: ANN401
    batch_size: int,
    states: Sequence[StateFolder],
) -> list[Solved]:
    """Return the reconstructions of every point; what is found in ``states`` is taken up."""
    found = []
    for i, (point, state) in enumerate(zip(points, states, strict=True)):
        print(f"sweep_lambdas: point {i + 1} of {len(points)}, lambda_w {point.lambda_w:g}, "
              f"lambda_c {point.lambda_c:g}", flush=True)  # fmt: skip
        settings = replace(own, **asdict(point))
        with state:
            found.append(solve(method, settings, problem, batch_size, state, "sweep_lambdas"))
    return found


def table_of(stack: Stack, points: Sequence[Point], own: Point, found: Sequence[Solved]) -> Any:  # noqa: ANN401
    """Return one row an image and point; ``image_id`` is the cell's with the point's name."""
    parts = []
    table = stack.table.rename(columns=super_resolve.RENAMED)
    for point, solved in zip(points, found, strict=True):
        part = table.rename(columns={"image_id": "cell_id"}).assign(
            **asdict(point),
            own=point == own,
            mean_pair_distance=mean_distance(torch.as_tensor(solved.latents)).numpy(),
            **solved.columns,
        )
        part.insert(0, "image_id", part["cell_id"] + "_" + point.name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def arguments() -> SweepParser:
    """Return the parser of the command without the settings of a search."""
    parser = SweepParser(__doc__, AllSettings, "sweep_lambdas")
    parser.add_argument("--low-resolution", type=Path, required=True, help="stack, *.ome.tif")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--generator", type=Path, required=True, help="generator.safetensors")
    parser.add_argument("--flow", type=Path, required=True, help="flow.safetensors")
    parser.add_argument("--styles", type=Path, required=True, help="styles.safetensors")
    parser.add_argument("--factor", type=int, required=True, help="side of x over side of y")
    parser.add_argument("--output", type=Path, required=True, help="stack to write, *.ome.tif")
    parser.add_argument("--state", type=Path, required=True, help="folder of finished points")
    return parser


def read_own(args: argparse.Namespace, own: Any) -> Point:  # noqa: ANN401
    """Return the method's own pair of weights.

    Raises:
        InputError: The search has no such weights.
    """
    names = {field.name for field in fields(own)}
    if missing := [name for name in LAMBDAS if name not in names]:
        raise InputError(
            f"The search '{args.search}' of {args.method} has no {' and no '.join(missing)}. "
            f"Give a method that searches Eq. 5, such as rls."
        )
    return Point(own.lambda_w, own.lambda_c)


def main(argv: Sequence[str] | None = None) -> None:
    """Search all points and write them as one stack."""
    parsed = parse(arguments(), sys.argv[1:] if argv is None else argv)
    args, settings, method, own = parsed
    args.network = None
    centre = read_own(args, own)
    points = points_of(settings, centre)
    device = choose_device(settings.device, settings.threads)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    tune = super_resolve.read_split(args.low_resolution, SPLIT)
    stack = tune.select(choose_cells(tune.table, settings.n_cells, settings.seed))
    problem, models = super_resolve.make_problem(args, settings, stack, device)
    facts = {
        "search": args.search,
        "seed": settings.seed,
        "batch_size": settings.batch_size,
        "precision": problem.precision,
        "noise": settings.noise,
        "factor": args.factor,
        "border": problem.forward.border,
        "intensity": read_intensity(args.intensity).as_dict(),
        "models": models.digests,
        "images": identity_digest({"all": list(stack.table["image_digest"])}),
    }
    print(f"sweep_lambdas: {len(stack)} cells of split {SPLIT}, {len(points)} points, "
          f"{args.factor}x", flush=True)  # fmt: skip
    states = [
        StateFolder(args.state, "sweep_lambdas", {**facts, "own": asdict(own) | asdict(point)})
        for point in points
    ]
    found = search_points(points, problem, method, own, settings.batch_size, states)
    write_stack(
        args.output,
        read_intensity(args.intensity).to_counts(np.concatenate([part.images for part in found])),
        table_of(stack, points, centre, found).assign(method=args.method, search=args.search),
        channels=stack.channels,
        pixel_size_um=stack.pixel_size_um / args.factor,
        written_by="sweep_lambdas",
        description=f"synthesised by {args.method} at {len(points)} pairs of weights, generator "
        f"{models.digests['generator']}",
    )
    for state in states:
        with state:
            clear(state)


if __name__ == "__main__":
    run(main)
