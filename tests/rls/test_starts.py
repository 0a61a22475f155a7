"""Where a search starts, the coordinates in which it walks, and the units of its lambdas."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rls.encoder.network import Encoder, Shape
from rls.prior.whitening import undo_activation
from rls.runtime.errors import InputError
from rls.search import brgm, pulse, robust_unsupervised
from rls.search.equation5 import objective_of, weights_of
from rls.search.geometry import leaky_moments
from rls.search.problem import Problem, Reconstruction, Styles, noise_maps, to_unit
from rls.search.rls import Settings, super_resolve
from rls.search.starts import start_of
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
    steps=10, learning_rate=0.1, learning_rate_unit="absolute", schedule="one_cycle_drop",
    lambda_w=5.0e-5, lambda_c=0.01, lambda_n=0.0, cross="mean_distance",
)  # fmt: skip
PLAIN = replace(BASE, lambda_w=0.0, lambda_c=0.0)


def tiny_encoder(styles: Styles, side: int = 2, n_channels: int = 2) -> Encoder:
    """Return an encoder with random weights, whose answers differ from image to image."""
    torch.manual_seed(4)
    shape = Shape(n_channels, side, len(styles.mean), 16, 1)
    encoder = Encoder(shape, styles.whitening)
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tiny() -> Problem:
    torch.set_num_threads(1)
    generator = tiny_generator()
    styles = tiny_styles(generator)
    y = torch.rand(4, 2, 2, 2, generator=torch.Generator().manual_seed(5))
    return make_problem(
        y, 4, generator=generator, flow=tiny_flow(styles.w), styles=styles,
        encoder=tiny_encoder(styles),
    )  # fmt: skip


def solve(problem: Problem, settings: Settings) -> Reconstruction:
    return super_resolve(problem, settings, quiet())


def rows(problem: Problem, order: list[int]) -> Problem:
    ids = tuple(problem.image_ids[i] for i in order)
    return replace(problem, y=problem.y[order], image_ids=ids)


def test_with_0_steps_the_result_is_the_image_of_the_encoders_style(tiny: Problem) -> None:
    found = solve(tiny, replace(PLAIN, start="encoder", steps=0))
    assert tiny.encoder is not None and tiny.generator is not None
    w = tiny.encoder.mean_style(tiny.encoder(tiny.y))
    wide = w[:, None].expand(-1, tiny.generator.num_ws, -1)
    image = to_unit(tiny.generator.synthesis(wide, noise_maps(tiny)))
    assert found.latents is not None and torch.equal(found.latents, wide)
    assert torch.equal(found.images, image)
    assert (found.columns["start_distance"] == 0).all()
    assert set(found.columns["search_status"]) == {"ok"}
    low = tiny.forward(image)
    expected = (low - tiny.y).abs().mean(dim=(1, 2, 3)).numpy()
    assert np.allclose(found.columns["loss_fidelity"], expected)


def test_steps_from_the_encoder_lower_its_loss_and_leave_its_start(tiny: Problem) -> None:
    before = solve(tiny, replace(PLAIN, start="encoder", steps=0))
    after = solve(tiny, replace(PLAIN, start="encoder"))
    assert (after.columns["loss_total"] < before.columns["loss_total"]).all()
    assert (after.columns["start_distance"] > 0).all()


@pytest.mark.parametrize("start", ["draws", "random"])
def test_a_start_depends_on_its_image_alone(tiny: Problem, start: str) -> None:
    found = start_of(tiny, start)
    assert torch.allclose(start_of(rows(tiny, [2, 0]), start), found[[2, 0]], atol=1e-6)
    assert not torch.equal(start_of(replace(tiny, seed=9), start), found)
    assert (found[0] - found[1]).abs().max() > 0.1


def test_the_spread_scales_the_deviation_of_a_start(tiny: Problem) -> None:
    assert tiny.styles is not None
    one, half = (start_of(tiny, "random", spread) for spread in (1.0, 0.5))
    mean = tiny.styles.mean
    assert torch.allclose(half - mean, 0.5 * (one - mean), atol=1e-5)
    assert tiny.encoder is not None
    centre = tiny.encoder.whitening.to_styles(tiny.encoder(tiny.y).mean)
    assert torch.allclose(start_of(tiny, "draws", 0.0), centre)


def test_whitened_and_plain_coordinates_reach_the_same_optimum() -> None:
    """Invert a linear generator, whose styles have scales that differ a hundredfold."""
    generator = LinearGenerator(2, 4, 2, 4)
    scales = torch.tensor([0.05, 0.2, 1.0, 5.0])
    blocks = torch.eye(8).view(8, 2, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    generator.matrix = blocks.reshape(8, -1) / scales.repeat(2)[:, None]
    random = torch.Generator().manual_seed(1)
    w = torch.randn(500, 4, generator=random) * scales
    styles = Styles(w, w.mean(0))
    truth = torch.randn(3, 2, 4, generator=random) * scales
    problem = make_problem(torch.zeros(3, 2, 2, 2), 2, generator=generator, styles=styles)
    problem = replace(problem, y=problem.forward((generator.synthesis(truth) + 1) / 2))
    whitened = replace(PLAIN, steps=600, learning_rate=0.1, coordinates="whitened")
    found = solve(problem, whitened)
    assert found.latents is not None
    assert ((found.latents - truth) / scales).abs().max() < 0.03
    # In w one rate must serve all scales, and takes more steps to the same point.
    plain = solve(problem, replace(PLAIN, steps=2000, learning_rate=0.05))
    assert plain.latents is not None
    assert ((plain.latents - truth) / scales).abs().max() < 0.03


def test_the_scale_of_w_changes_nothing_in_whitened_coordinates() -> None:
    generator, random = LinearGenerator(2, 4, 2, 4), torch.Generator().manual_seed(1)
    w, y = torch.randn(500, 4, generator=random), torch.rand(3, 2, 2, 2, generator=random)
    settings = replace(
        BASE, lambda_w=0.0, coordinates="whitened", lambda_unit="per_value", noise_scale=0.01
    )
    found = []
    for scale in (1.0, 50.0):
        scaled = LinearGenerator(2, 4, 2, 4)
        scaled.matrix = generator.matrix / scale
        styles = Styles(w * scale, w.mean(0) * scale)
        found.append(solve(make_problem(y, 2, generator=scaled, styles=styles), settings))
    assert torch.allclose(found[0].images, found[1].images, atol=1e-4)


def test_first_steps_in_w_keep_one_style(tiny: Problem) -> None:
    only_w = solve(tiny, replace(PLAIN, start="encoder", steps_w=10, steps=0))
    assert only_w.latents is not None
    assert torch.equal(only_w.latents, only_w.latents[:, :1].expand_as(only_w.latents))
    before = solve(tiny, replace(PLAIN, start="encoder", steps=0))
    assert (only_w.columns["loss_total"] < before.columns["loss_total"]).all()
    then = solve(tiny, replace(PLAIN, start="encoder", steps_w=10, steps=10))
    assert then.latents is not None
    assert (then.latents - then.latents[:, :1]).abs().max() > 0.01
    assert (then.columns["loss_total"] <= only_w.columns["loss_total"]).all()


def test_a_penalty_on_the_distance_keeps_the_search_near_its_start(tiny: Problem) -> None:
    free = solve(tiny, replace(PLAIN, start="encoder"))
    held = solve(tiny, replace(PLAIN, start="encoder", lambda_start=100.0))
    assert held.columns["start_distance"].max() < 0.2 * free.columns["start_distance"].min()
    assert tiny.styles is not None and held.latents is not None
    first, last = (
        tiny.styles.whitening.to_whitened(w) for w in (start_of(tiny, "encoder"), held.latents)
    )
    squares = (last - first[:, None]).square().mean((1, 2)).numpy()
    assert np.allclose(held.columns["start_distance"] ** 2, squares, rtol=1e-4, atol=1e-9)
    assert np.allclose(held.columns["loss_start"], squares, rtol=1e-4, atol=1e-9)


def test_a_lambda_per_value_of_1_is_bayes_rule() -> None:
    """Check minus log p(w | y), Laplace noise of scale b and a normal prior of one style."""
    torch.manual_seed(0)
    generator, b = LinearGenerator(1, 4, 2, 4), 0.02
    styles = Styles(torch.randn(500, 4), torch.zeros(4))
    problem = make_problem(
        torch.rand(3, 2, 2, 2), 2, generator=generator, styles=styles,
        flow=GaussianPrior(torch.zeros(4)),
    )  # fmt: skip
    settings = replace(PLAIN, lambda_w=1.0, lambda_unit="per_value", noise_scale=b)
    objective = objective_of(problem, settings)
    given = {"y": (problem.y,), "noise": tuple(noise_maps(problem))}
    w = torch.randn(3, 1, 4)
    low = problem.forward((generator.synthesis(w) + 1) / 2)
    normal = torch.distributions.Normal(0.0, 1.0)
    laplace = torch.distributions.Laplace(low, b)
    log_posterior = laplace.log_prob(problem.y).sum(dim=(1, 2, 3)) + normal.log_prob(w).sum((1, 2))
    n_values = 8
    loss = objective((w,), given, "float32")["loss_total"] * n_values / b
    assert torch.allclose(-log_posterior, loss + n_values * math.log(2 * b), rtol=1e-4)


def test_the_normal_prior_needs_no_flow_and_is_the_density_of_whitened_styles(
    tiny: Problem,
) -> None:
    assert tiny.styles is not None
    settings = replace(PLAIN, prior="normal", lambda_w=1.0, coordinates="whitened", steps=0)
    found = solve(replace(tiny, flow=None), settings)
    assert found.latents is not None
    u = tiny.styles.whitening.to_whitened(found.latents)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(u).sum(dim=2).mean(dim=1).numpy()
    assert np.allclose(found.columns["log_normal"], expected, rtol=1e-4)
    loss = found.columns["loss_fidelity"] - expected
    assert np.allclose(found.columns["loss_total"], loss, rtol=1e-4)
    free = solve(tiny, replace(PLAIN, start="random", coordinates="whitened", prior="normal"))
    held = solve(tiny, replace(settings, start="random", steps=10))
    assert (held.columns["log_normal"] > free.columns["log_normal"]).all()


def test_per_value_one_lambda_serves_every_size_of_y() -> None:
    generator = LinearGenerator(2, 4, 2, 8)
    w = 3.0 * torch.randn(5000, 4)
    styles = Styles(w, w.mean(0))
    settings = replace(BASE, lambda_unit="per_value", noise_scale=0.02, lambda_w=1.0, lambda_c=1.0)
    found = []
    for factor, side in ((2, 4), (4, 2)):
        problem = make_problem(
            torch.zeros(1, 2, side, side), factor, generator=generator, styles=styles,
            flow=GaussianPrior(torch.zeros(4)),
        )  # fmt: skip
        found.append(weights_of(problem, settings))
    large, small = found
    assert small.prior == pytest.approx(4 * large.prior) and large.prior == 0.02 / 32
    # Styles of sd 3 in 4 dimensions lie 3 sqrt(8) apart.
    assert large.cross == pytest.approx(large.prior / (3 * math.sqrt(8)), rel=0.05)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lambda_unit": "per_value"}, "Give it"),
        ({"noise_scale": 0.1}, "Leave it out"),
        ({"steps_w": -1}, "0 or more"),
        ({"lambda_start": -1.0}, "0 or more"),
        ({"coordinates": "whitened", "learning_rate_unit": "relative"}, "Set learning_rate_unit"),
        ({"start_spread": 0.5}, "start_spread 0.5 with start mean"),
        ({"start_spread": 0.5, "start": "encoder"}, "with start encoder"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(BASE, **changes)  # type: ignore[arg-type]


def test_a_start_by_the_encoder_needs_one(tiny: Problem) -> None:
    with pytest.raises(InputError, match="Give --encoder"):
        solve(replace(tiny, encoder=None), replace(PLAIN, start="encoder"))


def test_other_methods_start_where_the_encoder_says(tiny: Problem) -> None:
    """With rates of nearly 0 their result is their start."""
    e = start_of(tiny, "encoder")[:, None]
    small: dict[str, Any] = {"steps": 1, "learning_rate": 1e-9, "schedule": "constant"}
    small["start"] = "encoder"
    found = brgm.super_resolve(
        tiny, brgm.Settings(
            lambda_pixel=1.0, lambda_perceptual=0.0, lambda_w=0.0, lambda_c=0.0,
            forward_op="shared", **small,
        ), quiet(),
    )  # fmt: skip
    assert found.latents is not None and torch.allclose(found.latents, e.expand_as(found.latents))
    found = pulse.super_resolve(
        tiny, pulse.Settings(
            lambda_l2=1.0, lambda_geocross=0.0, geocross_on="sphere", epsilon=0.0,
            trainable_noise_layers=0, zero_last_noise=True, tile_latent=False, **small,
        ), quiet(),
    )  # fmt: skip
    assert found.latents is not None and torch.allclose(found.latents, found.latents[:, :1])
    # PULSE walks on its sphere, so only the direction of the latent is kept.
    assert tiny.styles is not None
    mean, sd = leaky_moments(tiny.styles.w)
    one, other = ((undo_activation(w[:, 0]) - mean) / sd for w in (found.latents, e))
    assert torch.cosine_similarity(one, other).min() > 0.999
    found = robust_unsupervised.super_resolve(
        tiny, robust_unsupervised.Settings(
            steps=1, learning_rate_w=1e-9, learning_rate_w_plus=0.0, learning_rate_w_plus_plus=0.0,
            above_16_px="stop", start="encoder",
        ), quiet(),
    )  # fmt: skip
    assert found.latents is not None and torch.allclose(found.latents, e.expand_as(found.latents))
