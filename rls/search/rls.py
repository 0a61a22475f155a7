"""Regularised latent search: the article's method (Eq. 5), and its ablations by lambdas of 0.

w^ = argmin over w in W+ of mean |y - D(G_s(w))| - lambda_w P_w + lambda_c cross

The first term is that of Laplace noise (section 3.1.3). ``likelihood`` puts that of Gaussian noise
or of a camera in its place (rls/search/objective.py), scaled so that the lambdas keep theirs.
The authors' code adds lambda_n times a penalty on the norm of F(w); the article has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from rls.runtime.command import option
from rls.runtime.errors import InputError
from rls.search.descent import exactly, loss_columns
from rls.search.forward import Forward
from rls.search.lanes import by_lanes, check_goal, search_in_lanes
from rls.search.objective import (
    CROSS,
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
from rls.search.steps import Given, Losses
from rls.stylegan2.networks import Generator, Precision

if TYPE_CHECKING:
    from rls.prior.flows import StyleFlow

LAPLACE, GAUSSIAN, POISSON_GAUSSIAN = "laplace", "gaussian", "poisson_gaussian"
# Likelihood -> the settings that it needs; the others must be left out.
NOISE_SETTINGS = {
    LAPLACE: (),
    GAUSSIAN: ("noise_sd",),
    POISSON_GAUSSIAN: ("gain", "read_noise"),
}
MAY_BE_LEFT_OUT = {POISSON_GAUSSIAN: ("camera_offset",)}  # 0 without it


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
    stop_fidelity: float | None = option(
        "Mean absolute difference of y and D(x), on the scale of [0, 1], at which an image stops "
        "and leaves its place in the batch to the next one; the search is in float32 throughout. "
        "Without it every image takes all steps.",
        default=None,
    )

    def __post_init__(self) -> None:
        check_goal(self.stop_fidelity)
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
    """Return G_s(w^) for a batch; the search starts at the mean style in every layer.

    Columns, at the returned iterate in float32: ``loss_total``, ``loss_fidelity``, ``log_prior``
    (nats, NaN without a flow), ``loss_cross``, ``loss_norm`` (where lambda_n is not 0),
    ``loss_likelihood`` (where it is not laplace; ``loss_fidelity`` is mean |y - D(x)| with any),
    ``search_status``, and ``steps_taken`` (with ``stop_fidelity``).

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
    objective, given = objective_of(problem, settings), given_of(problem, settings)
    lanes = problem.lanes or len(start)
    found = search_in_lanes(
        (start,),
        objective,
        given=given,
        lanes=lanes,
        stop_fidelity=settings.stop_fidelity,
        steps=settings.steps,
        learning_rate=learning_rate_of(problem, settings),
        schedule=settings.schedule,
        precision=problem.precision,
        progress=progress,
        searches=problem.searches,
    )

    def images(variables: Variables, given: Given) -> Losses:
        return {"images": objective.images(variables[0], given, "float32")}

    with exactly():
        shown = by_lanes(images, found.variables, given, lanes)["images"]
    columns = loss_columns(found.losses, "log_prior") | {"search_status": found.status}
    if found.steps_taken is not None:
        columns["steps_taken"] = found.steps_taken
    return Reconstruction(shown, found.variables[0], columns)


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
    forward: Forward
    settings: Settings

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
        (w,), (y,), flow, settings = variables, given["y"], self.flow, self.settings
        low = self.forward(self.images(w, given, precision))
        terms = {"loss_fidelity": fidelity(y, low)}
        total = terms["loss_fidelity"]
        if settings.likelihood != LAPLACE:
            total = terms["loss_likelihood"] = self.misfit(y, low, given)
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
