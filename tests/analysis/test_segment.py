"""Segmentation, held to the true masks of simulated nuclei."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from analysis.cells.segment import segment_nuclei
from analysis.cells.segmentation_accuracy import f1_by_gap
from tests.analysis.small_plate import field


def score(least, nearest, neighbours, nucleus=15.0):
    """F1 by gap, pooled over three fields."""
    pairs = []
    for seed in range(3):
        result = field(
            seed=seed, nucleus_diameter_px=nucleus, field_height_px=230, field_width_px=230,
            nearest_centres_nd=nearest, neighbours=neighbours, illumination_depth=0.1,
        )  # fmt: skip
        pairs.append((result.nuclei, segment_nuclei(result.counts[0], nucleus)))
    return f1_by_gap(pairs, nucleus, least)


@pytest.mark.parametrize(("least", "wanted"), [(0.5, 0.97), (0.75, 0.90)])
def test_separate_nuclei_are_found(least, wanted):
    assert score(least, nearest=1.6, neighbours=4.0).loc["all", "f1"] >= wanted
    crowded = score(least, nearest=0.95, neighbours=9.0)
    assert crowded.loc["over 0.3 nd", "n_nuclei"] > 30
    assert crowded.loc["over 0.3 nd", "f1"] >= wanted


def test_touching_nuclei_are_separated():
    by_gap = score(0.5, nearest=0.95, neighbours=9.0)
    assert by_gap.loc["touching", "n_nuclei"] > 30
    assert by_gap.loc["touching", "f1"] >= 0.80
    assert by_gap.loc["0.1 to 0.3 nd", "f1"] >= 0.90


def test_small_nuclei_are_found():
    assert score(0.5, nearest=1.6, neighbours=4.0, nucleus=7.5).loc["all", "f1"] >= 0.95


def test_an_empty_field_has_no_nucleus():
    for seed in range(3):
        assert segment_nuclei(field(seed=seed, empty=True).counts[0], 10.0).max() == 0
    assert segment_nuclei(np.full((50, 60), 7, np.uint16), 10.0).max() == 0


def test_camera_noise_has_no_nucleus():
    noise = np.random.default_rng(0).integers(0, 4096, (150, 150)).astype(np.uint16)
    assert segment_nuclei(noise, 10.0).max() == 0


def test_one_nucleus_in_an_empty_field_is_found():
    y, x = np.mgrid[:200, :200]
    image = np.random.default_rng(0).poisson(60, (200, 200)).astype(np.uint16)
    image[np.hypot(y - 80, x - 120) < 7.5] += 300
    labels = segment_nuclei(image, 15.0)
    assert labels.max() == 1
    assert (labels > 0).sum() == pytest.approx(np.pi * 7.5**2, rel=0.15)


def test_labels_do_not_depend_on_gain_or_offset():
    image = field(seed=4).counts[0]
    first = segment_nuclei(image, 10.0)
    np.testing.assert_array_equal(segment_nuclei(4.0 * image + 100.0, 10.0), first)


def test_large_nuclei_are_found_at_reduced_size():
    result = field(seed=1, nucleus_diameter_px=60.0, field_height_px=400, field_width_px=400)
    found = segment_nuclei(result.counts[0], 60.0)
    assert f1_by_gap([(result.nuclei, found)], 60.0, 0.75).loc["all", "f1"] >= 0.9


@pytest.mark.parametrize(("well", "least", "most"), [("01-A-01", 530, 680), ("12-A-12", 560, 680)])
def test_the_nuclei_of_two_real_wells_are_counted(real_data, well, least, most):
    image = tifffile.imread(real_data / "bbbc014_fields" / f"Channel 2-{well}-00.tif")
    labels = segment_nuclei(image, 15.0)
    assert least <= labels.max() <= most
    diameter = 2 * np.sqrt(np.median(np.bincount(labels.ravel())[1:]) / np.pi)
    assert diameter == pytest.approx(15, abs=1)
