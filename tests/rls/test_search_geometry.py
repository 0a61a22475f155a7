"""Spheres and angles: mathematics, and the numbers that the authors' programs gave.

Tolerances against those: 1e-5 relative to the norm of an array (float32, other order of sums).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rls.search.descent import search
from rls.search.geometry import (
    cosine_distance,
    geocross,
    leaky_moments,
    mean_square,
    onto_spheres,
    radii,
    style_radius,
    to_styles,
)
from rls.search.optimisers import Variables
from rls.search.schedule import one_cycle_drop
from rls.search.steps import Given, Losses
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.networks import Generator
from tests.rls.search_stand_ins import quiet

EXACT = 1e-5


def read(path: Path) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in np.load(path).items()}


@pytest.fixture
def pulse(golden: Path) -> dict[str, Tensor]:
    return read(golden / "pulse_misc.npz")


@pytest.fixture
def brgm(golden: Path) -> dict[str, Tensor]:
    return read(golden / "brgm.npz")


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).norm() / expected.norm())


def test_geocross_of_two_vectors_is_32_times_their_squared_angle() -> None:
    for angle in (0.3, math.pi / 2, 3.0):
        pair = torch.tensor([[[2.0, 0.0], [2 * math.cos(angle), 2 * math.sin(angle)]]])
        # In two of the four ordered pairs both vectors are the same.
        assert float(geocross(pair)[0]) == pytest.approx(64 * angle**2 / 2, rel=1e-4)


def test_geocross_ignores_length_and_turns() -> None:
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    x = x / x.norm(dim=2, keepdim=True)
    turn, _ = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))
    assert torch.allclose(geocross(7 * x @ turn), geocross(x), rtol=1e-6)


@pytest.mark.parametrize("term", [geocross, cosine_distance])
def test_tied_vectors_cost_nothing_and_have_a_finite_gradient(term) -> None:
    x = torch.randn(2, 1, 16).expand(2, 6, 16).clone().requires_grad_()
    cost = term(x)
    (gradient,) = torch.autograd.grad(cost.sum(), x)
    assert float(cost.detach().max()) < 1e-5
    assert float(gradient.abs().max()) < 1e-5


@pytest.mark.parametrize("term", [geocross, cosine_distance])
def test_gradients_match_finite_differences(term) -> None:
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(term, x)


def test_cosine_distance_counts_every_ordered_pair_of_its_own_image() -> None:
    w = torch.randn(3, 4, 6, dtype=torch.float64)
    expected = [
        sum(1 - torch.cosine_similarity(a, b, dim=0) for a in image for b in image) for image in w
    ]
    assert torch.allclose(cosine_distance(w), torch.stack(expected), rtol=1e-9)


def test_the_projection_restores_each_style_and_each_map_to_its_own_length() -> None:
    start = (torch.randn(2, 3, 8), torch.randn(2, 1, 4, 4))
    moved = tuple(3 * x + 1 for x in start)
    styles, maps = onto_spheres(moved, {"radii": radii(start)})
    assert torch.allclose(styles.norm(dim=2), start[0].norm(dim=2), rtol=1e-6)
    assert torch.allclose(maps.norm(dim=(2, 3)), start[1].norm(dim=(2, 3)), rtol=1e-6)
    along = torch.cosine_similarity(styles, moved[0], dim=2)
    assert torch.allclose(along, torch.ones_like(along))


def test_latents_of_styles_give_the_styles_back() -> None:
    w = torch.randn(500, 6) * 2 + 0.5
    mean, sd = leaky_moments(w)
    latent = (torch.where(w < 0, 5 * w, w) - mean) / sd
    assert torch.allclose(latent.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(latent.std(0), torch.ones(6), atol=1e-5)
    assert torch.allclose(to_styles(latent, mean, sd), w, atol=1e-5)


def test_the_style_radius_of_a_standard_normal_is_the_root_of_its_dimension() -> None:
    w = torch.randn(20000, 16, generator=torch.Generator().manual_seed(0)) + 3
    assert float(style_radius(w, torch.full((16,), 3.0))) == pytest.approx(4.0, rel=0.01)


@pytest.mark.parametrize("layers", [18, 12, 8])
def test_geocross_equals_the_published_one(pulse: dict[str, Tensor], layers: int) -> None:
    found = geocross(pulse[f"lat{layers}"]).sum()
    assert relative(found, pulse[f"geocross{layers}"]) < EXACT


def test_geocross_at_tied_vectors_and_its_gradient_equal_the_published_ones(
    pulse: dict[str, Tensor],
) -> None:
    drawn = np.random.RandomState(113).standard_normal((2, 1, 512)).astype(np.float32)
    tied = torch.from_numpy(drawn).expand(-1, 18, -1)
    # The angle is 2.5e-10, which comes from the term under the root alone.
    assert relative(geocross(tied).sum(), pulse["geocross18_tied"]) < EXACT
    x = pulse["lat12"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(geocross(x).sum(), x)
    assert relative(gradient, pulse["geocross12_grad"]) < EXACT


def test_the_squared_error_equals_the_published_one(pulse: dict[str, Tensor]) -> None:
    a, b, eps = pulse["lr_a"], pulse["lr_b"], float(pulse["eps"])
    assert relative(mean_square(a, b).clamp(min=eps).sum(), pulse["loss_l2"]) < EXACT
    clamped = mean_square(a, a).clamp(min=eps).sum()
    assert relative(clamped, pulse["loss_l2_clamped"]) < EXACT


def test_steps_on_the_spheres_equal_the_published_optimiser(pulse: dict[str, Tensor]) -> None:
    """Each step has a linear objective of its own, so that the gradients are the given ones."""
    start = (pulse["sph_p0"], pulse["sph_noise0"])
    seen: list[Variables] = []

    def linear(variables: Variables, given: Given, precision: str) -> Losses:
        step = min(len(seen), 1)
        seen.append(tuple(x.detach().clone() for x in variables))
        slopes = (pulse[f"sph_gp{step}"], pulse[f"sph_gn{step}"])
        terms = [(x * g).flatten(1).sum(1) for x, g in zip(variables, slopes, strict=True)]
        return {"loss_total": terms[0] + terms[1]}

    search(
        start, linear, given={"radii": radii(start)}, steps=3, learning_rate=0.4,
        schedule="constant", precision="float32", progress=quiet(), after_step=onto_spheres,
    )  # fmt: skip
    for step in (1, 2):
        for found, name in zip(seen[step], ("p", "noise"), strict=True):
            assert relative(found, pulse[f"sph_adam_{name}{step}"]) < EXACT


def test_the_published_cycle_is_ours_without_its_drop(pulse: dict[str, Tensor]) -> None:
    # nine tenths of 10/9 of the steps are all of them
    ours = [one_cycle_drop(9 * step, 1000) for step in range(100)]
    assert relative(torch.tensor(ours), pulse["lr_linear1cycle"]) < EXACT
    ours = [one_cycle_drop(step, 100) for step in range(100)]
    assert relative(torch.tensor(ours), pulse["lr_linear1cycledrop"]) < EXACT


def test_styles_and_moments_equal_the_published_ones(
    golden: Path, pulse: dict[str, Tensor], brgm: dict[str, Tensor]
) -> None:
    """Hold the moments of both methods over 20,000 styles of the tiny network."""
    generator = Generator(Architecture(32, 3, 64, 64, 2, 1024, 64))
    state = read(golden / "tiny_G_ema_state.npz")
    prefix = "mapping."
    generator.mapping.load_state_dict(
        {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
    )
    z = np.random.RandomState(150).standard_normal((20000, 64)).astype(np.float32)
    with torch.no_grad():
        w = generator.mapping(torch.from_numpy(z))[:, 0]
    assert relative(w[:256], pulse["g_w"]) < EXACT
    mean, sd = leaky_moments(w)
    assert relative(mean, pulse["g_mean20000"]) < EXACT
    assert relative(sd, pulse["g_std20000"]) < EXACT
    assert relative(to_styles(pulse["g_latent"], mean, sd), pulse["g_latent_to_w"]) < EXACT
    assert relative(w.mean(0), brgm["w_avg"][0, 0]) < EXACT
    assert relative(style_radius(w, w.mean(0)), brgm["w_std_scalar"]) < EXACT


def test_the_cosine_distance_and_its_gradient_equal_the_published_ones(
    brgm: dict[str, Tensor],
) -> None:
    w = brgm["ws"].clone().requires_grad_()
    found = cosine_distance(w)
    assert relative(found.detach()[0], brgm["cosine_item0"]) < EXACT
    assert relative(found.detach()[1], brgm["cosine_item1"]) < EXACT
    (gradient,) = torch.autograd.grad(found[0], w)
    assert relative(gradient, brgm["cosine_grad_item0"]) < EXACT


def test_the_normal_prior_and_its_gradient_equal_the_published_ones(
    brgm: dict[str, Tensor],
) -> None:
    w = brgm["ws"].clone().requires_grad_()
    radius, mean = brgm["w_std_scalar"], brgm["w_avg"]
    found = mean_square(w / radius, mean / radius)
    assert relative(found.detach()[0], brgm["w_loss_item0"]) < EXACT
    assert relative(found.detach().mean(), brgm["w_loss_batch2"]) < EXACT
    (gradient,) = torch.autograd.grad(found.mean(), w)
    assert relative(gradient, brgm["w_loss_grad_batch2"]) < EXACT
