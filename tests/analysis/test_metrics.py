from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from analysis.numbers import metrics
from rls.networks.kernel_distance import kernel_distance
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


def interval(x, y, units_x, units_y, unit="well"):
    return metrics.kernel_distance_interval(
        x, y, units_x=units_x, units_y=units_y, unit=unit,
        n_resamples=300, confidence=0.95, seed=0,
    )  # fmt: skip


def test_the_interval_of_kernel_distance_is_not_pushed_up_by_repeats():
    random = np.random.default_rng(3)
    wells = np.repeat([f"w{i}" for i in range(12)], 10)
    lower, covered = [], 0
    for _ in range(30):
        x, y = random.normal(size=(2, 120, 6))
        found = interval(x, y, wells, np.char.add(wells, "b"))
        assert found.value == pytest.approx(kernel_distance(x, y))
        lower.append(found.low)
        covered += found.low <= 0 <= found.high
    assert covered >= 25


def test_wells_shared_by_both_sets_are_drawn_together():
    random = np.random.default_rng(4)
    wells = np.repeat([f"w{i}" for i in range(8)], 15)
    well_effect = random.normal(0, 1.5, size=(8, 5))[np.repeat(np.arange(8), 15)]
    x = well_effect + random.normal(size=(120, 5))
    y = well_effect + random.normal(size=(120, 5))
    paired = interval(x, y, wells, wells)
    apart = interval(x, y, wells, np.char.add(wells, "b"))
    assert (paired.high - paired.low) < 0.5 * (apart.high - apart.low)


def test_wells_that_only_one_set_has_are_drawn_too():
    """The third well of y is far away, so that KD without it would lie far below."""
    random = np.random.default_rng(6)
    x, y = random.normal(size=(40, 4)), random.normal(size=(60, 4))
    y[40:] += 3.0
    few, many = np.repeat(["a", "b"], 20), np.repeat(["a", "b", "c"], 20)
    for found in (interval(x, y, few, many), interval(y, x, many, few)):
        assert found.low < found.value < found.high


def test_one_well_gives_no_interval():
    x, y = np.random.default_rng(5).normal(size=(2, 20, 3))
    wells = np.full(20, "w")
    found = interval(x, y, wells, wells)
    assert math.isnan(found.low) and "no interval" in found.reason


def test_frechet_distance_of_gaussians_has_its_closed_forms():
    m, eye = np.zeros(3), np.eye(3)
    assert metrics.frechet_of_gaussians(m, eye, m + 2, eye) == pytest.approx(12.0)
    # commuting covariances: sum of (s1 - s2)^2
    assert metrics.frechet_of_gaussians(
        m, np.diag([1.0, 4.0, 9.0]), m, np.diag([4.0, 4.0, 1.0])
    ) == pytest.approx(1 + 0 + 4)
    # not commuting: against scipy's matrix root
    from scipy.linalg import sqrtm

    random = np.random.default_rng(6)
    a, b = (q @ q.T for q in random.normal(size=(2, 3, 3)))
    expected = np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert metrics.frechet_of_gaussians(m, a, m, b) == pytest.approx(expected)


def test_frechet_distance_does_not_change_under_a_rotation_of_the_features():
    random = np.random.default_rng(7)
    x, y = random.normal(size=(200, 4)), random.normal(0.2, 1.5, size=(200, 4))
    turn, _ = np.linalg.qr(random.normal(size=(4, 4)))
    assert metrics.frechet_distance(x, y).value == pytest.approx(
        metrics.frechet_distance(x @ turn, y @ turn).value
    )


def test_frechet_distance_of_too_few_images_is_empty_with_a_reason():
    x, y = np.random.default_rng(8).normal(size=(2, 100, 32))
    found = metrics.frechet_distance(x, y)
    assert math.isnan(found.value) and "100 images for 32 features" in found.reason
    assert math.isfinite(metrics.frechet_distance(x[:, :5], y[:, :5]).value)


def test_feature_sets_of_other_width_are_refused():
    with pytest.raises(InputError, match="cannot be compared"):
        kernel_distance(np.zeros((5, 3)), np.zeros((5, 4)))
