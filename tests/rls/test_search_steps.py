"""Steps of a search: bit-equal to a plain loop, recorded or not, and from batch to batch."""

from __future__ import annotations

import copy
import math
import os
import signal
import weakref
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

from rls.io import Intensity
from rls.io.names import NON_FINITE, OK, RESTARTED, SOLUTION_KINDS
from rls.prior.whitening import Whitening
from rls.runtime.device import tensor_float32
from rls.runtime.errors import GraphError
from rls.runtime.progress import Progress
from rls.runtime.stopping import Stopped, Watch
from rls.search import brgm, equation5, posterior, pulse, rls, robust_unsupervised
from rls.search.batches import select_rows
from rls.search.descent import FLOAT32_SHARE, search
from rls.search.forward import forward_operator
from rls.search.forward_model import OperatorSettings, model_of
from rls.search.optimisers import Variables
from rls.search.problem import BatchProgress, Problem, Reconstruction, need
from rls.search.schedule import SCHEDULES
from rls.search.steps import Given, Losses, Searches, Steps
from tests.rls.recorded_on_cpu import OneDevice, RecordedOnCpu
from tests.rls.search_stand_ins import (
    Mark,
    make_problem,
    quiet,
    tiny_flow,
    tiny_generator,
    tiny_styles,
)

RLS = rls.Settings(
    steps=25, learning_rate=0.5, learning_rate_unit="absolute", schedule="one_cycle_drop",
    lambda_w=5.0e-5, lambda_c=0.01, lambda_n=1.0e-3, cross="mean_distance",
)  # fmt: skip
PULSE = pulse.Settings(
    steps=25, learning_rate=0.4, schedule="one_cycle_drop", lambda_l2=100.0, lambda_geocross=0.05,
    geocross_on="sphere", epsilon=1.0e-4, trainable_noise_layers=2, zero_last_noise=True,
    tile_latent=False,
)  # fmt: skip
BRGM = brgm.Settings(
    steps=25, learning_rate=0.1, schedule="one_cycle_drop", lambda_pixel=0.001,
    lambda_perceptual=0.0, lambda_w=100.0, lambda_c=None, forward_op="interpolate_noaa",
)  # fmt: skip
ROBUST = robust_unsupervised.Settings(
    steps=25, learning_rate_w=0.08, learning_rate_w_plus=0.02, learning_rate_w_plus_plus=0.005,
    above_16_px="stop",
)  # fmt: skip
OPTIONS = posterior.Options(
    kind="", n_solutions=2, temperature=0.01, sigma_start=1.0, sigma_learning_rate=0.1,
    inverse_gamma_alpha=0.1, inverse_gamma_beta=0.95, restart_spread=0.4,
)  # fmt: skip
WHITENED = replace(
    RLS, steps=14, lambda_w=1.0, lambda_n=0.0, prior="normal", start="random", steps_w=14,
    lambda_start=0.1, coordinates="whitened", lambda_unit="per_value", noise_scale=0.02,
)  # fmt: skip
PHASES = {"robust_unsupervised": 3, "rls_whitened": 2}
METHODS: dict[str, tuple[Any, Any]] = {
    "rls": (rls, RLS),
    "rls_unregularized": (rls, replace(RLS, lambda_w=0.0, lambda_c=0.0, lambda_n=0.0)),
    "rls_camera": (rls, replace(RLS, likelihood="poisson_gaussian", gain=0.5, read_noise=3.0)),
    "rls_whitened": (rls, WHITENED),
    "pulse": (pulse, PULSE),
    "brgm": (brgm, BRGM),
    "robust_unsupervised": (robust_unsupervised, ROBUST),
    **{
        kind: (posterior.Sampler(replace(OPTIONS, kind=kind)), replace(RLS, learning_rate=0.2))
        for kind in SOLUTION_KINDS
    },
}


@pytest.fixture(scope="module")
def tiny() -> Problem:
    """Return three batches of two images, of which one is NaN."""
    torch.set_num_threads(1)
    generator = tiny_generator()
    styles = tiny_styles(generator)
    y = torch.rand(6, 2, 2, 2, generator=torch.Generator().manual_seed(5))
    y[3] = math.nan
    flow, scale = tiny_flow(styles.w), Intensity(("a", "b"), (100.0, 50.0), (1100.0, 2050.0))
    own = {"noise": "per_image", "intensity": scale}
    return make_problem(y, 4, generator=generator, flow=flow, styles=styles, **own)


def batches(problem: Problem, name: str, settings: Any = None) -> list[Reconstruction]:
    method, own = METHODS[name]
    parts = [select_rows(problem, np.arange(i, i + 2)) for i in range(0, len(problem.y), 2)]
    return [method.super_resolve(part, settings or own, quiet()) for part in parts]


def same(found: Reconstruction, expected: Reconstruction) -> bool:
    pairs = [(found.images, expected.images), (found.latents, expected.latents)]
    columns = found.columns.keys() == expected.columns.keys()
    for name, values in expected.columns.items():
        columns = columns and np.array_equal(
            found.columns[name], values, equal_nan=values.dtype.kind == "f"
        )
    return columns and all(torch.equal(need(a, "x"), need(b, "x")) for a, b in pairs)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", list(METHODS))
def test_later_batches_and_recorded_steps_give_the_bits_of_a_fresh_search(
    tiny: Problem, name: str, precision: str
) -> None:
    recorder = RecordedOnCpu()
    fresh = []
    for i in range(3):
        part = select_rows(tiny, np.arange(2 * i, 2 * i + 2))
        fresh += batches(replace(part, precision=precision, searches=Searches()), name)
    eager = batches(replace(tiny, precision=precision, searches=Searches()), name)
    kept = Searches(recorder)
    recorded = batches(replace(tiny, precision=precision, searches=kept), name)
    for a, b, c in zip(fresh, eager, recorded, strict=True):
        assert same(b, a) and same(c, a)
    phases = PHASES.get(name, 1)
    assert len(recorder.n_operators) == phases * (1 if precision == "float32" else 2)
    assert len(kept.kept) == phases


def test_a_measured_psf_is_recorded_with_the_same_bits(tiny: Problem, tmp_path: Path) -> None:
    path = tmp_path / "psf.tif"
    psf = np.random.default_rng(0).random((3, 5), dtype=np.float32)
    tifffile.imwrite(path, psf, photometric="minisblack")
    given = {"operator": "psf_binning", "psf_file": str(path), "shift_px": (0.5, -1.0)}
    model = replace(model_of(OperatorSettings(**given)), blur_sd_px=0.5)
    problem = replace(tiny, forward=forward_operator(model, 8, 4, 1.0))
    recorder = RecordedOnCpu()
    eager = batches(replace(problem, searches=Searches()), "rls")
    recorded = batches(replace(problem, searches=Searches(recorder)), "rls")
    assert all(same(b, a) for a, b in zip(eager, recorded, strict=True))
    assert len(recorder.n_operators) == 1
    assert not same(eager[0], batches(replace(tiny, searches=Searches()), "rls")[0])


# ---- one search against a plain loop -----------------------------------------------------------


def adam(rates: list[float], slope: Any, x: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """Return the best x and which images stayed finite, by a loop as a textbook has it."""
    first, second = torch.zeros_like(x), torch.zeros_like(x)
    best, least = x, torch.full((len(x),), math.inf)
    alive = torch.ones(len(x), dtype=torch.bool)
    switch = len(rates) - round(FLOAT32_SHARE * len(rates)) if precision == "bfloat16" else -1
    for step, rate in enumerate(rates):
        if step == switch:
            precision = "float32"
            least = slope(best, precision)[0]
            least = torch.where(torch.isfinite(least), least, math.inf)
        total, gradient = slope(x, precision)
        better = torch.isfinite(total) & (total < least)
        best = torch.where(better[:, None, None], x, best)
        least = torch.where(better, total, least)
        alive = alive & torch.isfinite(total) & torch.isfinite(gradient).all(dim=(1, 2))
        gradient = torch.where(alive[:, None, None], gradient, 0.0)
        first = first.lerp(gradient, 1 - 0.9)
        second = (0.999 * second).addcmul(gradient, gradient, value=1 - 0.999)
        root = (second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
        moved = x - rate / (1 - 0.9 ** (step + 1)) * first / root
        x = torch.where(alive[:, None, None], moved, x)
    return best, alive


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_search_is_bit_equal_to_a_plain_loop_with_an_image_that_is_searched_twice(
    tiny: Problem, precision: str
) -> None:
    generator, styles = need(tiny.generator, "generator"), need(tiny.styles, "styles")
    equation = equation5.objective_of(tiny, RLS)
    given, steps = equation5.given_of(tiny, RLS), 40

    def objective(variables: Variables, given: Given, kind: Any) -> Losses:
        """Fail far from the start at the full rate, and everywhere for the image of NaN."""
        far = (variables[0] - styles.mean).detach().abs().amax(dim=(1, 2)) > limit
        total = equation(variables, given, kind)["loss_total"]
        return {"loss_total": torch.where(far, math.nan, total)}

    def slope(x: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        total = objective((x,), given, kind)["loss_total"]
        return total.detach(), torch.autograd.grad(total.sum(), x)[0]

    start = styles.mean.expand(len(tiny.y), generator.num_ws, -1)
    rates = [SCHEDULES["one_cycle_drop"](step, steps) for step in range(steps)]
    limit = math.inf
    furthest = (adam([0.5 * r for r in rates], slope, start, precision)[0] - styles.mean).abs()
    reached = furthest.amax(dim=(1, 2))[torch.arange(6) != 3]
    # Paths round differently on other CPUs: take a limit at which all three endings occur.
    limits = [scale * value for scale in (1.0, 1.5) for value in reached.sort().values.tolist()]
    for limit in limits:  # noqa: B007 the objective reads it
        best, alive = adam([0.5 * rate for rate in rates], slope, start, precision)
        again, alive_again = adam([0.25 * rate for rate in rates], slope, start, precision)
        restarted = ~alive & alive_again
        if bool(alive.any()) and bool(restarted.any()):
            break
    found = search(
        (start,), objective, given=given, steps=steps, learning_rate=0.5, precision=precision,  # type: ignore[arg-type]
        schedule="one_cycle_drop", progress=quiet(),
    )  # fmt: skip
    assert torch.equal(found.variables[0][alive], best[alive])
    assert torch.equal(found.variables[0][restarted], again[restarted])
    expected = np.select([alive.numpy(), restarted.numpy()], [OK, RESTARTED], NON_FINITE)
    assert list(found.status) == list(expected) and set(expected) == {OK, RESTARTED, NON_FINITE}


def test_a_recorded_search_starts_again_at_half_the_rate() -> None:
    def cliff(variables: Variables, given: Given, precision: str) -> Losses:
        (x,), (index,) = variables, given["index"]
        fell = (x.detach().norm(dim=1) > 2.43) & (index == 1)
        return {"loss_total": torch.where(fell, math.nan, (x - 1.0).square().sum(1))}

    facts: dict[str, Any] = {
        "given": {"index": (torch.arange(3),)}, "steps": 30, "learning_rate": 1.2,
        "schedule": "constant", "precision": "float32", "progress": quiet(),
    }  # fmt: skip
    start = (torch.zeros(3, 2),)
    eager = search(start, cliff, **facts)
    recorded = search(start, cliff, searches=Searches(RecordedOnCpu()), **facts)
    assert list(eager.status) == list(recorded.status) == [OK, RESTARTED, OK]
    assert torch.equal(recorded.variables[0], eager.variables[0])


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_signal_is_answered_within_twenty_steps(on_gpu: bool) -> None:
    asked, given_steps = 37, 0

    def count(given: Given) -> None:
        nonlocal given_steps
        given_steps += 1
        if given_steps == asked:
            os.kill(os.getpid(), signal.SIGTERM)

    def bowl(variables: Variables, given: Given, precision: str) -> Losses:
        return {"loss_total": variables[0].square().sum(1)}

    searches = Searches()
    searches.event = Mark if on_gpu else None
    with Watch("test") as watch, pytest.raises(Stopped, match="on SIGTERM, after 0 of 1 images"):
        search(
            (torch.ones(1, 2),), bowl, given={}, steps=200, learning_rate=0.1,
            schedule="constant", precision="float32", searches=searches, before_step=count,
            progress=BatchProgress(Progress(1, "test", "img"), 1, watch),
        )  # fmt: skip
    assert given_steps - asked <= (20 if on_gpu else 0)


# ---- what keeps batches apart ------------------------------------------------------------------


def test_an_objective_that_holds_something_of_its_batch_gets_steps_of_its_own() -> None:
    searches = Searches()
    for value in (1.0, 2.0):

        def bowl(variables: Variables, given: Given, precision: str, at: float = value) -> Losses:
            return {"loss_total": (variables[0] - at).square().sum(1)}

        found = search(
            (torch.zeros(2, 3),), bowl, given={}, steps=200, learning_rate=0.1,
            schedule="one_cycle_drop", precision="float32", progress=quiet(), searches=searches,
        )  # fmt: skip
        assert torch.allclose(found.variables[0], torch.tensor(value), atol=1e-3)
    assert len(searches.kept) == 2


def test_other_settings_and_sizes_get_steps_of_their_own_and_few_are_kept(tiny: Problem) -> None:
    problem, short = replace(tiny, searches=Searches()), replace(RLS, steps=1)
    kept = problem.searches.kept
    rls.super_resolve(problem, short, quiet())
    rls.super_resolve(select_rows(problem, np.array([5, 4, 3, 2, 1, 0])), short, quiet())
    assert len(kept) == 1
    rls.super_resolve(problem, replace(short, lambda_c=0.5), quiet())
    rls.super_resolve(select_rows(problem, np.arange(2)), short, quiet())
    rls.super_resolve(replace(problem, noise="shared"), short, quiet())
    assert len(kept) == 3 and len(kept[0].x[0]) == 6


def test_steps_that_are_dropped_leave_no_memory_behind(tiny: Problem) -> None:
    problem = replace(tiny, searches=Searches(RecordedOnCpu()))
    rls.super_resolve(problem, replace(RLS, steps=1), quiet())
    steps = weakref.ref(problem.searches.kept[0])
    problem.searches.forget()
    assert steps() is None


# ---- what a GPU would refuse -------------------------------------------------------------------


class Caught(Exception):
    """Carries what determines a search."""


def on_meta(part: Any) -> Any:
    """Return a copy of an objective, of networks or of tensors without numbers."""
    if isinstance(part, Whitening):
        return part.to(torch.device("meta"))
    if isinstance(part, Tensor | torch.nn.Module):
        return copy.deepcopy(part).to("meta")
    if isinstance(part, tuple | list):
        return tuple(map(on_meta, part))
    if isinstance(part, dict):
        return {name: on_meta(value) for name, value in part.items()}
    if is_dataclass(part) and callable(part):
        found = {field.name: getattr(part, field.name) for field in fields(part)}
        return replace(part, **{name: on_meta(value) for name, value in found.items()})  # type: ignore[type-var]
    return part


@pytest.mark.parametrize("name", list(METHODS))
def test_a_step_looks_at_no_number_and_copies_nothing_from_the_host(
    tiny: Problem, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors without numbers raise an error wherever one is looked at."""

    def caught(self: Searches, *facts: Any) -> None:
        raise Caught(*facts)

    monkeypatch.setattr(Searches, "steps", caught)
    with pytest.raises(Caught) as error:
        batches(replace(tiny, precision="bfloat16"), name)
    walk, start, given = error.value.args
    walk = replace(walk, objective=on_meta(walk.objective))
    steps = Steps(walk, on_meta(start), on_meta(given), Searches().recorder)
    for kind, run in steps.run.items():
        run()  # makes constants
        with OneDevice() as mode:
            run()
        assert 100 < mode.count < 700, kind


def test_an_objective_that_looks_at_a_number_ends_in_a_sentence() -> None:
    def looks(variables: Variables, given: Given, precision: str) -> Losses:
        total = variables[0].square().sum(1)
        return {"loss_total": total * (2.0 if float(total.detach()[0]) > 1 else 1.0)}

    with pytest.raises(GraphError, match="a CUDA graph of a search step in float32 could not be"):
        search(
            (torch.ones(1, 2),), looks, given={}, steps=9, learning_rate=0.1, progress=quiet(),
            schedule="constant", precision="float32", searches=Searches(RecordedOnCpu()),
        )  # fmt: skip


def test_an_objective_that_cannot_be_recorded_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    class Stubborn:
        not_recorded = "VGG16 is a TorchScript module"

        def __call__(self, variables: Variables, given: Given, precision: str) -> Losses:
            return {"loss_total": variables[0].square().sum(1)}

    recorder = RecordedOnCpu()
    search(
        (torch.ones(1, 2),), Stubborn(), given={}, steps=9, learning_rate=0.1, progress=quiet(),
        schedule="constant", precision="float32", searches=Searches(recorder),
    )  # fmt: skip
    assert not recorder.n_operators
    said = "search steps in CUDA graphs: no, VGG16 is a TorchScript module"
    assert said in capsys.readouterr().out


# ---- TF32 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tf32_is_for_searches_that_begin_in_bfloat16_and_never_for_what_is_reported(
    precision: Any,
) -> None:
    seen: list[tuple[str, bool, bool, bool]] = []

    def watched(variables: Variables, given: Given, kind: str) -> Losses:
        flags = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
        seen.append((kind, variables[0].requires_grad, *flags))
        return {"loss_total": variables[0].square().sum(1)}

    with tensor_float32(True, products=True):  # as a process may have it
        search(
            (torch.ones(1, 2),), watched, given={}, steps=20, learning_rate=0.1, progress=quiet(),
            schedule="constant", precision=precision,
        )  # fmt: skip
    exact = ("float32", False, False, False)
    if precision == "float32":
        assert seen == [("float32", True, False, False)] * 20 + [exact]
    else:
        end = [("float32", False, True, False), *[("float32", True, True, False)] * 2]
        assert seen == [*[("bfloat16", True, True, True)] * 18, *end, exact]


def test_weights_in_two_types_stay_where_they_are_while_steps_take_turns(tiny: Problem) -> None:
    generator = need(tiny.generator, "generator")
    kinds: tuple[Any, ...] = ("bfloat16", "float32")
    w = torch.zeros(1, generator.num_ws, generator.w_dim)
    places = []
    for precision in (*kinds, *kinds):
        generator.synthesis(w, precision=precision)
        held = [layer._frozen for layer in generator.synthesis.layers()]
        places.append([x.data_ptr() for one in held for x in one[torch.bfloat16][1:]])
    assert all(place == places[0] for place in places)
