"""trace_search: a checkpoint is a search of so many steps, on the cells that a sweep takes."""

from __future__ import annotations

from dataclasses import make_dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from rls.io import Stack, read_stack
from rls.runtime.errors import InputError
from rls.search import trace
from rls.search.methods import ChosenMethod, load_method
from rls.search.points import choose_cells
from rls.search.problem import Reconstruction
from rls.search.trace import PROCESSOR, SECONDS, Checkpoint, Timed, checkpoints_of
from rls.trace_search import main
from tests.rls import test_sweep_lambdas
from tests.rls.search_stand_ins import make_problem, quiet

STEPS = (5, 1, 3)  # 3 is the method's own
folder = test_sweep_lambdas.folder


def run(folder: Path, output: Path, *steps: int, **other: object) -> Stack:
    """Trace four cells in two batches, the second of which is filled up with repeats."""
    other = {"schedule": "one_cycle_drop", "lambda-c": 0.0, **other}
    flags = test_sweep_lambdas.arguments(folder, output, **other)
    main([*flags[: flags.index("--lambdas-w")], "--checkpoints", *map(str, steps)])
    return read_stack(output)


@pytest.fixture(scope="module")
def traced(folder: Path) -> Stack:
    return run(folder, folder / "trace.ome.tif", *STEPS)


def test_a_checkpoint_has_the_bits_of_a_search_of_so_many_steps(
    folder: Path, tmp_path: Path, traced: Stack
) -> None:
    three = run(folder, tmp_path / "three.ome.tif", 3)
    here = traced.table["steps"] == 3
    np.testing.assert_array_equal(traced.images[here], three.images)
    # The first steps of a longer search are others under this schedule.
    other = traced.images[traced.table["steps"] == 5]
    assert not np.array_equal(other, three.images)
    kept = [name for name in three.table if name not in (SECONDS, PROCESSOR)]
    rows = traced.table.loc[here, kept].reset_index(drop=True)
    assert rows.equals(three.table[kept])


def test_checkpoints_ascend_on_the_cells_of_a_sweep_and_the_own_one_is_marked(
    folder: Path, traced: Stack
) -> None:
    table = traced.table
    assert list(dict.fromkeys(table["steps"])) == [1, 3, 5]
    low = read_stack(folder / "low.ome.tif")
    tune = low.table[low.table["split"] == "tune"]
    chosen = set(tune["image_id"].iloc[choose_cells(tune, 4, seed=1)])
    assert {frozenset(part["cell_id"]) for _, part in table.groupby("steps")} == {frozenset(chosen)}
    assert set(table.loc[table["own"], "steps"]) == {3}
    assert table["image_id"].is_unique and set(table["split"]) == {"tune"}
    totals = [table.loc[table["steps"] == n, "loss_total"].mean() for n in (1, 3, 5)]
    assert totals[0] > totals[1] > totals[2]


def test_only_the_treatments_that_are_named_are_searched(folder: Path, tmp_path: Path) -> None:
    flags = test_sweep_lambdas.arguments(folder, tmp_path / "one.ome.tif", **{"n-cells": 2})
    flags = flags[: flags.index("--lambdas-w")]
    main([*flags, "--checkpoints", "1", "--treatments", "TNF"])
    assert list(read_stack(tmp_path / "one.ome.tif").table["treatment"]) == ["TNF", "TNF"]


def test_the_time_of_a_batch_is_told_but_of_the_first_of_each_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 60.0, 100.0, 106.0, 200.0, 260.0])
    monkeypatch.setattr(
        trace, "time", SimpleNamespace(perf_counter=lambda: next(clock), process_time=lambda: 0.0)
    )
    found = Reconstruction(torch.zeros(3, 1, 2, 2), None, {"loss_total": np.ones(3)})
    module = ModuleType("method")
    vars(module).update(Settings=Checkpoint, super_resolve=lambda *given: found)
    problem = make_problem(torch.zeros(3, 1, 1, 1), 2)
    method = Timed(module)
    columns = [
        method.super_resolve(problem, Checkpoint(steps), quiet()).columns for steps in (1, 1, 2)
    ]
    assert [list(column) for column in columns] == [["loss_total", SECONDS, PROCESSOR]] * 3
    np.testing.assert_array_equal([c[SECONDS][0] for c in columns], [np.nan, 2.0, np.nan])


def test_the_second_batch_of_a_checkpoint_has_a_time(traced: Stack) -> None:
    for _, part in traced.table.groupby("steps"):
        assert list(np.isfinite(part[SECONDS])) == [False, False, False, True]


def test_a_negative_checkpoint_is_refused() -> None:
    method = ChosenMethod("rls", "rls", load_method("rls"), Checkpoint(3))
    with pytest.raises(InputError, match="from 0 on"):
        checkpoints_of(method, (-1, 3))


def test_without_checkpoints_a_method_is_traced_at_its_own_steps() -> None:
    one = ChosenMethod("rls", "rls", load_method("rls"), make_dataclass("One", ["steps"])(3))
    assert [point.steps for point in checkpoints_of(one, ())] == [3]
    settings = make_dataclass("Both", ["steps", "steps_w"], frozen=True)
    two = ChosenMethod("rls", "rls", load_method("rls"), settings(30, 10))
    assert [(point.steps, point.steps_w) for point in checkpoints_of(two, ())] == [(30, 10)]


def test_first_steps_in_w_keep_their_share_of_all_steps() -> None:
    settings = make_dataclass("Both", ["steps", "steps_w"], frozen=True)
    method = ChosenMethod("rls", "rls", load_method("rls"), settings(30, 10))
    found = checkpoints_of(method, (40, 0, 10))
    assert [(point.steps, point.steps_w) for point in found] == [(0, 0), (8, 2), (30, 10)]
    assert [point.name for point in found] == ["steps0", "steps10", "steps40"]


def test_a_method_without_steps_is_refused() -> None:
    bicubic = load_method("bicubic")
    method = ChosenMethod("bicubic", "bicubic", bicubic, bicubic.Settings())
    with pytest.raises(InputError, match="no steps"):
        checkpoints_of(method, (1,))
