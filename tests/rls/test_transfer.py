"""Batches on their way to a GPU and back, and where Adam keeps its numbers."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from rls.networks import classifier_settings, pix2pix_settings
from rls.prior import settings as flow_settings
from rls.runtime.adam import place_adam
from rls.runtime.graphs import Recorder
from rls.runtime.transfer import Gathered, as_floats, fits, signed, upload
from tests.rls.recorded_on_cpu import RecordedOnCpu

CPU = torch.device("cpu")


def test_rows_beyond_the_last_are_left_out_and_missing_ones_are_an_error() -> None:
    found = Gathered(5)
    rows = torch.arange(12.0).reshape(6, 2)
    assert [found.add(part) for part in rows.split(3)] == [3, 2]
    assert torch.equal(found.result(), rows[:5])
    found = Gathered(5)
    found.add(rows[:3])
    with pytest.raises(ValueError, match="3 rows, expected 5"):
        found.result()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
def test_counts_are_exact_after_the_way_to_the_device(kind: type) -> None:
    values = [0, 1, 200, 255] + ([256, 32767, 32768, 65535] if kind is np.uint16 else [])
    counts = np.array(values, dtype=kind)
    assert as_floats(upload(signed(counts), CPU)).tolist() == values


def test_a_cpu_stores_no_copy() -> None:
    assert not fits(1, CPU)


@pytest.mark.parametrize("module", [flow_settings, classifier_settings, pix2pix_settings])
def test_where_and_how_it_is_computed_names_no_state(module: ModuleType) -> None:
    assert {"cuda_graphs", "device", "threads"} <= set(module.MAY_CHANGE)


def adam() -> torch.optim.Adam:
    return torch.optim.Adam([torch.nn.Parameter(torch.ones(3))], lr=0.1)


def steps(optimiser: torch.optim.Adam, n: int) -> torch.Tensor:
    (parameter,) = optimiser.param_groups[0]["params"]
    for _ in range(n):
        parameter.grad = parameter.detach() * 2
        optimiser.step()
    return parameter.detach().clone()


def test_adam_on_a_cpu_stays_the_plain_one() -> None:
    placed, plain = adam(), adam()
    place_adam(placed, 0.1, Recorder(CPU))
    assert torch.equal(steps(placed, 4), steps(plain, 4))
    assert placed.state_dict()["param_groups"] == plain.state_dict()["param_groups"]


def test_the_rate_of_a_recorded_adam_changes_in_place_and_its_state_can_come_back() -> None:
    moved, plain, recorder = adam(), adam(), RecordedOnCpu()
    place_adam(moved, 0.1, recorder)
    rate = moved.param_groups[0]["lr"]
    place_adam(moved, 0.2, recorder)
    assert moved.param_groups[0]["lr"] is rate and rate.item() == pytest.approx(0.2)
    place_adam(plain, 0.2, Recorder(CPU))
    torch.testing.assert_close(steps(moved, 3), steps(plain, 3))
    moved.param_groups[0]["capturable"] = True  # as a recording leaves it
    place_adam(moved, 0.05, Recorder(CPU))
    place_adam(plain, 0.05, Recorder(CPU))
    torch.testing.assert_close(steps(moved, 3), steps(plain, 3))
