"""BRGM, Bayesian reconstruction (Marinescu et al. 2020, arXiv 2012.04567), for any StyleGAN2.

The search finds the maximum a posteriori w+ under a normal prior on w and on the angles between
styles. With images in 0 to 255 it minimises

    0.001 mean (y - D(x))^2 + 1e7 mean (V(y) - V(D(x)))^2
    + 100 mean ((w - w_mean) / s)^2 + lambda_c sum over pairs (1 - cos(w_i, w_j))

V are the VGG16 features of LPIPS, whose squared Euclidean distance is LPIPS; both low-resolution
images are enlarged to 256 px for them. Their weights come from a file given by path and SHA-256
(section ``weights``); with ``lambda_perceptual`` 0 no file is needed. VGG16 expects colour images:
three channels are treated as colour, as published. With any other number, each channel is passed as
a grey image and the terms of the channels are averaged.

The published program returns the last iterate. This one returns the iterate of least total loss, as
every method here does. The published bicubic is not antialiased, unlike the images of the article's
comparison: ``forward_op: interpolate_noaa`` searches with it, ``shared`` with the workflow's D.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as functional
from torch import Tensor

from rls.networks.lpips import AnyLpips, Lpips, load_lpips
from rls.networks.perceptual import RGB
from rls.networks.weights_settings import Vgg16Settings, located
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
from rls.search.start_settings import ENCODER, MEAN
from rls.search.starts import start_of
from rls.search.steps import Given, Losses
from rls.stylegan2.networks import Generator, Precision

if TYPE_CHECKING:
    from rls.prior.flows import StyleFlow

WEIGHTED_FEATURES = "lambda_perceptual"  # the setting that weights features of VGG16; 0: none
WHITE = 255.0
VGG_SIZE = 256
# The published lambda_c: 0.1, and 1 for factors above 16.
LAMBDA_C, LAMBDA_C_LARGE, LARGE_FACTOR = 0.1, 1.0, 16


@dataclass(frozen=True)
class Settings(Vgg16Settings):
    """Weights of the objective, and course of the search."""

    steps: int = option("Iterations of Adam.", least=1)
    learning_rate: float = option("Peak learning rate.", above=0)
    schedule: str = option("Course of the learning rate.", choices=tuple(SCHEDULES))
    lambda_pixel: float = option("Weight of the mean squared error, in 0 to 255.", least=0)
    lambda_perceptual: float = option(
        "Weight of the mean squared difference of VGG16's features; 0 leaves it out.", least=0
    )
    lambda_w: float = option("Weight of the normal prior of w.", least=0)
    lambda_c: float | None = option(
        "Weight of the angles between styles; null: 0.1, and 1 above 16x.", least=0
    )
    forward_op: str = option(
        "shared: the workflow's D; interpolate_noaa: bicubic without antialiasing, as published.",
        choices=("shared", "interpolate_noaa"),
    )
    start: str = option(
        "mean: the mean style (published); encoder: the encoder's style for the image.",
        choices=(MEAN, ENCODER),
        default=MEAN,
    )

    def __post_init__(self) -> None:
        found = located("vgg16", self.vgg16_path, self.vgg16_sha256)
        if self.lambda_perceptual and found is None:
            raise InputError(
                f"Found lambda_perceptual {self.lambda_perceptual:g} and no weights of VGG16, "
                "expected vgg16_path with its vgg16_sha256. Run make weights and set vgg16_path "
                "to auto, or run the row brgm_no_perceptual, whose lambda_perceptual is 0."
            )
        path, sha256 = (str(found[0]), found[1]) if found else (None, None)
        object.__setattr__(self, "vgg16_path", path)
        object.__setattr__(self, "vgg16_sha256", sha256)


def super_resolve(problem: Problem, settings: Settings, progress: BatchProgress) -> Reconstruction:
    """Return the images of a batch; the search starts with one style in every layer.

    The features at 256 px need much memory: about 0.2 GB an image (calculated), or as much for each
    channel if there are not three. Lower super_resolve.batch_size if memory runs out.

    Columns, at the returned iterate in float32: ``loss_total`` and its weighted terms
    ``loss_pixel``, ``loss_perceptual``, ``loss_w``, ``loss_cosine``; ``loss_fidelity`` (mean
    |y - D(x)| by the shared D), ``log_prior`` (nats, which plays no part; NaN without a flow) and
    ``search_status``.

    Raises:
        InputError: Generator or styles are missing, or the file of VGG16 is not the one named.
    """
    generator = need(problem.generator, "generator")
    objective, given = objective_of(problem, settings), given_of(problem, settings)
    found = search(
        (start_of(problem, settings.start)[:, None].expand(-1, generator.num_ws, -1),),
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
        vgg = _load(settings.vgg16_path or "", settings.vgg16_sha256 or "", problem.device)
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
        vgg = _load(settings.vgg16_path or "", settings.vgg16_sha256 or "", common.device)
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
    vgg: AnyLpips | None
    lambda_c: float
    settings: Settings

    @property
    def not_recorded(self) -> str:
        """Return why steps are not recorded, or an empty text."""
        # TorchScript compiles and chooses kernels anew in its first calls, when it sees fit.
        plain = self.vgg is None or isinstance(self.vgg, Lpips)
        return "" if plain else "VGG16 is a TorchScript module"

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


def vgg_features(network: AnyLpips, images: Tensor) -> Tensor:
    """Return the features (n, k) of images (n, c, y, x) in 0 to 255, resized to 256 px by area.

    Three channels are treated as colour. With any other number every channel is a grey image, and
    the features of the channels are concatenated, so that their mean squared difference is the mean
    over channels.
    """
    n, channels = images.shape[:2]
    if channels != RGB:
        images = images.flatten(0, 1).unsqueeze(1)
    images = functional.interpolate(images, size=(VGG_SIZE, VGG_SIZE), mode="area")
    images = images.expand(-1, RGB, -1, -1)
    return network.features(images).reshape(n, -1)


# All batches of a run share the module and the operator, as a recorded step demands.
@lru_cache(maxsize=1)
def _load(path: str, sha256: str, device: torch.device) -> AnyLpips:
    return load_lpips("vgg16", Path(path), sha256, device)


@lru_cache(maxsize=1)
def _published(size: tuple[int, int], factor: int, device: torch.device) -> Forward:
    return interpolate_noaa(size, factor).to(device)
