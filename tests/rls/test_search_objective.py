"""Test the terms of Eq. 3 to 5."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch

from rls.io import Intensity
from rls.search.geometry import geocross
from rls.search.objective import (
    CROSS,
    camera_noise,
    fidelity,
    gaussian_misfit,
    mean_distance,
    norm_deviation,
    poisson_gaussian_misfit,
    prior,
    sum_squares,
)
from tests.rls.search_stand_ins import GaussianPrior


def test_fidelity_is_the_mean_over_channels_and_pixels_of_each_image() -> None:
    y = torch.zeros(2, 3, 4, 4)
    low = torch.stack([torch.full((3, 4, 4), 0.25), torch.full((3, 4, 4), -0.5)])
    assert torch.allclose(fidelity(y, low), torch.tensor([0.25, 0.5]))


def test_the_prior_is_the_mean_of_log_p_over_the_styles_of_each_image() -> None:
    w = torch.randn(3, 4, 5)
    flow = GaussianPrior(torch.zeros(5))
    expected = torch.stack([flow.log_prob(image).mean() for image in w])
    assert torch.allclose(prior(flow, w), expected)  # type: ignore[arg-type]


def test_sum_squares_equals_the_double_loop_as_printed() -> None:
    w = torch.randn(3, 6, 5, dtype=torch.float64)
    expected = torch.zeros(3, dtype=torch.float64)
    for i in range(6):
        for j in range(i + 1, 6):
            expected += (w[:, i] - w[:, j]).square().sum(1)
    assert torch.allclose(sum_squares(w), expected, rtol=1e-12)


def test_mean_distance_equals_the_double_loop() -> None:
    w = torch.randn(3, 6, 5, dtype=torch.float64)
    pairs = [(w[:, i] - w[:, j]).norm(dim=1) for i in range(6) for j in range(i + 1, 6)]
    assert torch.allclose(mean_distance(w), torch.stack(pairs).mean(0), rtol=1e-12)


def test_the_gradient_at_tied_styles_is_zero_and_not_nan() -> None:
    w = torch.randn(2, 1, 5).expand(2, 4, 5).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mean_distance(w).sum(), w)
    assert torch.equal(gradient, torch.zeros_like(w))
    partly = w.detach().clone()
    partly[:, 3] += 1.0
    partly.requires_grad_()
    (gradient,) = torch.autograd.grad(mean_distance(partly).sum(), partly)
    assert bool(torch.isfinite(gradient).all()) and float(gradient[:, 3].norm()) > 0


def test_the_cross_gradients_match_finite_differences() -> None:
    w = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mean_distance, w)
    assert torch.autograd.gradcheck(sum_squares, w)


def test_the_norm_deviation_is_zero_on_the_sphere_and_as_printed_off_it() -> None:
    class Identity:
        def to_noise(self, w: torch.Tensor) -> torch.Tensor:
            return w

    w = torch.randn(3, 4, 16)
    on_sphere = 4.0 * w / w.norm(dim=2, keepdim=True)
    flow: Any = Identity()
    torch.testing.assert_close(norm_deviation(flow, on_sphere), torch.zeros(3), atol=1e-10, rtol=0)
    expected = torch.stack([torch.stack([(v.norm() - 4.0) ** 2 for v in u]).mean() for u in w])
    torch.testing.assert_close(norm_deviation(flow, w), expected)


@pytest.mark.parametrize("term", [*CROSS.values(), geocross])
def test_no_gradient_is_added_up_in_an_order_that_threads_decide(term: Any) -> None:
    """Picking pairs by index gathers and scatters, which is not bit-equal when repeated."""
    nodes = [term(torch.randn(3, 5, 4, requires_grad=True)).sum().grad_fn]
    for node in nodes:
        nodes += [below for below, _ in node.next_functions if below and below not in nodes]
    kinds = {type(node).__name__ for node in nodes}
    assert "AccumulateGrad" in kinds
    assert not [kind for kind in kinds if re.match("Index|Gather|Scatter|Take|Put", kind)]


def test_the_variance_of_a_camera_is_shot_noise_and_the_square_of_the_read_noise() -> None:
    scale = Intensity(("dna", "nfkb"), (10.0, 0.0), (110.0, 50.0))
    y = torch.tensor([0.5, 0.2]).view(1, 2, 1, 1)
    variance, sd = camera_noise(y, scale, gain=2.0, read_noise=3.0)
    expected = [(2.0 * 60 + 9) / 100**2, (2.0 * 10 + 9) / 50**2]
    assert variance.flatten().tolist() == pytest.approx(expected)
    assert sd.tolist() == pytest.approx([(sum(expected) / 2) ** 0.5])


def test_the_camera_s_offset_is_no_light() -> None:
    y, scale = torch.full((1, 1, 2, 2), 0.5), Intensity(("dna",), (100.0,), (300.0,))
    dark, dim = (camera_noise(y, scale, 2.0, 3.0, at)[0][0, 0, 0, 0] for at in (200.0, 90.0))
    assert dark.item() == pytest.approx(9 / 200**2)
    assert dim.item() == pytest.approx((2 * 110 + 9) / 200**2)


def test_misfits_of_noise_are_minus_its_log_density_times_its_sd() -> None:
    y, low = torch.rand(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    for sd in (0.1, 2.0):
        density = -torch.distributions.Normal(0.0, sd).log_prob(y - low)
        constant = math.log(sd) + 0.5 * math.log(2 * math.pi)
        expected = sd * (density - constant).mean(dim=(1, 2, 3))
        torch.testing.assert_close(gaussian_misfit(y, low, sd), expected)
        noise = (torch.full_like(y, sd**2), torch.full((3,), sd))
        torch.testing.assert_close(poisson_gaussian_misfit(y, low, noise), expected)
