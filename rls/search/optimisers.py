"""Optimisers: how a gradient becomes a step.

An optimiser keeps its state per element or per vector and sums nothing over images, so an image
takes the same path whatever else is in its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

Variables = tuple[Tensor, ...]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1.0e-8  # Kingma & Ba 2015, as in PULSE and RLS.


class Optimiser:
    """Turns gradients into steps; made anew for every search.

    Arguments:
        start: The variables where the search starts.
    """

    def __init__(self, start: Variables) -> None:
        """Keep nothing, for an optimiser whose step depends on the gradient alone."""

    def step(self, x: Variables, gradients: Variables, rate: float, step: int) -> Variables:
        """Return the variables after step number ``step``, counted from 0."""
        raise NotImplementedError


class Adam(Optimiser):
    """Adam (Kingma & Ba 2015): each element moves by about ``rate``."""

    def __init__(self, start: Variables) -> None:
        self.first = tuple(torch.zeros_like(tensor) for tensor in start)
        self.second = tuple(torch.zeros_like(tensor) for tensor in start)

    def step(self, x: Variables, gradients: Variables, rate: float, step: int) -> Variables:
        """Return x - rate m^ / (sqrt(v^) + epsilon)."""
        self.first = tuple(m.lerp(g, 1 - BETA1) for m, g in zip(self.first, gradients, strict=True))
        self.second = tuple(
            (v * BETA2).addcmul(g, g, value=1 - BETA2)
            for v, g in zip(self.second, gradients, strict=True)
        )
        scale = rate / (1 - BETA1 ** (step + 1))
        spread = 1 - BETA2 ** (step + 1)
        return tuple(
            a - scale * m / ((v / spread).sqrt() + EPSILON)
            for a, m, v in zip(x, self.first, self.second, strict=True)
        )


class NormalisedGradient(Optimiser):
    """Normalised gradient descent: each vector along the last dimension moves by exactly ``rate``.

    A vector whose gradient is 0 does not move. Source: Poirier-Ginter & Lalonde 2023.
    """

    def step(self, x: Variables, gradients: Variables, rate: float, step: int) -> Variables:
        """Return x - rate g / ||g||_2."""
        return tuple(
            a.addcdiv(g, _length(g), value=-rate) for a, g in zip(x, gradients, strict=True)
        )


def _length(gradient: Tensor) -> Tensor:
    """Return ||g||_2 of each vector, (..., 1), and 1 where it is 0.

    Gradients as small as 1e-30, whose squares are 0 in float32, still have a direction.
    """
    largest = gradient.abs().amax(dim=-1, keepdim=True)
    scale = torch.where(largest > 0, largest, 1.0)
    return (gradient / scale).norm(dim=-1, keepdim=True).clamp(min=1.0) * scale
