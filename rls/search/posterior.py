"""Several solutions of one low-resolution image (article, section 4.5), found in three ways.

* ``article``: mu and sigma that maximise the printed objective, w_i = mu + sigma eps_i with fixed
  eps_i. Its term -(n/2) log sigma^2 has the sign opposite to an entropy, and with these w_i the
  quadratic term is constant: only the inverse gamma keeps sigma from 0. Under a flat likelihood
  sigma = beta / (n + alpha + 1) in every dimension, whatever the data.
* ``variational``: q = N(mu, diag sigma^2) over w+ that maximises the evidence lower bound
  E_q[log p(w | y)] + H(q) (Kingma & Welling 2014), with fresh draws at every step.
* ``restarts``: a search of Eq. 5 from each of n random styles near the mean (the authors' code).

log p(w | y) is minus Eq. 5 over ``temperature``, up to a constant. Eq. 5 takes the mean of
|y - D(G(w))| over N values, so a temperature T means a Laplace noise of scale T N on [0, 1], and
lambda_w / T nats of the prior for every nat of P_w.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rls.io.names import SOLUTION_KINDS
from rls.runtime.errors import InputError
from rls.search import rls
from rls.search.descent import exactly, loss_columns, search
from rls.search.equation5 import given_of, objective_of
from rls.search.optimisers import Variables
from rls.search.problem import BatchProgress, Draws, Problem, Reconstruction, need
from rls.search.start_settings import PLAIN, RANDOM
from rls.search.starts import start_of
from rls.search.steps import Given, Losses, Objective, Searches
from rls.stylegan2.networks import Precision

ARTICLE, VARIATIONAL, RESTARTS = SOLUTION_KINDS
# The only values that some settings of a search of w may have where mu and sigma are searched.
OF_ONE_SEARCH = {"stop_fidelity": None, "coordinates": PLAIN, "steps_w": 0, "lambda_start": 0.0}


# The objectives ----------------------------------------------------------------------------------


def log_inverse_gamma(x: Tensor, alpha: float, beta: float) -> Tensor:
    """Return the log of the inverse gamma density of x > 0, element by element.

    a log b - log Gamma(a) - (a + 1) log x - b / x
    """
    return alpha * math.log(beta) - math.lgamma(alpha) - (alpha + 1) * x.log() - beta / x


def article_objective(
    log_posterior: Tensor, w: Tensor, mu: Tensor, sigma: Tensor, alpha: float, beta: float
) -> Tensor:
    """Return the objective of section 4.5 as printed, to be maximised, shape (g,).

    sum_i log p(w_i | y) - (n/2) log sigma^2 - (n/2) log 2 pi - sum_i (w_i - mu)^2 / (2 sigma^2)
    + log p(sigma), the last four summed over dimensions; p(sigma) is an inverse gamma.

    Arguments:
        log_posterior: (g, n) log p(w_i | y).
        w: (g, n, L, d) the solutions of g images.
        mu, sigma: (g, L, d).
    """
    n = w.shape[1]
    squares = (w - mu[:, None]).square().sum(dim=1) / (2 * sigma.square())
    density = -n * sigma.log() - n / 2 * math.log(2 * math.pi) - squares
    density = density + log_inverse_gamma(sigma, alpha, beta)
    return log_posterior.sum(dim=1) + density.sum(dim=(1, 2))


def lower_bound(log_posterior: Tensor, sigma: Tensor) -> Tensor:
    """Return E_q[log p(w | y)] + H(q) in nats, shape (g,).

    Arguments:
        log_posterior: (g, n) log p(w | y) at n draws of q = N(mu, diag sigma^2).
        sigma: (g, L, d).
    """
    entropy = (sigma.log() + 0.5 * math.log(2 * math.pi * math.e)).sum(dim=(1, 2))
    return log_posterior.mean(dim=1) + entropy


# The searches ------------------------------------------------------------------------------------


def solution_ids(image_ids: Sequence[str], n: int) -> tuple[str, ...]:
    """Return ``{image_id}_k{j}`` for j from 1 to n, with an image's solutions side by side."""
    return tuple(f"{image_id}_k{j}" for image_id in image_ids for j in range(1, n + 1))


@dataclass(frozen=True)
class Options:
    """How solutions are found; all fields except ``kind`` are settings of the command."""

    kind: str
    n_solutions: int
    temperature: float
    sigma_start: float
    sigma_learning_rate: float
    inverse_gamma_alpha: float
    inverse_gamma_beta: float
    restart_spread: float


@dataclass(frozen=True)
class Start:
    """Where mu and sigma start.

    Attributes:
        mean: (L, d), mu at the start.
        sd: (L, d), sigma at the start.
    """

    mean: Tensor
    sd: Tensor


@dataclass(frozen=True)
class Course:
    """Course of the search for mu and sigma, as for a single w."""

    steps: int
    learning_rate: float
    schedule: str
    precision: Precision


@dataclass(frozen=True)
class Gaussians:
    """The result for g images: w (g n, L, d), mu and sigma (g, L, d), status (g,)."""

    w: Tensor
    mu: Tensor
    sigma: Tensor
    status: np.ndarray


@dataclass(frozen=True)
class Gaussian:
    """The objectives of mu and sigma for images with n solutions each, to be minimised.

    Their variables are mu and a variable that :meth:`sigma` turns into sigma, both (g, L, d).
    Besides what ``negative`` takes, ``given`` holds the sd at the start, (L, d), the noise of the
    solutions, (g n, L, d), fresh noise for every step, and the number of steps so far.

    Arguments:
        negative: Returns ``loss_total`` (rows,) = -temperature log p(w | y) of one variable
            (rows, L, d).
        pace: Learning rate of log sigma over that of mu.
    """

    negative: Objective
    options: Options
    pace: float

    def sigma(self, variable: Tensor, given: Given) -> Tensor:
        """Return sigma, whose logarithm Adam moves at a pace of its own."""
        return (given["sd"][0].log() + self.pace * variable).exp()

    def solutions(self, mu: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        """Return w = mu + sigma eps, (g n, L, d), for eps (g n, L, d)."""
        n = self.options.n_solutions
        return mu.repeat_interleave(n, 0) + sigma.repeat_interleave(n, 0) * noise

    def log_posterior(self, w: Tensor, given: Given, precision: Precision) -> Tensor:
        """Return log p(w | y), (g, n), up to a constant."""
        loss = self.negative((w,), given, precision)["loss_total"]
        return -loss.view(-1, self.options.n_solutions) / self.options.temperature

    def __call__(self, variables: Variables, given: Given, precision: Precision) -> Losses:
        """Return the loss of the kind that the options name."""
        mu, sigma = variables[0], self.sigma(variables[1], given)
        minimised = self._variational if self.options.kind == VARIATIONAL else self._article
        return {"loss_total": minimised(mu, sigma, given, precision)}

    def _article(self, mu: Tensor, sigma: Tensor, given: Given, precision: Precision) -> Tensor:
        """Return minus the printed objective, (g,)."""
        w = self.solutions(mu, sigma, *given["handed out"])
        solutions = w.view(len(mu), self.options.n_solutions, *mu.shape[1:])
        hyperprior = (self.options.inverse_gamma_alpha, self.options.inverse_gamma_beta)
        log_posterior = self.log_posterior(w, given, precision)
        return -article_objective(log_posterior, solutions, mu, sigma, *hyperprior)

    def _variational(self, mu: Tensor, sigma: Tensor, given: Given, precision: Precision) -> Tensor:
        """Return a loss with the gradient of minus the lower bound, and a value that falls, (g,).

        The bound is stochastic, so its minimum is luck. A value that decreases with every step
        makes the search keep the last finite iterate, even if it evaluates the loss between steps.
        """
        noise = given["fresh" if torch.is_grad_enabled() else "handed out"]
        w = self.solutions(mu, sigma, *noise)
        value = -lower_bound(self.log_posterior(w, given, precision), sigma)
        return value - value.detach() - given["steps taken"][0]


def fit_gaussians(
    negative: Objective,
    ids: Sequence[str],
    start: Start,
    options: Options,
    course: Course,
    seed: int,
    progress: BatchProgress,
    *,
    given: Given | None = None,
    searches: Searches | None = None,
) -> Gaussians:
    """Return mu and sigma of every image, and its n solutions mu + sigma eps_i.

    Arguments:
        negative: See :class:`Gaussian`.
        ids: Ids of the rows; the n solutions of an image stand side by side.
        given: What ``negative`` takes from the batch.
    """
    objective = Gaussian(negative, options, options.sigma_learning_rate / course.learning_rate)
    shape, device = start.mean.shape, start.mean.device
    noise = Draws(seed, ids, "solutions").next(shape, device)
    every_step = None
    given = {**(given or {}), "sd": (start.sd,), "handed out": (noise,)}
    if options.kind == VARIATIONAL:
        given |= {"fresh": (torch.empty_like(noise),), "steps taken": (noise.new_zeros(()),)}
        every_step = _fresh_noise(Draws(seed, ids, "draws of the lower bound"))
    mu = start.mean.expand(len(ids) // options.n_solutions, *shape)
    found = search(
        (mu, torch.zeros_like(mu)),
        objective,
        given=given,
        steps=course.steps,
        learning_rate=course.learning_rate,
        schedule=course.schedule,
        precision=course.precision,
        progress=progress,
        searches=searches,
        before_step=every_step,
    )
    mu, sigma = found.variables[0], objective.sigma(found.variables[1], given)
    w = objective.solutions(mu, sigma, noise)
    return Gaussians(w, mu, sigma, found.status)


def _fresh_noise(draws: Draws) -> Callable[[Given], None]:
    """Return what changes before every step of ``variational``: its noise, and the steps so far."""

    def before_step(given: Given) -> None:
        (noise,) = given["fresh"]
        noise.copy_(draws.next(noise.shape[1:], noise.device))
        given["steps taken"][0].add_(1)

    return before_step


def solve_by_gaussians(
    problem: Problem, settings: rls.Settings, options: Options, progress: BatchProgress
) -> Reconstruction:
    """Return the solutions of a batch of rows by ``article`` or ``variational``.

    Raises:
        InputError: The settings ask for a search of another form than that of mu and sigma.
    """
    _refuse(settings, options.kind)
    styles = need(problem.styles, "styles")
    layers = need(problem.generator, "generator").num_ws
    objective, given = objective_of(problem, settings), given_of(problem, settings)
    start = Start(
        styles.mean.expand(layers, -1), options.sigma_start * styles.sd.expand(layers, -1)
    )
    rate = rls.learning_rate_of(problem, settings)
    course = Course(settings.steps, rate, settings.schedule, problem.precision)
    found = fit_gaussians(
        objective,
        problem.image_ids,
        start,
        options,
        course,
        problem.seed,
        progress,
        given=given,
        searches=problem.searches,
    )
    with exactly():
        images = objective.images(found.w, given, "float32")
        losses = objective((found.w,), given, "float32")
    n = options.n_solutions
    columns = loss_columns(losses, "log_prior")
    columns["sigma_mean"] = np.repeat(found.sigma.mean(dim=(1, 2)).cpu().numpy(), n)
    status = np.repeat(found.status, n)
    return Reconstruction(images, found.w, {**columns, "search_status": status})


def _refuse(settings: rls.Settings, kind: str) -> None:
    """Refuse settings of a search of w that one of mu and sigma does not have."""
    for name, plain in OF_ONE_SEARCH.items():
        if (value := getattr(settings, name)) != plain:
            raise InputError(
                f"Found {name} {value} with solutions of kind {kind}, which search the mean and "
                f"the sd of w in W+, from the mean style and in all steps. Leave it out, or choose "
                f"{RESTARTS}."
            )


def solve_by_restarts(
    problem: Problem, settings: rls.Settings, options: Options, progress: BatchProgress
) -> Reconstruction:
    """Return the solutions by ``restarts``: each row starts at mean + spread (G_m(z) - mean)."""
    start = start_of(problem, RANDOM, options.restart_spread)[:, None]
    if not settings.steps_w:
        start = start.expand(-1, need(problem.generator, "generator").num_ws, -1)
    found = rls.search_from(start, problem, settings, progress)
    columns = {**found.columns, "sigma_mean": np.full(len(start), np.nan, dtype=np.float32)}
    return Reconstruction(found.images, found.latents, columns)


@dataclass(frozen=True)
class Sampler:
    """A method for :func:`rls.search.batches.solve`, whose batches hold whole images."""

    Settings = rls.Settings
    options: Options

    def super_resolve(
        self, problem: Problem, settings: rls.Settings, progress: BatchProgress
    ) -> Reconstruction:
        """Return the solutions of a batch whose rows are (image, solution)."""
        solve = solve_by_restarts if self.options.kind == RESTARTS else solve_by_gaussians
        return solve(problem, settings, self.options, progress)
