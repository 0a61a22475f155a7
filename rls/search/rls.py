"""Regularised latent search: the article's method (Eq. 5), and its ablations by lambdas of 0.

w^ = argmin over w in W+ of mean |y - D(G_s(w))| - lambda_w P_w + lambda_c cross

The authors' code adds lambda_n times a penalty on the norm of F(w); the article has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rls.runtime.command import option
from rls.search.descent import Losses, Objective, Variables, loss_columns, search
from rls.search.objective import CROSS, fidelity, norm_deviation, prior
from rls.search.problem import BatchProgress, Problem, Reconstruction, need, noise_maps, to_unit
from rls.search.schedule import SCHEDULES
from rls.stylegan2.networks import Precision

Synthesise = Callable[[Tensor, Precision], Tensor]


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
    synthesise, objective = objective_of(problem, settings)
    found = search(
        (start,),
        objective,
        steps=settings.steps,
        learning_rate=learning_rate_of(problem, settings),
        schedule=settings.schedule,
        precision=problem.precision,
        progress=progress,
    )
    (w,) = found.variables
    with torch.no_grad():
        images = synthesise(w, "float32")
    columns = loss_columns(found.losses, "log_prior")
    return Reconstruction(images, w, {**columns, "search_status": found.status})


def learning_rate_of(problem: Problem, settings: Settings) -> float:
    """Return the peak learning rate in units of w."""
    if settings.learning_rate_unit == "relative":
        return settings.learning_rate * float(need(problem.styles, "styles").sd.mean())
    return settings.learning_rate


def objective_of(problem: Problem, settings: Settings) -> tuple[Synthesise, Objective]:
    """Return two functions of w+: its images in [0, 1] units, and Eq. 5 with all its terms.

    Raises:
        InputError: The generator is missing, or the flow where lambda_w or lambda_n is not 0.
    """
    generator, flow = need(problem.generator, "generator"), problem.flow
    if settings.lambda_w or settings.lambda_n:
        flow = need(flow, "flow")
    noise = noise_maps(problem)

    def synthesise(w: Tensor, precision: Precision) -> Tensor:
        return to_unit(generator.synthesis(w, noise=noise, precision=precision))

    def objective(variables: Variables, precision: Precision) -> Losses:
        (w,) = variables
        terms = {"loss_fidelity": fidelity(problem.y, problem.forward(synthesise(w, precision)))}
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

    return synthesise, objective
