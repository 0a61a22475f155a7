"""Test Adam over a batch of images that do not depend on each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rls.io.names import NON_FINITE, OK, RESTARTED
from rls.runtime.errors import InputError
from rls.search.descent import Found, search
from rls.search.optimisers import Variables
from rls.search.schedule import SCHEDULES
from rls.search.steps import Given, Losses
from tests.rls.search_stand_ins import quiet


def bowl(variables: Variables, given: Given, precision: str) -> Losses:
    (x,) = variables
    return {"loss_total": (x - 1.0).square().sum(1)}


def run(start: Tensor, objective=bowl, **settings) -> Found:
    facts = {"steps": 50, "learning_rate": 0.3, "schedule": "one_cycle_drop"}
    facts |= {"precision": "float32", "progress": quiet(), "given": {}} | settings
    return search((start,), objective, **facts)


def test_the_path_is_that_of_torch_adam() -> None:
    start = torch.randn(4, 6)
    x = start.clone().requires_grad_()
    adam = torch.optim.Adam([x], lr=0.3)
    best, best_total = start.clone(), torch.full((4,), math.inf)
    for step in range(50):
        adam.param_groups[0]["lr"] = 0.3 * SCHEDULES["one_cycle_drop"](step, 50)
        adam.zero_grad()
        total = bowl((x,), {}, "float32")["loss_total"]
        better = total.detach() < best_total
        best[better], best_total[better] = x.detach()[better], total.detach()[better]
        total.sum().backward()
        adam.step()
    found = run(start)
    assert torch.allclose(found.variables[0], best, atol=1e-5)
    assert list(found.status) == [OK] * 4


def test_the_best_iterate_is_returned_and_not_the_last() -> None:
    seen: list[Tensor] = []

    def watched(variables: Variables, given: Given, precision: str) -> Losses:
        losses = bowl(variables, given, precision)
        seen.append(losses["loss_total"].detach())
        return losses

    found = run(torch.zeros(3, 2), watched, learning_rate=5.0, schedule="constant", steps=20)
    on_the_way = torch.stack(seen[:20])
    assert torch.allclose(found.losses["loss_total"], on_the_way.min(0).values)
    assert bool((on_the_way[-1] > on_the_way.min(0).values).all())


def test_an_image_that_overflows_is_restarted_at_half_the_rate_and_others_do_not_notice() -> None:
    start = torch.zeros(3, 2)

    def cliff(variables: Variables, given: Given, precision: str) -> Losses:
        (x,) = variables
        total = bowl(variables, given, precision)["loss_total"]
        # Image 1 becomes NaN where it overshoots at rate 1.2 (to 2.56) but not at 0.6 (to 2.30).
        fell = (x.detach().norm(dim=1) > 2.43) & (torch.arange(3) == 1)
        return {"loss_total": torch.where(fell, math.nan, total)}

    settings = {"schedule": "constant", "learning_rate": 1.2, "steps": 30}
    found = run(start, cliff, **settings)
    assert list(found.status) == [OK, RESTARTED, OK]
    assert float(found.losses["loss_total"][1]) < 0.1
    alone = run(start, bowl, **settings)
    for i in (0, 2):
        assert torch.equal(found.variables[0][i], alone.variables[0][i])


def test_an_image_that_is_never_finite_for_long_keeps_its_best_finite_iterate() -> None:
    def breaks_soon(variables: Variables, given: Given, precision: str) -> Losses:
        (x,) = variables
        total = bowl(variables, given, precision)["loss_total"]
        return {"loss_total": torch.where(x.detach().norm(dim=1) > 0.5, math.inf, total)}

    found = run(torch.zeros(2, 2), breaks_soon, steps=40)
    assert list(found.status) == [NON_FINITE] * 2
    total = found.losses["loss_total"]
    assert bool(torch.isfinite(total).all()) and bool((total < 2.0).all())


def test_a_gradient_that_is_not_finite_counts_as_such() -> None:
    def root(variables: Variables, given: Given, precision: str) -> Losses:
        (x,) = variables
        return {"loss_total": x.sqrt().sum(1)}  # The slope is infinite at the start.

    found = run(torch.zeros(1, 2), root)
    assert list(found.status) == [NON_FINITE]
    assert torch.equal(found.variables[0], torch.zeros(1, 2))


def test_a_bfloat16_search_ends_and_is_judged_in_float32() -> None:
    asked: list[str] = []

    def watched(variables: Variables, given: Given, precision: str) -> Losses:
        asked.append(precision)
        return bowl(variables, given, precision)

    run(torch.zeros(1, 2), watched, precision="bfloat16", steps=20)
    assert asked[:18] == ["bfloat16"] * 18 and set(asked[18:]) == {"float32"}


def test_totals_of_bfloat16_never_win_over_float32() -> None:
    def flattering(variables: Variables, given: Given, precision: str) -> Losses:
        total = bowl(variables, given, precision)["loss_total"]
        return {"loss_total": total - (100.0 if precision == "bfloat16" else 0.0)}

    found = run(torch.zeros(1, 2), flattering, precision="bfloat16", steps=60)
    assert 0 <= float(found.losses["loss_total"][0]) < 0.05


def test_a_projection_holds_after_every_step() -> None:
    def onto_the_sphere(variables: Variables, given: Given) -> Variables:
        return tuple(x / x.norm(dim=1, keepdim=True) for x in variables)

    start = torch.tensor([[1.0, 0.0]])
    found = run(start, after_step=onto_the_sphere)
    assert torch.allclose(found.variables[0].norm(dim=1), torch.ones(1))
    nearest = 2 * (math.sqrt(0.5) - 1) ** 2
    assert float(found.losses["loss_total"][0]) < nearest + 0.1


@pytest.mark.parametrize("change", [{"steps": 0}, {"schedule": "cosine"}])
def test_an_impossible_course_is_refused(change: dict) -> None:
    with pytest.raises(InputError, match="schedule"):
        run(torch.zeros(1, 2), **change)
