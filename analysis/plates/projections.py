"""Make one plane of several in z, as the configuration or the sheet says; nothing is guessed."""

from __future__ import annotations

import numpy as np

from rls.runtime.errors import InputError

NONE, MAXIMUM, MEAN = "none", "max", "mean"
PROJECTIONS = (NONE, MAXIMUM, MEAN)


def project(stack: np.ndarray, projection: str, name: object) -> np.ndarray:
    """Return a stack (z, y, x) of counts as one plane (y, x) uint16.

    Arguments:
        projection: ``none`` takes the only plane, ``max`` the greatest count of each pixel and
            ``mean`` the mean, rounded to a whole count.
        name: The image, as an error calls it.

    Raises:
        InputError: There are several planes and nothing says what becomes of them.
    """
    if len(stack) == 1:
        return stack[0]
    if projection == MAXIMUM:
        return stack.max(axis=0)
    if projection == MEAN:
        return np.rint(stack.mean(axis=0, dtype=np.float64)).astype(np.uint16)
    raise InputError(
        f"{name} has {len(stack)} planes in z, expected one: nothing says what becomes of them. "
        "Set list_plate.projection to max or mean."
    )
