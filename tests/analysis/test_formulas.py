"""Numbers of the tables against plain computations that no formula nearby passes."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from analysis.comparison.image_quality import standardised
from analysis.numbers import conformal, metrics
from analysis.numbers import statistics as st
from rls.networks import lpips, perceptual
from rls.networks.kernel_distance import distance_of_sums, kernel_distance, kernel_sums

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
CPU = torch.device("cpu")


# ---- MS-SSIM -----------------------------------------------------------------------------------


def plain_ssim(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return SSIM and contrast of one channel, window by window (Wang et al. 2004, eq. 6, 12)."""
    n = min(11, *a.shape)
    taps = np.exp(-((np.arange(n) - (n - 1) / 2) ** 2) / (2 * 1.5**2))
    weights = np.outer(taps, taps) / taps.sum() ** 2
    both, contrasts = [], []
    for x, y in zip(
        *(sliding_window_view(z, (n, n)).reshape(-1, n, n) for z in (a, b)), strict=True
    ):
        mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
        var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
        shared = (weights * (x - mean_x) * (y - mean_y)).sum()
        contrasts.append((2 * shared + 0.03**2) / (var_x + var_y + 0.03**2))
        luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
        both.append(luminance * contrasts[-1])
    return float(np.mean(both)), float(np.mean(contrasts))


def plain_ms_ssim(a: np.ndarray, b: np.ndarray, n_scales: int) -> float:
    """Return MS-SSIM of (c, y, x): luminance at the last scale alone (Wang et al. 2003, eq. 7)."""
    result, total = 1.0, sum(WEIGHTS[:n_scales])
    for scale in range(n_scales):
        terms = np.array([plain_ssim(x, y) for x, y in zip(a, b, strict=True)]).mean(axis=0)
        result *= max(terms[0 if scale == n_scales - 1 else 1], 0.0) ** (WEIGHTS[scale] / total)
        a, b = (
            z.reshape(len(z), z.shape[1] // 2, 2, z.shape[2] // 2, 2).mean(axis=(2, 4))
            for z in (a, b)
        )
    return result


@pytest.mark.parametrize(("size", "n_scales"), [((32, 32), 3), ((16, 24), 2), ((8, 8), 1)])
def test_ms_ssim_equals_a_plain_computation_window_by_window(size, n_scales):
    """The images differ in brightness, which only the last scale may count."""
    random = np.random.default_rng(1)
    a = random.random((2, 2, *size)) * 0.5 + 0.1
    b = 0.6 * a + 0.3 + 0.05 * random.normal(size=a.shape)
    b[1] = 0.5 * a[1] + 0.1 * random.random(a[1].shape)
    found = metrics.ms_ssim(torch.as_tensor(a), torch.as_tensor(b), data_range=1.0).numpy()
    expected = [plain_ms_ssim(x, y, n_scales) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found[0] != found[1]  # of each image, not of the batch


def test_ms_ssim_at_the_article_s_size_equals_the_plain_computation():
    """Five scales of 128, 64, 32, 16 and 8 px; the weights are not symmetric."""
    random = np.random.default_rng(2)
    coarse = random.random((1, 1, 16, 16)).repeat(8, axis=2).repeat(8, axis=3)
    a = 0.7 * coarse + 0.2 * random.random((1, 1, 128, 128))
    b = 0.5 * a + 0.3 + 0.02 * random.normal(size=a.shape)
    found = metrics.ms_ssim(torch.as_tensor(a), torch.as_tensor(b), data_range=1.0)
    assert found.item() == pytest.approx(plain_ms_ssim(a[0], b[0], 5), rel=1e-9)


def test_a_negative_contrast_at_one_scale_makes_ms_ssim_0():
    stripes = np.tile([0.3, 0.7], 16)[None, None, None] * np.ones((1, 1, 32, 1))
    slope = np.linspace(0, 0.3, 32)[None, None, :, None]
    a, b = stripes + slope, (1 - stripes) + slope  # opposed at the first scale, alike below
    found = metrics.ms_ssim(torch.as_tensor(a), torch.as_tensor(b), data_range=1.0)
    assert found.item() == 0.0


# ---- features and distances --------------------------------------------------------------------


def test_images_are_rounded_to_8_bits_before_inception_and_vgg():
    levels = np.array([-3.0, 0.0, 0.4, 0.6, 76.4, 76.6, 254.6, 300.0], np.float32)
    unit = np.broadcast_to(levels[:, None, None, None] / 255, (8, 4, 2, 2)).copy()
    found = perceptual.as_rgb_bytes(torch.as_tensor(unit))
    assert found.shape == (8, 3, 2, 2)
    expected = [0, 0, 0, 1, 76, 77, 255, 255]
    assert found[:, 0, 0, 0].tolist() == expected
    seen = []

    def module(images, **_):
        seen.append(images)
        return images.flatten(1)

    perceptual.inception_features(module, unit, CPU, 4)
    lpips.lpips_distances(SimpleNamespace(features=module), unit, unit, CPU, 4)
    assert len(seen) == 6 and all(torch.equal(x, x.round()) for x in seen)
    assert torch.cat(seen[:2])[:, 2, 1, 1].tolist() == expected


@pytest.mark.parametrize("kind", ["inception", "random", "classifier"])
def test_inception_features_keep_their_scale_and_others_have_that_of_hr(kind):
    random = np.random.default_rng(0)
    columns = [f"{kind}_feature_{i}" for i in range(3)]
    scale = np.array([1.0, 10.0, 100.0])
    reference, shown = (scale * random.normal(k, 1 + k, size=(40, 3)) for k in (1, 2))
    tables = [pd.DataFrame(x, columns=columns).assign(other=1.0) for x in (shown, reference)]
    found = standardised(*tables, kind)
    expected = (shown - reference.mean(axis=0)) / reference.std(axis=0)
    np.testing.assert_allclose(found, shown if kind == "inception" else expected)


def test_a_cell_is_never_paired_with_itself_however_often_it_is_drawn():
    """Pair by pair: repeats of a cell are neither summed nor counted."""
    random = np.random.default_rng(3)
    x, y = random.normal(size=(7, 3)), random.normal(0.5, 1, size=(6, 3))
    codes_x, codes_y = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 2])
    times_x, times_y = np.array([2.0, 0.0, 1.0]), np.array([1.0, 1.0, 3.0])
    found = distance_of_sums(*kernel_sums(x, y, codes_x, codes_y, 3), times_x, times_y)

    def rows(times, codes):
        return [i for i, code in enumerate(codes) for _ in range(int(times[code]))]

    def mean(a, b, of_a, of_b, *, apart):
        pairs = [(i, j) for i in of_a for j in of_b if not (apart and i == j)]
        return np.mean([(a[i] @ b[j] / 3 + 1) ** 3 for i, j in pairs])

    of_x, of_y = rows(times_x, codes_x), rows(times_y, codes_y)
    expected = mean(x, x, of_x, of_x, apart=True) + mean(y, y, of_y, of_y, apart=True)
    assert found == pytest.approx(expected - 2 * mean(x, y, of_x, of_y, apart=False))


def test_resamples_of_wells_lie_around_the_distance_and_not_above_it():
    random = np.random.default_rng(4)
    x, y = random.normal(size=(2, 60, 6))
    wells = np.repeat(np.arange(12), 5)
    sums = kernel_sums(x, y, wells, wells, 12)
    draws = [[random.multinomial(12, np.full(12, 1 / 12)) for _ in "xy"] for _ in range(1500)]
    values = [distance_of_sums(*sums, *map(np.asarray, pair)) for pair in draws]
    error = np.std(values) / math.sqrt(len(values))
    assert np.mean(values) == pytest.approx(kernel_distance(x, y), abs=5 * error)
    assert error < 0.02


# ---- effect sizes, proportions, intervals ------------------------------------------------------


def test_effect_sizes_are_positive_where_the_positive_control_is_higher():
    low, high = np.array([1.0, 2.0, 3.0]), np.array([4.0, 6.0, 8.0])
    assert st.cohens_d(low, high) == pytest.approx(4 / math.sqrt(2.5))  # variances 1 and 4
    assert st.ssmd(low, high).value == pytest.approx(4 / math.sqrt(5))
    assert st.z_prime(low, high).value == pytest.approx(1 - 3 * 3 / 4)
    assert st.auc(low, high) == 1.0 and st.auc(high, low) == 0.0
    assert st.auc([1.0, 2.0, 2.0], [2.0, 3.0]) == pytest.approx((1 + 0.5 + 0.5 + 3) / 6)


def test_intervals_and_tests_of_proportions_are_two_sided():
    found = st.wilson(8, 10, confidence=0.95)  # by the printed formula with z = 1.959964
    assert (found.low, found.high) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    a = np.array([True] * 8 + [False] + [True] * 20)
    b = np.array([False] * 8 + [True] + [True] * 20)
    assert st.mcnemar_exact(a, b).value == pytest.approx(2 * 10 / 2**9)
    assert st.mcnemar_exact(b, a) == st.mcnemar_exact(a, b)
    found = st.fisher(0.5, 28, confidence=0.95)
    ends = [math.tanh(math.atanh(0.5) + s * 1.959964 / 5) for s in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=1e-6)


def test_a_well_has_the_median_of_its_cells():
    table = pd.DataFrame({
        "plate": "P", "well": ["A"] * 3 + ["B"] * 4, "x": [1.0, 2.0, 30.0, 4.0, np.nan, 6.0, 50.0],
    })  # fmt: skip
    assert st.well_values(table, "x").tolist() == [2.0, 6.0]


@pytest.mark.parametrize(
    ("n", "level", "rank"), [(9, 0.9, 9), (19, 0.9, 18), (20, 0.9, 19), (99, 0.95, 95)]
)
def test_the_conformal_quantile_has_the_rank_of_n_plus_1(n, level, rank):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    assert conformal.conformal_quantile(scores, level) == rank
    assert math.isinf(conformal.conformal_quantile(scores[:8], 0.9))


def test_conformal_intervals_cover_new_cells_as_often_as_they_say_at_few_calibration_cells():
    """One rank less would cover 7/9 = 0.78 of new cells here, and not 8/9 = 0.89."""
    random = np.random.default_rng(1)
    scores = random.normal(size=(40_000, 9))
    q = [conformal.conformal_quantile(row[:8], 0.85) for row in scores]
    assert (scores[:, 8] <= q).mean() == pytest.approx(8 / 9, abs=0.01)
