"""Schedules of the learning rate: a multiplier of its peak for each step of a search."""

from __future__ import annotations

from collections.abc import Callable

from rls.runtime.errors import InputError

DROP_START = 0.9  # Share of the steps before the final drop.
LOW, LAST = 0.1, 0.001


def one_cycle_drop(step: int, steps: int) -> float:
    """Return the multiplier of PULSE's ``linear1cycledrop``, which the authors' code uses too.

    It rises from 0.1 to 1 and falls back to 0.1 over nine tenths of the steps, and then to 0.001.
    """
    turn = DROP_START * steps
    if step < turn:
        return LOW + (1.0 - LOW) * (1.0 - 2.0 * abs(step / turn - 0.5))
    return LOW + (LAST - LOW) * (step - turn) / (steps - turn)


def constant(step: int, steps: int) -> float:
    """Return 1 for every step."""
    return 1.0


SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "one_cycle_drop": one_cycle_drop,
    "constant": constant,
}


def course(schedule: str, learning_rate: float, steps: int) -> list[float]:
    """Return the learning rate of every step.

    Arguments:
        schedule: Name of the function that scales the peak rate ``learning_rate``.

    Raises:
        InputError: The schedule is unknown, or there is no step.
    """
    if steps < 1 or schedule not in SCHEDULES:
        raise InputError(
            f"Found {steps} steps and schedule '{schedule}', expected 1 or more steps and one of "
            f"{', '.join(SCHEDULES)}."
        )
    return [learning_rate * SCHEDULES[schedule](step, steps) for step in range(steps)]
