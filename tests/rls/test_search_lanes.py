"""Images that stop one by one: the bits of each depend on nothing but itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rls.io.names import NON_FINITE, OK, RESTARTED
from rls.runtime.errors import InputError
from rls.search import equation5, posterior, rls
from rls.search import lanes as module
from rls.search.batches import select_rows
from rls.search.descent import Found, search
from rls.search.lanes import LaneSteps, by_lanes, search_in_lanes
from rls.search.optimisers import Adam, NormalisedGradient, Optimiser, Variables
from rls.search.problem import BatchProgress, Problem, need
from rls.search.schedule import course
from rls.search.steps import Given, Losses, Searches, Walk
from tests.rls.recorded_on_cpu import OneDevice, RecordedOnCpu
from tests.rls.search_stand_ins import make_problem, quiet, tiny_generator, tiny_styles
from tests.rls.test_search_steps import OPTIONS, RLS, on_meta

N, GOAL, STEPS = 23, 0.2, 60
COURSE: dict[str, Any] = {
    "steps": STEPS, "learning_rate": 0.1, "schedule": "one_cycle_drop", "precision": "float32",
}  # fmt: skip


class Bowl:
    """A valley of each image's own steepness around its own answer, which counts its calls.

    Images of ``breaks`` are NaN beyond that distance from 0. ``unit`` belongs to all images.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, variables: Variables, given: Given, precision: str) -> Losses:
        self.calls += 1
        (x, z), (answer, steepness, breaks), (unit,) = variables, given["own"], given["unit"]
        broken = x.detach().norm(dim=1) > breaks
        slopes = torch.stack([torch.ones_like(steepness), steepness, steepness], 1)
        misfit = (slopes * (x - answer)).abs().mean(1) + (z - unit).abs().mean((1, 2))
        total = misfit + 0.01 * x.square().sum(1)
        nan = torch.where(broken, math.nan, 1.0)
        return {"loss_total": nan * total, "loss_fidelity": nan * misfit}


def problem(n: int = N) -> tuple[Variables, dict[str, Variables]]:
    """Return start and given: a few images break at once, a few only at the full rate."""
    random = torch.Generator().manual_seed(0)
    answer = torch.randn(n, 3, generator=random)
    steepness = torch.logspace(0, 1.2, n)[torch.randperm(n, generator=random)]
    breaks = torch.full((n,), math.inf)
    breaks[3::7], breaks[5::9] = 0.3, answer[5::9].norm(dim=1) + 0.05
    start = (torch.zeros(n, 3), torch.full((n, 2, 2), 0.5))
    return start, {"own": (answer, steepness, breaks), "unit": (torch.full((1, 2, 2), 0.75),)}


def walk(
    rows: Sequence[int] | None = None, lanes: int = 4, objective: Any = None, **facts: Any
) -> Found:
    """Search the images at ``rows`` of :func:`problem` in lanes."""
    start, given = problem()
    kept = torch.arange(N) if rows is None else torch.tensor(rows)
    given = {**given, "own": tuple(x[kept] for x in given["own"])}
    facts = {**COURSE, "stop_fidelity": GOAL, "progress": quiet(), **facts}
    start = tuple(x[kept] for x in start)
    return search_in_lanes(start, objective or Bowl(), given=given, lanes=lanes, **facts)


def of(found: Found, i: int) -> list[Any]:
    numbers = [x[i].tolist() for x in (*found.variables, *found.losses.values())]
    return [*numbers, found.status[i], int(need(found.steps_taken, "steps")[i])]


@pytest.fixture(scope="module")
def together() -> Found:
    return walk()


# ---- what an image finds -----------------------------------------------------------------------


def alone(image: int, rates: Sequence[float]) -> tuple[Variables, str, int]:
    """Return the iterate, how the search ended and its steps, by a loop over one image."""
    start, given = problem()
    own = {**given, "own": tuple(x[image : image + 1] for x in given["own"])}
    x: Any = [s[image : image + 1] for s in start]
    first, second, best, least = [0 * s for s in x], [0 * s for s in x], list(x), math.inf
    for step, rate in enumerate(rates, start=1):
        x = [s.detach().requires_grad_() for s in x]
        losses = Bowl()(tuple(x), own, "float32")
        total = losses["loss_total"]
        slopes = torch.autograd.grad(total.sum(), x)
        x = [s.detach() for s in x]
        value = float(total.detach())
        if float(losses["loss_fidelity"].detach()) <= GOAL:
            return tuple(x), "reached", step
        if not math.isfinite(value):
            return tuple(best), "failed", step
        if value < least:
            best, least = x, value
        first = [m.lerp(g, 1 - 0.9) for m, g in zip(first, slopes, strict=True)]
        second = [
            (0.999 * v).addcmul(g, g, value=1 - 0.999) for v, g in zip(second, slopes, strict=True)
        ]
        x = [
            s - rate / (1 - 0.9**step) * m / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
            for s, m, v in zip(x, first, second, strict=True)
        ]
    return tuple(best), "ended", len(rates)


def test_each_image_ends_as_by_a_plain_loop_over_it_alone(together: Found) -> None:
    ends = []
    for i in range(N):
        x, end, steps = alone(i, course("one_cycle_drop", 0.1, STEPS))
        status = OK
        if end == "failed":
            x_again, end, more = alone(i, course("one_cycle_drop", 0.05, STEPS))
            x, steps, status = x_again if end != "failed" else x, steps + more, RESTARTED
            status = NON_FINITE if end == "failed" else status
        ends.append((end, status))
        assert (together.status[i], need(together.steps_taken, "steps")[i]) == (status, steps)
        if status != NON_FINITE:
            for a, b in zip(together.variables, x, strict=True):
                assert torch.equal(a[i], b[0])
    expected = {(end, status) for end in ("reached", "ended") for status in (OK, RESTARTED)}
    assert set(ends) == expected | {("failed", NON_FINITE)}


@pytest.mark.parametrize("optimiser", [Adam, NormalisedGradient])
def test_a_goal_that_no_image_reaches_changes_no_bit_of_a_search(
    optimiser: type[Optimiser],
) -> None:
    facts = {"optimiser": optimiser, "progress": quiet(), **COURSE}
    start, given = problem()
    expected = search(start, Bowl(), given=given, **facts)
    for goal, lanes in ((1e-30, N), (1e-30, 5), (None, N)):
        found = walk(lanes=lanes, stop_fidelity=goal, **facts)
        assert list(found.status) == list(expected.status)
        pairs = [*zip(found.variables, expected.variables, strict=True)]
        pairs += [(found.losses[k], expected.losses[k]) for k in expected.losses]
        assert all(torch.equal(a, b) for a, b in pairs)
        if goal is None:
            assert found.steps_taken is None
        else:
            finite = found.status == OK
            assert finite.any() and (need(found.steps_taken, "steps")[finite] == STEPS).all()
    assert {OK, NON_FINITE} <= set(expected.status)


def test_an_image_that_stops_returns_the_iterate_that_reached_the_goal() -> None:
    def costly(variables: Variables, given: Given, precision: str) -> Losses:
        """Fit better the further x is from 0, at a price that is higher than the gain."""
        (x,) = variables
        fidelity = (x - 1).abs().mean(1)
        return {
            "loss_total": fidelity + 0.99 * x.abs().mean(1).detach() * 3,
            "loss_fidelity": fidelity,
        }

    found = search_in_lanes(
        (torch.zeros(2, 1),), costly, given={}, lanes=2, stop_fidelity=0.5, progress=quiet(),
        **{**COURSE, "schedule": "constant"},
    )  # fmt: skip
    assert bool((found.losses["loss_fidelity"] <= 0.5).all())
    assert bool((found.losses["loss_total"] > 1.0).all())  # It was 1 at the start.
    assert list(need(found.steps_taken, "steps")) == [6, 6]


def test_an_image_at_the_goal_has_not_failed_although_its_slope_is_infinite() -> None:
    def root(variables: Variables, given: Given, precision: str) -> Losses:
        total = variables[0].sqrt().sum(1)
        return {"loss_total": total, "loss_fidelity": total}

    found = search_in_lanes(
        (torch.zeros(2, 2),), root, given={}, lanes=1, stop_fidelity=GOAL, progress=quiet(),
        **COURSE,
    )  # fmt: skip
    assert list(found.status) == [OK, OK] and list(need(found.steps_taken, "steps")) == [1, 1]


# ---- what it does not depend on ----------------------------------------------------------------


def test_the_order_of_the_queue_the_neighbours_and_the_lanes_change_no_bit(
    together: Found,
) -> None:
    order = np.random.default_rng(1).permutation(N).tolist()
    shuffled = walk(order)
    assert all(of(shuffled, i) == of(together, row) for i, row in enumerate(order))
    for rows in (range(9), range(9, N), [4, 4, 4, 4], [*range(N), *range(N)]):
        some = walk(list(rows))
        assert all(of(some, i) == of(together, row) for i, row in enumerate(rows))
    for lanes in (1, 2, 7, N):  # Nothing of this objective rounds differently at other sizes.
        other = walk(lanes=lanes)
        assert all(of(other, i) == of(together, i) for i in range(N))


def test_recorded_steps_and_rare_looks_change_no_bit(
    together: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, bowl = RecordedOnCpu(), Bowl()
    searches = Searches(recorder)
    for at_once in (1, 5, 13):
        monkeypatch.setattr(module, "steps_at_once", lambda device, many=at_once: many)
        for _ in range(2):  # The second search uses the steps of the first.
            found = walk(objective=bowl, searches=searches)
            assert all(of(found, i) == of(together, i) for i in range(N))
    walk(objective=bowl, searches=searches, stop_fidelity=10.0)
    assert len(recorder.n_operators) == len(searches.kept) == 1


def test_a_search_and_one_in_lanes_share_no_steps(together: Found) -> None:
    searches, bowl = Searches(), Bowl()
    start, given = problem()
    facts = {**COURSE, "progress": quiet(), "searches": searches}
    plain = [search(start, bowl, given=given, **facts)]
    walk(lanes=N, objective=bowl, searches=searches)
    plain.append(search(start, bowl, given=given, **facts))
    assert [type(steps).__name__ for steps in searches.kept] == ["Steps", "LaneSteps"]
    assert torch.equal(plain[0].variables[0], plain[1].variables[0])


def test_a_step_looks_at_no_number_and_copies_nothing_from_the_host() -> None:
    tiny = images()
    start = (need(tiny.styles, "styles").mean.expand(8, 4, -1),)
    objective = on_meta(equation5.objective_of(tiny, RLS_PLAIN))
    given = on_meta(equation5.given_of(tiny, RLS_PLAIN))
    kept = LaneSteps(
        Walk(objective, Adam, None, 25, "float32"), on_meta(start), given, Searches().recorder
    )
    kept.run["float32"]()  # makes constants
    with OneDevice() as mode:
        kept.run["float32"]()
    assert 100 < mode.count < 700


# ---- what it saves -----------------------------------------------------------------------------


def test_lanes_of_images_that_start_at_the_answer_are_free_at_once() -> None:
    n, hard, lanes = 40, 3, 4
    start, given = problem(n)
    answer, steepness, _ = given["own"]
    x = answer.clone()
    x[:hard] = 100.0  # These take all steps.
    own = (answer, steepness, torch.full((n,), math.inf))
    bowl = Bowl()
    found = search_in_lanes(
        (x, torch.full((n, 2, 2), 0.75)), bowl, given={**given, "own": own}, lanes=lanes,
        stop_fidelity=GOAL, progress=quiet(), **COURSE,
    )  # fmt: skip
    assert list(need(found.steps_taken, "steps")) == [STEPS] * hard + [1] * (n - hard)
    # 37 easy images pass through one lane while the others walk; then all losses are evaluated.
    assert bowl.calls == STEPS + n // lanes


def test_no_lane_waits_while_the_queue_holds_images(together: Found) -> None:
    bowl = Bowl()
    found = walk(objective=bowl)
    taken = int(need(found.steps_taken, "steps").sum())
    assert bowl.calls - math.ceil(N / 4) <= taken // 4 + 2 * STEPS < N * STEPS // 4


def test_progress_tells_steps_of_the_batch_and_an_estimate_of_all() -> None:
    told: list[tuple[int, int]] = []

    class Kept(BatchProgress):
        def step(self, done: int, steps: int) -> None:
            told.append((done, steps))

    bowl = Bowl()
    walk(objective=bowl, progress=Kept(quiet().bar, 1))
    done, of_all = zip(*told, strict=True)
    assert list(done) == list(range(1, len(done) + 1)) and len(done) == bowl.calls - math.ceil(
        N / 4
    )
    assert all(d <= s <= max(d, math.ceil(N / 4) * STEPS) for d, s in told)
    assert of_all[0] == math.ceil(N / 4) * STEPS and of_all[-1] < 1.2 * done[-1]


# ---- whole images ------------------------------------------------------------------------------

RLS_PLAIN = replace(RLS, lambda_w=0.0, lambda_n=0.0)


def images() -> Problem:
    """Return eight images with noise maps of their own, of which one is NaN."""
    torch.set_num_threads(1)
    generator = tiny_generator()
    y = torch.rand(8, 2, 2, 2, generator=torch.Generator().manual_seed(5))
    y[3] = math.nan
    return make_problem(y, 4, generator=generator, styles=tiny_styles(generator), noise="per_image")


@pytest.mark.parametrize(
    "method", [rls, posterior.Sampler(replace(OPTIONS, kind=posterior.RESTARTS))]
)
def test_images_and_losses_of_eq_5_are_those_of_each_image_in_a_full_batch(method: Any) -> None:
    tiny, settings = images(), replace(RLS_PLAIN, stop_fidelity=0.1)
    together = method.super_resolve(replace(tiny, lanes=2), settings, quiet())
    steps = together.columns["steps_taken"]
    assert steps.min() < settings.steps and steps[3] == 2
    assert together.columns["search_status"][3] == NON_FINITE
    for i in range(8):
        filled = replace(select_rows(tiny, np.array([i, i])), lanes=2)
        one = method.super_resolve(filled, settings, quiet())
        assert torch.equal(one.images[0], together.images[i])
        assert torch.equal(need(one.latents, "w")[0], need(together.latents, "w")[i])
        for name, values in together.columns.items():
            numbers = values.dtype.kind == "f"
            assert np.array_equal(one.columns[name][:1], values[i : i + 1], equal_nan=numbers)
    early = steps < settings.steps
    early[3] = False
    assert (together.columns["loss_fidelity"][early] <= 0.1).all()
    away = (tiny.forward(together.images) - tiny.y).abs().mean((1, 2, 3)).numpy()
    assert np.allclose(away[early], together.columns["loss_fidelity"][early], atol=1e-5)


def test_without_a_goal_the_steps_are_not_reported() -> None:
    found = rls.super_resolve(images(), replace(RLS_PLAIN, steps=2), quiet())
    assert "steps_taken" not in found.columns


def test_rows_are_evaluated_in_batches_of_one_size() -> None:
    sizes = []

    def double(variables: Variables, given: Given) -> Losses:
        sizes.append((len(variables[0]), len(given["own"][0]), len(given["shared"][0])))
        return {"twice": 2 * variables[0] + given["own"][0] + given["shared"][0]}

    x, shared = torch.arange(7.0), torch.ones(1)
    found = by_lanes(double, (x,), {"own": (10 * x,), "shared": (shared,)}, 3)["twice"]
    assert torch.equal(found, 12 * x + 1) and sizes == [(3, 3, 1)] * 3


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("goal", [0.0, -0.1, math.nan])
def test_a_goal_that_is_no_number_above_0_is_refused(goal: float) -> None:
    with pytest.raises(InputError, match="expected a number above 0"):
        replace(RLS, stop_fidelity=goal)


def test_fewer_images_than_lanes_and_impossible_courses_are_refused() -> None:
    with pytest.raises(InputError, match="Found 2 images for 4 lanes"):
        walk([0, 1])
    with pytest.raises(InputError, match="schedule"):
        walk(steps=0)
