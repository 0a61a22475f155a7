"""Small problems for the tests of the searches."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rls.search
from rls.prior.flows import StyleFlow
from rls.runtime.progress import Progress
from rls.search.forward import downscale
from rls.search.problem import BatchProgress, Problem, Styles
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.networks import Generator

CPU = torch.device("cpu")


class LinearGenerator(nn.Module):
    """A generator whose images are linear in w+, so that every optimum can be written down."""

    def __init__(self, num_ws: int, w_dim: int, n_channels: int, size: int) -> None:
        super().__init__()
        self.num_ws, self.w_dim, self.n_channels, self.image_size = num_ws, w_dim, n_channels, size
        self.noise_shapes = [(1, 1, 2, 2)]
        random = torch.Generator().manual_seed(0)
        shape = (num_ws * w_dim, n_channels * size * size)
        self.matrix = torch.randn(shape, generator=random) / 4
        self.breaks_above = math.inf  # Images are NaN above this norm of w+.

    def synthesis(self, ws: Tensor, noise: Any = None, precision: str = "float32") -> Tensor:
        unit = ws.flatten(1) @ self.matrix
        unit = unit.view(len(ws), self.n_channels, self.image_size, self.image_size)
        broken = ws.detach().flatten(1).norm(dim=1) > self.breaks_above
        unit = unit * torch.where(broken, math.nan, 1.0)[:, None, None, None]
        return 2 * unit - 1


class GaussianPrior(nn.Module):
    """A flow with log p of N(mean, I)."""

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.mean = mean

    def log_prob(self, w: Tensor) -> Tensor:
        d = w.shape[1]
        return -0.5 * (w - self.mean).square().sum(1) - 0.5 * d * math.log(2 * math.pi)


def tiny_generator(size: int = 8, n_channels: int = 2, w_dim: int = 16) -> Generator:
    """Return a real network with random weights, in which every term has an effect."""
    torch.manual_seed(0)
    architecture = Architecture(
        image_size=size, n_channels=n_channels, z_dim=w_dim, w_dim=w_dim, mapping_layers=2,
        channel_base=16 * size, channel_max=16,
    )  # fmt: skip
    generator = Generator(architecture)
    for layer in generator.synthesis.layers():
        layer.noise_strength.data.fill_(0.1)
    return generator.eval().requires_grad_(False)


def tiny_styles(generator: Generator, n: int = 400) -> Styles:
    z = torch.randn(n, generator.z_dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        w = generator.mapping(z)[:, 0]
    return Styles(w, w.mean(0))


def tiny_flow(w: Tensor) -> StyleFlow:
    """Return a flow with random weights whose batch norms fit its styles."""
    torch.manual_seed(2)
    flow = StyleFlow("maf", w.shape[1], 32, 2)
    flow.set_scale(w)
    flow.recompute_batch_norm(w)
    return flow.freeze()


def make_problem(
    y: Tensor,
    factor: int,
    *,
    generator: Any = None,
    flow: Any = None,
    styles: Styles | None = None,
    ids: Sequence[str] | None = None,
    **other: Any,
) -> Problem:
    facts = {"seed": 3, "device": CPU, "precision": "float32", "noise": "shared", **other}
    return Problem(
        y=y,
        image_ids=tuple(ids or [f"image {i}" for i in range(len(y))]),
        generator=generator,
        flow=flow,
        styles=styles,
        factor=factor,
        forward=downscale(y.shape[-1] * factor, factor, "renormalize"),
        **facts,
    )


def quiet(n: int = 1) -> BatchProgress:
    return BatchProgress(Progress(n, "test", "img", done=0), 1)


class Mark:
    """A mark of a GPU that has always finished what it was given."""

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass


NEW = """
from dataclasses import dataclass
from rls.runtime.command import option
from rls.search.problem import Reconstruction


@dataclass(frozen=True)
class Settings:
    grey: float = option("Value of every pixel.")


def super_resolve(problem, settings, progress):
    n, c, m, _ = problem.y.shape
    size = m * problem.factor
    return Reconstruction(problem.y.new_full((n, c, size, size), settings.grey), None)
"""


def add_method(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put the file of a new method where rls.search looks, as if it lay beside the others."""
    (folder / "all_grey.py").write_text(NEW)
    monkeypatch.setattr(rls.search, "__path__", [*rls.search.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "rls.search.all_grey", raising=False)
    return "all_grey"
