"""Several solutions of an image: which images get them, how they are written, and the best one.

The rows are (image, solution), the solutions of an image side by side. Every solution has an id of
its own, ``{image_id}_k{j}``, from which its random streams are made. So solution j of an image is
the same in any batch and shard, and whether or not more solutions follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rls.io import read_table, table_path
from rls.io.names import CALIBRATION, SEARCHES
from rls.io.splits import CALIBRATE, REPORT, Use, rows_for
from rls.runtime.errors import InputError
from rls.runtime.streams import stream_seed
from rls.search.batches import Solved
from rls.search.methods import AnySettings, ChosenMethod
from rls.search.posterior import solution_ids
from rls.search.problem import Problem
from rls.search.results import (
    RENAMED,
    about_search,
    write_images,
    write_latents,
    write_results,
)
from rls.search.setup import Task
from rls.search.start_settings import DRAWS, RANDOM, SPREAD

SOURCE = "source_image_id"  # the column that names the image of a solution


def n_solutions_of(method: AnySettings, noise: str) -> int:
    """Return how many solutions of each image a method searches; 1 where it has no such setting.

    Arguments:
        noise: The setting of all searches.

    Raises:
        InputError: The searches of an image share their start and their noise maps, so that all
            would find the same solution.
    """
    n, start = int(getattr(method, "n_solutions", 1)), getattr(method, "start", "")
    differ = start in SPREAD and getattr(method, "start_spread", 1.0) > 0
    if n > 1 and not differ and noise == "shared":
        spread = ", start_spread 0" * (start in SPREAD)
        raise InputError(
            f"Found n_solutions {n} with start {start}{spread} and noise shared: the {n} searches "
            f"of an image would be one and the same. Set start: {DRAWS} or {RANDOM} with a "
            f"start_spread above 0, or noise: per_image."
        )
    return n


def uses_of_cells(path: Path, n: int) -> tuple[Use, ...]:
    """Return the uses of the images that super_resolve searches.

    With several solutions an image has an interval, too, which the cells of calibration calibrate,
    where an assay has such cells.

    Arguments:
        path: The low-resolution stack.
        n: Solutions of each image.
    """
    splits = read_table(table_path(path)).get("split", ()) if n > 1 else ()
    return (CALIBRATE, REPORT) if CALIBRATION in set(splits) else (REPORT,)


def with_solutions(problem: Problem, n: int) -> Problem:
    """Return the problem whose rows are n solutions of each image; with n = 1 the same one."""
    if n == 1:
        return problem
    ids = solution_ids(problem.image_ids, n)
    return replace(problem, y=problem.y.repeat_interleave(n, 0), image_ids=ids)


def choose_rows(table: pd.DataFrame, most: int, seed: int) -> np.ndarray:
    """Return the positions of at most ``most`` images a split, about equally many a treatment.

    Images are ranked within their treatment by a hash of seed and id. The treatments take turns, so
    that one with few images leaves its places to the others.

    Arguments:
        table: Columns image_id, split, treatment.
    """
    rank = [stream_seed(seed, name, "images with solutions") for name in table["image_id"]]
    ranked = table.assign(position=np.arange(len(table)), rank=rank).sort_values("rank")
    ranked["turn"] = ranked.groupby(["split", "treatment"]).cumcount()
    ranked = ranked.sort_values(["turn", "treatment"], kind="stable")
    chosen = ranked.groupby("split").head(most)
    return np.sort(chosen["position"].to_numpy())


def write_solutions(
    output: Path,
    task: Task,
    solved: Solved,
    n: int,
    method: ChosenMethod,
    columns: Mapping[str, Any],
    *,
    kind: str = SEARCHES,
    written_by: str = "super_resolve",
) -> None:
    """Write the stack, table and latents of n solutions for each image of ``task``.

    Arguments:
        columns: Columns that stand before the losses, such as ``result_digest``.
    """
    generator = task.digests.get("generator", "")
    table = task.stack.table.rename(columns=RENAMED | {"image_id": "source_image_id"})
    table = table.loc[table.index.repeat(n)].reset_index(drop=True)
    ids = solution_ids(task.problem.image_ids, n)
    table.insert(0, "image_id", ids)
    table = table.assign(
        solution=np.tile(np.arange(1, n + 1), len(task.stack)),
        n_solutions=n,
        method=method.name,
        kind=kind,
        **columns,
        **about_search(task, method.settings),
        **solved.columns,
    )
    said = f"synthesised by {method.name}, {n} solutions an image ({kind})"
    facts = {"solutions": kind, "description": said, "batch_size": str(solved.batch_size)}
    write_latents(output, solved.latents, ids, method.name, generator, **facts)
    description = f"{said}, generator {generator}; D in the search: {task.forward.describe()}"
    write_images(output, task, solved.images, table, written_by=written_by, description=description)


def write_shard(
    output: Path,
    task: Task,
    solved: Solved,
    n: int,
    method: ChosenMethod,
    digest: str,
    rows: np.ndarray,
    n_images: int,
) -> None:
    """Write what super_resolve found of a shard; with n > 1 every solution is a row.

    Arguments:
        digest: Digest of everything that determines the result.
        rows: Positions of the shard's images among all ``n_images``.
    """
    columns = {
        "search": method.search,
        "result_digest": digest,
        "row": (rows[:, None] * n + np.arange(n)).ravel(),
        "n_rows": n_images * n,
    }
    if n > 1:
        write_solutions(output, task, solved, n, method, columns)
    else:
        write_results(output, task, solved, method, {"method": method.name, **columns})


def check_complete(table: pd.DataFrame, path: Path | str) -> None:
    """Check that every image of a table of solutions has each of its solutions once.

    Raises:
        InputError: An image has too few or too many, or one of them twice.
    """
    wanted = int(table["n_solutions"].iloc[0])
    counts = table.groupby(SOURCE)["solution"].agg(["size", "nunique", "min", "max"])
    right = (counts["size"] == wanted) & (counts["nunique"] == wanted)
    right &= (counts["min"] == 1) & (counts["max"] == wanted)
    if not right.all():
        first = right.index[~right][0]
        raise InputError(
            f"{path} has {counts.loc[first, 'nunique']} solutions of {first}, expected {wanted}. "
            f"Delete it and run the search that wrote it again."
        )


def best_rows(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return the row of least ``loss_total`` of every image that may be reported, in their order.

    Of several rows with one loss it is the first; a loss that is not finite is greater than all.

    Arguments:
        table: Rows (image, solution), numbered from 0.
        name: What the table is, for messages.

    Raises:
        InputError: No image may be reported.
    """
    here = table.iloc[rows_for(REPORT, table, name, stage="super_resolve")]
    loss = here["loss_total"].where(np.isfinite(here["loss_total"]), np.inf)
    return loss.groupby(here[SOURCE], sort=False).idxmin().to_numpy()
