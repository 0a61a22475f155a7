"""Regularised latent search: the article's method (Eq. 5), and its ablations by lambdas of 0.

w^ = argmin over w in W+ of mean |y - D(G_s(w))| - lambda_w P_w + lambda_c cross

The authors' code adds lambda_n times a penalty on the norm of F(w); the article has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from rls.runtime.command import option
from rls.search.descent import exactly, loss_columns, search
from rls.search.forward import Resize
from rls.search.objective import CROSS, fidelity, norm_deviation, prior
from rls.search.optimisers import Variables
from rls.search.problem import (
    BatchProgress,
    Common,
    Problem,
    Reconstruction,
    need,
    noise_maps,
    to_unit,
)
from rls.search.schedule import SCHEDULES
from rls.search.steps import Given, Losses
from rls.stylegan2.networks import Generator, Precision

if TYPE_CHECKING:
    from rls.prior.flows import StyleFlow


@dataclass(frozen=True)
class Settings:
    """Weights of the objective, and course of the search (section 4.1)."""

    steps: int = option("Iterations of Adam.")
    learning_rate: float = option("Peak learning rate.")
    learning_rate_unit: str = option(
        "absolute, or relative to the mean sd of w over its dimensions.",
        choices=("absolute", "relative"),
    )
    schedule: str = option("Course of the learning rate.", choices=tuple(SCHEDULES))
    lambda_w: float = option(
        "Weight of P_w, the mean log p_F of the styles (nats); 0 leaves it out."
    )
    lambda_c: float = option("Weight of the cross term of the styles; 0 leaves it out.")
    lambda_n: float = option(
        "Weight of the squared deviation of the norm of F(w) from sqrt d (released code); "
        "0 leaves it out."
    )
    cross: str = option(
        "mean_distance (released code) or sum_squares (as printed).", choices=tuple(CROSS)
    )


def super_resolve(problem: Problem, settings: Settings, progress: BatchProgress) -> Reconstruction:
    """Return G_s(w^) for a batch; the search starts at the mean style in every layer.

    Columns, at the returned iterate in float32: ``loss_total``, ``loss_fidelity``, ``log_prior``
    (nats, NaN without a flow), ``loss_cross``, ``loss_norm`` (where lambda_n is not 0), and
    ``search_status``.

    Raises:
        InputError: Generator or styles are missing, or the flow where lambda_w or lambda_n is
            not 0.
    """
    generator, styles = need(problem.generator, "generator"), need(problem.styles, "styles")
    start = styles.mean.expand(len(problem.y), generator.num_ws, -1)
    return search_from(start, problem, settings, progress)


def search_from(
    start: Tensor, problem: Problem, settings: Settings, progress: BatchProgress
) -> Reconstruction:
    """Return the reconstruction that a search from ``start``, (n, L, d), finds."""
    objective, given = objective_of(problem, settings), given_of(problem)
    found = search(
        (start,),
        objective,
        given=given,
        steps=settings.steps,
        learning_rate=learning_rate_of(problem, settings),
        schedule=settings.schedule,
        precision=problem.precision,
        progress=progress,
        searches=problem.searches,
    )
    (w,) = found.variables
    with exactly():
        images = objective.images(w, given, "float32")
    columns = loss_columns(found.losses, "log_prior")
    return Reconstruction(images, w, {**columns, "search_status": found.status})


def given_of(problem: Problem) -> Given:
    """Return what Eq. 5 takes from a batch: the images y and the noise maps of their layers."""
    return {"y": (problem.y,), "noise": tuple(noise_maps(problem))}


def learning_rate_of(problem: Problem, settings: Settings) -> float:
    """Return the peak learning rate in units of w."""
    if settings.learning_rate_unit == "relative":
        return settings.learning_rate * float(need(problem.styles, "styles").sd.mean())
    return settings.learning_rate


def objective_of(common: Common, settings: Settings) -> Equation5:
    """Return Eq. 5 with all its terms, a function of w+.

    Raises:
        InputError: The generator is missing, or the flow where lambda_w or lambda_n is not 0.
    """
    generator, flow = need(common.generator, "generator"), common.flow
    if settings.lambda_w or settings.lambda_n:
        flow = need(flow, "flow")
    return Equation5(generator, flow, common.forward, settings)


@dataclass(frozen=True)
class Equation5:
    """The objective, for the images y and the noise maps in ``given`` (:func:`given_of`)."""

    generator: Generator
    flow: StyleFlow | None
    forward: Resize
    settings: Settings

    def images(self, w: Tensor, given: Given, precision: Precision) -> Tensor:
        """Return the images of w, (n, L, d), in [0, 1] units."""
        noise = given["noise"]
        return to_unit(self.generator.synthesis(w, noise=noise, precision=precision))

    def __call__(self, variables: Variables, given: Given, precision: Precision) -> Losses:
        """Return the total and its terms, each (n,)."""
        (w,), (y,), flow, settings = variables, given["y"], self.flow, self.settings
        low = self.forward(self.images(w, given, precision))
        terms = {"loss_fidelity": fidelity(y, low)}
        total = terms["loss_fidelity"]
        # Terms of weight 0 are evaluated only at the end, where no gradient is needed.
        if flow is not None and (settings.lambda_w or not w.requires_grad):
            terms["log_prior"] = prior(flow, w)
        if settings.lambda_w:
            total = total - settings.lambda_w * terms["log_prior"]
        if settings.lambda_c or not w.requires_grad:
            terms["loss_cross"] = CROSS[settings.cross](w)
        if settings.lambda_c:
            total = total + settings.lambda_c * terms["loss_cross"]
        if settings.lambda_n and flow is not None:
            terms["loss_norm"] = norm_deviation(flow, w)
            total = total + settings.lambda_n * terms["loss_norm"]
        return {"loss_total": total, **terms}
