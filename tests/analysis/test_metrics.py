from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from skimage.metrics import structural_similarity

from analysis.numbers import metrics
from analysis.numbers.statistics import replication
from rls.networks.kernel_distance import (
    distance_of_sums,
    kernel_distance,
    kernel_sums,
    polynomial_kernel,
)
from rls.runtime.errors import InputError


def images(n=3, size=32, channels=2, seed=0):
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, size // 4, size // 4, generator=random)
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")


def test_psnr_of_a_constant_difference_of_a_tenth_is_20_db():
    a = images() * 0.5
    assert metrics.psnr(a, a + 0.1, data_range=1.0).numpy() == pytest.approx(20.0, abs=1e-4)
    assert metrics.psnr(a * 255, a * 255 + 25.5, data_range=255.0).numpy() == pytest.approx(20.0)


def test_psnr_of_equal_images_is_infinite():
    assert torch.isinf(metrics.psnr(images(), images(), data_range=1.0)).all()


@pytest.mark.parametrize("size", [4, 8, 16, 32, 128])
def test_ms_ssim_of_an_image_with_itself_is_one_at_any_size(size):
    a = images(size=size)
    assert metrics.ms_ssim(a, a, data_range=1.0).numpy() == pytest.approx(1.0)


def test_the_scales_are_the_articles_at_128_px_and_fewer_below():
    assert [metrics.number_of_scales((s, s)) for s in (4, 8, 16, 32, 64, 128, 256)] == [
        1, 1, 2, 3, 4, 5, 5,
    ]  # fmt: skip


def test_one_scale_equals_scikit_image_away_from_the_border():
    a, b = images(1, 48, 1, seed=1), images(1, 48, 1, seed=2)
    found, _ = metrics.ssim_terms(a.double(), b.double(), data_range=1.0)
    _, full = structural_similarity(
        a[0, 0].double().numpy(), b[0, 0].double().numpy(), data_range=1.0, gaussian_weights=True,
        sigma=1.5, use_sample_covariance=False, full=True,
    )  # fmt: skip
    assert found.item() == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-9)


def test_five_scales_equal_torchmetrics_where_it_can_be_computed():
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    a = images(2, 256, 1, seed=3)
    b = (a + 0.1 * images(2, 256, 1, seed=4)).clip(0, 1)
    expected = multiscale_structural_similarity_index_measure(
        a, b, data_range=1.0, sigma=1.5, normalize="relu"
    )
    # it pads each scale by reflection and crops, ours has no padding: the last scale differs
    assert metrics.ms_ssim(a, b, data_range=1.0).mean().item() == pytest.approx(
        expected.item(), abs=0.01
    )


def test_ms_ssim_falls_with_noise_is_symmetric_and_blind_to_a_flip():
    a = images(4, 32, 2)
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(1))
    values = [metrics.ms_ssim(a, a + s * noise, data_range=1.0).mean() for s in (0.02, 0.1, 0.3)]
    assert values[0] > values[1] > values[2]
    b = a + 0.1 * noise
    forth = metrics.ms_ssim(a, b, data_range=1.0)
    assert torch.allclose(forth, metrics.ms_ssim(b, a, data_range=1.0))
    assert torch.allclose(forth, metrics.ms_ssim(a.flip(-1), b.flip(-1), data_range=1.0))


def test_a_negative_image_gives_zero_not_nan():
    a = images(2, 32, 1)
    assert (metrics.ms_ssim(a, 1 - a, data_range=1.0) == 0).all()


def test_images_of_other_shapes_are_refused():
    with pytest.raises(InputError, match="cannot be compared"):
        metrics.psnr(images(size=32), images(size=16), data_range=1.0)


def test_fidelity_is_zero_when_the_downscaled_image_is_the_low_resolution_one():
    from rls.search.forward import downscale

    operator = downscale(32, 8, "renormalize")
    high = images(2, 32, 2)
    low = operator(high)
    assert metrics.fidelity_l1(high, low, operator).max() == 0.0
    assert metrics.fidelity_l1(high, low + 0.25, operator).numpy() == pytest.approx(0.25)


def naive_distance(x, y):
    def kernel(a, b):
        return (a @ b / len(a) + 1) ** 3

    n, m = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(kernel(a, b) for a in x for b in y) / (n * m)
    return xx + yy - 2 * xy


def test_kernel_distance_equals_its_double_sum():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(9, 4)), random.normal(0.3, 1, size=(7, 4))
    assert kernel_distance(x, y) == pytest.approx(naive_distance(x, y))


def test_kernel_distance_of_one_distribution_averages_to_zero():
    random = np.random.default_rng(1)
    values = np.array([kernel_distance(*random.normal(size=(2, 60, 8))) for _ in range(300)])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(300)
    assert (values < 0).mean() > 0.3  # unbiased: it must go below zero
    shifted = kernel_distance(random.normal(size=(60, 8)), random.normal(0.7, 1, (60, 8)))
    assert shifted > values.max()


def test_torchmetrics_computes_the_same_kernel_distance():
    from torchmetrics.image.kid import poly_mmd

    random = np.random.default_rng(2)
    x, y = random.normal(size=(2, 40, 6))
    # torchmetrics' poly_mmd: degree 3, gamma 1/d, coef 1
    expected = poly_mmd(torch.tensor(x), torch.tensor(y))
    assert kernel_distance(x, y) == pytest.approx(float(expected))


def units_of(wells, treatments="DMSO", unit="well"):
    table = pd.DataFrame({"plate": "P", "well": wells, "site": 1, "treatment": treatments})
    return replication(table)._replace(unit=unit)


def interval(x, y, units_x, units_y):
    return metrics.kernel_distance_interval(x, y, units_x=units_x, units_y=units_y, confidence=0.95)


def test_kernel_sums_of_blocks_are_the_sums_over_pairs(monkeypatch):
    monkeypatch.setattr("rls.networks.kernel_distance.BLOCK", 4)
    random = np.random.default_rng(9)
    x, y = random.normal(size=(11, 3)), random.normal(size=(9, 3))
    codes = random.integers(4, size=11), random.integers(4, size=9)
    kernels = [(a @ b.T / 3 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    for kernel in kernels[:2]:
        np.fill_diagonal(kernel, 0.0)  # no cell is paired with itself
    ones = [np.eye(4)[code] for code in codes]
    sides = ((ones[0], ones[0]), (ones[1], ones[1]), (ones[0], ones[1]))
    expected = [a.T @ k @ b for (a, b), k in zip(sides, kernels, strict=True)]
    found = kernel_sums(x, y, *codes, n_units=4)
    for one, other in zip(found[:3], expected, strict=True):
        np.testing.assert_allclose(one, other)
    np.testing.assert_array_equal(found[3], np.bincount(codes[0], minlength=4))
    np.testing.assert_array_equal(found[4], np.bincount(codes[1], minlength=4))


@pytest.mark.parametrize("times", [(1, 1, 1), (0, 1, 2), (2, 0, 1)])
def test_a_distance_of_units_is_that_of_their_cells_without_pairs_of_a_cell_and_itself(times):
    """A repeated cell that was paired with itself would push the distance up."""
    random = np.random.default_rng(10)
    x, y = random.normal(size=(2, 12, 4))
    codes = np.repeat([0, 1, 2], [3, 5, 4])
    times = np.array(times, dtype=float)
    found = distance_of_sums(*kernel_sums(x, y, codes, codes, n_units=3), times, times)
    rows = np.repeat(np.arange(12), times[codes].astype(int))
    apart = rows[:, None] != rows[None]  # pairs of different cells, repeats counted
    within = [polynomial_kernel(z[rows], z[rows])[apart].mean() for z in (x, y)]
    assert found == pytest.approx(sum(within) - 2 * polynomial_kernel(x[rows], y[rows]).mean())


def test_the_interval_of_kernel_distance_covers_zero_where_both_sets_are_alike():
    random = np.random.default_rng(3)
    wells = np.repeat([f"w{i}" for i in range(12)], 10)
    covered = 0
    for _ in range(60):
        x, y = random.normal(size=(2, 120, 6))
        found = interval(x, y, units_of(wells), units_of(np.char.add(wells, "b")))
        assert found.value == pytest.approx(kernel_distance(x, y))
        assert found.n == 24 and found.unit == "well"
        covered += found.low <= 0 <= found.high
    assert covered >= 54


def test_wells_shared_by_both_sets_are_left_out_together():
    random = np.random.default_rng(4)
    wells = np.repeat([f"w{i}" for i in range(8)], 15)
    well_effect = random.normal(0, 1.5, size=(8, 5))[np.repeat(np.arange(8), 15)]
    x = well_effect + random.normal(size=(120, 5))
    y = well_effect + random.normal(size=(120, 5))
    paired = interval(x, y, units_of(wells), units_of(wells))
    apart = interval(x, y, units_of(wells), units_of(np.char.add(wells, "b")))
    assert paired.n == 8 and apart.n == 16
    assert (paired.high - paired.low) < 0.5 * (apart.high - apart.low)


def test_treatments_far_apart_do_not_widen_the_interval():
    """How many wells of each treatment there are is fixed, so treatments are strata."""
    random = np.random.default_rng(5)
    wells, sides = np.repeat([f"w{i}" for i in range(8)], 15), np.repeat(["a", "b"], 60)
    x, y = random.normal(size=(2, 120, 4))
    y += 2.0 * (sides == "b")[:, None]  # the method fails on one treatment alone
    known = interval(x, y, units_of(wells, sides), units_of(wells, sides))
    ignored = interval(x, y, units_of(wells), units_of(wells))
    assert known.high - known.low < 0.8 * (ignored.high - ignored.low)


def test_one_well_gives_no_interval():
    x, y = np.random.default_rng(5).normal(size=(2, 20, 3))
    wells = np.full(20, "w")
    found = interval(x, y, units_of(wells), units_of(wells))
    assert math.isnan(found.low) and "no interval" in found.reason


def with_moments(n, mean, covariance, seed):
    """Features (n, d) whose sample mean and covariance are exactly these."""
    z = np.random.default_rng(seed).normal(size=(n, len(mean)))
    z = np.linalg.qr(z - z.mean(axis=0))[0] * math.sqrt(n - 1)
    return z @ np.linalg.cholesky(covariance).T + mean


def frechet_of(mean_x, cov_x, mean_y, cov_y):
    sets = (with_moments(20 + i, np.asarray(m, float), np.asarray(c, float), i)
            for i, (m, c) in enumerate([(mean_x, cov_x), (mean_y, cov_y)]))  # fmt: skip
    return metrics.frechet_distance(*sets).value


def test_frechet_distance_has_its_closed_forms():
    m, eye = np.zeros(3), np.eye(3)
    assert frechet_of(m, eye, m + 2, eye) == pytest.approx(12.0)
    # commuting covariances: sum of (s1 - s2)^2
    found = frechet_of(m, np.diag([1.0, 4.0, 9.0]), m, np.diag([4.0, 4.0, 1.0]))
    assert found == pytest.approx(1 + 0 + 4)
    # not commuting: against scipy's matrix root
    from scipy.linalg import sqrtm

    random = np.random.default_rng(6)
    a, b = (q @ q.T for q in random.normal(size=(2, 3, 3)))
    expected = np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_of(m, a, m, b) == pytest.approx(expected)


def test_frechet_distance_does_not_change_under_a_rotation_of_the_features():
    random = np.random.default_rng(7)
    x, y = random.normal(size=(200, 4)), random.normal(0.2, 1.5, size=(200, 4))
    turn, _ = np.linalg.qr(random.normal(size=(4, 4)))
    assert metrics.frechet_distance(x, y).value == pytest.approx(
        metrics.frechet_distance(x @ turn, y @ turn).value
    )


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 30), (30, 60), (20, 25)])
def test_frechet_distance_with_singular_covariances_is_that_of_the_definition(n, m):
    from scipy.linalg import sqrtm

    random = np.random.default_rng(11)
    x, y = random.normal(size=(n, 40)), random.normal(0.3, 1.2, size=(m, 40))
    c, d = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = sqrtm(c)
    values = np.linalg.eigvalsh(np.real(root) @ d @ np.real(root))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c + d)
    expected -= 2 * np.sqrt(values.clip(0)).sum()
    found = metrics.frechet_distance(x, y)
    assert found.value == pytest.approx(expected, rel=2e-4)  # the matrix root errs where singular
    assert ("singular" in found.reason) == (min(n, m) <= 40)


def test_fid_of_few_images_of_realistic_width_has_a_value_with_n_and_its_bias():
    """2,048 features of 100 images, as in the article: a value, never bare."""
    x, y = np.random.default_rng(8).normal(size=(2, 100, 2048))
    found = metrics.frechet_distance(x, y)
    assert found.n == 100 and "100 images, 2048 features" in found.reason
    assert found.value > 3000  # one distribution: all of it is bias
    assert metrics.frechet_distance(x, x).value == pytest.approx(0.0, abs=1e-6)
    far = metrics.frechet_extrapolated(x, y, seed=0)
    assert math.isnan(far.value) and "10240 for 2048 features" in far.reason


def test_frechet_distance_extrapolated_to_infinite_n_is_that_of_the_distributions():
    random = np.random.default_rng(12)
    found, raw = [], []
    for seed in range(6):
        x, y = random.normal(size=(2, 600, 16))
        y += 0.5  # 16 x 0.25 apart
        raw.append(metrics.frechet_distance(x, y).value)
        far = metrics.frechet_extrapolated(x, y, seed=seed)
        assert far.n == 600 and far == metrics.frechet_extrapolated(x, y, seed=seed)
        found.append(far.value)
    assert np.mean(raw) > 4.2
    assert np.mean(found) == pytest.approx(4.0, abs=0.2)
    assert math.isnan(metrics.frechet_extrapolated(x[:79], y[:79], seed=0).value)
    assert math.isfinite(metrics.frechet_extrapolated(x[:80], y[:80], seed=0).value)


def test_feature_sets_of_other_width_are_refused():
    with pytest.raises(InputError, match="cannot be compared"):
        kernel_distance(np.zeros((5, 3)), np.zeros((5, 4)))
