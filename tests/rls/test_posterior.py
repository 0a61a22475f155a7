"""Several solutions: the sigma of the printed objective, a known posterior, independent images."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch import Tensor

from rls.io.names import SOLUTION_KINDS
from rls.runtime.errors import InputError
from rls.search import equation5, rls
from rls.search.batches import select_rows
from rls.search.posterior import (
    ARTICLE,
    RESTARTS,
    VARIATIONAL,
    Course,
    Gaussians,
    Options,
    Sampler,
    Start,
    article_objective,
    fit_gaussians,
    log_inverse_gamma,
    lower_bound,
    solution_ids,
)
from rls.search.steps import Given
from tests.rls.search_stand_ins import make_problem, quiet, tiny_flow, tiny_generator, tiny_styles

OPTIONS = Options(
    kind=VARIATIONAL, n_solutions=5, temperature=1.0, sigma_start=1.0, sigma_learning_rate=0.1,
    inverse_gamma_alpha=0.1, inverse_gamma_beta=0.95, restart_spread=0.4,
)  # fmt: skip
COURSE = Course(steps=300, learning_rate=0.1, schedule="one_cycle_drop", precision="float32")
SEARCH = rls.Settings(
    steps=8, learning_rate=0.2, learning_rate_unit="absolute", schedule="constant",
    lambda_w=5.0e-5, lambda_c=0.01, cross="mean_distance", lambda_n=0.0,
)  # fmt: skip


def fit(negative, n_images: int, shape: tuple[int, int], **changes: object) -> Gaussians:
    options = replace(OPTIONS, **changes)
    start = Start(torch.zeros(shape), torch.full(shape, options.sigma_start))
    ids = solution_ids([f"image {i}" for i in range(n_images)], options.n_solutions)
    return fit_gaussians(negative, ids, start, options, COURSE, 0, quiet())


def flat(variables: tuple[Tensor], given: Given, precision: str) -> dict[str, Tensor]:
    return {"loss_total": 0.0 * variables[0].sum(dim=(1, 2))}


# ---- the formulas ------------------------------------------------------------------------------


def test_the_inverse_gamma_is_scipys() -> None:
    x = torch.tensor([0.05, 0.3, 2.0], dtype=torch.float64)
    expected = stats.invgamma.logpdf(x.numpy(), 0.1, scale=0.95)
    assert log_inverse_gamma(x, 0.1, 0.95).numpy() == pytest.approx(expected)


def test_the_printed_objective_is_a_sum_of_log_densities() -> None:
    random = torch.Generator().manual_seed(0)
    w = torch.randn(3, 4, 2, 5, generator=random, dtype=torch.float64)
    mu = torch.randn(3, 2, 5, generator=random, dtype=torch.float64)
    sigma = torch.rand(3, 2, 5, generator=random, dtype=torch.float64) + 0.1
    log_posterior = torch.randn(3, 4, generator=random, dtype=torch.float64)
    normal = torch.distributions.Normal(mu[:, None], sigma[:, None]).log_prob(w).sum((1, 2, 3))
    hyper = torch.as_tensor(stats.invgamma.logpdf(sigma.numpy(), 0.1, scale=0.95)).sum((1, 2))
    found = article_objective(log_posterior, w, mu, sigma, 0.1, 0.95)
    assert torch.allclose(found, log_posterior.sum(1) + normal + hyper)


def test_the_entropy_enters_the_bound_with_its_right_sign() -> None:
    sigma = torch.tensor([[[0.2, 1.5]]])
    expected = sum(stats.norm(scale=float(s)).entropy() for s in sigma.flatten())
    log_posterior = torch.zeros(1, 3)
    assert float(lower_bound(log_posterior, sigma)) == pytest.approx(expected)
    assert lower_bound(log_posterior, 2 * sigma) > lower_bound(log_posterior, sigma)
    # With q = p the bound is log Z, here 0, whatever the draws.
    w = sigma * torch.randn(1, 200_000, 1, 2, generator=torch.Generator().manual_seed(1))
    exact = torch.distributions.Normal(0.0, sigma).log_prob(w).sum((2, 3))
    assert float(lower_bound(exact, sigma)) == pytest.approx(0.0, abs=0.01)


# ---- what the searches find --------------------------------------------------------------------


@pytest.mark.parametrize(("n", "rounded"), [(5, 0.156), (6, 0.134), (10, 0.086)])
def test_under_a_flat_likelihood_the_articles_sigma_is_that_of_n_and_the_hyperprior(
    n: int, rounded: float
) -> None:
    found = fit(flat, 2, (2, 3), kind=ARTICLE, n_solutions=n)
    expected = 0.95 / (n + 0.1 + 1)  # beta / (n + alpha + 1)
    assert expected == pytest.approx(rounded, abs=5e-4)
    assert found.sigma.numpy() == pytest.approx(expected, rel=0.01)


def test_the_articles_sigma_hardly_knows_what_the_data_leave_open() -> None:
    """The sd are 0.5 and 2 in the two dimensions; only ``variational`` tells them apart."""

    def negative(variables: tuple[Tensor], given: Given, precision: str) -> dict[str, Tensor]:
        (w,) = variables
        return {"loss_total": 0.5 * (w / torch.tensor([0.5, 2.0])).square().sum((1, 2))}

    article = fit(negative, 1, (1, 2), kind=ARTICLE).sigma.flatten()
    variational = fit(negative, 1, (1, 2)).sigma.flatten()
    assert float(variational[1] / variational[0]) == pytest.approx(4.0, rel=0.25)
    assert float(article[1] / article[0]) < 1.2


def linear_gaussian(sd_noise: float, n_images: int) -> tuple[object, Tensor, Tensor]:
    """Return (-log p(w | y), mean, sd): images A w with orthogonal columns, w ~ N(0, 1).

    The posterior's precision is A'A / sd^2 + 1, diagonal, and its mean that times A'y / sd^2.
    """
    random = torch.Generator().manual_seed(4)
    columns = torch.linalg.qr(torch.randn(12, 6, generator=random))[0]
    a = columns * torch.tensor([0.0, 0.1, 0.3, 0.6, 1.0, 2.0])
    y = torch.randn(n_images, 12, generator=random)
    precision = (a.T @ a).diagonal() / sd_noise**2 + 1
    mean = (y @ a / sd_noise**2) / precision

    def negative(variables: tuple[Tensor], given: Given, _: str) -> dict[str, Tensor]:
        w = variables[0].flatten(1)
        residual = y.repeat_interleave(len(w) // n_images, 0) - w @ a.T
        log_p = -residual.square().sum(1) / (2 * sd_noise**2) - 0.5 * w.square().sum(1)
        return {"loss_total": -log_p}

    return negative, mean, precision.rsqrt()


def test_the_variational_posterior_of_a_linear_generator_is_the_true_one() -> None:
    negative, mean, sd = linear_gaussian(0.3, 3)
    found = fit(negative, 3, (2, 3))
    assert found.sigma.flatten(1).log().numpy() == pytest.approx(
        sd.log().expand(3, -1).numpy(), abs=0.2
    )
    assert bool(((found.mu.flatten(1) - mean).abs() < 0.3 * sd).all())
    assert set(found.status) == {"ok"}


def test_a_search_that_ends_in_float32_uses_those_steps_however_low_its_loss() -> None:
    """The loop evaluates the loss once between the precisions; later steps must still win."""

    def low(variables: tuple[Tensor], given: Given, precision: str) -> dict[str, Tensor]:
        return {"loss_total": (variables[0] - 3).square().sum(dim=(1, 2)) / 2 - 1.0e4}

    start = Start(torch.zeros(2, 2), torch.ones(2, 2))
    ids = solution_ids(["image"], OPTIONS.n_solutions)
    found = {
        precision: fit_gaussians(
            low, ids, start, OPTIONS, replace(COURSE, steps=60, precision=precision), 0, quiet()
        )
        for precision in ("float32", "bfloat16")
    }
    assert torch.equal(found["float32"].mu, found["bfloat16"].mu)


def test_a_temperature_widens_the_posterior_by_its_root() -> None:
    negative, _, sd = linear_gaussian(0.3, 1)
    found = fit(negative, 1, (2, 3), temperature=4.0).sigma.flatten()
    assert (found / sd).log().numpy() == pytest.approx(math.log(2.0), abs=0.2)


# ---- rows, images, company ---------------------------------------------------------------------


def test_the_logarithm_of_sigma_moves_by_the_rate_of_its_own() -> None:
    """Adam's first step has the length of the rate, whatever the rate of mu is."""
    start = Start(torch.zeros(2, 3), torch.full((2, 3), 0.7))
    course = Course(steps=2, learning_rate=0.4, schedule="constant", precision="float32")
    ids = solution_ids(["image"], OPTIONS.n_solutions)
    found = fit_gaussians(flat, ids, start, OPTIONS, course, 0, quiet())
    torch.testing.assert_close(found.sigma, torch.full((1, 2, 3), 0.7 * math.exp(0.1)))


@pytest.fixture(scope="module")
def problem():
    generator = tiny_generator()
    styles = tiny_styles(generator)
    y = torch.rand(6, 2, 2, 2, generator=torch.Generator().manual_seed(5))
    return make_problem(
        y.repeat_interleave(3, 0), 4, generator=generator, flow=tiny_flow(styles.w),
        styles=styles, ids=solution_ids([f"c{i}" for i in range(6)], 3),
    )  # fmt: skip


@pytest.mark.parametrize("kind", SOLUTION_KINDS)
def test_an_images_solutions_differ_and_do_not_depend_on_its_company(problem, kind: str) -> None:
    sampler = Sampler(replace(OPTIONS, kind=kind, n_solutions=3, temperature=0.01))
    found = sampler.super_resolve(problem, SEARCH, quiet())
    assert found.images.shape == (18, 2, 8, 8) and found.latents.shape == (18, 4, 16)
    images = found.images.reshape(6, 3, -1)
    assert float((images[:, 0] - images[:, 1]).abs().amax(1).min()) > 1e-3
    rows = [12, 13, 14, 3, 4, 5]  # These are images 4 and 1.
    alone = sampler.super_resolve(select_rows(problem, torch.tensor(rows).numpy()), SEARCH, quiet())
    assert torch.allclose(alone.images, found.images[rows], atol=2e-4)
    assert set(found.columns) >= {"loss_total", "loss_fidelity", "log_prior", "sigma_mean"}
    # The losses are those of each solution.
    objective = equation5.objective_of(problem, SEARCH)
    with torch.no_grad():
        losses = objective((found.latents,), equation5.given_of(problem, SEARCH), "float32")
    assert found.columns["loss_total"] == pytest.approx(losses["loss_total"].numpy(), rel=1e-4)


def test_restarts_begin_at_the_stated_share_of_the_way_to_a_random_style(problem) -> None:
    standing = replace(SEARCH, learning_rate=1e-9, steps=1)
    for spread in (0.0, 0.4):
        options = replace(OPTIONS, kind=RESTARTS, n_solutions=3, restart_spread=spread)
        w = Sampler(options).super_resolve(problem, standing, quiet()).latents
        away = w - problem.styles.mean
        assert torch.equal(w, w[:, :1].expand_as(w))
        distance = float(away[:, 0].norm(dim=1).mean())
        typical = float((problem.styles.w - problem.styles.mean).norm(dim=1).mean())
        assert distance == pytest.approx(spread * typical, rel=0.3, abs=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"stop_fidelity": 0.01}, {"coordinates": "whitened"}, {"steps_w": 2}, {"lambda_start": 1.0}],
)
def test_settings_of_a_search_of_w_are_refused_for_mu_and_sigma(problem, changes) -> None:
    (setting,) = changes
    for kind in (ARTICLE, VARIATIONAL):
        sampler = Sampler(replace(OPTIONS, kind=kind, n_solutions=3))
        with pytest.raises(InputError, match=f"Found {setting} .* solutions of kind {kind}"):
            sampler.super_resolve(problem, replace(SEARCH, **changes), quiet())


def test_restarts_take_their_first_steps_in_w(problem) -> None:
    sampler = Sampler(replace(OPTIONS, kind=RESTARTS, n_solutions=3))
    only_w = sampler.super_resolve(problem, replace(SEARCH, steps=0, steps_w=4), quiet()).latents
    assert torch.equal(only_w, only_w[:, :1].expand_as(only_w))
    start = sampler.super_resolve(problem, replace(SEARCH, steps=0), quiet()).latents
    assert (only_w - start).abs().max() > 0.01


@pytest.mark.parametrize("kind", [ARTICLE, VARIATIONAL])
def test_an_image_that_breaks_leaves_the_others_as_they_are(kind: str) -> None:
    def negative(variables: tuple[Tensor], given: Given, precision: str) -> dict[str, Tensor]:
        (w,) = variables
        loss = (w - 1).square().sum((1, 2))
        broken = torch.arange(len(w)) // 5 == 1
        broken = broken & (w.detach().mean((1, 2)) > 0.5)
        return {"loss_total": torch.where(broken, math.nan, loss)}

    def whole(variables: tuple[Tensor], given: Given, precision: str) -> dict[str, Tensor]:
        return {"loss_total": (variables[0] - 1).square().sum((1, 2))}

    found, expected = (fit(one, 2, (1, 2), kind=kind) for one in (negative, whole))
    assert found.status[1] != "ok" and found.status[0] == "ok"
    assert torch.equal(found.w[:5], expected.w[:5])
    assert bool(torch.isfinite(found.w).all())
