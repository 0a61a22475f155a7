"""Regularised latent search: test known minimisers, and that images are independent."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rls.io.names import NON_FINITE, OK, RESTARTED
from rls.runtime.errors import InputError
from rls.search.bicubic import Settings as BicubicSettings
from rls.search.bicubic import super_resolve as bicubic
from rls.search.objective import norm_deviation
from rls.search.problem import Problem, Reconstruction, Styles, need, noise_maps
from rls.search.rls import Settings, super_resolve
from tests.rls.search_stand_ins import (
    GaussianPrior,
    LinearGenerator,
    make_problem,
    quiet,
    tiny_flow,
    tiny_generator,
    tiny_styles,
)

BASE = Settings(
    steps=40, learning_rate=0.5, learning_rate_unit="absolute", schedule="one_cycle_drop",
    lambda_w=5.0e-5, lambda_c=0.01, lambda_n=0.0, cross="mean_distance",
)  # fmt: skip
PLAIN = replace(BASE, lambda_w=0.0, lambda_c=0.0)


@pytest.fixture(scope="module")
def tiny() -> Problem:
    torch.set_num_threads(1)
    generator = tiny_generator()
    styles = tiny_styles(generator)
    y = torch.rand(4, 2, 2, 2, generator=torch.Generator().manual_seed(5))
    return make_problem(y, 4, generator=generator, flow=tiny_flow(styles.w), styles=styles)


def rows(problem: Problem, order: list[int]) -> Problem:
    ids = tuple(problem.image_ids[i] for i in order)
    return replace(problem, y=problem.y[order], image_ids=ids)


def solve(problem: Problem, settings: Settings) -> Reconstruction:
    return super_resolve(problem, settings, quiet())


def test_without_regularisation_a_linear_generator_is_inverted() -> None:
    generator = LinearGenerator(2, 4, 2, 4)
    # Each of 8 unknowns is a block of 2 x 2 px of one channel, of which D makes about one pixel.
    blocks = torch.eye(8).view(8, 2, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    generator.matrix = blocks.reshape(8, -1)
    styles = Styles(torch.randn(50, 4), torch.zeros(4))
    truth = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(1))
    problem = make_problem(torch.zeros(3, 2, 2, 2), 2, generator=generator, styles=styles)
    y = problem.forward((generator.synthesis(truth) + 1) / 2)
    found = solve(replace(problem, y=y), replace(PLAIN, steps=400, learning_rate=0.2))
    assert found.columns["loss_fidelity"].max() < 1e-3
    assert found.latents is not None and torch.allclose(found.latents, truth, atol=0.01)
    assert np.isnan(found.columns["log_prior"]).all()  # no flow was given


@pytest.mark.parametrize("cross", [0.0, 0.3])
def test_with_priors_the_search_finds_the_minimiser_of_the_quadratic(cross: float) -> None:
    """Far below y the fidelity is linear in w; only the prior and sum_squares are curved."""
    generator, mu = LinearGenerator(3, 4, 1, 4), torch.randn(4)
    styles = Styles(torch.randn(50, 4), torch.zeros(4))
    problem = make_problem(
        torch.full((1, 1, 2, 2), 50.0), 2, generator=generator, styles=styles,
        flow=GaussianPrior(mu),
    )  # fmt: skip
    settings = replace(
        PLAIN, steps=600, learning_rate=0.1, lambda_w=1.0, lambda_c=cross, cross="sum_squares"
    )
    zero = torch.zeros(1, 3, 4, requires_grad=True)
    low = problem.forward((generator.synthesis(zero) + 1) / 2)
    (slope,) = torch.autograd.grad((problem.y - low).mean(), zero)
    # The gradient is slope + (w_i - mu)/L + 2 cross (L w_i - sum_j w_j) = 0
    coupling = torch.eye(3) / 3 + 2 * cross * (3 * torch.eye(3) - torch.ones(3, 3))
    expected = torch.linalg.solve(coupling, mu / 3 - slope[0])
    found = solve(problem, settings)
    assert found.latents is not None
    assert torch.allclose(found.latents[0], expected, atol=0.02)


def test_the_columns_add_up_to_the_total_of_the_returned_image(tiny: Problem) -> None:
    found = solve(tiny, BASE)
    c = found.columns
    total = c["loss_fidelity"] - BASE.lambda_w * c["log_prior"] + BASE.lambda_c * c["loss_cross"]
    assert np.allclose(c["loss_total"], total, atol=1e-6)
    low = tiny.forward(found.images)
    assert np.allclose((low - tiny.y).abs().mean((1, 2, 3)).numpy(), c["loss_fidelity"], atol=1e-6)
    assert list(c["search_status"]) == [OK] * 4


def test_the_released_codes_norm_term_adds_up_and_pulls_the_norm_to_the_sphere(
    tiny: Problem,
) -> None:
    released = replace(BASE, lambda_n=1.0e-2)
    c, without = solve(tiny, released).columns, solve(tiny, BASE).columns
    terms = c["loss_fidelity"] - BASE.lambda_w * c["log_prior"] + BASE.lambda_c * c["loss_cross"]
    assert np.allclose(c["loss_total"], terms + 1.0e-2 * c["loss_norm"], atol=1e-6)
    assert "loss_norm" not in without

    def deviation(settings: Settings) -> float:
        found, flow = solve(tiny, settings).latents, need(tiny.flow, "flow")
        assert found is not None
        return float(norm_deviation(flow, found).mean())

    assert deviation(released) < deviation(BASE)


def test_a_search_lowers_the_fidelity_and_the_priors_hold_it_near_the_mean(tiny: Problem) -> None:
    start = solve(tiny, replace(PLAIN, steps=1)).columns["loss_fidelity"]
    free = solve(tiny, PLAIN)
    bound = solve(tiny, replace(BASE, lambda_w=1.0e-2, lambda_c=0.1))
    assert (free.columns["loss_fidelity"] < 0.5 * start).all()
    assert (bound.columns["log_prior"] > free.columns["log_prior"]).all()
    assert (bound.columns["loss_cross"] < free.columns["loss_cross"]).all()


def test_an_image_alone_in_a_filled_batch_is_bit_equal_to_it_in_company(tiny: Problem) -> None:
    together = solve(tiny, BASE)
    for i in range(4):
        alone = solve(rows(tiny, [i] * 4), BASE)
        assert torch.equal(alone.images[0], together.images[i])
        assert torch.equal(alone.images[3], together.images[i])
    turned = solve(rows(tiny, [3, 1, 0, 2]), BASE)
    assert together.latents is not None and turned.latents is not None
    assert torch.equal(turned.latents, together.latents[[3, 1, 0, 2]])


def test_noise_maps_per_image_belong_to_the_image(tiny: Problem) -> None:
    own = replace(tiny, noise="per_image")
    maps, turned = noise_maps(own), noise_maps(rows(own, [2, 0, 1, 3]))
    assert all(torch.equal(a[[2, 0, 1, 3]], b) for a, b in zip(maps, turned, strict=True))
    assert not torch.equal(maps[-1][0], maps[-1][1])
    assert [m.shape[0] for m in noise_maps(tiny)] == [1] * len(maps)
    assert not torch.equal(solve(own, BASE).images, solve(tiny, BASE).images)


def test_an_image_that_is_not_finite_restarts_and_the_others_stay_as_they_were() -> None:
    generator = LinearGenerator(2, 4, 1, 4)
    styles = Styles(torch.randn(50, 4), torch.zeros(4))
    y = torch.rand(3, 1, 2, 2)
    y[1] += 2.0
    problem = make_problem(y, 2, generator=generator, styles=styles)
    settings = replace(PLAIN, schedule="constant", learning_rate=0.5)
    calm = solve(problem, settings)
    norms = calm.latents.flatten(1).norm(dim=1)  # type: ignore[union-attr]
    generator.breaks_above = float(norms[1]) * 0.5
    found = solve(problem, settings)
    assert found.columns["search_status"][1] in (RESTARTED, NON_FINITE)
    assert np.isfinite(found.columns["loss_total"]).all()
    assert bool(torch.isfinite(found.images).all())


def test_an_image_of_nan_is_reported_and_its_neighbours_are_not_touched(tiny: Problem) -> None:
    y = tiny.y.clone()
    y[2] = math.nan
    found, clean = solve(replace(tiny, y=y), BASE), solve(tiny, BASE)
    assert list(found.columns["search_status"]) == [OK, OK, NON_FINITE, OK]
    assert bool(torch.isfinite(found.images).all())
    for i in (0, 1, 3):
        assert torch.equal(found.images[i], clean.images[i])


def test_the_relative_rate_is_measured_in_spreads_of_w(tiny: Problem) -> None:
    assert tiny.styles is not None
    rate = BASE.learning_rate / float(tiny.styles.sd.mean())
    relative = replace(BASE, learning_rate=rate, learning_rate_unit="relative")
    assert torch.allclose(solve(tiny, relative).images, solve(tiny, BASE).images, atol=1e-4)


def test_a_missing_part_is_named(tiny: Problem) -> None:
    with pytest.raises(InputError, match="--flow"):
        solve(replace(tiny, flow=None), BASE)
    with pytest.raises(InputError, match="--generator"):
        solve(replace(tiny, generator=None), PLAIN)
    with pytest.raises(InputError, match="--styles"):
        solve(replace(tiny, styles=None), PLAIN)
    assert solve(replace(tiny, flow=None), PLAIN).images.shape == (4, 2, 8, 8)


def test_bicubic_needs_nothing_and_keeps_a_constant(tiny: Problem) -> None:
    bare = replace(tiny, generator=None, flow=None, styles=None, y=torch.full((4, 2, 2, 2), 0.3))
    found = bicubic(bare, BicubicSettings(), quiet())
    assert torch.allclose(found.images, torch.full((4, 2, 8, 8), 0.3), atol=1e-6)
    assert found.latents is None and found.columns["loss_fidelity"].max() < 1e-6
