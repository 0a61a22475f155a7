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
    """Return |grad_x D(x)|^2 per image (n,), differentiable; see :func:`squared_norms`.

    Arguments:
        real_logits: D(x) (n, 1).
        real_images: x (n, c, y, x), which must require gradients.
    """
    return squared_norms(image_gradient(real_logits, real_images))


def image_gradient(logits: Tensor, images: Tensor) -> Tensor:
    """Return grad_x D(x) (n, c, y, x), differentiable, for D(x) (n, 1) and x (n, c, y, x)."""
    with only_image_gradients():
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient


def squared_norms(gradient: Tensor) -> Tensor:
    """Return the R1 penalty per image (n,) of grad_x D(x): its squares, summed.

    The loss is gamma/2 times its mean (Mescheder et al. 2018, Eq. 9). Where it is applied only
    every k steps, it is multiplied by k (lazy regularisation, StyleGAN2, section 3.1).
    """
    return gradient.square().sum(dim=(1, 2, 3))


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor, *, create_graph: bool) -> Tensor:
    """Return |J^T y| per image (n,); see :func:`path_gradient` for the arguments."""
    return mean_norms(path_gradient(images, ws, noise, create_graph=create_graph))


def path_gradient(images: Tensor, ws: Tensor, noise: Tensor, *, create_graph: bool) -> Tensor:
    """Return J^T y (n, num_ws, w_dim).

    Arguments:
        images: (n, c, y, x), made from ``ws``.
        ws: (n, num_ws, w_dim), which must require gradients.
        noise: Standard normal numbers in the shape of ``images``, from which y is scaled.
        create_graph: Whether the result can be differentiated.
    """
    with only_image_gradients():
        along = (images * scaled_noise(noise)).sum()
        (gradient,) = torch.autograd.grad(along, ws, create_graph=create_graph)
    return gradient


def scaled_noise(noise: Tensor) -> Tensor:
    """Return y = noise / sqrt(height * width), so that lengths do not depend on the resolution.

    Source: StyleGAN2, section 3.2 and Eq. 4.
    """
    return noise / math.sqrt(noise.shape[2] * noise.shape[3])


def mean_norms(gradient: Tensor) -> Tensor:
    """Return the path lengths (n,): the root of the mean over styles of the sum over w_dim.

    Arguments:
        gradient: J^T y (n, num_ws, w_dim).
    """
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
