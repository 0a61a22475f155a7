"""Losses of the adversarial training: non-saturating logistic, R1 and path length."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rls.stylegan2.convolution import only_image_gradients

PATH_LENGTH_DECAY = 0.01  # weight of a batch in the running mean (StyleGAN2, appendix B)


def generator_loss(fake_logits: Tensor) -> Tensor:
    """mean softplus(-D(G(z))): the non-saturating logistic loss (Goodfellow et al. 2014)."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """mean softplus(D(G(z))) + mean softplus(-D(x)): the logistic loss (Goodfellow et al. 2014)."""
    return F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()


def r1_penalty(real_logits: Tensor, real_images: Tensor) -> Tensor:
    """|grad_x D(x)|^2 per image: (n,), summed over channels and pixels, differentiable.

    The loss is gamma/2 times its mean (Mescheder et al. 2018, Eq. 9); applied every k steps it is
    multiplied by k (lazy regularisation, StyleGAN2 section 3.1). real_images must require
    gradients.
    """
    with only_image_gradients():
        (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor, *, create_graph: bool) -> Tensor:
    """|J^T y| per image: (n,), the root of the mean over styles of the sum over w_dim.

    images (n, c, y, x) made of ws (n, num_ws, w_dim), which must require gradients; noise like
    images, standard normal: y is noise / sqrt(height * width), so that the length does not depend
    on the resolution (StyleGAN2, section 3.2 and its Eq. 4).
    """
    y = noise / math.sqrt(images.shape[2] * images.shape[3])
    with only_image_gradients():
        (gradient,) = torch.autograd.grad((images * y).sum(), ws, create_graph=create_graph)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(
    lengths: Tensor, mean: Tensor, average: Callable[[Tensor], Tensor] = lambda x: x
) -> tuple[Tensor, Tensor]:
    """(length - a)^2 per image (n,) and the new running mean a, which is still in the graph.

    mean (): the running mean before this batch. `average` makes one mean of those of several
    processes, differentiably. The loss is the weight times the mean of the penalties (StyleGAN2,
    Eq. 4); applied every k steps it is multiplied by k.
    """
    new = mean.lerp(average(lengths.mean()), PATH_LENGTH_DECAY)
    return (lengths - new).square(), new
