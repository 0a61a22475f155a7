"""Geometric augmentation: one matrix per image, one resampling at twice the resolution.

Karras et al. 2020, "Training generative adversarial networks with limited data", appendix B:
upsampled by 2, sampled bilinearly and downsampled by 2, between two sym6 low-pass filters.
Differentiable twice with respect to the images, as R1 needs.
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
_REACH = len(SYM6) // 4  # of the filter in image pixels, on each side


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample (n, c, y, x) by (n, 2, 3) from output pixel (x, y, 1) to source, from the centre.

    Antialiased, mirrored at the border."""
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
