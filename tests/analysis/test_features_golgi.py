"""Golgi spots: planted spots come back, gain and turning change nothing, LR is not measurable."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import ndimage

from analysis.features import golgi
from analysis.run.keys import ROOT
from analysis.simulation.field import simulate_field
from analysis.simulation.golgi import spot_sizes, visible_spots
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


def shapes(images):
    return golgi.shapes(
        np.asarray(images), channels=CHANNELS, pixel_size_um=PIXEL,
        nucleus_channel="dna", marker_channel="golgi", settings=FROZEN,
    )  # fmt: skip


@pytest.mark.parametrize("ratio", [1.0, 2.0, 3.0])
def test_the_elongation_of_an_ellipse_is_the_ratio_of_its_axes(ratio):
    image = cell([])
    ys, xs = np.indices((64, 64)) - 31.5
    inside = np.hypot(ys / (3.0 * ratio), (xs - 14) / 3.0) < 1
    image[1][inside] = 300.0
    found = shapes([cell([]), image, image * 0])
    assert list(found["image"]) == [1]
    assert found["elongation"][0] == pytest.approx(ratio, rel=0.12)
    assert found["area_um2"][0] == pytest.approx(inside.sum() * PIXEL**2, rel=0.1)


def test_shapes_are_the_spots_that_are_counted():
    images = [cell(ring(n, 2.5)) for n in (1, 5)]
    assert list(shapes(images)["image"]) == [0] + [1] * 5
    assert shapes([0 * images[0]]).empty


def test_what_cannot_be_measured_says_so():
    image = cell(ring(5, 2.5))
    coarse = image.reshape(2, 8, 8, 8, 8).mean(axis=(2, 4))
    found = measure([coarse], pixel_size_um=8 * PIXEL)
    assert found["status"][0] == "not_measurable:pixels_too_coarse"
    assert found[list(golgi.COLUMNS)].isna().all(axis=None)
    assert measure([cell([])])["status"][0] == "not_measurable:no_spot"
    assert measure([image * 0])["status"][0].startswith("not_measurable:")


def test_a_spot_that_lies_across_the_line_between_two_cells_is_cut_there():
    image = cell([(0, 12, 6.0)])
    whole = measure([image])["golgi_total_area_um2"][0]
    ys, xs = np.indices((64, 64)) - 31.5
    image[0] += np.where(np.hypot(ys, xs - 24) < 8, 400.0, 0.0)
    own = measure([image])
    assert own["status"][0] == "ok"
    # The line runs half way between the nuclei's edges, at 9 and 16 px, through the spot's middle.
    assert own["golgi_total_area_um2"][0] == pytest.approx(0.55 * whole, rel=0.15)


@pytest.fixture(scope="module")
def dose_series():
    """What is measured and what is true of cells of 2 to 20 fragments that stand apart."""
    doses = tuple(f"dose{i}" for i in range(5))
    size, half = 380, 32
    settings = replace(
        SETTINGS, phenotype="golgi", channels=CHANNELS, treatments=doses,
        fragment_counts=(2.0, 4.0, 8.0, 13.0, 20.0), nucleus_diameter_px=18.0, psf_sd_nd=0.033,
        field_height_px=size, field_width_px=size, neighbours=1.0, colony_share=1.0,
        out_of_focus_share=0.0, wells_per_treatment=1,
    )  # fmt: skip
    even = np.ones((2, size, size), np.float32)
    crops, truths = [], []
    for i, dose in enumerate(doses):
        field = simulate_field(settings, dose, even, np.ones(2), np.random.default_rng(i))
        inside = field.truth[["y_px", "x_px"]].round().astype(int)
        inside = inside[inside.ge(half).all(axis=1) & inside.le(size - half).all(axis=1)]
        for y, x in inside.to_numpy():
            counts = field.counts[:, y - half : y + half, x - half : x + half]
            crops.append(counts.astype(float) - 60)
        truths.append(field.truth.loc[inside.index])
    return pd.concat([measure(crops), pd.concat(truths, ignore_index=True)], axis=1)


def test_count_and_area_follow_what_the_optics_show_of_a_series(dose_series):
    cells = dose_series[dose_series["status"] == "ok"]
    assert len(cells) > 60 and len(cells) > 0.98 * len(dose_series)
    count, truth = cells["golgi_spot_count"], cells["true_spot_count"]
    assert np.corrcoef(count, truth)[0, 1] >= 0.9
    assert abs(np.median(count / truth) - 1) < 0.10
    area = cells["golgi_mean_spot_area_um2"] / PIXEL**2
    small = cells["true_spot_area_px"] < 20
    assert small.sum() > 15
    assert abs(np.median((area / cells["true_spot_area_px"])[small]) - 1) < 0.15


def test_count_follows_the_planted_number_though_fragments_touch(dose_series):
    cells = dose_series[dose_series["status"] == "ok"]
    assert np.corrcoef(cells["golgi_spot_count"], cells["fragments"])[0, 1] > 0.8
    assert cells["true_spot_count"].le(cells["fragments"]).all()


def test_the_truth_counts_fragments_that_the_optics_merge_once():
    settings = replace(SETTINGS, nucleus_diameter_px=18.0, psf_sd_nd=0.033)
    one = np.array([0.0, 0.0, 3.0, 1.0, 0.0])
    along = np.array([0.0, 1.0, 0.0, 0.0, 0.0])
    apart, touching = np.stack([one, one + 12 * along]), np.stack([one, one + 6.4 * along])
    np.testing.assert_allclose(spot_sizes(apart, settings), np.pi * 3.0**2, rtol=0.15)
    assert len(spot_sizes(touching, settings)) == 1
    assert len(spot_sizes(apart, replace(settings, psf_sd_nd=0.3))) == 1


def test_no_fragment_is_true_of_a_cell_out_of_focus():
    settings = replace(SETTINGS, phenotype="golgi", channels=CHANNELS)
    table = pd.DataFrame({"in_focus": [True, False], "y_px": 0.0, "x_px": 0.0, "fragments": 3,
                          "golgi_area_px": 120.0, "golgi_key": 7})  # fmt: skip
    truth = visible_spots(table, settings)
    assert truth.loc[0].notna().all() and truth.loc[1].isna().all()
