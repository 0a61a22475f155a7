"""The objective of a search: Eq. 5 with the weights of a method's block, and its settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from rls.runtime.command import option
from rls.runtime.errors import InputError
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
from rls.search.problem import Common, Problem, need, noise_maps, to_unit
from rls.search.settings import FORWARDS, SHARED
from rls.search.start_settings import (
    ABSOLUTE,
    FLOW,
    NORMAL,
    PLAIN,
    WHITENED,
    StartSettings,
)
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


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings(StartSettings):
    """Weights of the objective, D and the likelihood of y."""

    lambda_w: float = option(
        "Weight of P_w, the mean log p_F of the styles (nats); 0 leaves it out.", least=0
    )
    lambda_c: float = option("Weight of the cross term of the styles; 0 leaves it out.", least=0)
    lambda_n: float = option(
        "Weight of the squared deviation of the norm of F(w) from sqrt d (released code); "
        "0 leaves it out.",
        least=0,
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
        "Sd of the noise on the scale of [0, 1]; for gaussian.", default=None, above=0
    )
    gain: float | None = option(
        "Counts per electron of the camera; for poisson_gaussian.", default=None, above=0
    )
    read_noise: float | None = option(
        "Sd of the camera's read noise in counts; for poisson_gaussian.", default=None, above=0
    )
    camera_offset: float | None = option(
        "Counts of the camera without light, which have no shot noise; for poisson_gaussian. "
        "If not given: 0.",
        default=None,
        least=0,
    )

    def check_likelihood(self) -> None:
        """Refuse settings of the noise that the likelihood lacks or does not use.

        Raises:
            InputError: The sentence names the setting.
        """
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


def given_of(problem: Problem, settings: ObjectiveSettings) -> Given:
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


def objective_of(common: Common, settings: ObjectiveSettings) -> Equation5:
    """Return Eq. 5 with all its terms, a function of w+.

    Raises:
        InputError: The generator is missing, or the flow where lambda_w or lambda_n is not 0.
    """
    generator, flow = need(common.generator, "generator"), common.flow
    if settings.lambda_n or (settings.lambda_w and settings.prior == FLOW):
        flow = need(flow, "flow")
    walks = settings.coordinates == WHITENED or settings.lambda_start or settings.prior == NORMAL
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


def weights_of(common: Common, settings: ObjectiveSettings) -> Weights:
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


def normal_prior(whitening: Whitening, w: Tensor) -> Tensor:
    """Return the mean over styles of log N(u; 0, I) of their whitened coordinates, nats, (n,).

    It is a density of u, not of w, so that it has no step where the activation has its kink.
    """
    u = whitening.to_whitened(w)
    constant = 0.5 * u.shape[2] * math.log(2 * math.pi)
    return -0.5 * u.square().sum(dim=2).mean(dim=1) - constant


@dataclass(frozen=True)
class Equation5:
    """The objective, for what :func:`given_of` returns of a batch, and its ``start``.

    Its variables are styles (n, L or 1, d), or their whitened coordinates. Where an image has one
    of them, it stands for all its styles.
    """

    generator: Generator
    flow: StyleFlow | None
    forward: Forward
    settings: ObjectiveSettings
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
        normal, last = settings.prior == NORMAL, not w.requires_grad
        if flow is not None and (settings.lambda_w and not normal or last):
            terms["log_prior"] = prior(flow, w)
        if normal and self.whitening is not None and (settings.lambda_w or last):
            terms["log_normal"] = normal_prior(self.whitening, w)
        if settings.lambda_w:
            name = "log_normal" if normal else "log_prior"
            total = total - weights.prior * terms[name]
        if settings.lambda_c or last:
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
