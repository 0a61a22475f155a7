"""Regularised latent search: the article's method (Eq. 5), and its ablations by lambdas of 0.

w^ = argmin over w in W+ of mean |y - D(G_s(w))| - lambda_w P_w + lambda_c cross

The first term is that of Laplace noise (section 3.1.3). ``likelihood`` puts that of Gaussian noise
or of a camera in its place (rls/search/objective.py), scaled so that the lambdas keep theirs.
The authors' code adds lambda_n times a penalty on the norm of F(w); the article has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from rls.io.names import OK
from rls.runtime.command import option
from rls.runtime.errors import InputError
from rls.search.descent import exactly, loss_columns, search, worst
from rls.search.forward import Forward
from rls.search.objective import (
    CROSS,
    SQUARES,
    camera_noise,
    fidelity,
    gaussian_misfit,
    norm_deviation,
    poisson_gaussian_misfit,
    prior,
)
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
from rls.search.settings import FORWARDS, SHARED
from rls.search.start_settings import ABSOLUTE, MEAN, PLAIN, WHITENED, StartSettings
from rls.search.starts import start_of
from rls.search.steps import Given, Losses
from rls.stylegan2.networks import Generator, Precision

if TYPE_CHECKING:
    from rls.prior.flows import StyleFlow
    from rls.prior.whitening import Whitening

LAPLACE, GAUSSIAN, POISSON_GAUSSIAN = "laplace", "gaussian", "poisson_gaussian"
# Likelihood -> the settings that it needs; the others must be left out.
NOISE_SETTINGS = {
    LAPLACE: (),
    GAUSSIAN: ("noise_sd",),
    POISSON_GAUSSIAN: ("gain", "read_noise"),
}
MAY_BE_LEFT_OUT = {POISSON_GAUSSIAN: ("camera_offset",)}  # 0 without it


@dataclass(frozen=True)
class Settings(StartSettings):
    """Weights of the objective, and course of the search (section 4.1)."""

    steps: int = option("Iterations of Adam; 0 evaluates the start.")
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
    forward_op: str = option(
        "D of this method: shared, as section super_resolve says (forward), or one of its choices.",
        choices=(SHARED, *FORWARDS),
        default=SHARED,
    )
    likelihood: str = option(
        "Noise of y: laplace (L1, article), gaussian (L2) or poisson_gaussian (camera).",
        choices=tuple(NOISE_SETTINGS),
        default=LAPLACE,
    )
    noise_sd: float | None = option(
        "Sd of the noise on the scale of [0, 1]; for gaussian.", default=None
    )
    gain: float | None = option(
        "Counts per electron of the camera; for poisson_gaussian.", default=None
    )
    read_noise: float | None = option(
        "Sd of the camera's read noise in counts; for poisson_gaussian.", default=None
    )
    camera_offset: float | None = option(
        "Counts of the camera without light, which have no shot noise; for poisson_gaussian. "
        "Without it 0.",
        default=None,
    )

    def __post_init__(self) -> None:
        self.check_start()
        needed = NOISE_SETTINGS[self.likelihood]
        used = (*needed, *MAY_BE_LEFT_OUT.get(self.likelihood, ()))
        for name in ("noise_sd", "gain", "read_noise", "camera_offset"):
            value = getattr(self, name)
            if name not in used and value is not None:
                raise InputError(
                    f"Found {name} {value:g}, which the likelihood {self.likelihood} does not use. "
                    f"Leave it out, or choose another likelihood."
                )
            if name in needed and not (value or 0.0) > 0:
                raise InputError(
                    f"Found {name} {value} with the likelihood {self.likelihood}, expected a "
                    f"number above 0. Give it."
                )


def super_resolve(problem: Problem, settings: Settings, progress: BatchProgress) -> Reconstruction:
    """Return G_s(w^) for a batch, whose searches start where the settings say.

    Columns, at the returned iterate in float32: ``loss_total``, ``loss_fidelity``, ``log_prior``
    (nats, NaN without a flow), ``loss_cross``, ``loss_norm`` (where lambda_n is not 0),
    ``loss_likelihood`` (where it is not laplace; ``loss_fidelity`` is mean |y - D(x)| with any),
    ``start_distance`` (where the start is not the mean style: root mean square of the whitened
    coordinates between the start and w^), and ``search_status``.

    Raises:
        InputError: Generator or styles are missing, the flow where lambda_w or lambda_n is not 0,
            or the encoder where it gives the start.
    """
    generator = need(problem.generator, "generator")
    start = start_of(problem, settings.start, settings.start_spread)[:, None]
    if not settings.steps_w:
        start = start.expand(-1, generator.num_ws, -1)
    found = search_from(start, problem, settings, progress)
    if settings.start == MEAN:
        return found
    assert found.latents is not None  # A search of Eq. 5 always has latents.
    apart = start_penalty(need(problem.styles, "styles").whitening, found.latents, start)
    columns = {**found.columns, "start_distance": apart.sqrt().cpu().numpy()}
    return Reconstruction(found.images, found.latents, columns)


def search_from(
    start: Tensor, problem: Problem, settings: Settings, progress: BatchProgress
) -> Reconstruction:
    """Return the reconstruction that a search from ``start``, (n, L or 1, d), finds.

    With one style for each image the first ``steps_w`` steps keep it so (W).
    """
    objective = objective_of(problem, settings)
    given = {**given_of(problem, settings), "start": (start,)}
    x, status = objective.variables(start), None
    layers = need(problem.generator, "generator").num_ws
    courses = [settings.steps_w] * (start.shape[1] == 1) + [settings.steps]
    for i, steps in enumerate(courses):
        x = x if i + 1 < len(courses) else x.expand(-1, layers, -1)
        if not steps:
            continue
        found = search(
            (x,),
            objective,
            given=given,
            steps=steps,
            learning_rate=learning_rate_of(problem, settings),
            schedule=settings.schedule,
            precision=problem.precision,
            progress=progress.part(sum(courses[:i]), sum(courses)),
            searches=problem.searches,
        )
        (x,) = found.variables
        status = found.status if status is None else worst(status, found.status)
    with exactly():
        w = objective.styles(x)
        images = objective.images(w, given, "float32")
        losses = objective((x,), given, "float32")
    columns = loss_columns(losses, "log_prior")
    status = np.full(len(w), OK, dtype=object) if status is None else status
    return Reconstruction(images, w, {**columns, "search_status": status})


def given_of(problem: Problem, settings: Settings) -> Given:
    """Return what Eq. 5 takes from a batch: the images y, their noise, and the noise maps.

    Raises:
        InputError: The likelihood needs counts, and no intensity scale was given.
    """
    given = {"y": (problem.y,), "noise": tuple(noise_maps(problem))}
    if settings.likelihood != POISSON_GAUSSIAN:
        return given
    scale = need(problem.intensity, "intensity")
    values = (settings.gain, settings.read_noise, settings.camera_offset)
    noise = camera_noise(problem.y, scale, *(value or 0.0 for value in values))
    return {**given, "camera": noise}


def learning_rate_of(problem: Problem, settings: Settings) -> float:
    """Return the peak learning rate in units of the coordinates."""
    if settings.coordinates == WHITENED:
        return settings.learning_rate  # Its coordinates have the standard deviation 1.
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
    walks = settings.coordinates == WHITENED or settings.lambda_start
    whitening = need(common.styles, "styles").whitening if walks else None
    return Equation5(
        generator, flow, common.forward, settings, whitening, weights_of(common, settings)
    )


@dataclass(frozen=True)
class Weights:
    """The factors of the terms of Eq. 5 beside mean |y - D(x)|."""

    prior: float
    cross: float
    norm: float
    start: float


def weights_of(common: Common, settings: Settings) -> Weights:
    """Return the lambdas on the scale of the article.

    With ``lambda_unit: per_value`` the total is, times N / b, the sum of the N values of |y - D(x)|
    over their mean noise b, minus lambda_w nats of P_w, plus lambda_c times the cross term in
    units of the mean distance between two styles, plus lambda_start / 2 for each squared whitened
    distance. lambda_w = 1 is Bayes' rule for Laplace noise and one style (W).
    """
    found = (settings.lambda_w, settings.lambda_c, settings.lambda_n, settings.lambda_start)
    if settings.lambda_unit == ABSOLUTE:
        return Weights(*found)
    styles = need(common.styles, "styles")
    n_values = need(common.generator, "generator").n_channels * math.prod(common.forward.size_out)
    share = (settings.noise_scale or 0.0) / n_values
    prior, cross, norm, start = (share * value for value in found)
    scale = styles.distance ** (2 if settings.cross == SQUARES else 1)
    return Weights(prior, cross / scale, norm, start * len(styles.mean) / 2)


def start_penalty(whitening: Whitening, w: Tensor, start: Tensor) -> Tensor:
    """Return the mean squared whitened distance of styles from the start, (n,).

    Arguments:
        w, start: Styles (n, L or 1, d).
    """
    apart = whitening.to_whitened(w) - whitening.to_whitened(start)
    return apart.square().mean(dim=(1, 2))


@dataclass(frozen=True)
class Equation5:
    """The objective, for what :func:`given_of` returns of a batch, and its ``start``.

    Its variables are styles (n, L or 1, d), or their whitened coordinates. Where an image has one
    of them, it stands for all its styles.
    """

    generator: Generator
    flow: StyleFlow | None
    forward: Forward
    settings: Settings
    whitening: Whitening | None
    weights: Weights

    def variables(self, w: Tensor) -> Tensor:
        """Return the variables of styles w, (n, L or 1, d)."""
        if self.settings.coordinates == PLAIN or self.whitening is None:
            return w
        return self.whitening.to_whitened(w)

    def styles(self, x: Tensor) -> Tensor:
        """Return the styles w+ (n, L, d) of variables."""
        if self.settings.coordinates == WHITENED and self.whitening is not None:
            x = self.whitening.to_styles(x)
        return x.expand(-1, self.generator.num_ws, -1)

    def images(self, w: Tensor, given: Given, precision: Precision) -> Tensor:
        """Return the images of w, (n, L, d), in [0, 1] units."""
        noise = given["noise"]
        return to_unit(self.generator.synthesis(w, noise=noise, precision=precision))

    def misfit(self, y: Tensor, low: Tensor, given: Given) -> Tensor:
        """Return the term of noise that is not Laplace's, (n,)."""
        if self.settings.likelihood == POISSON_GAUSSIAN:
            return poisson_gaussian_misfit(y, low, given["camera"])
        return gaussian_misfit(y, low, self.settings.noise_sd or 0.0)

    def __call__(self, variables: Variables, given: Given, precision: Precision) -> Losses:
        """Return the total and its terms, each (n,)."""
        (x,), (y,), flow, settings = variables, given["y"], self.flow, self.settings
        w, weights = self.styles(x), self.weights
        low = self.forward(self.images(w, given, precision))
        terms = {"loss_fidelity": fidelity(y, low)}
        total = terms["loss_fidelity"]
        if settings.likelihood != LAPLACE:
            total = terms["loss_likelihood"] = self.misfit(y, low, given)
        # Terms of weight 0 are evaluated only at the end, where no gradient is needed.
        if flow is not None and (settings.lambda_w or not w.requires_grad):
            terms["log_prior"] = prior(flow, w)
        if settings.lambda_w:
            total = total - weights.prior * terms["log_prior"]
        if settings.lambda_c or not w.requires_grad:
            terms["loss_cross"] = CROSS[settings.cross](w)
        if settings.lambda_c:
            total = total + weights.cross * terms["loss_cross"]
        if settings.lambda_n and flow is not None:
            terms["loss_norm"] = norm_deviation(flow, w)
            total = total + weights.norm * terms["loss_norm"]
        if settings.lambda_start and self.whitening is not None:
            terms["loss_start"] = start_penalty(self.whitening, w, given["start"][0])
            total = total + weights.start * terms["loss_start"]
        return {"loss_total": total, **terms}
