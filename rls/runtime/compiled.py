"""Check that what torch compiled computes the same loss and gradient as the plain form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor

from rls.runtime.errors import first_line

# The compiled form may round otherwise, and in bfloat16 more so. (Measured on a CPU in float32: a
# largest difference of gradients of 7e-6.)
LOSS_TOLERANCE, NORM_TOLERANCE, LEAST_COSINE = 2e-3, 2e-2, 0.999


class Computed(NamedTuple):
    """A loss, as messages name it, its value, and its gradient as one vector (float64)."""

    name: str
    loss: float
    gradient: Tensor


def why_differ(make: Callable[[], Iterable[tuple[Computed, Computed]]]) -> str:
    """Return how losses or gradients differ, or how the compiler failed; "" if all is well.

    Arguments:
        make: Returns pairs of what the plain and the compiled form compute.
    """
    try:
        return next(filter(None, (_difference(plain, other) for plain, other in make())), "")
    except Exception as error:  # a compiler fails in many ways
        return f"the compiler failed ({type(error).__name__}: {first_line(error)})"


def _difference(plain: Computed, other: Computed) -> str:
    """Return how two results differ; empty if they do not."""
    apart = abs(plain.loss - other.loss) / max(abs(plain.loss), 1.0)
    norm, norm_again = float(plain.gradient.norm()), float(other.gradient.norm())
    cosine = float(plain.gradient @ other.gradient) / max(norm * norm_again, 1e-300)
    same = apart <= LOSS_TOLERANCE and cosine >= LEAST_COSINE
    # Written so that a number that is not finite fails.
    if same and abs(norm_again - norm) <= NORM_TOLERANCE * norm:
        return ""
    return (
        f"compiled, {plain.name} is {other.loss:.6g} in place of {plain.loss:.6g}, with a gradient "
        f"of length {norm_again:.4g} in place of {norm:.4g} and a cosine of {cosine:.5f}"
    )
