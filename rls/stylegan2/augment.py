"""Geometric augmentation of ADA at a fixed probability, applied to real and generated images alike.

Karras et al. 2020, "Training generative adversarial networks with limited data", appendix B: flips,
quarter turns, integer translation, isotropic scale, rotation, anisotropic scale and fractional
translation become one matrix per image and one resampling, done at twice the resolution between two
sym6 low-pass filters. Differentiable twice with respect to the images, as R1 needs.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rls.stylegan2.operators import setup_filter, upfirdn2d

# Low-pass decomposition filter of the Daubechies wavelet "sym6" (Daubechies 1992, table 6.3).
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
# Strengths of ADA, appendix B.
TRANSLATION = 0.125  # of the side: limit of integer, sd of fractional translation
SCALE_SD = 0.2  # sd of log2 of the isotropic and of the anisotropic factor
_REACH = len(SYM6) // 4  # of the filter in image pixels, on each side


def random_transforms(n: int, size: tuple[int, int], p: float, random: torch.Generator) -> Tensor:
    """Matrices (n, 3, 3) from an output pixel (x, y, 1), seen from the centre, to its source.

    size (height, width) in px; each transformation is drawn with probability p. Rotation is drawn
    before and after the anisotropic scale with probability 1 - sqrt(1 - p), so that any rotation
    has probability p.
    """
    height, width = size
    device = random.device

    def uniform() -> Tensor:
        return torch.rand(n, device=device, generator=random)

    def normal() -> Tensor:
        return torch.randn(n, device=device, generator=random)

    def chosen(value: Tensor, otherwise: float, probability: float) -> Tensor:
        return torch.where(uniform() < probability, value, torch.full_like(value, otherwise))

    p_rotation = 1 - math.sqrt(max(1 - p, 0.0))
    flip = 1 - 2 * chosen((uniform() * 2).floor(), 0.0, p)
    matrix = _scale(flip, torch.ones_like(flip))
    matrix = matrix @ _rotation(chosen((uniform() * 4).floor(), 0.0, p) * (math.pi / 2))
    shift = uniform() < p
    steps = [((uniform() * 2 - 1) * TRANSLATION * side).round() * shift for side in (width, height)]
    matrix = matrix @ _translation(*steps)
    factor = chosen(torch.exp2(normal() * SCALE_SD), 1.0, p)
    matrix = matrix @ _scale(1 / factor, 1 / factor)
    matrix = matrix @ _rotation(chosen((uniform() * 2 - 1) * math.pi, 0.0, p_rotation))
    factor = chosen(torch.exp2(normal() * SCALE_SD), 1.0, p)
    matrix = matrix @ _scale(1 / factor, factor)
    matrix = matrix @ _rotation(chosen((uniform() * 2 - 1) * math.pi, 0.0, p_rotation))
    shift = uniform() < p
    return matrix @ _translation(
        *(normal() * TRANSLATION * side * shift for side in (width, height))
    )


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample (n, c, y, x) by `random_transforms`: antialiased, mirrored at the border."""
    n, c, height, width = images.shape
    kernel = setup_filter(SYM6).to(images.device)
    left, right, top, bottom = _margins(matrices, height, width)
    images = F.pad(images, (left, right, top, bottom), mode="reflect")
    padded_height, padded_width = images.shape[2:]
    images = upfirdn2d(images, kernel, up=2, padding=(6, 5, 6, 5), gain=4.0)
    out_height, out_width = 2 * (height + 2 * _REACH), 2 * (width + 2 * _REACH)
    x = _axis(out_width, images.device)
    y = _axis(out_height, images.device)
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    points = torch.stack([grid_x, grid_y, torch.ones_like(grid_x)], dim=2)
    source = torch.einsum("nij,yxj->nyxi", matrices[:, :2], points)
    centre = torch.tensor([(right - left) / 2, (bottom - top) / 2], device=images.device)
    size = torch.tensor([padded_width, padded_height], device=images.device)
    grid = ((2 * (source - centre) - 0.5) / size).to(images.dtype)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    crop = -2 * _REACH
    before, after = crop + (len(SYM6) - 1) // 2, crop + (len(SYM6) - 2) // 2
    return upfirdn2d(images, kernel, down=2, padding=(before, after, before, after), flip=True)


def augment(images: Tensor, p: float, random: torch.Generator) -> Tensor:
    """Images (n, c, y, x) randomly transformed with probability p each; p = 0 changes nothing."""
    if p <= 0:
        return images
    return warp(
        images, random_transforms(len(images), (images.shape[2], images.shape[3]), p, random)
    )


def _axis(n_fine: int, device: torch.device) -> Tensor:
    """Where n_fine samples at twice the resolution stand, in pixels from the image's centre.

    The filter's peak is its tap 5 of 0..11, so that fine sample 2i is pixel i: the fine grid stands
    half a fine sample to the left of the image's centre, on the way up and on the way down.
    """
    return (torch.arange(n_fine, device=device, dtype=torch.float32) - (n_fine - 1) / 2 + 0.5) / 2


def _margins(matrices: Tensor, height: int, width: int) -> tuple[int, int, int, int]:
    """Pixels to mirror left, right, top, bottom: the corners' reach, at most a side less one."""
    x, y = (width - 1) / 2, (height - 1) / 2
    corners = torch.tensor([[-x, -y, 1.0], [x, -y, 1.0], [x, y, 1.0], [-x, y, 1.0]])
    reached = torch.einsum("nij,kj->nki", matrices[:, :2].cpu(), corners)
    low, high = (-reached).amax(dim=(0, 1)), reached.amax(dim=(0, 1))
    limits = torch.tensor([x, x, y, y])
    out = torch.stack([low[0], high[0], low[1], high[1]]) + 2 * _REACH - limits
    sides = (width - 1, width - 1, height - 1, height - 1)
    margins = [min(max(math.ceil(v), 0), side) for v, side in zip(out.tolist(), sides, strict=True)]
    return margins[0], margins[1], margins[2], margins[3]


def _matrix(rows: list[list[Tensor | float]], like: Tensor) -> Tensor:
    filled = [[torch.as_tensor(v, device=like.device).expand_as(like) for v in row] for row in rows]
    return torch.stack([torch.stack([v.float() for v in row], dim=1) for row in filled], dim=1)


def _scale(x: Tensor, y: Tensor) -> Tensor:
    return _matrix([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]], x)


def _translation(x: Tensor, y: Tensor) -> Tensor:
    return _matrix([[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]], x)


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = torch.cos(angle), torch.sin(angle)
    return _matrix([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]], angle)
