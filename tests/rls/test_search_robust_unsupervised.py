"""Three phases of normalised descent: test the length of steps and the definition of W++."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from rls.io.names import NON_FINITE, OK
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.search.filterwise import _convolution, _to_rgb, filter_counts, mean_styles, split
from rls.search.filterwise import synthesise as synthesise_filterwise
from rls.search.optimisers import NormalisedGradient
from rls.search.problem import (
    BatchProgress,
    Problem,
    Reconstruction,
    Styles,
    need,
    noise_maps,
    to_unit,
)
from rls.search.robust_unsupervised import Settings, super_resolve
from tests.rls.search_stand_ins import (
    LinearGenerator,
    make_problem,
    quiet,
    tiny_generator,
    tiny_styles,
)

BASE = Settings(steps=6, learning_rate_w=0.08, learning_rate_w_plus=0.02,
                learning_rate_w_plus_plus=0.005, above_16_px="stop")  # fmt: skip


@pytest.fixture(scope="module")
def tiny() -> Problem:
    generator = tiny_generator()
    y = torch.rand(4, 2, 2, 2, generator=torch.Generator().manual_seed(5))
    return make_problem(y, 4, generator=generator, styles=tiny_styles(generator))


@pytest.fixture(scope="module")
def solved(tiny: Problem) -> Reconstruction:
    return solve(tiny)


def solve(problem: Problem, settings: Settings = BASE) -> Reconstruction:
    return super_resolve(problem, settings, quiet())


def rows(problem: Problem, order: list[int]) -> Problem:
    ids = tuple(problem.image_ids[i] for i in order)
    return replace(problem, y=problem.y[order], image_ids=ids)


# ---- the step ----------------------------------------------------------------------------------


def test_every_vector_moves_one_rate_down_its_gradient_however_small_that_is() -> None:
    x = torch.randn(3, 5, 7)
    gradient = torch.randn(3, 5, 7) * torch.tensor([1.0, 1e-30, 1e10])[:, None, None]
    gradient[0, 2] = 0.0
    (moved,) = NormalisedGradient((x,)).step((x,), (gradient,), (torch.tensor([-0.02]),))
    away = moved - x
    lengths = torch.full((3, 5), 0.02)
    lengths[0, 2] = 0.0
    assert torch.allclose(away.norm(dim=2), lengths, atol=1e-6)
    there = lengths > 0
    direction = gradient.double()[there] / gradient.double()[there].norm(dim=1, keepdim=True)
    assert torch.allclose(away[there].double(), -0.02 * direction, atol=1e-6)


@pytest.mark.parametrize("plus", [False, True])
def test_far_from_y_the_search_walks_straight_at_its_rate(plus: bool) -> None:
    """There the L1 distance of a linear generator is linear in w: all steps go one way."""
    generator = LinearGenerator(3, 4, 1, 4)
    styles = Styles(torch.randn(50, 4), torch.zeros(4))
    problem = make_problem(torch.full((1, 1, 2, 2), 50.0), 2, generator=generator, styles=styles)
    rates = {"learning_rate_w_plus" if plus else "learning_rate_w": 0.05}
    off = {"learning_rate_w": 0.0, "learning_rate_w_plus": 0.0, "learning_rate_w_plus_plus": 0.0}
    found = solve(problem, replace(BASE, **(off | rates)))
    w = torch.zeros(1, 3, 4, requires_grad=True)
    low = problem.forward(to_unit(generator.synthesis(w)))
    (slope,) = torch.autograd.grad((problem.y - low).mean(), w)
    slope = slope if plus else slope.sum(dim=1, keepdim=True).expand(-1, 3, -1)
    expected = (
        -5 * 0.05 * slope / slope.norm(dim=2, keepdim=True)
    )  # The loss after the 6th is not evaluated.
    assert found.latents is not None and torch.allclose(found.latents, expected, atol=1e-5)


# ---- W++ ---------------------------------------------------------------------------------------


def test_equal_latents_of_all_filters_are_w_plus(tiny: Problem) -> None:
    generator = need(tiny.generator, "generator")
    counts = filter_counts(generator.synthesis)
    assert counts == [16, 16, 16, 2]  # The last serves toRGB alone.
    w = torch.randn(3, generator.num_ws, generator.w_dim)
    noise = [torch.randn(3, *shape[1:]) for shape in generator.noise_shapes]
    ours = synthesise_filterwise(generator.synthesis, split(w, counts), noise, "float32")
    assert torch.allclose(ours, generator.synthesis(w, noise=noise), atol=1e-5)
    assert torch.allclose(mean_styles(split(w, counts)), w, atol=1e-6)
    half = synthesise_filterwise(generator.synthesis, split(w, counts), noise, "bfloat16")
    assert 0 < float((half - ours).abs().max()) < 0.1


@pytest.mark.parametrize("clamp", [None, 0.5])
def test_a_filter_answers_as_the_layer_does_when_all_have_its_latent(
    tiny: Problem, clamp: float | None
) -> None:
    block = tiny_generator().synthesis.blocks()[1]
    latents = torch.randn(2, 16, 16)
    for layer, side in ((block.conv0, 4), (block.conv1, 8)):
        layer.clamp = clamp
        x, noise = torch.randn(2, 16, side, side), torch.randn(1, 1, 8, 8)
        found = _convolution(layer, x, latents, noise)
        for o in (0, 7, 15):
            assert torch.allclose(found[:, o], layer(x, latents[:, o], noise)[:, o], atol=1e-5)
    x = torch.randn(2, 16, 8, 8)
    found = _to_rgb(block.torgb, x, latents)
    for c in (0, 1):
        assert torch.allclose(found[:, c], block.torgb(x, latents[:, c])[:, c], atol=1e-5)


def test_gradients_of_filters_that_no_layer_uses_are_zero_and_the_others_are_not() -> None:
    generator = tiny_generator(16)
    counts = filter_counts(generator.synthesis)
    w = torch.randn(2, generator.num_ws, 16)
    latents = tuple(x.clone().requires_grad_() for x in split(w, [n + 3 for n in counts]))
    noise = [torch.randn(1, *shape[1:]) for shape in generator.noise_shapes]
    image = synthesise_filterwise(generator.synthesis, latents, noise, "float32")
    for gradient, n in zip(torch.autograd.grad(image.sum(), latents), counts, strict=True):
        assert not gradient[:, n:].any() and bool(gradient[:, :n].flatten(2).any(dim=2).all())


# ---- the three phases --------------------------------------------------------------------------


def test_each_phase_goes_on_where_the_one_before_was_best(
    tiny: Problem, solved: Reconstruction
) -> None:
    c = solved.columns
    assert (c["loss_w"] > c["loss_w_plus"]).all()
    assert (c["loss_w_plus"] > c["loss_w_plus_plus"]).all()
    assert np.array_equal(c["loss_w_plus_plus"], c["loss_total"])
    low = tiny.forward(solved.images)
    assert np.allclose((low - tiny.y).abs().mean((1, 2, 3)).numpy(), c["loss_fidelity"], atol=1e-6)
    assert list(c["search_status"]) == [OK] * 4


def test_a_phase_of_rate_0_is_left_out_and_what_is_left_is_the_same(
    tiny: Problem, solved: Reconstruction
) -> None:
    two = solve(tiny, replace(BASE, learning_rate_w_plus_plus=0.0))
    assert np.array_equal(two.columns["loss_w_plus"], solved.columns["loss_w_plus"])
    assert "loss_w_plus_plus" not in two.columns
    one = solve(tiny, replace(BASE, learning_rate_w_plus=0.0, learning_rate_w_plus_plus=0.0))
    assert one.latents is not None and torch.equal(
        one.latents[:, :1].expand(-1, 4, -1), one.latents
    )


def test_the_latents_are_the_image_in_w_plus_and_a_mean_in_w_plus_plus(
    tiny: Problem, solved: Reconstruction
) -> None:
    def image_of(w: Tensor | None) -> Tensor:
        assert w is not None and w.shape == (4, 4, 16)
        return to_unit(need(tiny.generator, "generator").synthesis(w, noise=noise_maps(tiny)))

    two = solve(tiny, replace(BASE, learning_rate_w_plus_plus=0.0))
    assert torch.equal(image_of(two.latents), two.images)
    # The filters take 5 steps of 0.005 from the same w+; their mean moves less.
    assert two.latents is not None and solved.latents is not None
    away = (solved.latents - two.latents).norm(dim=2)
    assert 0 < float(away.max()) < 5 * 0.005
    assert float((image_of(solved.latents) - solved.images).abs().max()) > 1e-3


def test_an_image_alone_in_a_filled_batch_is_bit_equal_to_it_in_company(
    tiny: Problem, solved: Reconstruction
) -> None:
    alone = solve(rows(tiny, [2] * 4))
    assert torch.equal(alone.images, solved.images[2].expand(4, -1, -1, -1))
    turned = solve(rows(tiny, [3, 1, 0, 2]))
    assert solved.latents is not None and turned.latents is not None
    assert torch.equal(turned.latents, solved.latents[[3, 1, 0, 2]])
    assert torch.equal(turned.images, solved.images[[3, 1, 0, 2]])


def test_an_image_of_nan_is_reported_after_all_phases(
    tiny: Problem, solved: Reconstruction
) -> None:
    y = tiny.y.clone()
    y[2] = math.nan
    found = solve(replace(tiny, y=y))
    assert list(found.columns["search_status"]) == [OK, OK, NON_FINITE, OK]
    for i in (0, 1, 3):
        assert torch.equal(found.images[i], solved.images[i])
    start = need(tiny.styles, "styles").mean.expand(4, 16)
    assert found.latents is not None and torch.allclose(found.latents[2], start, atol=1e-6)


def test_progress_counts_the_steps_of_all_phases(tiny: Problem) -> None:
    class Listening(BatchProgress):
        def step(self, done: int, steps: int) -> None:
            told.append((done, steps))

    told: list[tuple[int, int]] = []
    super_resolve(tiny, replace(BASE, steps=2), Listening(Progress(4, "t", "img", done=0), 1))
    assert told == [(i, 6) for i in range(1, 7)]


def test_large_low_resolution_images_are_refused_or_compared_by_pixels() -> None:
    generator = tiny_generator(64, w_dim=4)
    problem = make_problem(
        torch.rand(1, 2, 32, 32), 2, generator=generator, styles=tiny_styles(generator)
    )
    with pytest.raises(InputError, match="32 px, expected 16 px at most.*above_16_px: l1"):
        solve(problem, replace(BASE, steps=1))
    assert solve(problem, replace(BASE, steps=1, above_16_px="l1")).images.shape == (1, 2, 64, 64)
    just = make_problem(torch.rand(1, 2, 16, 16), 4, generator=generator, styles=problem.styles)
    assert solve(just, replace(BASE, steps=1)).images.shape == (1, 2, 64, 64)


@pytest.mark.parametrize("rates", [(0.0, 0.0, 0.0), (0.1, -0.1, 0.0)])
def test_rates_that_cannot_be_meant_are_refused(
    tiny: Problem, rates: tuple[float, float, float]
) -> None:
    settings = Settings(2, *rates, "stop")
    with pytest.raises(InputError, match="learning_rate_w, _w_plus"):
        solve(tiny, settings)
