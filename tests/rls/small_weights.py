"""Random weights of LPIPS: the real networks, but with numbers that mean nothing."""

from __future__ import annotations

import torch

from rls.io import write_weights
from rls.networks.lpips import KIND, Lpips, tensor_shapes


def random_tensors(net: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return tensors whose convolutions keep the variance, and whose heads are >= 0."""
    random = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in tensor_shapes(net).items():
        values = torch.randn(shape, generator=random)
        if name.startswith("weight"):
            values *= (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        found[name] = values.abs() if name.startswith("head") else values
    return found


def random_lpips(net: str) -> Lpips:
    network = Lpips(net)
    network.load_state_dict(random_tensors(net))
    return network


def write_random(path, net: str) -> None:
    write_weights(path, random_tensors(net), {"kind": KIND, "net": net})
