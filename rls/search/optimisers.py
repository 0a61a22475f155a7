"""Optimisers: how a gradient becomes a step.

An optimiser keeps its state per element or per vector and sums nothing over images, so an image
takes the same path whatever else is in its batch. Its state never moves in memory, and the rates
of every row come from a tensor, so that a step can be recorded and replayed
(:mod:`rls.search.steps`) and that rows may be at different steps (:mod:`rls.search.lanes`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Variables = tuple[Tensor, ...]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1.0e-8  # Kingma & Ba 2015, as in PULSE and RLS.


class Optimiser:
    """Turns gradients into steps; it may be used for several searches, one after the other.

    Arguments:
        start: Variables of the shapes that are searched.
    """

    def __init__(self, start: Variables) -> None:
        """Keep nothing, for an optimiser whose step depends on the gradient alone."""

    def reset(self, rows: Tensor | None = None) -> None:
        """Forget the steps of the rows at these indices, which begin a search; None: of all."""

    @staticmethod
    def numbers(rates: Sequence[float]) -> list[tuple[float, ...]]:
        """Return what a step with each of these rates multiplies with, a tuple for each step."""
        raise NotImplementedError

    def step(self, x: Variables, gradients: Variables, numbers: Sequence[Tensor]) -> Variables:
        """Return the variables after a step; ``numbers``, each (n,), hold a value for each row."""
        raise NotImplementedError


class Adam(Optimiser):
    """Adam (Kingma & Ba 2015): each element moves by about the rate."""

    def __init__(self, start: Variables) -> None:
        self.first = tuple(torch.zeros_like(tensor) for tensor in start)
        self.second = tuple(torch.zeros_like(tensor) for tensor in start)

    def reset(self, rows: Tensor | None = None) -> None:
        """Set both moments to 0."""
        for moment in (*self.first, *self.second):
            if rows is None:
                moment.zero_()
            else:
                moment.index_fill_(0, rows, 0.0)

    @staticmethod
    def numbers(rates: Sequence[float]) -> list[tuple[float, ...]]:
        """Return rate / (1 - beta1^t) and 1 - beta2^t for every step t, counted from 1."""
        return [
            (rate / (1 - BETA1 ** (step + 1)), 1 - BETA2 ** (step + 1))
            for step, rate in enumerate(rates)
        ]

    def step(self, x: Variables, gradients: Variables, numbers: Sequence[Tensor]) -> Variables:
        """Return x - rate m^ / (sqrt(v^) + epsilon)."""
        scale, spread = numbers
        for m, v, g in zip(self.first, self.second, gradients, strict=True):
            m.lerp_(g, 1 - BETA1)
            v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
        return tuple(
            a - per_row(scale, a) * m / ((v / per_row(spread, a)).sqrt() + EPSILON)
            for a, m, v in zip(x, self.first, self.second, strict=True)
        )


class NormalisedGradient(Optimiser):
    """Normalised gradient descent: each vector along the last dimension moves by exactly the rate.

    A vector whose gradient is 0 does not move. Source: Poirier-Ginter & Lalonde 2023.
    """

    @staticmethod
    def numbers(rates: Sequence[float]) -> list[tuple[float, ...]]:
        """Return minus the rate of every step."""
        return [(-rate,) for rate in rates]

    def step(self, x: Variables, gradients: Variables, numbers: Sequence[Tensor]) -> Variables:
        """Return x - rate g / ||g||_2."""
        (minus_rate,) = numbers
        return tuple(
            a.addcdiv(per_row(minus_rate, a) * g, _length(g))
            for a, g in zip(x, gradients, strict=True)
        )


def per_row(values: Tensor, x: Tensor) -> Tensor:
    """Return values (n,) in a shape that gives row i of ``x``, (n, ...), its own value."""
    return values.view(-1, *([1] * (x.ndim - 1)))


def _length(gradient: Tensor) -> Tensor:
    """Return ||g||_2 of each vector, (..., 1), and 1 where it is 0.

    Gradients as small as 1e-30, whose squares are 0 in float32, still have a direction.
    """
    largest = gradient.abs().amax(dim=-1, keepdim=True)
    scale = torch.where(largest > 0, largest, 1.0)
    return (gradient / scale).norm(dim=-1, keepdim=True).clamp(min=1.0) * scale
