"""Robust unsupervised restoration (Poirier-Ginter & Lalonde, CVPR 2023): three phases, no prior.

The search varies w in W, then w+ in W+, then w++ in W++ (:mod:`rls.search.filterwise`). Each phase
starts from the best iterate of the phase before, the first at the mean style. Every latent vector
moves a fixed length down its own gradient (normalised gradient descent at a constant rate); small
steps in ever larger spaces take the place of a regulariser.

The loss is mean |y - D(G(w))|. The published loss is a multiscale LPIPS (VGG16) plus 0.1 times the
L1 distance at the last scale, and has no LPIPS at scales of 16 px or less. For low-resolution
images of up to 16 px it is therefore the L1 distance alone, whose factor has no effect on a
normalised gradient.

The published search continues each phase from the last iterate and returns the last one. This one
takes each image's best iterate, as every method here does, and so returns the best of all phases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from rls.io.names import OK
from rls.runtime.command import option
from rls.runtime.errors import InputError
from rls.search.descent import exactly, loss_columns, search, worst
from rls.search.filterwise import filter_counts, mean_styles, split, synthesise
from rls.search.forward import Forward
from rls.search.objective import fidelity
from rls.search.optimisers import NormalisedGradient, Variables
from rls.search.problem import BatchProgress, Problem, Reconstruction, need, noise_maps, to_unit
from rls.search.start_settings import ENCODER, MEAN
from rls.search.starts import start_of
from rls.search.steps import Given, Losses
from rls.stylegan2.networks import Generator, Precision

LARGEST_WITHOUT_LPIPS = 16  # px; above, the published loss compares features too.
ImagesOf = Callable[[Generator, Variables, Sequence[Tensor], Precision], Tensor]


@dataclass(frozen=True)
class Settings:
    """Course of the three phases."""

    steps: int = option("Iterations of each phase.", least=1)
    learning_rate_w: float = option("Length of a step in W; 0 leaves the phase out.", least=0)
    learning_rate_w_plus: float = option(
        "Length of a step of each style in W+; 0 leaves the phase out.", least=0
    )
    learning_rate_w_plus_plus: float = option(
        "Length of a step of each filter's latent in W++; 0 leaves the phase out.", least=0
    )
    above_16_px: str = option(
        "For low-resolution images above 16 px, whose published loss needs LPIPS: stop, or l1 "
        "(the L1 distance alone, as for smaller ones).",
        choices=("stop", "l1"),
    )
    start: str = option(
        "mean: the mean style (published); encoder: the encoder's style for the image.",
        choices=(MEAN, ENCODER),
        default=MEAN,
    )


@dataclass(frozen=True)
class Phase:
    """One latent space: its variables, and the images that they represent.

    Attributes:
        widen: Returns the variables of the same images in this space from those of the space
            before.
        images: Returns the images of variables in [0, 1] units.
        styles: Returns the styles (n, L, d) that represent variables in the file of latents.
    """

    name: str
    learning_rate: float
    widen: Callable[[Generator, Variables], Variables]
    images: ImagesOf
    styles: Callable[[Generator, Variables], Tensor]


@dataclass(frozen=True)
class Fidelity:
    """The objective of a phase, for the images y and the noise maps in ``given``."""

    generator: Generator
    forward: Forward
    images: ImagesOf

    def __call__(self, variables: Variables, given: Given, precision: Precision) -> Losses:
        """Return mean |y - D(x)|, (n,), under its two names."""
        images = self.images(self.generator, variables, given["noise"], precision)
        loss = fidelity(given["y"][0], self.forward(images))
        return {"loss_total": loss, "loss_fidelity": loss}


def super_resolve(problem: Problem, settings: Settings, progress: BatchProgress) -> Reconstruction:
    """Return G(w++^) for a batch.

    The latents (n, L, d) are, after W++, the mean over each style's filters, from which the image
    cannot be made again; where that phase is left out they are the styles themselves. Columns:
    ``loss_total`` and ``loss_fidelity`` (the same, in float32), ``loss_w``, ``loss_w_plus`` and
    ``loss_w_plus_plus`` at the end of each phase, ``search_status`` (the worst of the phases).

    Raises:
        InputError: Generator or styles are missing; a rate is negative or none is positive; images
            are above 16 px with ``above_16_px: stop``.
    """
    generator = need(problem.generator, "generator")
    phases = phases_of(settings)
    given = {"y": (problem.y,), "noise": tuple(noise_maps(problem))}
    _refuse(problem, settings, [phase.learning_rate for phase in phases])
    used = [phase for phase in phases if phase.learning_rate > 0]
    x: Variables = (start_of(problem, settings.start),)
    status = np.full(len(problem.y), OK, dtype=object)
    losses: Losses = {}
    last = phases[0]
    for phase in phases[: phases.index(used[-1]) + 1]:
        x, last = phase.widen(generator, x), phase
        if phase not in used:
            continue
        before = used.index(phase) * settings.steps
        found = search(
            x,
            Fidelity(generator, problem.forward, phase.images),
            given=given,
            steps=settings.steps,
            learning_rate=phase.learning_rate,
            schedule="constant",
            precision=problem.precision,
            progress=progress.part(before, len(used) * settings.steps),
            searches=problem.searches,
            optimiser=NormalisedGradient,
        )
        x = found.variables
        losses |= {f"loss_{phase.name}": found.losses["loss_total"], **found.losses}
        status = worst(status, found.status)
    with exactly():
        images = last.images(generator, x, given["noise"], "float32")
    columns = {**loss_columns(losses), "search_status": status}
    return Reconstruction(images, last.styles(generator, x), columns)


def phases_of(settings: Settings) -> list[Phase]:
    """Return the phases in W, W+ and W++."""
    return [
        Phase(
            "w",
            settings.learning_rate_w,
            widen=lambda generator, x: x,
            images=_images_of_w,
            styles=lambda generator, x: _in_every_style(generator, x)[0],
        ),
        Phase(
            "w_plus",
            settings.learning_rate_w_plus,
            widen=_in_every_style,
            images=_images_of_styles,
            styles=lambda generator, x: x[0],
        ),
        Phase(
            "w_plus_plus",
            settings.learning_rate_w_plus_plus,
            widen=lambda generator, x: split(x[0], filter_counts(generator.synthesis)),
            images=_images_of_filters,
            styles=lambda generator, x: mean_styles(x),
        ),
    ]


def _in_every_style(generator: Generator, x: Variables) -> Variables:
    return (x[0].unsqueeze(1).expand(-1, generator.num_ws, -1),)


def _images_of_w(
    generator: Generator, x: Variables, noise: Sequence[Tensor], precision: Precision
) -> Tensor:
    return _images_of_styles(generator, _in_every_style(generator, x), noise, precision)


def _images_of_styles(
    generator: Generator, x: Variables, noise: Sequence[Tensor], precision: Precision
) -> Tensor:
    return to_unit(generator.synthesis(x[0], noise=noise, precision=precision))


def _images_of_filters(
    generator: Generator, x: Variables, noise: Sequence[Tensor], precision: Precision
) -> Tensor:
    return to_unit(synthesise(generator.synthesis, x, noise, precision))


def _refuse(problem: Problem, settings: Settings, rates: Sequence[float]) -> None:
    if min(rates) < 0 or max(rates) == 0:
        raise InputError(
            f"Found the learning rates {', '.join(map(str, rates))}, expected numbers of 0 or more "
            f"and one above 0. Correct learning_rate_w, _w_plus and _w_plus_plus."
        )
    side = max(problem.y.shape[2:])
    if side > LARGEST_WITHOUT_LPIPS and settings.above_16_px == "stop":
        raise InputError(
            f"Found low-resolution images of {side} px, expected {LARGEST_WITHOUT_LPIPS} px at "
            f"most: above, the published loss needs LPIPS, which this search does not have. Set "
            f"above_16_px: l1 to compare pixels alone."
        )
