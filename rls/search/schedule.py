"""How the learning rate goes over a search: a multiplier of its peak for each step."""

from __future__ import annotations

from collections.abc import Callable

DROP_START = 0.9  # share of the steps before the drop
LOW, LAST = 0.1, 0.001


def one_cycle_drop(step: int, steps: int) -> float:
    """Return PULSE's ``linear1cycledrop``, which the authors' code uses too.

    From 0.1 up to 1 and back to 0.1 over nine tenths of the steps, then down to 0.001.
    """
    turn = DROP_START * steps
    if step < turn:
        return LOW + (1.0 - LOW) * (1.0 - 2.0 * abs(step / turn - 0.5))
    return LOW + (LAST - LOW) * (step - turn) / (steps - turn)


def constant(step: int, steps: int) -> float:
    """Return 1 at every step."""
    return 1.0


SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "one_cycle_drop": one_cycle_drop,
    "constant": constant,
}
