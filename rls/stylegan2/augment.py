"""Apply the augmentations of ADA to real and generated images before the discriminator.

The augmentations are geometry, colour, frequency bands, noise and cutout, in this order, for any
number of channels (Karras et al. 2020, "Training generative adversarial networks with limited
data", appendix B). ``rls.stylegan2.augment_draws`` draws; ``apply`` is a deterministic function of
images and draws. It is affine in the images, and so differentiable as often as R1 needs.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from rls.stylegan2.augment_draws import Draws
from rls.stylegan2.augment_warp import mirrored, warp

# The low pass is that of the Daubechies wavelet "sym2" convolved with its mirror image, the high
# pass its complement (Daubechies 1992, section 8.2.3): together they are a bank of bands that sum
# to the identity.
SYM2_LOW = (-1 / 32, 0.0, 9 / 32, 1 / 2, 9 / 32, 0.0, -1 / 32)
SYM2_HIGH = (1 / 32, 0.0, -9 / 32, 1 / 2, -9 / 32, 0.0, 1 / 32)
N_BANDS = 4


def apply(images: Tensor, draws: Draws) -> Tensor:
    """Return images (n, c, y, x) in [-1, 1] augmented as drawn, in their own dtype."""
    if draws.matrices is not None:
        images = warp(images, draws.matrices)
    if draws.colours is not None:
        images = colour(images, draws.colours)
    if draws.bands is not None:
        images = filter_bands(images, draws.bands)
    if draws.noise is not None:
        images = images + draws.noise.to(images.dtype)
    if draws.cutouts is not None:
        images = cut_out(images, draws.cutouts)
    return images


def colour(images: Tensor, colours: Tensor) -> Tensor:
    """Return C x + offset for every pixel x of images (n, c, y, x); colours (n, c, c + 1)."""
    c = images.shape[1]
    colours = colours.to(images.dtype)
    return torch.baddbmm(colours[:, :, c:], colours[:, :, :c], images.flatten(2)).view_as(images)


def filter_bands(images: Tensor, gains: Tensor) -> Tensor:
    """Return images with four frequency bands amplified by gains (n, 4), mirrored at the border."""
    # The filter of an image is one weighted sum of bands, applied along x and then along y.
    height, width = images.shape[2:]
    gains = gains.to(images.dtype)
    along_x, along_y = (
        torch.einsum("nb,byx->nyx", gains, _band_matrices(side, images.device, images.dtype))
        for side in (width, height)
    )
    return along_y[:, None] @ (images @ along_x.mT[:, None])


def cut_out(images: Tensor, boxes: Tensor) -> Tensor:
    """Return images with 0 (mid-grey) in boxes (n, 3): centre x, centre y, side, in image sides."""
    outside = [
        ((torch.arange(side, device=boxes.device) + 0.5) / side - boxes[:, i : i + 1]).abs()
        >= boxes[:, 2:] / 2
        for i, side in enumerate(images.shape[:1:-1])
    ]
    return images * (outside[0][:, None, None, :] | outside[1][:, None, :, None])


def band_filters() -> Tensor:
    """Return the filter bank (4, 43), low frequencies first; the bands sum to the identity."""
    bands = [np.ones(1)]
    for _ in range(N_BANDS - 1):
        # Every band moves to half its frequency inside the low pass; the octave above is added.
        bands = [np.convolve(np.kron(b, (1, 0))[:-1], SYM2_LOW) for b in bands]
        bands.append(np.array(SYM2_HIGH))
    reach = len(bands[0]) // 2
    padded = [np.pad(band, reach - len(band) // 2) for band in bands]
    return torch.from_numpy(np.stack(padded))


@functools.cache
def _band_matrices(side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the bands as matrices (4, side, side) on a line of pixels mirrored at its ends."""
    filters = band_filters()
    n_taps = filters.shape[1]
    source = mirrored(torch.arange(side)[:, None] + torch.arange(n_taps) - n_taps // 2, side)
    out = torch.zeros((N_BANDS, side, side), dtype=filters.dtype)
    out.scatter_add_(2, source.expand(N_BANDS, -1, -1), filters[:, None].expand(-1, side, -1))
    return out.to(device, dtype)
