"""Quality flags: what they catch and what they leave alone."""

from __future__ import annotations

import lzma

import numpy as np
import pytest
from scipy import ndimage

from analysis.crop_cells import cut
from analysis.quality import FLAGS, Limits, edge_blur, flag, measure_quality
from tests.analysis.small_plate import field

LIMITS = Limits(saturated_share_max=0.01, contrast_min=0.4, blur_max_nd=0.15, noise_share_max=0.5)


@pytest.fixture(scope="module")
def crops():
    result = field(nucleus_diameter_px=20.0, out_of_focus_share=0.0, field_height_px=240,
                   field_width_px=240)  # fmt: skip
    cells = result.truth[["y_px", "x_px"]].round().astype(int)
    cells = cells[cells["y_px"].between(30, 205) & cells["x_px"].between(30, 205)]
    assert len(cells) >= 15
    return cut(result.counts, cells, 60)


def flags(crops, raw=None):
    measures = measure_quality(
        crops if raw is None else raw, crops, saturation=4095, nucleus_channel=0,
        nucleus_diameter_px=20.0,
    )  # fmt: skip
    return flag(measures, LIMITS)


def test_good_crops_have_no_flag(crops):
    assert list(flags(crops).columns) == list(FLAGS)
    assert flags(crops).to_numpy().mean() < 0.03


def test_blurred_crops_are_out_of_focus(crops):
    blurred = ndimage.gaussian_filter(crops, (0, 0, 6.0, 6.0))
    assert flags(blurred)["out_of_focus"].mean() > 0.9


def test_noise_is_flagged_in_any_channel(crops):
    noisy = crops.copy()
    noisy[:, 1] = np.random.default_rng(0).integers(0, 4000, noisy[:, 1].shape)
    assert flags(noisy)["noise"].all()


def test_blank_crops_are_flagged(crops):
    blank = crops.copy()
    blank[:, 1] = np.random.default_rng(0).poisson(300, blank[:, 1].shape)
    assert flags(blank)["blank"].all()


def test_saturation_is_seen_in_the_raw_counts(crops):
    raw = crops.copy()
    raw[::2, 0, :10, :10] = 4095
    found = flags(crops, raw)["saturated"].to_numpy()
    assert found[::2].all() and not found[1::2].any()


@pytest.mark.parametrize("sd", [1.5, 2.5, 4.0])
def test_edge_blur_is_the_sd_of_the_blur_of_a_disc(sd):
    y, x = np.mgrid[:121, :121] - 60
    disc = ndimage.gaussian_filter(1000.0 * (np.hypot(y, x) < 25), sd)
    assert edge_blur(disc[None].astype(np.float32), 50.0)[0] * 50 == pytest.approx(sd, rel=0.15)


def test_corrupt_crops_of_bbbc021_are_few_and_flagged(real_data):
    with lzma.open(real_data / "bbbc021_crops" / "crops_68px_delta.npy.xz") as file:
        crops = np.cumsum(np.load(file), axis=-1, dtype=np.int16).astype(np.uint16)[::3]
    measures = measure_quality(crops, crops, saturation=4095, nucleus_channel=0,
                               nucleus_diameter_px=33.0)  # fmt: skip
    found = flag(measures, LIMITS)
    assert 4 <= found["noise"].sum() <= 15
    # A corrupt crop has no nucleus: its DNA channel never rises much over its background.
    height = np.percentile(crops[:, 0], 99, axis=(1, 2))
    assert np.median(height[found["noise"]]) < 80 < np.median(height[~found["noise"]])
    assert found["out_of_focus"].mean() < 0.01
