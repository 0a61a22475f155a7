"""The points of a sweep of the weights of Eq. 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rls.runtime.errors import InputError
from rls.search.methods import ChosenMethod

LAMBDAS = ("lambda_w", "lambda_c")


@dataclass(frozen=True)
class Weights:
    """One pair of weights, a point of a sweep."""

    lambda_w: float
    lambda_c: float

    @property
    def name(self) -> str:
        """Return the point's name, such as ``w5e-05_c0.01``."""
        return f"w{self.lambda_w:g}_c{self.lambda_c:g}"

    @property
    def changes(self) -> dict[str, Any]:
        """Return both weights by their names."""
        return asdict(self)


def own_weights(method: ChosenMethod) -> Weights:
    """Return the method's own pair of weights.

    Raises:
        InputError: The search has no such weights.
    """
    names = {field.name for field in fields(method.settings)}
    if missing := [name for name in LAMBDAS if name not in names]:
        raise InputError(
            f"The search '{method.search}' of {method.name} has no {' and no '.join(missing)}. "
            f"Give a method that searches Eq. 5, such as rls."
        )
    return Weights(*(getattr(method.settings, name) for name in LAMBDAS))


def sweep_points(
    own: Weights, lambdas_w: Sequence[float], lambdas_c: Sequence[float]
) -> list[Weights]:
    """Return the method's own pair, then both lists with the other weight at its own value.

    Raises:
        InputError: A weight is negative.
    """
    along_w = [Weights(value, own.lambda_c) for value in lambdas_w]
    along_c = [Weights(own.lambda_w, value) for value in lambdas_c]
    points = list(dict.fromkeys([own, *along_w, *along_c]))
    wrong = [point.name for point in points if min(point.lambda_w, point.lambda_c) < 0]
    if wrong:
        raise InputError(f"Found the weights {wrong[0]}, expected 0 or more.")
    return points
