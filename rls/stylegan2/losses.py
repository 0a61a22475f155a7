"""Losses of the adversarial training: non-saturating logistic loss, R1 and path length."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rls.stylegan2.convolution import only_image_gradients

PATH_LENGTH_DECAY = 0.01  # weight of a batch in the running mean (StyleGAN2, appendix B)


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Return the mean of softplus(-D(G(z))), the non-saturating loss (Goodfellow et al. 2014)."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Return the logistic loss, mean softplus(D(G(z))) + mean softplus(-D(x)).

    Source: Goodfellow et al. 2014.
    """
    return F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()


def r1_penalty(real_logits: Tensor, real_images: Tensor) -> Tensor:
    """Return |grad_x D(x)|^2 per image (n,), summed over channels and pixels; differentiable.

    The loss is gamma/2 times its mean (Mescheder et al. 2018, Eq. 9). Where it is applied only
    every k steps, it is multiplied by k (lazy regularisation, StyleGAN2, section 3.1).

    Arguments:
        real_logits: D(x) (n, 1).
        real_images: x (n, c, y, x), which must require gradients.
    """
    with only_image_gradients():
        (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor, *, create_graph: bool) -> Tensor:
    """Return |J^T y| per image (n,): the root of the mean over styles of the sum over w_dim.

    Here y is noise / sqrt(height * width), so that the length does not depend on the resolution
    (StyleGAN2, section 3.2 and Eq. 4).

    Arguments:
        images: (n, c, y, x), made from ``ws``.
        ws: (n, num_ws, w_dim), which must require gradients.
        noise: Standard normal numbers in the shape of ``images``.
        create_graph: Whether the lengths can be differentiated.
    """
    y = noise / math.sqrt(images.shape[2] * images.shape[3])
    with only_image_gradients():
        (gradient,) = torch.autograd.grad((images * y).sum(), ws, create_graph=create_graph)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(
    lengths: Tensor, mean: Tensor, average: Callable[[Tensor], Tensor] = lambda x: x
) -> tuple[Tensor, Tensor]:
    """Return (length - a)^2 per image (n,) and the new running mean a, still in the graph.

    The loss is the weight times the mean of the penalties (StyleGAN2, Eq. 4). Where it is applied
    only every k steps, it is multiplied by k.

    Arguments:
        lengths: Path lengths (n,).
        mean: The running mean () before this batch.
        average: Differentiable function that averages a value over several processes.
    """
    new = mean.lerp(average(lengths.mean()), PATH_LENGTH_DECAY)
    return (lengths - new).square(), new
