"""Search a stack batch by batch, and save every finished batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from rls.io import read_weights, write_weights
from rls.runtime.checkpoint import StateFolder, identity_digest
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.stopping import Watch
from rls.search.batch_size import CHOSEN, BatchSize, batch_size_of, choose_size
from rls.search.compiling import compile_generator
from rls.search.methods import AnySettings, Method
from rls.search.problem import BatchProgress, Problem, Reconstruction, select_rows

S = TypeVar("S", bound=AnySettings)

# Where images stop by themselves, so many batches are one queue, which is saved when its last image
# has stopped. A longer queue leaves less of its last steps to few images; a kill loses more of it.
ROUNDS = 8


@dataclass(frozen=True)
class Solved:
    """Reconstructions on the CPU.

    Attributes:
        images: (n, c, y, x) float32 in [0, 1] units.
        latents: (n, L, d), or (n, 0, 0) for a method without latents.
        columns: Arrays (n,) for the table, by name.
    """

    images: np.ndarray
    latents: np.ndarray
    columns: dict[str, np.ndarray]
    batch_size: int = 0


def solve(
    method: Method[S],
    settings: S,
    problem: Problem,
    batch_size: BatchSize,
    state: StateFolder,
    label: str = "super_resolve",
    *,
    group: int = 1,
    most: int | None = None,
) -> Solved:
    """Return the reconstruction of all images of ``problem``, reusing finished batches.

    Some matrix products round differently at other batch sizes. Repeats therefore fill up the last
    batch, so that a result does not depend on where a shard ends. Where the settings have a
    ``stop_fidelity``, a batch is a queue of several times its size (:mod:`rls.search.lanes`).

    Arguments:
        batch_size: Images searched at a time, or ``auto``. A state that was begun keeps its own
            choice.
        label: Name of the command in what is printed.
        group: Rows that belong together; a batch holds whole groups, at least one.
        most: Most images of a batch that ``auto`` may choose.

    Raises:
        InputError: The generator's images are not finite even at the start of the search.
        Stopped: A time limit is near, or a signal asked to stop; finished batches are kept.
    """
    n = len(problem.y)
    choose = partial(choose_size, method, settings, problem, group)
    size = batch_size_of(batch_size, state, label, choose)
    size = max(1, min(size, most or size) // group) * group
    batches = _batches(n, size, getattr(settings, "stop_fidelity", None) is not None)
    files = [state.folder / f"batch-{i:06d}.safetensors" for i in range(len(batches))]
    done = [_read(file, label, len(rows)) for file, rows in zip(files, batches, strict=True)]
    n_done = sum(len(rows) for rows, part in zip(batches, done, strict=True) if part)
    if n_done:
        print(f"{label}: {n_done} of {n} images were found in {state.folder}", flush=True)
    problem.searches.forget()  # Steps of another method or factor are not needed any more.
    n_steps = (n - n_done) * getattr(settings, "steps", 0)
    stream = problem.searches.recorder.stream
    with stream():  # before the watch, which would take the compilation for the time of a batch
        compile_generator(problem, size, n_steps, label, getattr(method, "NOT_COMPILED", ""))
    with Progress(n, label, "img", done=n_done) as bar, Watch(label) as watch, stream():
        for i, rows in enumerate(batches):
            if done[i] is not None:
                continue
            left = sum(part is None for part in done)
            batch = select_rows(problem, np.resize(rows, max(size, len(rows))))
            batch = replace(batch, lanes=size)
            found = method.super_resolve(batch, settings, BatchProgress(bar, left, watch))
            part = _on_cpu(found, batch.image_ids[: len(rows)])
            # Saving the checkpoint proves that the lock is still ours before the batch is written.
            state.save(i, {"batch": i})
            _write(files[i], part)
            done[i] = part
            bar.advance(len(rows))
            if watch.due() and left > 1:
                raise watch.stopped(f"after {bar.done} of {n} images")
    return _joined([part for part in done if part is not None], size)


def _batches(n: int, size: int, stops: bool) -> list[np.ndarray]:
    """Return the rows of every batch, or of every queue where images stop by themselves."""
    unit = size * ROUNDS if stops else size
    return [np.arange(first, min(first + unit, n)) for first in range(0, n, unit)]


def _joined(parts: Sequence[Solved], size: int) -> Solved:
    """Return the reconstructions of all batches as one."""
    return Solved(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.latents for part in parts]),
        {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        size,
    )


def result_digest(facts: Mapping[str, Any], solved: Solved) -> str:
    """Return the digest of what determines a result, with the batch size that was chosen."""
    settings = {**facts["settings"], "batch_size": solved.batch_size}
    return identity_digest({**facts, "settings": settings})


def remove_batches(state: StateFolder) -> None:
    """Remove the saved batches, once the result is written."""
    for path in state.folder.glob("batch-*.safetensors"):
        path.unlink(missing_ok=True)
    (state.folder / CHOSEN).unlink(missing_ok=True)
    state.clear()


def _on_cpu(found: Reconstruction, image_ids: Sequence[str]) -> Solved:
    """Return the first rows of a batch, those of ``image_ids``, on the CPU.

    Raises:
        InputError: An image is not finite.
    """
    count = len(image_ids)
    images = found.images[:count].detach().float().cpu()
    finite = torch.isfinite(images).flatten(1).all(dim=1)
    if not finite.all():
        first = image_ids[int(finite.logical_not().nonzero()[0])]
        raise InputError(
            f"The generator's image for {first} is not finite, even where the search starts. "
            f"Train the generator again, or set precision: float32."
        )
    latents = found.latents if found.latents is not None else images.new_zeros(count, 0, 0)
    columns = {name: np.asarray(values)[:count] for name, values in found.columns.items()}
    return Solved(images.numpy(), latents[:count].detach().float().cpu().numpy(), columns)


def _write(path: Path, part: Solved) -> None:
    tensors: dict[str, Tensor] = {
        "images": torch.as_tensor(part.images),
        "latents": torch.as_tensor(part.latents),
    }
    texts = {}
    for name, values in part.columns.items():
        if values.dtype.kind in "fiub":
            tensors[f"column.{name}"] = torch.as_tensor(values)
        else:
            texts[name] = [str(value) for value in values]
    write_weights(path, tensors, {"kind": "batch", "texts": texts, "order": list(part.columns)})


def _read(path: Path, label: str, n: int) -> Solved | None:
    """Return a saved batch of n images, or None if there is none or it is unfit; print why."""
    if not path.is_file():
        return None
    try:
        tensors, header = read_weights(path, kind="batch")
    except InputError as error:
        print(f"{label}: {error} This batch is searched again.", flush=True)
        return None
    if (found := len(tensors["images"])) != n:
        print(
            f"{label}: {path} holds {found} images, expected {n}. This batch is searched again.",
            flush=True,
        )
        return None
    columns = {
        name: np.asarray(header["texts"][name], dtype=object)
        if name in header["texts"]
        else tensors[f"column.{name}"].numpy()
        for name in header["order"]
    }
    return Solved(tensors["images"].numpy(), tensors["latents"].numpy(), columns)
