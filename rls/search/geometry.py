"""Spheres and angles of latent vectors, which PULSE and BRGM constrain or penalise.

PULSE: Menon et al. 2020, "PULSE: Self-Supervised Photo Upsampling via Latent Space Exploration of
Generative Models", CVPR. BRGM: Marinescu et al. 2020, "Bayesian Image Reconstruction using Deep
Generative Models", arXiv 2012.04567. Where a paper is silent, its authors' program decides. Their
sums over a batch are taken here for each image, shape (n,).
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from rls.prior.gaussianize import LEAKY_SLOPE
from rls.search.optimisers import Variables
from rls.search.steps import Given

# Constants of PULSE's program, which has 18 styles of 512 dimensions. They are kept for every
# generator, so that PULSE's weight of the term keeps its meaning.
GEOCROSS_SCALE, GEOCROSS_DIVISOR, TINY = 512.0, 8.0, 1.0e-9


def mean_square(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared difference over all but the first axis, (n,)."""
    return (a - b).square().flatten(1).mean(dim=1)


def geocross(x: Tensor) -> Tensor:
    """Return PULSE's GEOCROSS of vectors (n, L, d): 64 times the mean squared angle of all L x L.

    The angle is 2 atan2(|x_i - x_j|, |x_i + x_j|), which is exact for vectors of equal length. A
    tiny term under the roots makes the gradient at equal vectors 0. The angle is taken in float64:
    torch computes the last elements of a tensor by a scalar atan2 and the others by a vectorised
    one. In float32 the two may differ by one bit, and a result would depend on the image's place
    in its batch.
    """
    apart = _length(x.unsqueeze(2) - x.unsqueeze(1), 3)
    together = _length(x.unsqueeze(2) + x.unsqueeze(1), 3)
    angle = 2.0 * torch.atan2(apart.double(), together.double()).to(x.dtype).squeeze(3)
    return GEOCROSS_SCALE / GEOCROSS_DIVISOR * angle.square().mean(dim=(1, 2))


def radii(start: Variables) -> Variables:
    """Return the lengths of PULSE's vectors, which its projection keeps.

    The length is taken over all axes from the third on: each style in (n, L, d) and each whole map
    in (n, 1, y, x) has a length of its own.
    """
    return tuple(_length(x, 2) for x in start)


def onto_spheres(variables: Variables, given: Given) -> Variables:
    """Return PULSE's projection: every vector gets back its length in ``given["radii"]``."""
    return tuple(x / _length(x, 2) * r for x, r in zip(variables, given["radii"], strict=True))


def leaky_moments(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and sd of LeakyReLU(5)(w) per dimension, each (d,), for styles w (n, d).

    LeakyReLU(5) undoes the mapping network's last activation; PULSE assumes that the result is
    normal.
    """
    v = functional.leaky_relu(w, LEAKY_SLOPE)
    return v.mean(dim=0), v.std(dim=0)


def to_styles(latent: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Return w = LeakyReLU(0.2)(latent sd + mean) for latents (..., d), which are about N(0, I)."""
    return functional.leaky_relu(latent * sd + mean, 1.0 / LEAKY_SLOPE)


def to_latents(w: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Return the latents (..., d) whose styles are w, the inverse of :func:`to_styles`."""
    return (functional.leaky_relu(w, LEAKY_SLOPE) - mean) / sd


def style_radius(w: Tensor, mean: Tensor) -> Tensor:
    """Return BRGM's scale of w (n, d), a scalar: the root mean square distance from the mean."""
    return (w - mean).square().sum(dim=1).mean().sqrt()


def cosine_distance(w: Tensor) -> Tensor:
    """Return the sum of |1 - cos(w_i, w_j)| over ordered pairs of styles (n, L, d), shape (n,).

    BRGM's program uses the styles of a batch's first image for all its images; this one does not.
    """
    unit = functional.normalize(w, dim=2)
    return (1.0 - unit @ unit.transpose(1, 2)).abs().sum(dim=(1, 2))


def _length(x: Tensor, first: int) -> Tensor:
    """Return the Euclidean length over the axes from ``first`` on, each kept with size 1."""
    return (x.square().sum(dim=tuple(range(first, x.ndim)), keepdim=True) + TINY).sqrt()
