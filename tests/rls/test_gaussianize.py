"""Fig. 1: every transform is applied to styles of a known distribution."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rls.prior.flows import StyleFlow
from rls.prior.gaussianize import fit_standardise, fit_whiten, leaky_relu, squared_norms
from rls.runtime.errors import InputError


def correlated(n: int, d: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).standard_normal((d, d)) + 2.0
    x = rng.standard_normal((n, d)) @ mixing + 1.0
    return np.where(x < 0, 0.2 * x, x).astype(np.float32)  # Like the mapping network's last layer.


def test_whitening_makes_a_gaussian_chi_squared_and_standardising_does_not() -> None:
    fit, shown = correlated(20000, seed=1), correlated(4000, seed=2)
    torch.manual_seed(0)
    flow = StyleFlow("maf", 24, 16, 2)
    flow.set_scale(torch.as_tensor(fit))
    flow.recompute_batch_norm(torch.as_tensor(fit))
    z = np.random.default_rng(3).standard_normal((4000, 24))
    norms = squared_norms(fit, shown, flow.eval(), z)
    expected = {"z", "w", "w_standardised", "pulse_per_dimension", "leaky_relu",
                "leaky_relu_whitened", "flow"}  # fmt: skip
    assert set(norms) == expected
    assert all(x.shape == (4000,) for x in norms.values())
    chi_sd = np.sqrt(2 * 24)
    # LeakyReLU(5) undoes the slope 0.2, so the whitened vectors are exactly Gaussian.
    for name in ("z", "leaky_relu_whitened"):
        assert abs(norms[name].mean() - 24) < 0.6
        assert abs(norms[name].std() - chi_sd) < 0.6
    # Standardising keeps the correlations: the mean is d by construction, the spread is not.
    assert abs(norms["pulse_per_dimension"].mean() - 24) < 1.5
    assert norms["pulse_per_dimension"].std() > 2 * chi_sd
    assert norms["w"].mean() > 10 * norms["w_standardised"].mean()


def test_whitening_gives_the_identity_covariance() -> None:
    fit = correlated(3000)
    white = fit_whiten(fit.astype(np.float64))(fit.astype(np.float64))
    assert np.allclose(np.cov(white, rowvar=False), np.eye(24), atol=1e-8)


def test_too_few_styles_for_a_covariance_are_refused() -> None:
    with pytest.raises(InputError, match="24 dimensions"):
        fit_whiten(correlated(20).astype(np.float64))


@pytest.mark.skipif("RLS_GOLDEN" not in os.environ, reason="RLS_GOLDEN names no folder")
def test_the_pulse_transform_equals_the_published_one() -> None:
    golden = np.load(Path(os.environ["RLS_GOLDEN"]) / "pulse_misc.npz")
    assert np.allclose(leaky_relu(golden["g_w"]), golden["g_v"], rtol=1e-6)
    ours = fit_standardise(golden["g_v"].astype(np.float64))
    z = ours(golden["g_v"])
    assert np.allclose(z.mean(0), 0, atol=1e-5) and np.allclose(z.std(0, ddof=1), 1, atol=1e-5)
