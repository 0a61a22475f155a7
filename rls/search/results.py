"""Write the results of a search; every file names the method and the networks that made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rls.io import write_stack, write_weights
from rls.search.batches import Solved
from rls.search.methods import AnySettings, ChosenMethod
from rls.search.setup import Task

# Columns of the low-resolution table that describe its own pixels.
RENAMED = {"image_digest": "low_resolution_digest"}


def latents_path(stack: Path) -> Path:
    """Return where the latents of the stack ``*.ome.tif`` lie: ``*.latents.safetensors``."""
    return stack.with_name(stack.name.removesuffix(".ome.tif") + ".latents.safetensors")


def write_latents(
    stack: Path,
    latents: np.ndarray,
    image_ids: Iterable[str],
    method: str,
    generator: str,
    **header: str,
) -> None:
    """Write latents (n, L, d) beside their stack.

    Arguments:
        generator: Digest of the generator, '' without one.
        header: Further entries of the file's header.
    """
    content = {"kind": "latents", "image_ids": list(image_ids), "method": method}
    content |= {"generator": generator, **header}
    write_weights(latents_path(stack), {"w": torch.as_tensor(latents)}, content)


def write_images(
    path: Path,
    task: Task,
    images: np.ndarray,
    table: pd.DataFrame,
    *,
    written_by: str,
    description: str,
) -> None:
    """Write super-resolved images (n, c, y, x), given in [0, 1] units, as a stack of counts."""
    write_stack(
        path,
        task.intensity.to_counts(images),
        table,
        channels=task.stack.channels,
        pixel_size_um=task.stack.pixel_size_um / task.problem.factor,
        written_by=written_by,
        description=description,
    )


def likelihood_of(method: AnySettings) -> str:
    """Return the likelihood of y in a method's objective; '' for a method that names none."""
    return str(getattr(method, "likelihood", ""))


def about_search(task: Task, method: AnySettings) -> dict[str, str]:
    """Return the columns that name the D in a search and the likelihood of y."""
    return {"search_forward": task.forward.to_text(), "likelihood": likelihood_of(method)}


def write_results(
    output: Path, task: Task, solved: Solved, method: ChosenMethod, columns: Mapping[str, Any]
) -> None:
    """Write the stack, table and latents of a shard; ``columns`` stand before the losses.

    The D in the search is the column ``search_forward``; that of the images, ``forward``, is kept.
    """
    generator = task.digests.get("generator", "")
    said = f"synthesised by {method.name}"
    said += f", generator {generator}" if generator else ", no generator"
    said += f"; D in the search: {task.forward.describe()}"
    columns = {**columns, **about_search(task, method.settings)}
    table = task.stack.table.rename(columns=RENAMED).assign(**columns, **solved.columns)
    size = str(solved.batch_size)
    write_latents(
        output, solved.latents, table["image_id"], method.name, generator, batch_size=size
    )
    write_images(output, task, solved.images, table, written_by="super_resolve", description=said)


def status_counts(solved: Solved) -> dict[str, int]:
    """Return how many searches ended with each status, empty for a method without a status."""
    status = pd.Series(solved.columns.get("search_status", np.array([], dtype=object)))
    return {str(name): int(count) for name, count in status.value_counts().items()}
