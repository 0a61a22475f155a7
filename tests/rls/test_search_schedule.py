"""Test the schedules of the learning rate."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from rls.search.schedule import constant, one_cycle_drop


def test_one_cycle_drop_starts_low_peaks_once_and_drops() -> None:
    rates = np.array([one_cycle_drop(step, 200) for step in range(200)])
    assert rates[0] == pytest.approx(0.1) and rates.max() == pytest.approx(1.0)
    assert rates.argmax() == 90
    assert rates[180] == pytest.approx(0.1) and 0.001 < rates[199] < 0.01
    assert (np.diff(rates[:91]) > 0).all() and (np.diff(rates[90:]) < 0).all()


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10])
def test_short_searches_have_rates_between_the_ends(steps: int) -> None:
    assert all(0.001 <= one_cycle_drop(step, steps) <= 1 for step in range(steps))


def test_constant_is_one() -> None:
    assert {constant(step, 10) for step in range(10)} == {1.0}


@pytest.mark.skipif("RLS_GOLDEN" not in os.environ, reason="RLS_GOLDEN names no folder")
def test_one_cycle_drop_equals_the_published_schedule() -> None:
    golden = np.load(Path(os.environ["RLS_GOLDEN"]) / "pulse_misc.npz")["lr_linear1cycledrop"]
    ours = [one_cycle_drop(step, len(golden)) for step in range(len(golden))]
    assert np.abs(golden - ours).max() < 1e-6
