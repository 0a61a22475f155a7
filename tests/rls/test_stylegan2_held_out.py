"""The distance of a generator to held-out crops."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from rls.io import Intensity, Stack
from rls.runtime.errors import InputError
from rls.stylegan2 import held_out as module
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.held_out import (
    HeldOut,
    Whitening,
    distance_floor,
    layout_spread,
    make_held_out,
    mean_pairwise_distance,
)
from rls.stylegan2.networks import Generator
from rls.stylegan2.training_images import TrainingImages
from tests.rls.test_stylegan2_training import make_stack
from tests.rls.test_train_gan import SETTINGS

CPU = torch.device("cpu")


def crops(n: int, seed: int, channels: int = 2, side: int = 16) -> np.ndarray:
    """Return images (n, c, y, x) in unit intensity: ellipses of random width and brightness."""
    random = np.random.default_rng(seed)
    axis = np.arange(side) - (side - 1) / 2
    width = random.uniform(2, 6, (n, channels, 2))
    squares = (axis[:, None] / width[..., :1, None]) ** 2 + (axis / width[..., 1:, None]) ** 2
    height = random.uniform(0.3, 1.0, (n, channels, 1, 1))
    noise = random.normal(0, 0.02, squares.shape)
    return (height * np.exp(-squares) + noise).astype(np.float32)


class StandIn:
    """A generator that returns given unit images in turn, whatever z is."""

    z_dim = 4

    def __init__(self, images: np.ndarray) -> None:
        self.images, self.at = images, 0

    def __call__(self, z, *, noise):
        assert noise == "const" and z.shape[1] == self.z_dim
        rows = (self.at + np.arange(len(z))) % len(self.images)
        self.at += len(z)
        return torch.from_numpy(self.images[rows]) * 2 - 1


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    return HeldOut(crops(120, 1), floor_images=crops(120, 2), seed=3, device=CPU, batch_size=30)


def test_a_generator_of_other_real_images_is_at_the_floor_and_as_diverse(held_out):
    found = held_out.distance(StandIn(crops(120, 3)))
    assert abs(found["kd"]) < 2 * found["kd_floor"]
    assert found["spread"] == pytest.approx(1, abs=0.1)


def test_a_generator_of_one_image_has_no_spread_and_a_large_distance(held_out):
    found = held_out.distance(StandIn(crops(1, 4)))
    assert found["spread"] == pytest.approx(0, abs=1e-5)
    assert found["kd"] > 20 * found["kd_floor"]


def test_layouts_are_one_where_all_images_are_and_as_many_as_those_of_cells_else(held_out):
    assert held_out.distance(StandIn(crops(1, 4)))["layouts"] == pytest.approx(0, abs=1e-5)
    assert held_out.distance(StandIn(crops(120, 3)))["layouts"] == pytest.approx(1, abs=0.2)


def test_the_spread_of_layouts_is_that_of_block_means():
    """Blocks of 2x2 px with sd 1 between images; what averages to 0 within a block counts not."""
    random = np.random.default_rng(1)
    levels = random.normal(size=(4000, 1, 8, 8)) * [[[2.0]], [[1.0]]]
    texture = np.tile([[1.0, -1.0], [-1.0, 1.0]], (8, 8)) * random.normal(size=(4000, 2, 1, 1))
    images = levels.repeat(2, axis=2).repeat(2, axis=3) + texture
    np.testing.assert_allclose(layout_spread(images), [2, 1], rtol=0.02)


def test_few_modes_lie_between(held_out):
    several = held_out.distance(StandIn(crops(3, 5)))
    assert 0.2 < several["spread"] < 0.9
    assert several["kd"] > held_out.distance(StandIn(crops(120, 3)))["kd"]


def test_the_distance_rises_with_blur(held_out):
    """A generator of blurred images is recognised."""
    from scipy.ndimage import gaussian_filter

    values = [
        held_out.distance(StandIn(gaussian_filter(crops(120, 3), (0, 0, sd, sd))))["kd"]
        for sd in (0.0, 1.0, 1.5, 2.0)
    ]
    assert values == sorted(values) and values[1] > held_out.floor


def test_the_numbers_are_those_of_one_set_of_z():
    torch.manual_seed(0)
    generator = Generator(Architecture(16, 2, 8, 8, 2, 64, 8)).eval().requires_grad_(False)
    held = HeldOut(crops(20, 1), floor_images=crops(20, 2), seed=1, device=CPU, batch_size=8)
    first = held.distance(generator)
    torch.randn(7)
    assert held.distance(generator) == first
    again = HeldOut(crops(20, 1), floor_images=crops(20, 2), seed=1, device=CPU, batch_size=8)
    assert again.distance(generator) == first
    assert (
        HeldOut(crops(20, 1), floor_images=crops(20, 2), seed=2, device=CPU, batch_size=8).distance(
            generator
        )
        != first
    )


def test_two_held_out_crops_are_enough_and_one_is_not():
    def held(n: int) -> HeldOut:
        return HeldOut(crops(n, 1), floor_images=crops(2, 2), seed=1, device=CPU, batch_size=8)

    assert math.isfinite(held(2).floor)
    with pytest.raises(InputError, match="1 held-out"):
        held(1)


def test_features_that_never_vary_are_whitened_to_0():
    assert not Whitening(np.ones((4, 3)))(np.ones((2, 3))).any()


def test_held_out_crops_are_of_split_tune_and_all_crops_in_unit_intensity(monkeypatch):
    stack = make_stack()
    stack.table.loc[8:, "split"] = "tune"
    stack.images[8:], stack.images[:8] = 100, 4200
    data = TrainingImages(stack, Intensity(("dna", "nfkb"), (100.0,) * 2, (4200.0,) * 2), 16, 1)
    seen = []
    monkeypatch.setattr(module, "HeldOut", lambda unit, **more: seen.append((unit, more)))
    settings = dataclasses.replace(SETTINGS, evaluate_images=4)
    module.make_held_out(data, settings, CPU)
    ((unit, more),) = seen
    assert unit.shape == more["floor_images"].shape == (4, 2, 16, 16)
    np.testing.assert_allclose(unit, 0.0, atol=1e-5)
    np.testing.assert_allclose(more["floor_images"], 1.0, atol=1e-5)


def test_images_that_are_not_finite_give_no_number(held_out):
    broken = crops(120, 3)
    broken[7, 0, 3, 3] = np.nan
    found = held_out.distance(StandIn(broken))
    assert math.isnan(found["kd"]) and math.isnan(found["spread"])


def test_the_floor_shows_that_held_out_crops_are_of_another_kind():
    same = HeldOut(crops(60, 1), floor_images=crops(60, 2), seed=3, device=CPU, batch_size=30)
    brighter = 1.3 * crops(60, 2)
    other = HeldOut(crops(60, 1), floor_images=brighter, seed=3, device=CPU, batch_size=30)
    assert other.floor > 3 * same.floor > 0


def test_most_draws_of_one_distribution_stay_under_the_floor():
    random = np.random.default_rng(6)
    below = []
    for i in range(40):
        x, y, z = random.normal(size=(3, 50, 8))
        below.append(distance_floor(x, z, seed=i) >= distance_floor(x, y, seed=i) / 2)
    assert np.mean(below) > 0.8


def test_whitened_features_are_uncorrelated_and_no_outlier_decides():
    random = np.random.default_rng(1)
    turn, _ = np.linalg.qr(random.normal(size=(5, 5)))
    x = 1e-4 * random.normal(size=(4000, 5)) * [1, 2, 4, 8, 16] @ turn + 3
    scale = Whitening(x)
    np.testing.assert_allclose(np.cov(np.sinh(scale(x)).T), np.eye(5), atol=0.01)
    far = scale(x.mean(axis=0, keepdims=True) + 1000 * x.std(axis=0))
    assert np.abs(far).max() < 10


def test_directions_without_variance_are_not_blown_up():
    random = np.random.default_rng(2)
    x = random.normal(size=(100, 3))
    x = np.column_stack([x, x[:, 0] + x[:, 1], np.ones(100)])  # a sum and a constant
    found = Whitening(x)(x + 1e-3)
    assert np.isfinite(found).all() and np.abs(found - Whitening(x)(x)).max() < 0.1


def test_the_mean_pairwise_distance_is_over_different_rows():
    points = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert mean_pairwise_distance(points) == pytest.approx((5 + 0 + 5) / 3)


def test_one_crop_is_refused():
    with pytest.raises(InputError, match="at least 2"):
        HeldOut(crops(1, 1), floor_images=crops(1, 2), seed=1, device=CPU, batch_size=4)


def test_distances_are_to_cells_that_are_not_trained_on():
    """Training crops have twice the brightness of those of split tune."""
    tune, learned = crops(40, 1), 2 * crops(40, 2)
    images = np.concatenate([learned, tune])
    table = pd.DataFrame({"split": ["gan"] * 40 + ["tune"] * 40})
    stack = Stack(images, table.assign(image_id=[f"c{i}" for i in range(80)]), ("a", "b"), 1.0)
    data = TrainingImages(stack, Intensity(("a", "b"), (0.0, 0.0), (1.0, 1.0)), 16, 0)
    settings = SimpleNamespace(evaluate_images=40, image_size=16, seed=0, batch_size=20)
    found = make_held_out(data, settings, CPU)
    assert found is not None
    near, far = (found.distance(StandIn(x))["kd"] for x in (crops(40, 3), 2 * crops(40, 4)))
    assert near < 0.1 * far
