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

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as functional
from torch import Tensor

from rls.networks.perceptual import VGG_CHANNELS, load_torchscript
from rls.runtime.command import option
from rls.runtime.errors import InputError
from rls.search.descent import Losses, Objective, Variables, loss_columns, search
from rls.search.forward import interpolate_noaa
from rls.search.geometry import cosine_distance, mean_square, style_radius
from rls.search.objective import reported_terms
from rls.search.problem import BatchProgress, Problem, Reconstruction, need, noise_maps, to_unit
from rls.search.schedule import SCHEDULES
from rls.stylegan2.networks import Precision

WHITE = 255.0
VGG_SIZE = 256
# The published lambda_c: 0.1, and 1 for factors above 16.
LAMBDA_C, LAMBDA_C_LARGE, LARGE_FACTOR = 0.1, 1.0, 16
Synthesise = Callable[[Tensor, Precision], Tensor]


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
    noise = noise_maps(problem)

    def synthesise(w: Tensor, precision: Precision) -> Tensor:
        return to_unit(generator.synthesis(w, noise=noise, precision=precision))

    found = search(
        (styles.mean.expand(len(problem.y), generator.num_ws, -1),),
        _objective(problem, settings, synthesise),
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        schedule=settings.schedule,
        precision=problem.precision,
        progress=progress,
    )
    (w,) = found.variables
    with torch.no_grad():
        images = synthesise(w, "float32")
    columns = loss_columns(found.losses, "log_prior", "loss_perceptual")
    return Reconstruction(images, w, {**columns, "search_status": found.status})


def _objective(problem: Problem, settings: Settings, synthesise: Synthesise) -> Objective:
    styles, operator = need(problem.styles, "styles"), problem.forward
    if settings.forward_op == "interpolate_noaa":
        operator = interpolate_noaa(operator.size_in, problem.factor).to(problem.device)
    radius = style_radius(styles.w, styles.mean)
    y = problem.y * WHITE
    vgg = target = None
    if settings.lambda_perceptual:
        vgg = _load(settings.vgg_path or "", settings.vgg_sha256 or "", problem.device)
        with torch.no_grad():
            target = vgg_features(vgg, y)
    lambda_c = settings.lambda_c
    if lambda_c is None:
        lambda_c = LAMBDA_C_LARGE if problem.factor > LARGE_FACTOR else LAMBDA_C

    def objective(variables: Variables, precision: Precision) -> Losses:
        (w,) = variables
        images = synthesise(w, precision)
        low = operator(images) * WHITE
        terms = {
            "loss_pixel": settings.lambda_pixel * mean_square(y, low),
            "loss_w": settings.lambda_w * mean_square(w / radius, styles.mean / radius),
            "loss_cosine": lambda_c * cosine_distance(w),
        }
        if vgg is not None and target is not None:
            perceptual = mean_square(target, vgg_features(vgg, low))
            terms["loss_perceptual"] = settings.lambda_perceptual * perceptual
        total = torch.stack(list(terms.values())).sum(dim=0)
        if not w.requires_grad:  # Only the final evaluation needs no gradient.
            terms |= reported_terms(problem, w, problem.forward(images))
        return {"loss_total": total, **terms}

    return objective


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


@lru_cache(maxsize=1)  # All batches of a run share the module.
def _load(path: str, sha256: str, device: torch.device) -> torch.jit.ScriptModule:
    module = load_torchscript(path, sha256, device)
    for weight in module.parameters():
        weight.requires_grad = False
    return module
