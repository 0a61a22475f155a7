"""PULSE (Menon et al. 2020, CVPR), for any StyleGAN2: a search on spheres.

PULSE assumes that LeakyReLU(5)(w) is normal with independent dimensions, so that a style is a
standard normal latent and lies near a sphere. Every style of an image starts at a random point and
keeps the radius of that point; the first noise maps are searched in the same way.

    100 max(mean (y - D(x))^2, eps) + 0.05 GEOCROSS

The settings of the configuration are those of the published program, except ``geocross_on``: the
program takes the angles of w, the authors of RLS those of the latents. The other differences:
losses, learning rate and best iterate are per image, not per batch; searched noise maps start from
the problem's; an image is always returned, with ``pulse_within_eps`` false where the program
reports that it found none; D is the workflow's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rls.runtime.command import option
from rls.runtime.errors import InputError
from rls.search.descent import exactly, loss_columns, search
from rls.search.forward import Forward
from rls.search.geometry import (
    geocross,
    leaky_moments,
    mean_square,
    onto_spheres,
    radii,
    to_latents,
    to_styles,
)
from rls.search.objective import reported_terms
from rls.search.optimisers import Variables
from rls.search.problem import (
    BatchProgress,
    Common,
    Draws,
    Problem,
    Reconstruction,
    need,
    noise_maps,
    to_unit,
)
from rls.search.schedule import SCHEDULES
from rls.search.start_settings import ENCODER, RANDOM
from rls.search.starts import start_of
from rls.search.steps import Given, Losses
from rls.stylegan2.networks import Generator, Precision

if TYPE_CHECKING:
    from rls.prior.flows import StyleFlow

# The check of a compiled generator does not cover derivatives by noise maps.
NOT_COMPILED = "noise maps are searched"


@dataclass(frozen=True)
class Settings:
    """Weights of the objective, and course of the search."""

    steps: int = option("Iterations of Adam.", least=1)
    learning_rate: float = option("Peak learning rate.", above=0)
    schedule: str = option("Course of the learning rate.", choices=tuple(SCHEDULES))
    lambda_l2: float = option("Weight of the mean squared error.", least=0)
    lambda_geocross: float = option(
        "Weight of GEOCROSS, the squared angles between styles.", least=0
    )
    geocross_on: str = option(
        "Vectors whose angles count: sphere (the paper, and the comparison in the article) or w "
        "(PULSE's program).",
        choices=("sphere", "w"),
    )
    epsilon: float = option("Mean squared error below which lowering it gains nothing.", least=0)
    trainable_noise_layers: int = option(
        "Noise maps that are searched too, from the coarsest on.", least=0
    )
    zero_last_noise: bool = option("Whether the finest noise map is zero.")
    tile_latent: bool = option("Whether all styles of an image are equal (W in place of W+).")
    start: str = option(
        "random: a random latent (published); encoder: the encoder's style for the image, moved "
        "onto the sphere of radius sqrt d.",
        choices=(RANDOM, ENCODER),
        default=RANDOM,
    )

    def __post_init__(self) -> None:
        if self.trainable_noise_layers < 0:
            raise InputError(
                f"Found trainable_noise_layers {self.trainable_noise_layers}, expected 0 or more. "
                f"Correct the method's block."
            )


def super_resolve(problem: Problem, settings: Settings, progress: BatchProgress) -> Reconstruction:
    """Return the images of a batch, each from its own start.

    The searched noise maps start from those of the problem and belong to the image, so the latents
    alone do not give the image again.

    Columns, at the returned iterate in float32: ``loss_total``, ``loss_l2`` (before it is held
    above epsilon), ``loss_geocross``, ``loss_fidelity`` (mean |y - D(x)|), ``log_prior`` (of w, in
    nats, which plays no part; NaN without a flow), ``pulse_within_eps`` (whether ``loss_l2`` is
    epsilon or less), and ``search_status``.

    Raises:
        InputError: Generator or styles are missing.
    """
    objective, styles = objective_of(problem, settings), need(problem.styles, "styles")
    moments = leaky_moments(styles.w)
    searched, fixed = _split_noise(problem, settings)
    latents = Draws(problem.seed, problem.image_ids, "pulse start").next(
        (1 if settings.tile_latent else objective.generator.num_ws, len(moments[0])),
        problem.device,
    )
    if settings.start == ENCODER:
        towards = to_latents(start_of(problem, ENCODER), *moments)[:, None].expand_as(latents)
        # The length of a random latent of d dimensions is about sqrt d.
        length = towards.new_tensor(towards.shape[2] ** 0.5)
        (latents,) = onto_spheres((towards,), {"radii": (length,)})
    start = (latents, *searched)
    given = {
        "y": (problem.y,),
        "moments": moments,
        "fixed noise": tuple(fixed),
        "radii": radii(start),
    }
    found = search(
        start,
        objective,
        given=given,
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        schedule=settings.schedule,
        precision=problem.precision,
        progress=progress,
        searches=problem.searches,
        after_step=onto_spheres,
    )
    with exactly():
        w, images = objective.images(found.variables, given, "float32")
    columns = loss_columns(found.losses, "log_prior")
    columns["pulse_within_eps"] = columns["loss_l2"] <= settings.epsilon
    return Reconstruction(images, w, {**columns, "search_status": found.status})


def objective_of(common: Common, settings: Settings) -> Pulse:
    """Return the objective of PULSE.

    Raises:
        InputError: The generator is missing.
    """
    return Pulse(need(common.generator, "generator"), common.flow, common.forward, settings)


@dataclass(frozen=True)
class Pulse:
    """The objective, a function of the latents and the searched noise maps.

    Of a batch, ``given`` holds the images y, the mean and the sd of the latents of styles, the
    noise maps that are not searched, and the radii of the spheres.
    """

    generator: Generator
    flow: StyleFlow | None
    forward: Forward
    settings: Settings

    def images(
        self, variables: Variables, given: Given, precision: Precision
    ) -> tuple[Tensor, Tensor]:
        """Return the styles (n, L, d) of variables and their images in [0, 1] units."""
        latent, *maps = variables
        w = to_styles(latent, *given["moments"]).expand(-1, self.generator.num_ws, -1)
        noise = (*maps, *given["fixed noise"])
        return w, to_unit(self.generator.synthesis(w, noise=noise, precision=precision))

    def __call__(self, variables: Variables, given: Given, precision: Precision) -> Losses:
        """Return the total and its terms, each (n,)."""
        (y,), settings = given["y"], self.settings
        w, images = self.images(variables, given, precision)
        low = self.forward(images)
        l2 = mean_square(y, low)
        cross = geocross(variables[0] if settings.geocross_on == "sphere" else w)
        total = settings.lambda_l2 * l2.clamp(min=settings.epsilon)
        total = total + settings.lambda_geocross * cross
        losses = {"loss_total": total, "loss_l2": l2, "loss_geocross": cross}
        # Only the final evaluation needs no gradient.
        return losses if w.requires_grad else losses | reported_terms(self.flow, w, y, low)


def _split_noise(problem: Problem, settings: Settings) -> tuple[list[Tensor], list[Tensor]]:
    """Return the noise maps that are searched, each (n, 1, y, x), and the others."""
    maps = noise_maps(problem)
    if settings.zero_last_noise:
        maps[-1] = torch.zeros_like(maps[-1])  # It lies on no sphere and is never searched.
    n_searched = min(settings.trainable_noise_layers, len(maps) - settings.zero_last_noise)
    searched = [m.expand(len(problem.y), -1, -1, -1) for m in maps[:n_searched]]
    return searched, maps[n_searched:]
