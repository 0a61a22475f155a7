"""Random streams that depend on a seed, a name and a purpose, never on order or batch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, key: str, purpose: str) -> int:
    """Return a 63-bit seed, the blake2b of ``seed``, ``key`` (e.g. an image id) and ``purpose``."""
    text = f"{seed}\0{key}\0{purpose}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def stream(seed: int, key: str, purpose: str) -> np.random.Generator:
    """Return the numpy generator of (seed, key, purpose)."""
    return np.random.default_rng(stream_seed(seed, key, purpose))


def torch_stream(
    seed: int, key: str, purpose: str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return the torch generator of (seed, key, purpose) on ``device``."""
    import torch  # Imported here, because commands without torch draw numbers too.

    return torch.Generator(device=device).manual_seed(stream_seed(seed, key, purpose))
