"""BRGM: test its terms, its features, and a search that needs no VGG16."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from rls.io.names import OK
from rls.networks.lpips import LAYERS, TorchScriptVgg, load_lpips
from rls.runtime.command import make_settings
from rls.runtime.errors import InputError
from rls.search.brgm import Settings, objective_of, super_resolve, vgg_features
from rls.search.geometry import style_radius
from rls.search.methods import ChosenMethod
from rls.search.problem import Problem, Reconstruction, Styles
from rls.search.steps import Searches
from tests.conftest import ROOT
from tests.rls.recorded_on_cpu import RecordedOnCpu
from tests.rls.search_stand_ins import (
    LinearGenerator,
    make_problem,
    quiet,
    tiny_flow,
    tiny_generator,
    tiny_styles,
)
from tests.rls.small_weights import write_random


class Stub(torch.nn.Module):
    """A stand-in for VGG16 that is called as the real file, and whose features depend on colour."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor([1.0, 10.0, 100.0]))

    def forward(self, x: Tensor, resize_images: bool, return_lpips: bool) -> Tensor:
        assert x.shape[1:] == (3, 256, 256) and return_lpips and not resize_images
        pooled = torch.nn.functional.avg_pool2d(x / 255.0, 64)
        return 1e-3 * (pooled * self.weights[None, :, None, None]).flatten(1)


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    path = tmp_path_factory.mktemp("vgg") / "stub.pt"
    torch.jit.script(Stub()).save(str(path))
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


def row(name: str) -> dict:
    block = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["methods"][name]
    return {key: value for key, value in block.items() if key != "search"}


def published() -> Settings:
    return make_settings(Settings, row("brgm_no_perceptual"), "brgm_no_perceptual")


BASE = replace(published(), steps=20)


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


def test_a_linear_generator_under_the_normal_prior_has_the_ridge_solution() -> None:
    """With one style the squared error and the prior are quadratic, and the minimiser is known."""
    torch.manual_seed(0)
    generator = LinearGenerator(1, 4, 2, 4)
    styles = Styles(torch.randn(50, 4), torch.randn(4))
    y = torch.rand(2, 2, 2, 2)
    problem = make_problem(y, 2, generator=generator, styles=styles)
    settings = replace(BASE, steps=600, schedule="one_cycle_drop", lambda_w=3.0, lambda_c=0.0)
    found = solve(problem, settings)
    # low = w A, where A is (4, 8).
    a = problem.forward(generator.matrix.view(4, 2, 4, 4)).flatten(1)
    error = 1e-3 * 255**2 / 8
    prior = 3.0 / float(style_radius(styles.w, styles.mean)) ** 2 / 4
    left = error * a @ a.T + prior * torch.eye(4)
    right = error * y.flatten(1) @ a.T + prior * styles.mean
    expected = torch.linalg.solve(left, right.T).T
    assert found.latents is not None
    assert torch.allclose(found.latents[:, 0], expected, atol=0.01)


def test_the_columns_say_what_the_image_is(tiny: Problem) -> None:
    assert tiny.styles is not None
    flow = tiny_flow(tiny.styles.w)
    found = solve(replace(tiny, flow=flow), BASE)
    c, w = found.columns, found.latents
    assert w is not None
    total = c["loss_pixel"] + c["loss_w"] + c["loss_cosine"]
    assert np.allclose(c["loss_total"], total, rtol=1e-5)
    low = tiny.forward(found.images)
    error = (255 * (low - tiny.y)).square().mean((1, 2, 3))
    assert np.allclose(c["loss_pixel"], 1e-3 * error.numpy(), rtol=1e-4)
    assert np.allclose((low - tiny.y).abs().mean((1, 2, 3)).numpy(), c["loss_fidelity"], atol=1e-6)
    sd = (tiny.styles.w - tiny.styles.mean).square().sum(1).mean().sqrt()
    prior = 100 * ((w - tiny.styles.mean) / sd).square().mean((1, 2))
    assert np.allclose(c["loss_w"], prior.numpy(), rtol=1e-4)
    assert np.isnan(c["loss_perceptual"]).all() and np.isfinite(c["log_prior"]).all()
    assert list(c["search_status"]) == [OK] * 3
    assert np.isnan(solve(tiny, BASE).columns["log_prior"]).all()


def test_the_search_starts_at_the_mean_style_and_returns_the_best(tiny: Problem) -> None:
    assert tiny.styles is not None
    start = solve(tiny, replace(BASE, steps=1))
    assert start.latents is not None
    assert torch.equal(start.latents, tiny.styles.mean.expand_as(start.latents))
    assert start.columns["loss_w"].max() == 0 and start.columns["loss_cosine"].max() < 1e-4
    for rate in (0.1, 30.0):
        found = solve(tiny, replace(BASE, learning_rate=rate)).columns
        assert (found["loss_total"] <= start.columns["loss_total"]).all()
    assert (solve(tiny, BASE).columns["loss_pixel"] < 0.8 * start.columns["loss_pixel"]).all()


def test_the_weight_of_the_angles_is_one_above_sixteen_and_a_tenth_below() -> None:
    generator = tiny_generator(64, 1)
    styles = tiny_styles(generator)
    for side, factor, expected in ((4, 16, 0.1), (2, 32, 1.0)):
        y = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(1))
        problem = make_problem(y, factor, generator=generator, styles=styles)
        asked, ruled = replace(BASE, lambda_c=expected, steps=4), replace(BASE, steps=4)
        assert torch.equal(solve(problem, ruled).images, solve(problem, asked).images)


def test_the_published_operator_is_searched_with_and_the_shared_one_reported(
    tiny: Problem,
) -> None:
    settings = replace(BASE, forward_op="interpolate_noaa")
    found = solve(tiny, settings)
    low = tiny.forward(found.images)
    fidelity = (low - tiny.y).abs().mean((1, 2, 3)).numpy()
    assert np.allclose(fidelity, found.columns["loss_fidelity"], atol=1e-6)
    plain = torch.nn.functional.interpolate(
        found.images, scale_factor=0.25, mode="bicubic", align_corners=False
    )
    error = 1e-3 * (255 * (plain - tiny.y)).square().mean((1, 2, 3)).numpy()
    assert np.allclose(error, found.columns["loss_pixel"], rtol=1e-3)
    assert not torch.allclose(found.images, solve(tiny, BASE).images, atol=1e-3)


def test_an_image_does_not_know_the_batch(tiny: Problem) -> None:
    together = solve(tiny, BASE)
    for i in range(3):
        alone = replace(tiny, y=tiny.y[i : i + 1], image_ids=tiny.image_ids[i : i + 1])
        assert torch.allclose(solve(alone, BASE).images[0], together.images[i], atol=1e-3)
        filled = replace(tiny, y=tiny.y[[i] * 3], image_ids=(tiny.image_ids[i],) * 3)
        assert torch.equal(solve(filled, BASE).images[2], together.images[i])


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (64, 4)])
def test_any_size_and_number_of_channels_will_do(size: int, channels: int) -> None:
    found = solve(small(size, channels, n=2), replace(BASE, steps=2))
    assert found.images.shape == (2, channels, size, size)
    assert list(found.columns["search_status"]) == [OK, OK]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_features_take_colour_as_it_is_and_other_channels_one_by_one(channels: int) -> None:
    module = TorchScriptVgg(torch.jit.script(Stub()))
    images = 255 * torch.rand(2, channels, 8, 8)
    found = vgg_features(module, images)
    if channels == 3:
        big = torch.nn.functional.interpolate(images, size=(256, 256), mode="area")
        assert torch.equal(found, Stub()(big, resize_images=False, return_lpips=True))
        return
    gray = [vgg_features(module, images[:, [c]].expand(-1, 3, -1, -1)) for c in range(channels)]
    assert torch.allclose(found, torch.cat(gray, dim=1))
    other = images.roll(1, dims=1)
    assert channels == 1 or not torch.allclose(vgg_features(module, other), found)


def test_the_perceptual_term_counts_and_is_reported(tiny: Problem, stub: tuple[str, str]) -> None:
    path, sha256 = stub
    settings = replace(BASE, vgg16_path=path, vgg16_sha256=sha256, lambda_perceptual=1e7, steps=5)
    found = solve(tiny, settings)
    low, y = 255 * tiny.forward(found.images), 255 * tiny.y
    module = TorchScriptVgg(torch.jit.script(Stub()))
    expected = 1e7 * (vgg_features(module, low) - vgg_features(module, y)).square().mean(1)
    c = found.columns
    assert np.allclose(c["loss_perceptual"], expected.detach().numpy(), rtol=1e-3)
    total = c["loss_pixel"] + c["loss_w"] + c["loss_cosine"] + c["loss_perceptual"]
    assert np.allclose(c["loss_total"], total, rtol=1e-5)
    without = solve(tiny, replace(settings, lambda_perceptual=0.0))
    assert not torch.allclose(without.images, found.images, atol=1e-4)


def test_a_search_with_vgg_says_why_nothing_records_it(
    tiny: Problem, stub: tuple[str, str]
) -> None:
    path, sha256 = stub
    settings = replace(BASE, vgg16_path=path, vgg16_sha256=sha256, lambda_perceptual=1.0)
    assert "TorchScript" in objective_of(tiny, settings).not_recorded
    assert objective_of(tiny, BASE).not_recorded == ""


def test_without_the_file_of_vgg_the_row_stops_before_anything_is_read(
    tiny: Problem, stub: tuple[str, str], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="brgm_no_perceptual"):
        make_settings(Settings, row("brgm"), "brgm")
    with pytest.raises(InputError, match="vgg16_sha256"):
        make_settings(Settings, row("brgm") | {"vgg16_path": stub[0]}, "brgm")
    wrong = row("brgm") | {"vgg16_path": stub[0], "vgg16_sha256": "0" * 64}
    with pytest.raises(InputError, match="SHA-256"):
        solve(tiny, make_settings(Settings, wrong, "brgm"))
    absent = wrong | {"vgg16_path": str(tmp_path / "absent.pt")}
    with pytest.raises(InputError, match="absent.pt"):
        solve(tiny, make_settings(Settings, absent, "brgm"))


def test_the_settings_are_those_of_the_program() -> None:
    s, full = published(), row("brgm")
    assert (s.lambda_pixel, s.lambda_w, s.lambda_c) == (1e-3, 100.0, None)
    assert (s.steps, s.learning_rate, s.schedule) == (501, 0.1, "constant")
    assert full["lambda_perceptual"] == 1e7 and full["forward_op"] == "shared"


def test_a_missing_part_is_named(tiny: Problem) -> None:
    for name, flag in (("generator", "--generator"), ("styles", "--styles")):
        with pytest.raises(InputError, match=flag):
            solve(replace(tiny, **{name: None}), BASE)


def test_published_brgm_runs_by_our_weights_and_its_steps_are_recorded(
    tiny: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a VGG16 of a sixteenth of the filters: recorded and eager steps give the same bits."""
    small = tuple(one._replace(filters=one.filters // 16) for one in LAYERS["vgg16"])
    monkeypatch.setitem(LAYERS, "vgg16", small)
    path = tmp_path / "vgg16.safetensors"
    write_random(path, "vgg16")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    settings = replace(
        BASE, vgg16_path=str(path), vgg16_sha256=sha256, lambda_perceptual=1e7, steps=4
    )
    eager = solve(replace(tiny, searches=Searches()), settings)
    recorder = RecordedOnCpu()
    recorded = solve(replace(tiny, searches=Searches(recorder)), settings)
    assert torch.equal(recorded.images, eager.images) and len(recorder.n_operators) == 1
    network = load_lpips("vgg16", path, sha256, torch.device("cpu"))
    low, y = 255 * tiny.forward(eager.images), 255 * tiny.y
    misfit = (vgg_features(network, low) - vgg_features(network, y)).square().mean(1)
    assert np.allclose(eager.columns["loss_perceptual"], 1e7 * misfit.numpy(), rtol=1e-3)
    start = solve(tiny, replace(settings, steps=1)).columns["loss_total"]
    assert (eager.columns["loss_total"] < start).all()
    monkeypatch.setenv("RLS_WEIGHTS", str(tmp_path))
    by_auto = replace(settings, vgg16_path="auto", vgg16_sha256=None)
    assert by_auto == settings, "auto is settled, so that what was used can be named"
    identity = ChosenMethod("brgm", "brgm", cast(Any, None), by_auto).identity()
    assert identity["vgg16_sha256"] == sha256 and "vgg16_path" not in identity
