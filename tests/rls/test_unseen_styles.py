"""Which styles fit, which judge, and which are shown: the mean w, the flow and Fig. 1."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from rls.prior import fitting
from rls.prior.fitting import fit_flow, gaussian_log_prob, measure_fit, split_styles
from rls.prior.flows import StyleFlow
from rls.prior.gaussianize import squared_norms
from rls.prior.styles import styles_and_mean
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.networks import Generator
from tests.rls.test_fit_flow import SMALL, correlated_gaussian


def sampled(n_styles: int, n_mean: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    generator = Generator(Architecture(8, 1, 6, 5, 2, 32, 4))
    numbers = {"seed": 3, "batch_size": 64, "label": "test"}
    return styles_and_mean(generator, n_styles, n_mean, **numbers)


def test_the_mean_style_is_of_other_samples_than_those_of_the_flow():
    styles, mean = sampled(200, 200)
    sd = styles.std(dim=0)
    error = ((mean - styles.mean(dim=0)) / (sd * (2 / 200) ** 0.5)).abs()
    assert 0.1 < error.max() < 5  # the error of two independent means
    _, same = sampled(2, 200)
    assert torch.equal(same, mean)
    assert not torch.equal(sampled(200, 100)[1], mean)


def batch_norms(flow: StyleFlow) -> dict[str, torch.Tensor]:
    return {k: v for k, v in flow.state_dict().items() if "running" in k}


@pytest.mark.parametrize("kind", ["maf", "realnvp"])
def test_batch_norms_are_those_of_the_training_styles_under_the_last_weights(kind):
    """Every epoch is judged with them too: the best log p is that of the flow that is returned."""
    w, _ = correlated_gaussian(600)
    train, validation = split_styles(w, 0.5, 0)
    validation = validation + 1.0  # statistics of the validation styles would be seen
    fit = fit_flow(train, validation, replace(SMALL, flow=kind, max_epochs=3))
    again = copy.deepcopy(fit.flow)
    again.recompute_batch_norm(train)
    found, expected = batch_norms(fit.flow), batch_norms(again)
    assert found
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
    log_prob = fitting.mean_log_prob(again, validation)
    assert fit.best_log_prob == pytest.approx(log_prob, abs=1e-3)
    # Layer by layer: the first batch norm sees what the layers before it make of w.
    with torch.no_grad():
        x = fit.flow.standardise(train)
        for layer in fit.flow.flow._transform._transforms:
            if hasattr(layer, "running_mean"):
                torch.testing.assert_close(layer.running_mean, x.mean(0), rtol=1e-3, atol=1e-4)
                torch.testing.assert_close(layer.running_var, x.var(0), rtol=1e-3, atol=1e-4)
            x = layer(x)[0]


def test_the_flow_is_scaled_and_fitted_by_the_training_styles_alone():
    train, validation = split_styles(correlated_gaussian(600)[0], 0.5, 0)
    short = replace(SMALL, max_epochs=1)
    fit, other = (fit_flow(train, shown, short) for shown in (validation, validation + 7.0))
    torch.testing.assert_close(fit.flow.mean, train.mean(0))
    torch.testing.assert_close(fit.flow.sd, train.std(0))
    pairs = zip(fit.flow.state_dict().values(), other.flow.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_epoch_is_chosen_by_styles_that_do_not_fit():
    """Few styles are learnt by heart: log p of the training styles rises to the last epoch."""
    train, validation = split_styles(correlated_gaussian(150)[0], 0.2, 0)
    settings = replace(SMALL, hidden=128, learning_rate=1e-2, max_epochs=60, patience_epochs=60)
    fit = fit_flow(train, validation, settings)
    last = fit_flow(train, train, replace(settings, max_epochs=60))
    assert fit.best_epoch < 40 < last.best_epoch
    assert fitting.mean_log_prob(last.flow, validation) < fit.best_log_prob


def test_training_and_validation_styles_are_apart_and_together_all():
    w = torch.arange(100.0).repeat(3, 1).T
    train, validation = split_styles(w, 0.1, 0)
    assert (len(train), len(validation)) == (90, 10)
    rows = torch.cat([train, validation])[:, 0]
    assert torch.equal(rows.sort().values, torch.arange(100.0))
    assert not torch.equal(validation[:, 0].sort().values, torch.arange(10.0))  # it is shuffled
    assert not torch.equal(split_styles(w, 0.1, 1)[1], validation)


@pytest.mark.parametrize("full", [False, True])
def test_the_gaussian_baseline_is_fitted_on_one_set_and_evaluated_on_the_other(full):
    w, _ = correlated_gaussian(400)
    train, shown = w[:200].double(), 0.5 * w[200:].double() + 9.0
    covariance = torch.cov(train.T) if full else torch.diag(train.var(0))
    gaussian = torch.distributions.MultivariateNormal(train.mean(0), covariance)
    found = gaussian_log_prob(train, shown, full)
    assert found == pytest.approx(float(gaussian.log_prob(shown).mean()))


def test_the_norms_in_the_header_are_those_of_validation_styles():
    train, validation = split_styles(correlated_gaussian(400)[0], 0.5, 0)
    fit = fit_flow(train, validation, replace(SMALL, max_epochs=1))
    far = validation + 5.0
    found = measure_fit(fit, train, far)
    norms = fit.flow.to_noise(far).detach().square().sum(1)
    assert found["validation_squared_norm_mean"] == pytest.approx(float(norms.mean()), rel=1e-4)
    assert found["validation_squared_norm_sd"] == pytest.approx(float(norms.std()), rel=1e-4)
    assert found["training_log_prob"] == pytest.approx(fitting.mean_log_prob(fit.flow, train))
    assert found["chi_squared_sd"] == pytest.approx(8**0.5)


def test_fig_1_standardises_and_whitens_by_the_styles_of_the_fit():
    """The shown styles have another mean and covariance, so that every exchange is seen."""
    random = np.random.default_rng(0)
    fit = (random.normal(size=(300, 5)) @ random.normal(size=(5, 5)) + 0.5).astype(np.float32)
    shown = (2.0 * random.normal(size=(50, 5)) - 3.0).astype(np.float32)
    z = random.normal(size=(50, 7))
    torch.manual_seed(0)
    flow = StyleFlow("maf", 5, 8, 1)
    flow.set_scale(torch.as_tensor(fit))
    flow.recompute_batch_norm(torch.as_tensor(fit))
    norms = squared_norms(fit, shown, flow.eval(), z)
    bent, bent_fit = (np.where(x > 0, x, 5.0 * x).astype(float) for x in (shown, fit))
    away = bent - bent_fit.mean(axis=0)
    expected = {
        "z": (z**2).sum(axis=1),
        "w": (shown.astype(float) ** 2).sum(axis=1),
        "w_standardised": (((shown - fit.mean(0)) / fit.std(0, ddof=1)) ** 2).sum(axis=1),
        "pulse_per_dimension": ((away / bent_fit.std(axis=0, ddof=1)) ** 2).sum(axis=1),
        "leaky_relu": (bent**2).sum(axis=1),
        "leaky_relu_whitened": np.einsum(
            "ni,ij,nj->n", away, np.linalg.inv(np.cov(bent_fit, rowvar=False)), away
        ),
        "flow": flow.to_noise(torch.as_tensor(shown)).detach().double().square().sum(1).numpy(),
    }
    assert set(norms) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(norms[name], values, rtol=1e-4, err_msg=name)
