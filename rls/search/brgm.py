"""BRGM, Bayesian reconstruction (Marinescu et al. 2020, arXiv 2012.04567), for any StyleGAN2.

The search finds the maximum a posteriori w+ under a normal prior on w and on the angles between
styles. With images in 0 to 255 it minimises

    0.001 mean (y - D(x))^2 + 1e7 mean (V(y) - V(D(x)))^2
    + 100 mean ((w - w_mean) / s)^2 + lambda_c sum over pairs (1 - cos(w_i, w_j))

V are the VGG16 features of LPIPS; both low-resolution images are enlarged to 256 px for them. They
come from a TorchScript file given by path and SHA-256; with ``lambda_perceptual`` 0 no file is
needed. VGG16 expects colour images: three channels are treated as colour, as published. With any
other number, each channel is passed as a grey image and the terms of the channels are averaged.

The published program returns the last iterate. This one returns the iterate of least total loss, as
every method here does. The published bicubic is not antialiased, unlike the images of the article's
comparison: ``forward_op: interpolate_noaa`` searches with it, ``shared`` with the workflow's D.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as functional
from torch import Tensor

from rls.networks.perceptual import VGG_CHANNELS, load_torchscript
from rls.runtime.command import option
from rls.runtime.errors import InputError
from rls.search.descent import exactly, loss_columns, search
from rls.search.forward import Forward, interpolate_noaa
from rls.search.geometry import cosine_distance, mean_square, style_radius
from rls.search.objective import reported_terms
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

WHITE = 255.0
VGG_SIZE = 256
# The published lambda_c: 0.1, and 1 for factors above 16.
LAMBDA_C, LAMBDA_C_LARGE, LARGE_FACTOR = 0.1, 1.0, 16


@dataclass(frozen=True)
class Settings:
    """Weights of the objective, and course of the search."""

    steps: int = option("Iterations of Adam.")
    learning_rate: float = option("Peak learning rate.")
    schedule: str = option("Course of the learning rate.", choices=tuple(SCHEDULES))
    lambda_pixel: float = option("Weight of the mean squared error, in 0 to 255.")
    lambda_perceptual: float = option(
        "Weight of the mean squared difference of VGG16's features; 0 leaves it out."
    )
    lambda_w: float = option("Weight of the normal prior of w.")
    lambda_c: float | None = option(
        "Weight of the angles between styles; null: 0.1, and 1 above 16x."
    )
    forward_op: str = option(
        "shared: the workflow's D; interpolate_noaa: bicubic without antialiasing, as published.",
        choices=("shared", "interpolate_noaa"),
    )
    vgg_path: str | None = option(
        "TorchScript file of VGG16 for LPIPS (StyleGAN2-ADA's vgg16.pt), or null."
    )
    vgg_sha256: str | None = option("SHA-256 of that file.")

    def __post_init__(self) -> None:
        if self.lambda_perceptual and not (self.vgg_path and self.vgg_sha256):
            raise InputError(
                f"Found lambda_perceptual {self.lambda_perceptual:g} and no vgg_path with its "
                f"vgg_sha256, expected the file of VGG16. Give both, or run the row "
                f"brgm_no_perceptual, whose lambda_perceptual is 0."
            )


def super_resolve(problem: Problem, settings: Settings, progress: BatchProgress) -> Reconstruction:
    """Return the images of a batch; the search starts at the mean style in every layer.

    The features at 256 px need much memory: about 0.2 GB an image (calculated), or as much for each
    channel if there are not three. Lower super_resolve.batch_size if memory runs out.

    Columns, at the returned iterate in float32: ``loss_total`` and its weighted terms
    ``loss_pixel``, ``loss_perceptual``, ``loss_w``, ``loss_cosine``; ``loss_fidelity`` (mean
    |y - D(x)| by the shared D), ``log_prior`` (nats, which plays no part; NaN without a flow) and
    ``search_status``.

    Raises:
        InputError: Generator or styles are missing, or the file of VGG16 is not the one named.
    """
    generator, styles = need(problem.generator, "generator"), need(problem.styles, "styles")
    objective, given = objective_of(problem, settings), given_of(problem, settings)
    found = search(
        (styles.mean.expand(len(problem.y), generator.num_ws, -1),),
        objective,
        given=given,
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        schedule=settings.schedule,
        precision=problem.precision,
        progress=progress,
        searches=problem.searches,
    )
    (w,) = found.variables
    with exactly():
        images = objective.images(w, given, "float32")
    columns = loss_columns(found.losses, "log_prior", "loss_perceptual")
    return Reconstruction(images, w, {**columns, "search_status": found.status})


def given_of(problem: Problem, settings: Settings) -> Given:
    """Return what BRGM takes from a batch: images, features, noise maps; and the prior's scale."""
    styles = need(problem.styles, "styles")
    radius = style_radius(styles.w, styles.mean)
    given = {
        "y": (problem.y,),
        "noise": tuple(noise_maps(problem)),
        "prior": (styles.mean / radius, radius),
    }
    if settings.lambda_perceptual:
        vgg = _load(settings.vgg_path or "", settings.vgg_sha256 or "", problem.device)
        with torch.no_grad():
            given["features"] = (vgg_features(vgg, problem.y * WHITE),)
    return given


def objective_of(common: Common, settings: Settings) -> Brgm:
    """Return the objective of BRGM, a function of w+.

    Raises:
        InputError: The generator is missing, or the file of VGG16 is not the one named.
    """
    operator, vgg, lambda_c = common.forward, None, settings.lambda_c
    if settings.forward_op == "interpolate_noaa":
        operator = _published(operator.size_in, common.factor, common.device)
    if settings.lambda_perceptual:
        vgg = _load(settings.vgg_path or "", settings.vgg_sha256 or "", common.device)
    if lambda_c is None:
        lambda_c = LAMBDA_C_LARGE if common.factor > LARGE_FACTOR else LAMBDA_C
    generator = need(common.generator, "generator")
    return Brgm(generator, common.flow, common.forward, operator, vgg, lambda_c, settings)


@dataclass(frozen=True)
class Brgm:
    """The objective, for what :func:`given_of` returns of a batch.

    Attributes:
        forward: D, with which the misfit is reported.
        operator: D, or the published bicubic in its place, with which the search compares.
        vgg: None where no features are compared.
    """

    generator: Generator
    flow: StyleFlow | None
    forward: Forward
    operator: Forward
    vgg: torch.jit.ScriptModule | None
    lambda_c: float
    settings: Settings

    @property
    def not_recorded(self) -> str:
        """Return why steps are not recorded, or an empty text."""
        # TorchScript compiles and chooses kernels anew in its first calls, when it sees fit.
        return "VGG16 is a TorchScript module" if self.vgg is not None else ""

    def images(self, w: Tensor, given: Given, precision: Precision) -> Tensor:
        """Return the images of w, (n, L, d), in [0, 1] units."""
        noise = given["noise"]
        return to_unit(self.generator.synthesis(w, noise=noise, precision=precision))

    def __call__(self, variables: Variables, given: Given, precision: Precision) -> Losses:
        """Return the total and its terms, each (n,)."""
        (w,), (y,), (mean, radius) = variables, given["y"], given["prior"]
        settings, images = self.settings, self.images(w, given, precision)
        low = self.operator(images) * WHITE
        terms = {
            "loss_pixel": settings.lambda_pixel * mean_square(y * WHITE, low),
            "loss_w": settings.lambda_w * mean_square(w / radius, mean),
            "loss_cosine": self.lambda_c * cosine_distance(w),
        }
        if self.vgg is not None:
            perceptual = mean_square(given["features"][0], vgg_features(self.vgg, low))
            terms["loss_perceptual"] = settings.lambda_perceptual * perceptual
        total = torch.stack(list(terms.values())).sum(dim=0)
        if not w.requires_grad:  # Only the final evaluation needs no gradient.
            terms |= reported_terms(self.flow, w, y, self.forward(images))
        return {"loss_total": total, **terms}


def vgg_features(module: torch.jit.ScriptModule, images: Tensor) -> Tensor:
    """Return the features (n, k) of images (n, c, y, x) in 0 to 255, resized to 256 px by area.

    Three channels are treated as colour. With any other number every channel is a grey image, and
    the features of the channels are concatenated, so that their mean squared difference is the mean
    over channels.
    """
    n, channels = images.shape[:2]
    if channels != VGG_CHANNELS:
        images = images.flatten(0, 1).unsqueeze(1)
    images = functional.interpolate(images, size=(VGG_SIZE, VGG_SIZE), mode="area")
    images = images.expand(-1, VGG_CHANNELS, -1, -1)
    return module(images, resize_images=False, return_lpips=True).reshape(n, -1)


# All batches of a run share the module and the operator, as a recorded step demands.
@lru_cache(maxsize=1)
def _load(path: str, sha256: str, device: torch.device) -> torch.jit.ScriptModule:
    module = load_torchscript(path, sha256, device)
    for weight in module.parameters():
        weight.requires_grad = False
    return module


@lru_cache(maxsize=1)
def _published(size: tuple[int, int], factor: int, device: torch.device) -> Forward:
    return interpolate_noaa(size, factor).to(device)
