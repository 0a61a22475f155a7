"""The ridge regression beside the network: its closed form, its penalty, and the choice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rls.encoder.regression import (
    BestNet,
    Regression,
    RegressionNet,
    Scale,
    load_regression,
    write_regression,
)
from rls.encoder.regression_training import examples_of
from rls.encoder.ridge import PENALTIES, better_of, design, fit_ridge, squared_error
from rls.io.names import REGRESSION
from rls.networks.classifier import views

CPU = torch.device("cpu")
WEIGHTS = np.array([0.5, -1.0, 0.25, 0.0])


def linear(n, seed, noise):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 4)) + 3.0
    return x, (x @ WEIGHTS + 2.0 + noise * random.normal(size=n))[:, None]


def test_without_noise_it_finds_the_weights_and_the_constant():
    ridge = fit_ridge(*linear(200, 1, 0.0), *linear(50, 2, 0.0))
    assert ridge.weight[0] == pytest.approx(WEIGHTS, abs=1e-3)
    assert ridge.bias[0] == pytest.approx(2.0, abs=1e-2) and ridge.error[0] < 1e-5


def test_it_minimises_its_objective_at_every_penalty(monkeypatch):
    """The gradient of the mean squared error plus a |w|^2 vanishes."""
    x, t = linear(40, 3, 1.0)
    for penalty in (1e-2, 1.0, 30.0):
        monkeypatch.setattr("rls.encoder.ridge.PENALTIES", np.array([penalty]))
        ridge = fit_ridge(x, t, x, t)
        residual = t[:, 0] - ridge.bias[0] - x @ ridge.weight[0]
        assert residual.mean() == pytest.approx(0.0, abs=1e-12)
        slope = -(residual[:, None] * x).mean(axis=0) + penalty * ridge.weight[0]
        assert slope == pytest.approx(np.zeros(4), abs=1e-12)


def test_the_penalty_is_chosen_on_what_is_held_out():
    """With more pixels than cells and nothing to learn, the largest penalty is best."""
    random = np.random.default_rng(4)
    x, t = random.normal(size=(30, 100)), random.normal(size=(30, 1))
    held, held_t = random.normal(size=(400, 100)), random.normal(size=(400, 1))
    ridge = fit_ridge(x, t, held, held_t)
    assert np.abs(ridge.weight).max() < 0.01 and ridge.error[0] < 1.3
    least = fit_ridge(x, t, x, t)
    assert least.error[0] < 1e-4, "judged on its own cells, the smallest penalty wins"
    assert PENALTIES[0] < 1e-3


def test_what_was_not_measured_counts_in_neither():
    x, t = linear(60, 5, 0.3)
    other = np.where(np.arange(60)[:, None] % 3 == 0, np.nan, t)
    both = np.concatenate([t, other], axis=1)
    ridge = fit_ridge(x, both, x, both)
    kept = np.isfinite(other[:, 0])
    alone = fit_ridge(x[kept], t[kept], x[kept], t[kept])
    assert ridge.weight[1] == pytest.approx(alone.weight[0])
    assert ridge.error[1] == pytest.approx(alone.error[0])
    assert np.isnan(squared_error(np.zeros((2, 1)), np.full((2, 1), np.nan)))


def pieces(turned=True):
    """A network that always says 0, and images whose first feature is their mean pixel."""
    random = np.random.default_rng(6)
    y = random.uniform(size=(300, 2, 4, 4)).astype(np.float32)
    values = np.stack([y.mean(axis=(1, 2, 3)), random.normal(size=300)], axis=1)
    moments = (tuple(values.mean(axis=0)), tuple(values.std(axis=0)))
    scale = Scale(("bright", "noise"), (False, False), *moments)
    examples = examples_of(y, values, scale)
    torch.manual_seed(0)
    net = RegressionNet(2, (4, 4), 2, width=2, hidden=4, turned=turned)
    net.standardise_by(examples.y)
    torch.nn.init.zeros_(net.head.weight)
    torch.nn.init.zeros_(net.head.bias)
    ridge = fit_ridge(design(net, examples.y), examples.t.numpy(), design(net, examples.y),
                      examples.t.numpy())  # fmt: skip
    return y, values, scale, examples, net, ridge


def test_each_feature_has_the_better_predictor_and_a_turned_image_the_same_answer():
    y, values, scale, examples, net, ridge = pieces()
    ridge.error[1] = 2.0  # of the second feature, which is noise, the network errs less
    best = better_of(net, ridge, examples, 100)
    assert best.linear.tolist() == [True, False]
    mean, sd = Regression(best, scale, {}).predict(y, 64)
    assert mean[:, 0] == pytest.approx(values[:, 0], rel=1e-3)
    assert mean[:, 1] == pytest.approx(np.full(300, values[:, 1].mean()), abs=1e-5)
    assert (sd > 0).all()
    for view in views(torch.from_numpy(y)):
        turned, _ = Regression(best, scale, {}).predict(view.numpy(), 64)
        assert turned[:, 0] == pytest.approx(mean[:, 0], rel=1e-5)


def test_a_feature_that_was_not_measured_on_tune_is_the_network_s():
    _, _, _, examples, net, ridge = pieces()
    ridge.error[:] = np.nan
    assert not better_of(net, ridge, examples, 100).linear.any()


def test_it_is_read_back_as_it_was_written(tmp_path):
    y, _, scale, examples, net, ridge = pieces()
    best = better_of(net, ridge, examples, 100)
    path = tmp_path / "regression.safetensors"
    write_regression(path, Regression(best, scale, {"kind": REGRESSION}))
    found = load_regression(path, CPU)
    assert isinstance(found.net, BestNet)
    for one, two in zip(found.predict(y, 64), Regression(best, scale, {}).predict(y, 64),
                        strict=True):  # fmt: skip
        np.testing.assert_array_equal(one, two)
