"""Choose the images that get several solutions, and write the results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rls.runtime.streams import stream_seed
from rls.search.batches import Solved
from rls.search.methods import ChosenMethod
from rls.search.posterior import solution_ids
from rls.search.results import RENAMED, about_search, write_images, write_latents
from rls.search.setup import Task


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
    output: Path, task: Task, solved: Solved, n: int, method: ChosenMethod, kind: str, digest: str
) -> None:
    """Write the stack, table and latents of n solutions for each image of ``task``.

    Arguments:
        digest: Digest of everything that determines the result.
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
        result_digest=digest,
        **about_search(task, method.settings),
        **solved.columns,
    )
    said = f"synthesised by {method.name}, {n} solutions an image ({kind})"
    facts = {"solutions": kind, "description": said, "batch_size": str(solved.batch_size)}
    write_latents(output, solved.latents, ids, method.name, generator, **facts)
    description = f"{said}, generator {generator}; D in the search: {task.forward.describe()}"
    write_images(
        output, task, solved.images, table, written_by="sample_solutions", description=description
    )
