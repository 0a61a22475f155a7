"""PULSE: test that every latent stays on its sphere, at any size and number of channels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from rls.io.names import NON_FINITE, OK
from rls.runtime.command import make_settings
from rls.runtime.errors import InputError
from rls.search.geometry import geocross, leaky_moments
from rls.search.problem import Problem, Reconstruction, need, noise_maps
from rls.search.pulse import Settings, _split_noise, super_resolve
from tests.conftest import ROOT
from tests.rls.search_stand_ins import (
    make_problem,
    quiet,
    tiny_flow,
    tiny_generator,
    tiny_styles,
)


def published() -> Settings:
    block = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["methods"]["pulse"]
    return make_settings(Settings, {k: v for k, v in block.items() if k != "search"}, "pulse")


BASE = replace(published(), steps=15)


def small(size: int = 8, channels: int = 2, n: int = 3) -> Problem:
    generator = tiny_generator(size, channels)
    y = torch.rand(n, channels, size // 4, size // 4, generator=torch.Generator().manual_seed(5))
    return make_problem(y, 4, generator=generator, styles=tiny_styles(generator))


@pytest.fixture(scope="module")
def tiny() -> Problem:
    torch.set_num_threads(1)
    return small()


def solve(problem: Problem, settings: Settings) -> Reconstruction:
    return super_resolve(problem, settings, quiet())


def latents_of(problem: Problem, w: torch.Tensor) -> torch.Tensor:
    """Return the points on the spheres that belong to styles w."""
    assert problem.styles is not None
    mean, sd = leaky_moments(problem.styles.w)
    return (torch.where(w < 0, 5 * w, w) - mean) / sd


def start_of(problem: Problem, settings: Settings) -> torch.Tensor:
    w = solve(problem, replace(settings, steps=1)).latents
    assert w is not None
    return latents_of(problem, w)


def test_every_style_keeps_its_own_radius_through_a_search(tiny: Problem) -> None:
    start = start_of(tiny, BASE)
    w = solve(tiny, BASE).latents
    assert w is not None
    end = latents_of(tiny, w)
    assert torch.allclose(end.norm(dim=2), start.norm(dim=2), rtol=1e-4)
    assert float((end - start).norm(dim=2).min()) > 0.1  # The latents moved.
    radii = start.norm(dim=2)
    assert float(radii.std()) > 0.1  # Every latent has a radius of its own.
    assert float(radii.mean()) == pytest.approx(math.sqrt(16), rel=0.2)


def test_the_searched_noise_maps_keep_their_length_and_the_last_one_is_zero(
    tiny: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[list[torch.Tensor]] = []
    generator = need(tiny.generator, "generator")
    inner = generator.synthesis.forward

    def watched(ws, noise, precision):
        used.append([m.detach().clone() for m in noise])
        return inner(ws, noise, precision=precision)

    monkeypatch.setattr(generator.synthesis, "forward", watched)
    solve(tiny, replace(BASE, trainable_noise_layers=1))
    first, second, last = used[0]
    for maps in used:
        assert torch.allclose(maps[0].norm(dim=(2, 3)), first.norm(dim=(2, 3)), rtol=1e-5)
        assert torch.equal(maps[1], second)
        assert not maps[2].any()
    assert not torch.allclose(used[-1][0], first, atol=1e-2)
    assert not torch.allclose(used[-1][0][0], used[-1][0][1], atol=1e-2)  # Every image has its own.


def test_noise_maps_are_split_as_published(tiny: Problem) -> None:
    searched, fixed = _split_noise(tiny, BASE)  # At 8 px there are 3, the last 0.
    assert [len(searched), len(fixed)] == [2, 1] and not fixed[0].any()
    assert all(m.shape[0] == 3 for m in searched)
    searched, fixed = _split_noise(tiny, replace(BASE, zero_last_noise=False))
    assert [len(searched), len(fixed)] == [3, 0]
    searched, fixed = _split_noise(tiny, replace(BASE, trainable_noise_layers=0))
    assert [len(searched), len(fixed)] == [0, 3]
    assert torch.equal(fixed[0], noise_maps(tiny)[0])


def test_the_columns_say_what_the_image_is(tiny: Problem) -> None:
    assert tiny.styles is not None
    flow = tiny_flow(tiny.styles.w)
    found = solve(replace(tiny, flow=flow), BASE)
    c = found.columns
    l2 = np.maximum(c["loss_l2"], BASE.epsilon)
    total = BASE.lambda_l2 * l2 + BASE.lambda_geocross * c["loss_geocross"]
    assert np.allclose(c["loss_total"], total, rtol=1e-5)
    low = tiny.forward(found.images)
    assert np.allclose((low - tiny.y).abs().mean((1, 2, 3)).numpy(), c["loss_fidelity"], atol=1e-6)
    assert np.allclose((low - tiny.y).square().mean((1, 2, 3)).numpy(), c["loss_l2"], atol=1e-6)
    assert found.latents is not None
    with torch.no_grad():
        prior = flow.log_prob(found.latents.reshape(-1, 16)).reshape(3, -1).mean(1)
    assert np.allclose(c["log_prior"], prior.numpy(), atol=1e-3)
    assert list(c["search_status"]) == [OK] * 3
    without = solve(tiny, BASE)
    assert torch.equal(without.images, found.images)  # The flow plays no part.
    assert np.isnan(without.columns["log_prior"]).all()


def test_within_eps_is_a_statement_and_not_a_refusal(tiny: Problem) -> None:
    hard = solve(replace(tiny, y=tiny.y + 3.0), BASE)
    assert not hard.columns["pulse_within_eps"].any()
    assert bool(torch.isfinite(hard.images).all())
    easy = solve(tiny, replace(BASE, epsilon=1e3))
    assert easy.columns["pulse_within_eps"].all()


def test_below_epsilon_only_the_angles_are_lowered(tiny: Problem) -> None:
    start = solve(tiny, replace(BASE, steps=1)).columns
    found = solve(tiny, replace(BASE, epsilon=1e3, lambda_l2=1e-3)).columns
    assert (found["loss_geocross"] < 0.5 * start["loss_geocross"]).all()


def test_a_search_lowers_the_error_and_never_returns_worse_than_its_start(tiny: Problem) -> None:
    start = solve(tiny, replace(BASE, steps=1)).columns
    for rate in (BASE.learning_rate, 20.0):
        found = solve(tiny, replace(BASE, learning_rate=rate)).columns
        assert (found["loss_total"] <= start["loss_total"]).all()
    free = solve(tiny, replace(BASE, lambda_geocross=0.0, steps=60, epsilon=0.0)).columns
    assert (free["loss_l2"] < 0.5 * start["loss_l2"]).all()


def test_the_start_belongs_to_the_image_and_the_result_does_not_know_the_batch(
    tiny: Problem,
) -> None:
    together = solve(tiny, BASE)
    starts = start_of(tiny, BASE)
    assert not torch.allclose(starts[0], starts[1], atol=0.1)
    for i in range(3):
        alone = replace(tiny, y=tiny.y[i : i + 1], image_ids=tiny.image_ids[i : i + 1])
        assert torch.allclose(solve(alone, BASE).images[0], together.images[i], atol=1e-3)
        filled = replace(tiny, y=tiny.y[[i] * 3], image_ids=(tiny.image_ids[i],) * 3)
        assert torch.equal(solve(filled, BASE).images[2], together.images[i])


def test_geocross_on_the_sphere_and_on_w_are_different_searches(tiny: Problem) -> None:
    sphere, w = solve(tiny, BASE), solve(tiny, replace(BASE, geocross_on="w"))
    assert not torch.allclose(sphere.images, w.images, atol=1e-3)
    assert sphere.latents is not None and w.latents is not None
    angle = torch.cosine_similarity(sphere.latents[:, 0], w.latents[:, 0], dim=1)
    assert bool((angle < 1).all())
    for found, is_of_w in ((w, True), (sphere, False)):
        own = geocross(found.latents).numpy()
        assert np.allclose(own, found.columns["loss_geocross"], rtol=1e-3) == is_of_w


def test_tiled_latents_are_one_style(tiny: Problem) -> None:
    found = solve(tiny, replace(BASE, tile_latent=True))
    assert found.latents is not None
    assert torch.equal(found.latents, found.latents[:, :1].expand_as(found.latents))
    assert found.columns["loss_geocross"].max() < 1e-6


def test_an_image_of_nan_is_reported_and_its_neighbours_are_not_touched(tiny: Problem) -> None:
    y = tiny.y.clone()
    y[1] = math.nan
    found, clean = solve(replace(tiny, y=y), BASE), solve(tiny, BASE)
    assert list(found.columns["search_status"]) == [OK, NON_FINITE, OK]
    assert torch.equal(found.images[[0, 2]], clean.images[[0, 2]])


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (64, 4)])
def test_any_size_and_number_of_channels_will_do(size: int, channels: int) -> None:
    found = solve(small(size, channels, n=2), replace(BASE, steps=2))
    assert found.images.shape == (2, channels, size, size)
    assert list(found.columns["search_status"]) == [OK, OK]


def test_the_settings_are_those_of_the_program_and_impossible_ones_are_refused() -> None:
    s = published()
    assert (s.lambda_l2, s.lambda_geocross, s.epsilon) == (100.0, 0.05, 2e-3)
    assert (s.steps, s.learning_rate, s.schedule) == (100, 0.4, "one_cycle_drop")
    assert (s.trainable_noise_layers, s.zero_last_noise, s.tile_latent) == (5, True, False)
    with pytest.raises(InputError, match="trainable_noise_layers"):
        replace(s, trainable_noise_layers=-1)


def test_a_missing_part_is_named(tiny: Problem) -> None:
    for name, flag in (("generator", "--generator"), ("styles", "--styles")):
        with pytest.raises(InputError, match=flag):
            solve(replace(tiny, **{name: None}), BASE)
