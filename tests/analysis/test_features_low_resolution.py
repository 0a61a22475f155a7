"""On low resolution a feature is refused, or is a real measurement; never a made-up number."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.features.registry import all_features, columns_of, measure_features
from rls.search.forward import resize_matrix
from tests.analysis.disc_cells import CHANNELS, SETTINGS, cell
from tests.analysis.test_features_nucleocytoplasmic_ratio import simulated


class Everything:
    """The settings of every feature at once, as measure hands them over."""

    def __init__(self):
        vars(self).update(SETTINGS)


def low(images, side):
    """The LR images (n, c, side, side) that D makes, antialiased bicubic."""
    matrix = resize_matrix(images.shape[-1], side, "renormalize")
    return matrix @ images @ matrix.T


def measure(name, images, pixel_size_um):
    return measure_features(
        [name], images, channels=CHANNELS, pixel_size_um=pixel_size_um, nucleus_channel="dna",
        marker_channel="nfkb", settings=Everything(),
    )  # fmt: skip


@pytest.mark.parametrize("side", [4, 8])
@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("name", all_features())
def test_every_feature_refuses_low_resolution_of_4_and_8_px(name, size, side):
    """The article's two sizes of LR, from each size of HR; a nucleus is half an image wide."""
    high = np.stack([cell(r, size=size, diameter=size * 15 / 32) for r in (0.6, 0.9, 2.3)])
    found = measure(name, low(high, side), 32.0 / side)
    assert found["status"].str.startswith("not_measurable:").all()
    numbers = found[list(columns_of(name, CHANNELS))]
    assert numbers.shape[1] >= 5 and numbers.isna().all(axis=None)


def test_spots_are_refused_on_16_px_and_granularity_too():
    high = np.stack([cell(r, size=64, diameter=30) for r in (0.6, 2.3)])
    spots = measure("golgi", low(high, 16), 2.0)
    assert (spots["status"] == "not_measurable:pixels_too_coarse").all()
    assert spots.drop(columns="status").isna().all(axis=None)
    shapes = measure("morphology", low(high, 16), 2.0)
    granular = shapes.filter(like="_Granularity_")
    assert granular.shape[1] == 8 and granular.isna().all(axis=None)


def test_on_16_px_the_ratio_is_a_measurement_pulled_to_one_by_blur():
    """A nucleus of 7.5 px: the order of cells is that of the truth, the slope is not."""
    images, known = simulated((1.45,), 0.6, seed=0)
    found = measure("nucleocytoplasmic_ratio", low(images, 16), 2.0)["nucleocytoplasmic_ratio"]
    good = np.isfinite(found)
    assert good.mean() > 0.97
    truth = known[good, 0]
    assert np.corrcoef(truth, found[good])[0, 1] >= 0.95
    assert 0.75 < np.polyfit(truth, found[good], 1)[0] < 0.95
