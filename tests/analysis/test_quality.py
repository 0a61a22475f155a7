"""Quality flags: what they catch and what they leave alone."""

from __future__ import annotations

import lzma
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from analysis.cells.geometry import cut, find_cells, share_outside
from analysis.cells.imported_crops import central_labels
from analysis.cells.quality import (
    edge_blur,
    flag,
    measure_quality,
    padded_share,
    touching_share,
)
from analysis.cells.quality_settings import FLAGS, QualityLimits
from analysis.cells.segment import segment_nuclei
from tests.analysis.small_plate import field

LIMITS = QualityLimits(
    saturated_share_max=0.01, contrast_min=0.4, blur_max_nd=0.12, noise_share_max=0.5,
    outside_share_max=0.0, touching_share_max=0.2, debris_height_max=0.5,
)  # fmt: skip
ND, SIZE, CROP = 20.0, 240, 60


def measured(result, spoil=None):
    """Return (flags, measures, cells) of the whole crops of a simulated field."""
    labels = segment_nuclei(result.counts[0], ND)
    cells = find_cells(labels)
    outside = share_outside((SIZE, SIZE), cells, CROP)
    kept = np.flatnonzero(outside == 0)
    cells = cells.iloc[kept].reset_index(drop=True)
    images = cut(result.counts, cells, CROP)
    images = images if spoil is None else spoil(images)
    table = measure_quality(
        images, images, cut(labels[None], cells, CROP)[:, 0],
        kept + 1, outside=outside[kept], saturation=4095, nucleus_channel=0,
        nucleus_diameter_px=ND,
    )  # fmt: skip
    return flag(table, LIMITS), table, cells


def simulated(**changes):
    return field(nucleus_diameter_px=ND, field_height_px=SIZE, field_width_px=SIZE, **changes)


@pytest.fixture(scope="module")
def sharp():
    return simulated(out_of_focus_share=0.0, illumination_depth=0.0)


def nearest_truth(result, cells):
    """Return (distance in px, row of the truth) of each cell."""
    return cKDTree(result.truth[["y_px", "x_px"]]).query(cells[["y_px", "x_px"]])


def test_good_crops_have_no_flag(sharp):
    flags = measured(sharp)[0]
    assert list(flags.columns) == list(FLAGS) and len(flags) >= 15
    assert flags.drop(columns="overlapping").to_numpy().mean() < 0.01


@pytest.mark.parametrize("blur", [0.2, 0.3])
def test_cells_out_of_focus_are_told_from_their_sharp_neighbours(blur):
    found, true = [], []
    for seed in range(3):
        result = simulated(seed=seed, out_of_focus_share=0.25, out_of_focus_sd_nd=blur)
        flags, _, cells = measured(result)
        distance, row = nearest_truth(result, cells)
        near = distance < 0.4 * ND
        found += list(flags["out_of_focus"].to_numpy()[near])
        true += list(~result.truth["in_focus"].to_numpy()[row[near]])
    found, true = np.array(found), np.array(true)
    assert true.sum() >= 8 and (~true).sum() >= 40
    assert found[true].mean() >= 0.9 and found[~true].mean() <= 0.02


def test_a_cell_blurred_by_most_of_its_diameter_is_no_nucleus_any_more():
    # So none is flagged where the simulation blurs by 0.8 nd: such cells are haze on the others.
    result = simulated(out_of_focus_share=0.4, out_of_focus_sd_nd=0.8)
    _, _, cells = measured(result)
    distance, row = nearest_truth(result, cells)
    assert (~result.truth["in_focus"]).sum() > 10 and len(cells) > 10
    assert result.truth["in_focus"].to_numpy()[row[distance < 0.4 * ND]].all()


def test_noise_is_flagged_in_any_channel(sharp):
    def spoil(crops):
        crops[:, 1] = np.random.default_rng(0).integers(0, 4000, crops[:, 1].shape)
        return crops

    assert measured(sharp, spoil)[0]["noise"].all()


def test_blank_crops_are_flagged(sharp):
    def spoil(crops):
        crops[:, 1] = np.random.default_rng(0).poisson(300, crops[:, 1].shape)
        return crops

    assert measured(sharp, spoil)[0]["blank"].all()


def test_saturation_is_seen_in_the_raw_counts(sharp):
    def spoil(crops):
        raw = crops.copy()
        raw[::2, 0, :10, :10] = 4095
        return raw

    labels = np.zeros((4, CROP, CROP), int)
    crops = measured_crops(sharp)[:4]
    table = measure_quality(
        spoil(crops), crops, labels, np.zeros(4, int), outside=np.zeros(4), saturation=4095,
        nucleus_channel=0, nucleus_diameter_px=ND,
    )  # fmt: skip
    assert flag(table, LIMITS)["saturated"].tolist() == [True, False, True, False]


def measured_crops(result):
    cells = find_cells(segment_nuclei(result.counts[0], ND))
    inside = share_outside((SIZE, SIZE), cells, CROP) == 0
    return cut(result.counts, cells[inside], CROP)


def test_specks_beside_nuclei_are_debris_and_nuclei_are_not(sharp):
    _, clean, cells = measured(sharp)
    y, x = np.mgrid[:SIZE, :SIZE]
    free = ndimage.distance_transform_edt(segment_nuclei(sharp.counts[0], ND) == 0)
    place = np.argmax(np.where((free > 8) & (free < 14), 1, 0)[60:180, 60:180])
    top, left = np.unravel_index(place, (120, 120))
    centre = np.array([top + 60, left + 60])
    speck = 500 * np.exp(-(np.hypot(y - centre[0], x - centre[1]) ** 2) / (2 * 2.0**2))
    dirty = replace(sharp, counts=(sharp.counts + speck).astype(np.uint16))
    flags, _, cells = measured(dirty)
    offset = np.abs(cells[["y_px", "x_px"]].to_numpy() - centre).max(axis=1)
    assert not (clean["debris_height"] > 0.2).any()
    assert flags["debris"][offset < 20].all() and (offset < 20).any()
    assert not flags["debris"][offset > 35].any()


def test_touching_nuclei_overlap_and_lonely_ones_do_not():
    flags, _, _ = measured(simulated(nearest_centres_nd=1.6, neighbours=4.0))
    assert not flags["overlapping"].any()
    y, x = np.mgrid[:60, :60]
    labels = np.zeros((2, 60, 60), int)
    labels[:, (np.abs(y - 30) < 8) & (np.abs(x - 30) < 8)] = 1  # 15 x 15, outline of 56 px
    labels[0, (np.abs(y - 30) < 8) & (x > 37) & (x < 50)] = 2
    labels[1, (np.abs(y - 30) < 8) & (x > 40) & (x < 50)] = 2
    share = touching_share(labels == 1, labels == 2)
    assert share[0] == pytest.approx(15 / 56) and share[1] == 0


def test_crops_that_reach_over_the_border_are_measured_and_padded_ones_recognised():
    cells = pd.DataFrame({"y_px": [50, 5, 95], "x_px": [50, 50, 95]})
    image = np.random.default_rng(0).integers(1, 99, (2, 100, 100)).astype(np.uint16)
    crops = cut(image, cells, 40)
    np.testing.assert_array_equal(crops[0], image[:, 30:70, 30:70])
    np.testing.assert_array_equal(crops[1, :, 15:], image[:, :25, 30:70])
    expected = [0, 15 / 40, 1 - (25 / 40) ** 2]
    np.testing.assert_allclose(share_outside((100, 100), cells, 40), expected)
    np.testing.assert_allclose(padded_share(crops), expected)
    assert padded_share(np.full((1, 2, 8, 8), 3, np.uint16))[0] == 1


@pytest.mark.parametrize("sd", [1.5, 2.5, 4.0])
def test_edge_blur_is_the_sd_of_the_blur_of_a_disc(sd):
    y, x = np.mgrid[:121, :121] - 60
    disc = ndimage.gaussian_filter(1000.0 * (np.hypot(y, x) < 25), sd)
    disc = disc[None].astype(np.float32)
    nothing = np.zeros(disc.shape, bool)
    assert edge_blur(disc, disc > 500, nothing, 50.0)[0] * 50 == pytest.approx(sd, rel=0.15)
    assert np.isnan(edge_blur(disc, nothing, nothing, 50.0)[0])


def test_corrupt_crops_of_bbbc021_are_few_and_flagged(real_data):
    with lzma.open(real_data / "bbbc021_crops" / "crops_68px_delta.npy.xz") as file:
        crops = np.cumsum(np.load(file), axis=-1, dtype=np.int16).astype(np.uint16)[::6]
    labels = np.stack([segment_nuclei(crop[0], 33.0) for crop in crops])
    measures = measure_quality(
        crops, crops, labels, central_labels(labels, 33.0), outside=padded_share(crops),
        saturation=4095, nucleus_channel=0, nucleus_diameter_px=33.0,
    )  # fmt: skip
    limits = replace(LIMITS, blur_max_nd=0.2)  # as config/bbbc021_crops.yaml
    found = flag(measures, limits)
    assert 1 <= found["noise"].sum() <= 10
    # A corrupt crop has no nucleus: its DNA channel never rises much over its background.
    height = np.percentile(crops[:, 0], 99, axis=(1, 2))
    assert np.median(height[found["noise"]]) < 80 < np.median(height[~found["noise"]])
    assert found["out_of_focus"].mean() < 0.01 and not found["border"].any()
    assert (central_labels(labels, 33.0) > 0).mean() > 0.97
