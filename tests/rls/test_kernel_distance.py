"""The kernel distance that tables and the generator's training share."""

from __future__ import annotations

import numpy as np
import pytest

from rls.networks.kernel_distance import kernel_distance, polynomial_kernel, standardise


def test_points_at_known_places_have_a_known_distance():
    """x = (1, 1), (1, -1), y = 0 twice, d = 2: kernels 8 (same), 1 (orthogonal or with 0)."""
    x, y = np.array([[1.0, 1.0], [1.0, -1.0]]), np.zeros((2, 2))
    np.testing.assert_allclose(polynomial_kernel(x, x), [[8.0, 1.0], [1.0, 8.0]])
    # Without the diagonal: 1 + 1 - 2.
    assert kernel_distance(x, y) == pytest.approx(0.0)
    x[1] = x[0]
    assert kernel_distance(x, y) == pytest.approx(8 + 1 - 2)


def test_a_row_is_never_compared_with_itself():
    """With the diagonal, the mean distance of equal distributions would be positive."""
    random = np.random.default_rng(0)
    values, biased = [], []
    for _ in range(100):
        x, y = random.normal(size=(2, 50, 8))
        values.append(kernel_distance(x, y))
        within = polynomial_kernel(x, x).mean() + polynomial_kernel(y, y).mean()
        biased.append(within - 2 * polynomial_kernel(x, y).mean())
    assert abs(np.mean(values)) < 3 * np.std(values) / 10 < np.mean(biased) / 3


def test_standardised_features_have_the_references_units():
    random = np.random.default_rng(1)
    factors = np.array([1.0, 1e-4, 1e4])
    reference, other = random.normal(2, 3, (80, 3)), random.normal(2.5, 3, (80, 3))
    found = standardise(reference, reference)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=0), 1)
    np.testing.assert_allclose(
        standardise(other * factors, reference * factors), standardise(other, reference)
    )


def test_a_constant_feature_is_not_divided_by_zero():
    reference = np.array([[5.0, 1.0], [5.0, 2.0]])
    found = standardise(np.array([[7.0, 1.5]]), reference)
    np.testing.assert_allclose(found, [[2.0, 0.0]])
