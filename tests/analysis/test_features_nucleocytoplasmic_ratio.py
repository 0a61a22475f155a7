from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu

from analysis.features import nucleocytoplasmic_ratio
from analysis.features.nuclei import find_nuclei, otsu
from analysis.features.registry import all_features, measure_features
from analysis.simulation.field import simulate_field
from rls.runtime.errors import InputError
from tests.analysis.disc_cells import CHANNELS, cell, disc, settings
from tests.analysis.small_plate import SETTINGS as SIMULATED


def measure(images, pixel_size_um=1.0, **changes):
    return nucleocytoplasmic_ratio.measure(
        np.asarray(images), channels=CHANNELS, pixel_size_um=pixel_size_um,
        nucleus_channel="dna", marker_channel="nfkb", settings=settings(**changes),
    )  # fmt: skip


def ratio(images, **keywords):
    return measure(images, **keywords)["nucleocytoplasmic_ratio"].to_numpy()


def test_a_series_of_ratios_comes_back_with_slope_one():
    truth = np.array([0.4, 0.7, 1.0, 1.5, 2.2, 3.0, 4.0])
    found = ratio([cell(r) for r in truth])
    slope, _ = np.polyfit(truth, found, 1)
    assert 0.9 < slope < 1.1
    np.testing.assert_allclose(found, truth, rtol=0.12)  # blur pulls every ratio towards one


def test_the_ratio_is_one_where_the_marker_is_even():
    assert ratio([cell(1.0)])[0] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_finer_pixels_give_the_same_ratio_and_areas_in_um(size):
    scale = size / 32
    image = cell(2.0, size=size, diameter=15 * scale, blur=0.75 * scale)
    found = measure([image], pixel_size_um=1 / scale)
    assert found["status"][0] == "ok"
    assert found["nucleocytoplasmic_ratio"][0] == pytest.approx(2.0, rel=0.06)
    assert found["nucleus_area_um2"][0] == pytest.approx(math.pi * 7.5**2, rel=0.06)
    ring = math.pi * ((7.5 + 3.25) ** 2 - (7.5 + 0.75) ** 2)
    assert found["ring_area_um2"][0] == pytest.approx(ring, rel=0.15)


def test_gain_changes_counts_and_not_the_ratio():
    images = np.stack([cell(r) for r in (0.8, 2.0)])
    a, b = measure(images), measure(images * 0.01)
    np.testing.assert_allclose(
        a["nucleocytoplasmic_ratio"], b["nucleocytoplasmic_ratio"], rtol=1e-5
    )
    np.testing.assert_allclose(a["nucleus_mean_counts"], 100 * b["nucleus_mean_counts"], rtol=1e-4)


def test_a_turned_or_flipped_cell_has_the_same_ratio():
    image = cell(1.7, centre=(14.0, 16.5)) + np.random.default_rng(0).normal(0, 5, (2, 32, 32))
    views = [image, np.rot90(image, 1, (1, 2)), image[:, ::-1], image.swapaxes(1, 2)]
    found = ratio(views)
    np.testing.assert_allclose(found, found[0], rtol=0.03)


def test_a_background_left_in_pulls_the_ratio_to_one_and_the_crop_takes_it_off():
    image = cell(2.0)
    lifted = image + 100.0
    assert ratio([lifted])[0] == pytest.approx(500 / 300, rel=0.05)
    taken_off = ratio([lifted], marker_background="crop")[0]
    assert taken_off == pytest.approx(ratio([image])[0], rel=0.01)
    assert measure([lifted], marker_background="crop")["marker_background_counts"][0] > 99


def test_a_bright_neighbour_moves_a_median_ring_less_than_a_mean_ring():
    image = cell(0.9) + cell(0.9, centre=(15.5, 36.0), marker=1500.0, dna=0.0, diameter=12)
    alone = ratio([cell(0.9)])[0]
    moved = {s: abs(ratio([image], ring_statistic=s)[0] - alone) for s in ("median", "mean")}
    assert moved["median"] < 0.5 * moved["mean"]


def test_touching_nuclei_are_split_and_the_neighbour_is_no_ring():
    image = cell(1.0, centre=(15.5, 13.0), diameter=13)
    other = cell(6.0, centre=(15.5, 26.2), diameter=13)
    both = np.maximum(image, other)
    nucleus = find_nuclei(both[None, 0], 1.0, settings())[0]
    truth = disc(32, (15.5, 13.0), 6.5)
    assert (nucleus.mask & truth).sum() / (nucleus.mask | truth).sum() > 0.8
    assert nucleus.others[15, 26] and not nucleus.mask[15, 26]
    assert ratio([both])[0] == pytest.approx(1.0, rel=0.12)


def test_a_dim_nucleus_is_found_beside_a_bright_one():
    image = cell(2.0, dna=150.0) + cell(1.0, centre=(15.5, 33.0), dna=3000.0, marker=0.0)
    truth = disc(32, (15.5, 15.5), 7.5)
    nucleus = find_nuclei(image[None, 0], 1.0, settings())[0]
    assert nucleus.status == "ok"
    assert (nucleus.mask & truth).sum() / (nucleus.mask | truth).sum() > 0.75


def test_a_long_nucleus_is_not_cut_in_two():
    ys, xs = np.indices((32, 32)) - 15.5
    long = 500.0 * (np.hypot(ys / 5.5, xs / 11.0) <= 1)
    image = ndimage.gaussian_filter(long, 0.75)
    nucleus = find_nuclei(image[None], 1.0, settings())[0]
    assert nucleus.mask.sum() == pytest.approx(math.pi * 5.5 * 11, rel=0.1)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((2, 32, 32)), "no_nucleus"),
        (np.random.default_rng(0).normal(100, 5, (2, 32, 32)), "no_nucleus"),
        (cell(2.0, centre=(15.5, 28.5), diameter=9), "no_nucleus_at_centre"),
        (cell(2.0, diameter=5), "nucleus_too_small"),
        (cell(2.0, diameter=29), "nucleus_too_large"),
        (cell(2.0) * np.array([1.0, 0.0])[:, None, None], "no_marker_in_ring"),
    ],
)
def test_what_cannot_be_measured_says_why_and_has_no_number(image, reason):
    found = measure([image])
    assert found["status"][0] == f"not_measurable:{reason}"
    assert found.drop(columns="status").isna().all(axis=None)


def test_low_resolution_images_are_not_measurable_and_get_no_made_up_number():
    images = np.stack([cell(r).reshape(2, 4, 8, 4, 8).mean(axis=(2, 4)) for r in (0.9, 2.3)])
    found = measure(images, pixel_size_um=8.0)
    assert (found["status"] == "not_measurable:image_too_small").all()
    assert found.drop(columns="status").isna().all(axis=None)


def test_a_stack_gives_what_its_images_give_one_by_one():
    images = np.stack([cell(r) for r in (0.7, 1.4, 2.8)] + [np.zeros((2, 32, 32))])
    together = measure(images)
    for i, image in enumerate(images):
        assert together.iloc[[i]].reset_index(drop=True).equals(measure([image]))


def test_otsu_equals_scikit_image_and_gaussian_noise_has_separability_two_over_pi():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(10, 1, 3000), random.normal(20, 2, 1000)])
    threshold, separability = otsu(values[None])
    assert threshold[0] == pytest.approx(threshold_otsu(values, nbins=2000), abs=0.1)
    assert separability[0] > 0.85
    assert otsu(random.normal(size=(1, 40000)))[1][0] == pytest.approx(2 / math.pi, abs=0.01)
    assert math.isnan(otsu(np.ones((1, 9)))[1][0])


def simulated(ratio_medians, ratio_log_sd, seed):
    """Crops above black of simulated cells in focus; their ratio in true masks, and planted."""
    background, offset = 60.0, 100.0
    plate = replace(
        SIMULATED, treatments=("dose",), ratio_medians=ratio_medians, ratio_log_sd=ratio_log_sd,
        fragment_counts=(1.0,), wells_per_treatment=1, field_height_px=460, field_width_px=460,
        nucleus_diameter_px=15.0, pixel_size_um=1.0, bit_depth=16, colony_share=0.6,
        dna_counts=900.0, marker_counts=600.0, background_counts=background,
        camera_offset_counts=offset, electrons_per_count=1.0, read_noise_counts=6.0,
        debris_per_field=2.0,
    )  # fmt: skip
    random = np.random.default_rng(seed)
    images, truth = [], []
    for _ in range(1):
        field = simulate_field(plate, "dose", np.ones((2, 460, 460)), np.ones(2), random)
        cells = field.truth[field.truth["in_focus"] & np.isfinite(field.truth["true_ratio"])]
        jitter = random.normal(0, 0.05 * 15, (len(cells), 2))
        places = np.rint(cells[["y_px", "x_px"]].to_numpy() + jitter + 0.5).astype(int) - 16
        pairs = cells[["true_ratio", "ratio"]].to_numpy()
        for (y, x), true in zip(places, pairs, strict=True):
            if min(y, x) >= 0 and max(y, x) + 32 <= 460:
                images.append(field.counts[:, y : y + 32, x : x + 32] - background - offset)
                truth.append(true)
    return np.stack(images), np.array(truth)


def test_on_a_simulated_dose_series_it_follows_the_truth_in_true_masks_and_what_was_planted():
    images, known = simulated((1.45,), 0.6, seed=0)
    truth, planted = known.T
    found = ratio(images)
    good = np.isfinite(found)
    assert len(truth) > 100 and good.mean() > 0.97
    slope, _ = np.polyfit(truth[good], found[good], 1)
    assert np.corrcoef(truth[good], found[good])[0, 1] >= 0.95
    assert 0.9 <= slope <= 1.1
    assert np.median(found[good] / truth[good]) == pytest.approx(1.0, abs=0.05)
    # Blur and the light of neighbours pull what was planted towards one, the truth in masks too.
    assert np.corrcoef(planted[good], found[good])[0, 1] >= 0.90
    assert np.polyfit(planted[good], found[good], 1)[0] >= 0.6


def test_on_two_real_wells_it_tells_stimulated_from_unstimulated(real_data):
    import tifffile

    from analysis.cells.segment import segment_nuclei

    values = {}
    for well, number in (("A-01", "01"), ("A-12", "12")):
        marker, dna = (
            tifffile.imread(real_data / "bbbc014_fields" / f"Channel {c}-{number}-{well}-00.tif")
            for c in (1, 2)
        )
        labels = segment_nuclei(dna, 15.0)
        centres = ndimage.center_of_mass(labels > 0, labels, np.arange(1, labels.max() + 1))
        places = np.rint(centres).astype(int) - 16
        fits = (places.min(axis=1) >= 0) & (places[:, 0] + 32 <= 1024) & (places[:, 1] + 32 <= 1360)
        above = np.stack([dna, marker - np.percentile(marker, 1)])
        crops = [above[:, y : y + 32, x : x + 32] for y, x in places[fits]]
        found = measure(np.stack(crops))
        assert (found["status"] == "ok").mean() > 0.95
        values[well] = found["nucleocytoplasmic_ratio"].dropna().to_numpy()
    assert 1.6 < np.median(values["A-01"]) < 2.3
    assert 0.8 < np.median(values["A-12"]) < 1.0


def test_features_are_found_by_name_and_an_unknown_one_is_refused():
    assert list(all_features()) == ["golgi", "morphology", "nucleocytoplasmic_ratio"]
    roles = {"nucleus_channel": "dna", "marker_channel": "nfkb"}
    common = {"channels": CHANNELS, "pixel_size_um": 1.0, "settings": settings()}
    images = np.stack([cell(2.0)])
    found = measure_features(["nucleocytoplasmic_ratio"], images, **common, **roles)
    assert found["status"][0] == "ok" and found["nucleocytoplasmic_ratio"][0] > 1.5
    assert list(measure_features([], images, **common, **roles).columns) == ["status"]
    with pytest.raises(InputError, match="no feature 'spots'"):
        measure_features(["spots"], images, **common, **roles)
    with pytest.raises(InputError, match="marker channel 'gfp'"):
        measure_features([], images, **common, nucleus_channel="dna", marker_channel="gfp")
