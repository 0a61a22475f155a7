"""Spheres and angles of latent vectors: what PULSE and BRGM hold fixed or weigh.

PULSE: Menon et al. 2020, "PULSE: Self-Supervised Photo Upsampling via Latent Space Exploration of
Generative Models", CVPR. BRGM: Marinescu et al. 2020, "Bayesian Image Reconstruction using Deep
Generative Models", arXiv 2012.04567. Where a paper is silent its authors' program decides. All
sums that they take over a batch are here per image, shape (n,).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor

from rls.prior.gaussianize import LEAKY_SLOPE
from rls.search.loop import Variables

# Constants of PULSE's program, for 18 styles of 512; kept for any other generator, so that its
# weight of the term keeps its meaning.
GEOCROSS_SCALE, GEOCROSS_DIVISOR, TINY = 512.0, 8.0, 1.0e-9


def mean_square(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared difference over all but the first axis, (n,)."""
    return (a - b).square().flatten(1).mean(dim=1)


def geocross(x: Tensor) -> Tensor:
    """Return PULSE's GEOCROSS of vectors (n, L, d): 64 x mean over all L x L of angle squared.

    The angle is 2 atan2(|x_i - x_j|, |x_i + x_j|), exact for vectors of equal length. A tiny term
    under the roots makes the gradient at tied vectors 0. The angle is taken in float64: in float32
    the last elements of a tensor may be one bit off the others, by torch's scalar form of atan2 in
    place of its vector form, and a result would depend on an image's place in its batch.
    """
    apart = _length(x.unsqueeze(2) - x.unsqueeze(1))
    together = _length(x.unsqueeze(2) + x.unsqueeze(1))
    angle = 2.0 * torch.atan2(apart.double(), together.double()).to(x.dtype)
    return GEOCROSS_SCALE / GEOCROSS_DIVISOR * angle.square().mean(dim=(1, 2))


def onto_spheres(start: Variables) -> Callable[[Variables], Variables]:
    """Return PULSE's projection: every vector back to the length that it has in ``start``.

    The length is over all axes from the third on: of each style in (n, L, d), of each whole map in
    (n, 1, y, x).
    """
    radii = tuple(_radius(x) for x in start)

    def project(variables: Variables) -> Variables:
        return tuple(x / _radius(x) * r for x, r in zip(variables, radii, strict=True))

    return project


def leaky_moments(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and sd per dimension, each (d,), of LeakyReLU(5)(w) for styles w (n, d).

    That undoes the mapping network's last activation; PULSE takes the result for normal.
    """
    v = functional.leaky_relu(w, LEAKY_SLOPE)
    return v.mean(dim=0), v.std(dim=0)


def to_styles(latent: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Return w = LeakyReLU(0.2)(latent sd + mean) of latents (..., d) about N(0, I)."""
    return functional.leaky_relu(latent * sd + mean, 1.0 / LEAKY_SLOPE)


def style_radius(w: Tensor, mean: Tensor) -> Tensor:
    """Return BRGM's scale of w (n, d), a scalar: the root mean squared distance from the mean."""
    return (w - mean).square().sum(dim=1).mean().sqrt()


def cosine_distance(w: Tensor) -> Tensor:
    """Return the sum over all ordered pairs of |1 - cos(w_i, w_j)| of styles (n, L, d).

    BRGM's program reads the first image for every image of a batch; that is not repeated here.
    """
    unit = functional.normalize(w, dim=2)
    return (1.0 - unit @ unit.transpose(1, 2)).abs().sum(dim=(1, 2))


def _length(x: Tensor) -> Tensor:
    return (x.square().sum(dim=-1) + TINY).sqrt()


def _radius(x: Tensor) -> Tensor:
    return (x.square().sum(dim=tuple(range(2, x.ndim)), keepdim=True) + TINY).sqrt()
