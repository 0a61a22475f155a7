"""Golgi spots: planted spots come back, gain and turning change nothing, LR is not measurable."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import yaml
from scipy import ndimage

from analysis.configuration import ROOT
from analysis.features import golgi
from analysis.simulation.field import simulate_field
from tests.analysis.small_plate import SETTINGS

PIXEL = 15 / 18  # um; a nucleus of 15 um is 18 px
SECTION = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["measure"]
FROZEN = golgi.FeatureSettings(**{f.name: SECTION[f.name] for f in fields(golgi.FeatureSettings)})
CHANNELS = ("dna", "golgi")


def cell(spots, level=300.0, haze=60.0, size=64):
    """A round nucleus in the middle and spots (y, x, radius), slightly blurred."""
    ys, xs = np.indices((size, size)) - (size - 1) / 2
    nucleus = np.where(np.hypot(ys, xs) < 9, 400.0, 0.0)
    marker = np.where(np.hypot(ys, xs) < 20, haze, 0.0)
    for y, x, radius in spots:
        marker[np.hypot(ys - y, xs - x) < radius] = level
    return np.stack([ndimage.gaussian_filter(image, 0.6) for image in (nucleus, marker)])


def measure(images, pixel_size_um=PIXEL, **changes):
    return golgi.measure(
        np.asarray(images), channels=CHANNELS, pixel_size_um=pixel_size_um,
        nucleus_channel="dna", marker_channel="golgi", settings=replace(FROZEN, **changes),
    )  # fmt: skip


def ring(n, radius, distance=13.0):
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False) + 0.3
    return [(distance * np.sin(a), distance * np.cos(a), radius) for a in angles]


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_planted_spots_are_counted_and_measured(n):
    radius = 2.5
    found = measure([cell(ring(n, radius))])
    assert found["status"][0] == "ok"
    assert found["golgi_spot_count"][0] == n
    area = np.pi * radius**2 * PIXEL**2
    assert found["golgi_mean_spot_area_um2"][0] == pytest.approx(area, rel=0.25)
    assert found["golgi_total_area_um2"][0] == pytest.approx(
        n * found["golgi_mean_spot_area_um2"][0]
    )
    assert found["golgi_largest_fraction"][0] == pytest.approx(1 / n, rel=0.25)


def test_the_spread_of_spots_on_a_ring_is_its_radius():
    found = measure([cell(ring(8, 1.8, distance=14.0))])
    assert found["golgi_spread_um"][0] == pytest.approx(14.0 * PIXEL, rel=0.03)


def test_gain_and_turning_change_nothing():
    image = cell([(0, 13, 3.0), (12, -4, 2.0), (-12, -6, 2.0)])
    views = [image, 1.7 * image, np.rot90(image, 1, (1, 2)), image[:, ::-1]]
    found = measure(views)[list(golgi.COLUMNS)].to_numpy()
    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape), rtol=0.01)


def test_a_spot_nearer_to_another_nucleus_belongs_to_that_cell():
    image = cell([(0, -13, 2.5), (0, 14, 2.5)])
    assert measure([image])["golgi_spot_count"][0] == 2
    ys, xs = np.indices((64, 64)) - 31.5
    image[0] += np.where(np.hypot(ys, xs - 24) < 8, 400.0, 0.0)
    assert measure([image])["golgi_spot_count"][0] == 1


def test_what_cannot_be_measured_says_so():
    image = cell(ring(5, 2.5))
    coarse = image.reshape(2, 8, 8, 8, 8).mean(axis=(2, 4))
    found = measure([coarse], pixel_size_um=8 * PIXEL)
    assert found["status"][0] == "not_measurable:pixels_too_coarse"
    assert found[list(golgi.COLUMNS)].isna().all(axis=None)
    assert measure([cell([])])["status"][0] == "not_measurable:no_spot"
    assert measure([image * 0])["status"][0].startswith("not_measurable:")


def test_the_count_follows_a_planted_series_on_simulated_cells():
    doses = tuple(f"dose{i}" for i in range(5))
    settings = replace(
        SETTINGS, phenotype="golgi", channels=CHANNELS, treatments=doses,
        fragment_counts=(2.0, 4.0, 8.0, 13.0, 20.0), nucleus_diameter_px=18.0, psf_sd_nd=0.033,
        field_height_px=300, field_width_px=300, neighbours=2.0, out_of_focus_share=0.0,
        wells_per_treatment=1, body_diameter_nd=(2.1, 2.5),
    )  # fmt: skip
    light = np.ones((2, 300, 300), np.float32)
    found, planted = [], []
    for i, dose in enumerate(doses):
        field = simulate_field(settings, dose, light, np.ones(2), np.random.default_rng(i))
        truth = field.truth
        here = truth["y_px"].between(32, 267) & truth["x_px"].between(32, 267)
        crops = [
            field.counts[:, y - 32 : y + 32, x - 32 : x + 32].astype(float) - 60
            for y, x in truth.loc[here, ["y_px", "x_px"]].round().astype(int).to_numpy()
        ]
        table = measure(crops)
        ok = (table["status"] == "ok").to_numpy()
        found += list(table["golgi_spot_count"][ok])
        planted += list(truth.loc[here, "fragments"][ok])
    assert len(found) > 60
    assert np.corrcoef(found, planted)[0, 1] > 0.85
