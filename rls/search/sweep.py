"""A sweep of the weights of Eq. 5: its points, its cells, and one stack of all points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rls.io.splits import CHOOSE
from rls.runtime.checkpoint import StateFolder
from rls.runtime.errors import InputError
from rls.runtime.streams import stream
from rls.search.batches import BatchSize, Solved, solve
from rls.search.methods import ChosenMethod
from rls.search.objective import mean_distance
from rls.search.problem import Problem
from rls.search.results import RENAMED, about_search, write_images
from rls.search.setup import Task

LAMBDAS = ("lambda_w", "lambda_c")


@dataclass(frozen=True)
class Point:
    """One pair of weights."""

    lambda_w: float
    lambda_c: float

    @property
    def name(self) -> str:
        """Return the point's name, such as ``w5e-05_c0.01``."""
        return f"w{self.lambda_w:g}_c{self.lambda_c:g}"


def own_point(method: ChosenMethod) -> Point:
    """Return the method's own pair of weights.

    Raises:
        InputError: The search has no such weights.
    """
    names = {field.name for field in fields(method.settings)}
    if missing := [name for name in LAMBDAS if name not in names]:
        raise InputError(
            f"The search '{method.search}' of {method.name} has no {' and no '.join(missing)}. "
            f"Give a method that searches Eq. 5, such as rls."
        )
    return Point(*(getattr(method.settings, name) for name in LAMBDAS))


def sweep_points(own: Point, lambdas_w: Sequence[float], lambdas_c: Sequence[float]) -> list[Point]:
    """Return the method's own pair, then both lists with the other weight at its own value.

    Raises:
        InputError: A weight is negative.
    """
    along_w = [Point(value, own.lambda_c) for value in lambdas_w]
    along_c = [Point(own.lambda_w, value) for value in lambdas_c]
    points = list(dict.fromkeys([own, *along_w, *along_c]))
    wrong = [point.name for point in points if min(point.lambda_w, point.lambda_c) < 0]
    if wrong:
        raise InputError(f"Found the weights {wrong[0]}, expected 0 or more.")
    return points


def choose_cells(table: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """Return the positions of ``count`` rows; numbers of different treatments differ by at most 1.

    A cell's rank depends on its id alone, not on the order of the table or on its other cells.

    Raises:
        InputError: A treatment has too few cells, or ``count`` is under one for each treatment.
    """
    treatments = sorted(set(table["treatment"]))
    share, rest = divmod(count, len(treatments))
    chosen: list[int] = []
    for place, treatment in enumerate(treatments):
        here = np.flatnonzero(table["treatment"] == treatment)
        wanted = share + (place < rest)
        if not 0 < wanted <= len(here):
            raise InputError(
                f"{count} cells of split {CHOOSE} are {wanted} of treatment '{treatment}', which "
                f"has {len(here)} (of {len(treatments)} treatments). Set sweep_lambdas.n_cells to "
                f"fit, or select_cells.cells_{CHOOSE}."
            )
        ids = table["image_id"].to_numpy()[here]
        rank = [stream(seed, str(name), "sweep_lambdas").random() for name in ids]
        chosen += list(here[np.argsort(rank)[:wanted]])
    return np.sort(np.array(chosen))


def search_points(
    points: Sequence[Point],
    problem: Problem,
    method: ChosenMethod,
    batch_size: BatchSize,
    states: Sequence[StateFolder],
) -> list[Solved]:
    """Return the reconstructions of every point; batches found in ``states`` are used again."""
    found = []
    for i, (point, state) in enumerate(zip(points, states, strict=True)):
        print(
            f"sweep_lambdas: point {i + 1} of {len(points)}, lambda_w {point.lambda_w:g}, "
            f"lambda_c {point.lambda_c:g}",
            flush=True,
        )
        settings = replace(method.settings, **asdict(point))
        with state:
            found.append(
                solve(method.module, settings, problem, batch_size, state, "sweep_lambdas")
            )
        batch_size = found[-1].batch_size  # All points have the size that auto chose for the first.
    return found


def write_points(
    output: Path, task: Task, points: Sequence[Point], found: Sequence[Solved], method: ChosenMethod
) -> None:
    """Write one stack of all points, in which ``image_id`` is the cell's with the point's name.

    Arguments:
        points: The method's own point first.
    """
    parts = []
    table = task.stack.table.rename(columns=RENAMED)
    for point, solved in zip(points, found, strict=True):
        part = table.rename(columns={"image_id": "cell_id"}).assign(
            **asdict(point),
            own=point == points[0],
            mean_pair_distance=mean_distance(torch.as_tensor(solved.latents)).numpy(),
            **solved.columns,
        )
        part.insert(0, "image_id", part["cell_id"] + "_" + point.name)
        parts.append(part)
    everything = pd.concat(parts, ignore_index=True)
    write_images(
        output,
        task,
        np.concatenate([part.images for part in found]),
        everything.assign(
            method=method.name, search=method.search, **about_search(task, method.settings)
        ),
        written_by="sweep_lambdas",
        description=f"synthesised by {method.name} at {len(points)} pairs of weights, generator "
        f"{task.digests['generator']}; D in the search: {task.forward.describe()}",
    )
