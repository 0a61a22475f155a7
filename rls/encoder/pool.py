"""A pool of generated pairs for a training, drawn once and kept in its state folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from rls.encoder.pairs import PairSource
from rls.io import read_weights, write_weights
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.stopping import Watch

PAIRS_OF_FILE = 2000  # about; a kill loses these at most
PATTERN = "pairs-*.safetensors"


@dataclass(frozen=True)
class Pool:
    """Styles (n, d), the mean of an image's styles, and images y (n, c, m, m), on one device."""

    w: Tensor
    y: Tensor

    def to(self, device: torch.device) -> Pool:
        """Return the pool on another device."""
        return Pool(self.w.to(device), self.y.to(device))


def draw_pool(source: PairSource, n: int, folder: Path, label: str) -> Pool:
    """Return n pairs; those that lie in ``folder`` already are read.

    Raises:
        InputError: The generator's images are not finite.
        Stopped: Before a time limit or on a signal; drawn files are kept.
    """
    per_file = max(1, PAIRS_OF_FILE // source.batch_size)
    n_batches = -(-n // source.batch_size)
    parts = []
    with Progress(n, label, "pairs") as bar, Watch(label) as watch:
        for first in range(0, n_batches, per_file):
            batches = range(first, min(first + per_file, n_batches))
            path = folder / f"pairs-{source.purpose.replace(' ', '_')}-{first:06d}.safetensors"
            part = _read(path, len(batches) * source.batch_size)
            drawn = part is None
            if part is None:
                part = _draw(source, batches, watch, bar.done)
                write_weights(path, {"w": part.w, "y": part.y}, {"kind": "pairs"})
            parts.append(part)
            bar.advance(min(len(part.y), n - bar.done))
            if drawn and watch.due() and bar.done < n:
                raise watch.stopped(f"after {bar.done} pairs")
    return Pool(torch.cat([part.w for part in parts])[:n], torch.cat([p.y for p in parts])[:n])


def held_out(source: PairSource) -> PairSource:
    """Return a source of other pairs, independent of those of ``source``."""
    return replace(source, purpose=f"held-out {source.purpose}", mixing_probability=0.0)


def remove_pool(folder: Path) -> None:
    """Remove the kept pairs, once the result is written."""
    for path in folder.glob(PATTERN):
        path.unlink(missing_ok=True)


def _draw(source: PairSource, batches: range, watch: Watch, done: int) -> Pool:
    drawn = []
    for batch in batches:
        pairs = source.draw(batch)
        if not bool(torch.isfinite(pairs.y).all()):
            raise InputError(
                "The generator's images are not finite, so nothing can be learnt from them. "
                "Train the generator again."
            )
        drawn.append(Pool(pairs.w.mean(dim=1), pairs.y))
        watch.stop_if_asked(f"after {done} pairs")
    return Pool(torch.cat([one.w for one in drawn]), torch.cat([one.y for one in drawn]))


def _read(path: Path, n: int) -> Pool | None:
    """Return the pairs of a file, or None if it is missing, damaged or of another length."""
    if not path.is_file():
        return None
    try:
        tensors, _ = read_weights(path, kind="pairs")
    except InputError as error:
        print(f"{error} These pairs are drawn again.", flush=True)
        return None
    return Pool(tensors["w"], tensors["y"]) if len(tensors["y"]) == n else None
