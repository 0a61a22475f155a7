"""Morphology: known shapes come back, turning and gain change what they must, LR is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from analysis.features import morphology
from analysis.features.registry import columns_of, measure_features
from tests.analysis.disc_cells import CHANNELS, cell, settings

SETTINGS = settings(morphology.FeatureSettings)
INTENSITY = [name for name in morphology.columns(CHANNELS) if "_Intensity_" in name]
WITHOUT_UNIT = [
    name for name in morphology.columns(CHANNELS) if "_Texture_" in name or "_Granularity_" in name
]


def measure(images, pixel_size_um=1.0):
    return morphology.measure(
        np.asarray(images), channels=CHANNELS, pixel_size_um=pixel_size_um, nucleus_channel="dna",
        marker_channel="nfkb", settings=SETTINGS,
    )  # fmt: skip


def ellipse(long, short, angle, size=64):
    """A nucleus of semi-axes ``long`` and ``short`` px, turned by ``angle``, in an even body."""
    ys, xs = np.indices((size, size)) - (size - 1) / 2
    along, across = xs * np.cos(angle) + ys * np.sin(angle), ys * np.cos(angle) - xs * np.sin(angle)
    inside = 1 / (1 + np.exp(8 * (np.hypot(along / long, across / short) - 1) * short / 4))
    return np.stack([500 * inside, 200 * np.ones_like(inside)])


def speckled(seed=0, size=32, length=1.0):
    """A cell with a marker of a given grain."""
    image = cell(1.5, size=size)
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), length)
    image[1] *= 1 + 0.3 * noise / noise.std()
    return image


def test_a_disc_is_round_and_has_its_area_and_perimeter():
    radius = 9.0
    found = measure([ellipse(radius, radius, 0.0)]).iloc[0]
    assert found["status"] == "ok"
    assert found["Nuclei_AreaShape_Area_um2"] == pytest.approx(math.pi * radius**2, rel=0.04)
    assert found["Nuclei_AreaShape_Perimeter_um"] == pytest.approx(2 * math.pi * radius, rel=0.04)
    assert found["Nuclei_AreaShape_FormFactor"] == pytest.approx(1.0, abs=0.05)
    assert found["Nuclei_AreaShape_AspectRatio"] == pytest.approx(1.0, abs=0.03)
    assert found["Nuclei_AreaShape_Eccentricity"] < 0.2
    assert found["Nuclei_AreaShape_Solidity"] > 0.95


@pytest.mark.parametrize("angle", [0.0, 0.4, 0.8])
def test_an_ellipse_has_its_aspect_eccentricity_and_form_factor_at_any_angle(angle):
    long, short = 13.0, 7.5
    found = measure([ellipse(long, short, angle)]).iloc[0]
    assert found["Nuclei_AreaShape_AspectRatio"] == pytest.approx(long / short, rel=0.06)
    eccentricity = math.sqrt(1 - (short / long) ** 2)
    assert found["Nuclei_AreaShape_Eccentricity"] == pytest.approx(eccentricity, rel=0.05)
    h = ((long - short) / (long + short)) ** 2
    perimeter = math.pi * (long + short) * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))  # Ramanujan
    form = 4 * math.pi * (math.pi * long * short) / perimeter**2
    assert found["Nuclei_AreaShape_FormFactor"] == pytest.approx(form, rel=0.08)


def test_finer_pixels_give_the_same_shape_in_um():
    coarse, fine = measure([ellipse(11, 8, 0.3)]), measure([ellipse(22, 16, 0.3, 128)], 0.5)
    for name in morphology.SHAPES:
        assert fine[name][0] == pytest.approx(coarse[name][0], rel=0.07), name


def test_turning_and_flipping_change_nothing():
    image = speckled()
    views = [image, np.rot90(image, 1, (1, 2)), image[:, ::-1], image.swapaxes(1, 2)]
    found = measure(views).drop(columns="status").to_numpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape), rtol=0.02, atol=0.02)


def test_gain_multiplies_intensities_and_nothing_else():
    image = speckled()
    plain, bright = measure([image]), measure([2.5 * image])
    np.testing.assert_allclose(bright[INTENSITY], 2.5 * plain[INTENSITY], rtol=1e-4)
    others = [*morphology.SHAPES, *WITHOUT_UNIT]
    np.testing.assert_allclose(bright[others], plain[others], rtol=1e-3, atol=1e-3)


def test_a_background_moves_means_and_leaves_spread_and_texture():
    image = speckled()
    lifted = image + np.array([0.0, 80.0])[:, None, None]
    plain, moved = measure([image]), measure([lifted])
    name = "Cell_Intensity_MeanIntensity_nfkb"
    assert moved[name][0] == pytest.approx(plain[name][0] + 80, rel=1e-4)
    kept = ["Cell_Intensity_StdIntensity_nfkb"]
    kept += [f"Cell_Texture_{name}_nfkb" for name in morphology.TEXTURES]
    np.testing.assert_allclose(moved[kept], plain[kept], rtol=1e-3)


def test_intensities_are_those_of_the_channel_named():
    found = measure([cell(2.0, dna=500.0, marker=200.0)]).iloc[0]
    assert found["Nuclei_Intensity_MedianIntensity_dna"] == pytest.approx(500, rel=0.06)
    assert found["Nuclei_Intensity_MedianIntensity_nfkb"] == pytest.approx(400, rel=0.06)
    assert found["Cell_Intensity_LowerQuartileIntensity_nfkb"] == pytest.approx(200, rel=0.1)


def test_haralick_numbers_of_stripes_are_those_by_hand():
    stripes = np.tile([0.0, 1.0], (16, 8))
    everywhere = np.ones(stripes.shape, bool)
    contrast, correlation, entropy = morphology.texture(stripes, everywhere, 1, 2)
    # Of 16 x 15 pairs across and 2 x 15 x 15 aslant all differ, of 15 x 16 down none does.
    differ = (240 + 450) / (240 + 450 + 240)
    assert contrast == pytest.approx(differ)
    assert correlation == pytest.approx(1 - 2 * differ, abs=1e-6)
    shares = np.array([differ / 2, differ / 2, (1 - differ) / 2, (1 - differ) / 2])
    assert entropy == pytest.approx(-(shares * np.log2(shares)).sum())


def test_fine_grain_has_contrast_and_little_correlation_and_coarse_the_other_way():
    fine, coarse = (measure([speckled(length=length)]).iloc[0] for length in (0.7, 3.0))
    assert fine["Cell_Texture_Contrast_nfkb"] > 1.5 * coarse["Cell_Texture_Contrast_nfkb"]
    assert fine["Cell_Texture_Correlation_nfkb"] < coarse["Cell_Texture_Correlation_nfkb"] - 0.1


def test_granularity_finds_spots_at_the_scale_of_their_size():
    ys, xs = np.indices((64, 64))
    masks = np.ones((64, 64), bool)
    for half in (1, 3):
        spots = np.zeros((64, 64))
        for y, x in np.argwhere((ys % 16 == 8) & (xs % 16 == 8)):
            spots[np.maximum(abs(ys - y), abs(xs - x)) <= half] = 1.0
        shares = morphology.granularity(spots, masks, 1.0)
        assert np.argmax(shares) == half  # scale 1 stands first: the one a step too wide
        assert sum(shares) <= 100.0 + 1e-6
    assert sum(morphology.granularity(np.ones((64, 64)), masks, 1.0)) == pytest.approx(0.0)


def test_what_lies_nearer_to_another_nucleus_is_another_cell():
    image = cell(1.0)
    crowded = image + cell(1.0, centre=(15.5, 34.0), diameter=12, marker=3000.0, dna=500.0)
    alone, beside = measure([image]).iloc[0], measure([crowded]).iloc[0]
    name = "Cell_Intensity_MedianIntensity_nfkb"
    assert beside[name] == pytest.approx(alone[name], rel=0.15)


def test_the_names_of_channels_stand_in_the_columns():
    three = morphology.columns(("dna", "actin", "tubulin"))
    assert len(three) == len(set(three)) == 6 + 3 * (2 * 5 + 3 + 4)
    assert columns_of("morphology", ("dna", "actin", "tubulin")) == three
    assert columns_of("golgi", CHANNELS)[0] == "golgi_mean_spot_area_um2"
    assert morphology.PRIMARY in three
    table = measure_features(
        ["morphology"], np.stack([speckled()]), channels=CHANNELS, pixel_size_um=1.0,
        nucleus_channel="dna", marker_channel="nfkb", settings=SETTINGS,
    )  # fmt: skip
    assert list(table) == [*morphology.columns(CHANNELS), "status"]


def test_low_resolution_and_empty_images_are_not_measurable():
    coarse = cell(2.0).reshape(2, 4, 8, 4, 8).mean(axis=(2, 4))
    for images, pixel, reason in (
        ([coarse], 8.0, "image_too_small"),
        ([np.zeros((2, 32, 32))], 1.0, "no_nucleus"),
        ([cell(2.0, size=64, diameter=30.0)], 2.2, "nucleus_too_large"),
    ):
        found = measure(images, pixel_size_um=pixel)
        assert found["status"][0] == f"not_measurable:{reason}"
        assert found.drop(columns="status").isna().all(axis=None)
    found = measure([cell(2.0, size=32, diameter=7.0)], pixel_size_um=2.1)
    assert found["status"][0] == "not_measurable:pixels_too_coarse"
    assert found.drop(columns="status").isna().all(axis=None)


def test_a_scale_finer_than_the_pixels_has_no_number_and_the_rest_stays():
    found = measure([cell(2.0, size=32, diameter=9.0)], pixel_size_um=1.6).iloc[0]
    assert found["status"] == "ok"
    granular = [name for name in found.index if "_Granularity_" in name]
    assert len(granular) == 8 and found[granular].isna().all()
    assert found.drop([*granular, "status"]).notna().all()


def test_a_channel_without_contrast_has_no_texture_and_the_rest_stays():
    image = cell(2.0)
    image[1] = 0.0
    found = measure([image]).iloc[0]
    assert found["status"] == "ok"
    assert math.isnan(found["Cell_Texture_Contrast_nfkb"])
    assert math.isnan(found["Cell_Granularity_1_nfkb"])
    assert math.isfinite(found["Cell_Texture_Contrast_dna"])
