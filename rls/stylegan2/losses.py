"""Losses of the adversarial training: non-saturating logistic and R1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))
