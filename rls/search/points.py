"""Searches of the same cells of split tune at several points: what sweeps and traces share.

A point changes some settings of one method. Its images stand in one stack with those of all other
points, a row for each image and point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import pandas as pd
import torch

from rls.io.splits import CHOOSE
from rls.runtime.checkpoint import StateFolder
from rls.runtime.errors import InputError
from rls.runtime.streams import stream
from rls.search.arguments import Inputs
from rls.search.batches import BatchSize, Solved, remove_batches, solve
from rls.search.methods import ChosenMethod
from rls.search.objective import mean_distance
from rls.search.problem import Problem
from rls.search.results import RENAMED, about_search, write_images
from rls.search.settings import Settings
from rls.search.setup import Task, exact_device, read_for, set_up


class Point(Protocol):
    """One search of all cells."""

    @property
    def name(self) -> str:
        """The point's name, which ends the ids of its images."""

    @property
    def changes(self) -> Mapping[str, Any]:
        """The settings of the method that the point changes, which are columns of the stack."""


P = TypeVar("P", bound=Point)


@dataclass(frozen=True)
class Points(Generic[P]):
    """A command that searches the same cells at several points.

    Attributes:
        command: Its name, which is also the section of its settings.
        points: In the order of the stack.
        said: What the points are, such as ``pairs of weights``.
    """

    command: str
    points: Sequence[P]
    said: str


def choose_cells(
    table: pd.DataFrame,
    count: int,
    seed: int,
    *,
    section: str = "sweep_lambdas",
    treatments: Sequence[str] = (),
) -> np.ndarray:
    """Return the positions of ``count`` rows; numbers of different treatments differ by at most 1.

    A cell's rank depends on its id alone, not on the order of the table, on its other cells or on
    the command, so that all commands look at the same cells.

    Arguments:
        section: The section of the configuration that says ``count``, for messages.
        treatments: The treatments that are taken; all of the table without.

    Raises:
        InputError: A treatment has too few cells, or ``count`` is under one for each treatment.
    """
    treatments = sorted(set(treatments or table["treatment"]))
    share, rest = divmod(count, len(treatments))
    chosen: list[int] = []
    for place, treatment in enumerate(treatments):
        here = np.flatnonzero(table["treatment"] == treatment)
        wanted = share + (place < rest)
        if not 0 < wanted <= len(here):
            raise InputError(
                f"{count} cells of split {CHOOSE} are {wanted} of treatment '{treatment}', which "
                f"has {len(here)} (of {len(treatments)} treatments). Set {section}.n_cells to "
                f"fit, or select_cells.cells_{CHOOSE}."
            )
        ids = table["image_id"].to_numpy()[here]
        rank = [stream(seed, str(name), "sweep_lambdas").random() for name in ids]
        chosen += list(here[np.argsort(rank)[:wanted]])
    return np.sort(np.array(chosen))


def read_task(
    inputs: Inputs,
    settings: Settings,
    method: ChosenMethod,
    n_cells: int,
    *,
    section: str,
    treatments: Sequence[str] = (),
) -> Task:
    """Return the search of the chosen cells of split tune.

    Raises:
        InputError: There are too few cells, files do not fit together, or the method searches an
            image several times.
    """
    if (n := getattr(method.settings, "n_solutions", 1)) != 1:
        raise InputError(
            f"Found n_solutions {n} of {method.name}, expected 1: {section} makes one search of "
            f"each image. Give a method without n_solutions."
        )
    device = exact_device(settings)
    tune = read_for(inputs.low_resolution, CHOOSE)
    rows = choose_cells(tune.table, n_cells, settings.seed, section=section, treatments=treatments)
    return set_up(inputs, settings, tune.select(rows), device, method.settings)


def search_and_write(
    job: Points[P],
    task: Task,
    method: ChosenMethod,
    settings: Settings,
    *,
    output: Path,
    state: Path,
) -> None:
    """Search all points, write them as one stack and remove the finished batches."""
    facts = task.facts() | {
        "search": method.search,
        "seed": settings.seed,
        "batch_size": settings.batch_size,
        "precision": task.problem.precision,
        "noise": settings.noise,
    }
    print(
        f"{job.command}: {len(task.stack)} cells of split {CHOOSE}, {len(job.points)} points, "
        f"{task.problem.factor}x",
        flush=True,
    )
    own = asdict(method.settings)
    states = [
        StateFolder(
            state,
            job.command,
            {**facts, "own": own | dict(point.changes)},
            output=f"{output} {point.name}",
        )
        for point in job.points
    ]
    found = search_points(job, task.problem, method, settings.batch_size, states)
    write_points(output, task, job, found, method)
    for folder in states:
        with folder:
            remove_batches(folder)


def search_points(
    job: Points[P],
    problem: Problem,
    method: ChosenMethod,
    batch_size: BatchSize,
    states: Sequence[StateFolder],
) -> list[Solved]:
    """Return the reconstructions of every point; batches found in ``states`` are used again."""
    found = []
    for i, (point, state) in enumerate(zip(job.points, states, strict=True)):
        changed = ", ".join(f"{name} {value:g}" for name, value in point.changes.items())
        print(f"{job.command}: point {i + 1} of {len(job.points)}, {changed}", flush=True)
        settings = replace(method.settings, **point.changes)
        with state:
            found.append(solve(method.module, settings, problem, batch_size, state, job.command))
        batch_size = found[-1].batch_size  # All points have the size that auto chose for the first.
    return found


def write_points(
    output: Path, task: Task, job: Points[P], found: Sequence[Solved], method: ChosenMethod
) -> None:
    """Write one stack of all points, in which ``image_id`` is the cell's with the point's name.

    The column ``own`` says where a point has the method's own settings.
    """
    parts = []
    table = task.stack.table.rename(columns=RENAMED)
    for point, solved in zip(job.points, found, strict=True):
        own = all(getattr(method.settings, name) == here for name, here in point.changes.items())
        part = table.rename(columns={"image_id": "cell_id"}).assign(
            **point.changes,
            own=own,
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
        written_by=job.command,
        description=f"synthesised by {method.name} at {len(job.points)} {job.said}, generator "
        f"{task.digests['generator']}; D in the search: {task.forward.describe()}",
    )
