"""Illumination: a planted profile is found and undone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.cells.illumination import MEAN_FROM_FIELDS, ProfileEstimator, correct, fit_profile
from analysis.simulation.field import simulate_field
from analysis.simulation.optics import illumination_profile
from tests.analysis.small_plate import SETTINGS, TREATMENTS


def planted(shape, depth=0.35):
    return np.stack(
        [illumination_profile(shape, depth, np.random.default_rng(seed)) for seed in (0, 1)]
    )


def root_mean_square(error):
    return float(np.sqrt(np.mean(error**2)))


@pytest.mark.parametrize(("fields", "tolerance"), [(3, 0.03), (7, 0.02)])
def test_a_planted_profile_is_recovered_from_few_fields(fields, tolerance):
    settings = replace(SETTINGS, field_height_px=240, field_width_px=200)
    profiles = planted((240, 200))
    estimator = ProfileEstimator(settings.camera_offset_counts)
    for i in range(fields):
        rng = np.random.default_rng(i)
        counts = simulate_field(settings, TREATMENTS[i % 2], profiles, np.ones(2), rng).counts
        estimator.add(counts)
    found = estimator.profile()
    assert found.mean(axis=(1, 2)) == pytest.approx(1, abs=1e-4)
    uneven = root_mean_square(profiles - 1)
    for channel in range(2):
        error = root_mean_square(found[channel] / profiles[channel] - 1)
        assert error < tolerance < uneven


def test_a_planted_profile_is_recovered_from_the_mean_of_many_fields():
    profiles = planted((64, 80))
    estimator = ProfileEstimator(100.0)
    rng = np.random.default_rng(0)
    for _ in range(2 * MEAN_FROM_FIELDS):
        blobs = rng.gamma(0.3, 300, (2, 16, 20)).repeat(4, axis=1).repeat(4, axis=2)
        estimator.add((100 + (blobs + 50) * profiles * rng.uniform(0.7, 1.3)).astype(np.uint16))
    error = estimator.profile() / profiles - 1
    assert root_mean_square(error) < 0.05


def test_bright_outliers_do_not_bend_the_profile():
    profile = planted((64, 64))[0]
    blocks = profile.reshape(8, 8, 8, 8).mean(axis=(1, 3))
    blocks[0, 0] *= 5
    blocks[4, 2] *= 9
    found = fit_profile(blocks[None], (64, 64), 2, envelope=False)
    assert root_mean_square(found / profile - 1) < 0.01


def test_the_envelope_ignores_cells_on_two_thirds_of_the_blocks():
    profile = planted((64, 64))[0]
    blocks = profile.reshape(8, 8, 8, 8).mean(axis=(1, 3)) * np.ones((5, 1, 1))
    rng = np.random.default_rng(0)
    blocks *= np.exp(rng.normal(0, 0.01, blocks.shape))
    blocks *= np.where(rng.random(blocks.shape) < 0.67, rng.uniform(1, 8, blocks.shape), 1)
    found = fit_profile(blocks, (64, 64), 2, envelope=True)
    assert root_mean_square(found / profile - 1) < 0.02


def test_correction_undoes_the_profile_and_keeps_the_offset():
    profile = planted((40, 50))
    light = np.full((2, 40, 50), 1000.0)
    field = np.rint(20 + light * profile).astype(np.uint16)
    even = correct(field, profile, 20.0)
    assert even.dtype == np.uint16
    assert abs(even.astype(int) - 1020).max() <= 1
    dark = np.full((2, 40, 50), 20, np.uint16)
    np.testing.assert_array_equal(correct(dark, profile, 20.0), dark)


def test_even_light_is_left_alone():
    rng = np.random.default_rng(0)
    estimator = ProfileEstimator(0.0)
    for _ in range(3):
        estimator.add(rng.poisson(200, (2, 80, 80)).astype(np.uint16))
    assert abs(estimator.profile() - 1).max() < 0.02


def test_fields_of_another_size_are_refused():
    estimator = ProfileEstimator(0.0)
    estimator.add(np.ones((2, 40, 40), np.uint16))
    with pytest.raises(ValueError, match="expected"):
        estimator.add(np.ones((2, 40, 41), np.uint16))
