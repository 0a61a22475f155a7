"""Weights with bytes changed, cut out or put in: those that were written, or one sentence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch

from rls.io import read_weights, write_weights
from rls.io.weights import tensors_digest
from tests.fuzz.outcomes import answer
from tests.rls.io.mutated import mutate

TENSORS = {"w": torch.arange(60.0).reshape(4, 15), "block.b": torch.arange(9)}
HEADER = {"kind": "flow", "channels": ["dna", "nfkb"], "settings": {"beta": 0.5, "steps": None}}


def attempt(seed: int, count: int, folder: Path) -> Counter[str]:
    """Try ``count`` damaged files."""
    path = folder / "x.safetensors"
    write_weights(path, TENSORS, HEADER)
    content, right = path.read_bytes(), read_weights(path, kind="flow")
    found: Counter[str] = Counter()
    for number in range(count):
        path.write_bytes(mutate(content, np.random.default_rng([seed, number])))
        where = f"safetensors, seed {seed}, number {number}"
        back = answer(lambda: read_weights(path, kind="flow"), folder, where)
        if back is not None:
            assert tensors_digest(back[0]) == tensors_digest(right[0]), where
            assert back[1] == right[1], where
        found["refused" if back is None else "right"] += 1
    return found
