"""W++: the generator with a separate latent for every filter of every convolution.

In W+ all filters of layer l share w_l: the kernel of filter o is scaled by s = A_l w_l + b_l, one
number for each input feature i, and then normalised. In W++ filter o has its own w_{l,o}:

    w''_{oik} = s_{oi} w_{oik} / sqrt(sum_{i,k} (s_{oi} w_{oik})^2 + 1e-8),  s_o = A_l w_{l,o} + b_l

(Poirier-Ginter & Lalonde 2023, section 4.1: "filter-wise latent expansion"; in their code, too, a
filter is an output feature.) With equal latents this is W+. The latents cannot be factored out of
the convolution, so each image has its own kernels: at 128 px and 512 features these take 75 MB an
image, the latents 9 MB, and a step with its gradient 0.37 GB in all.

As in W+, the toRGB of a block and the first convolution of the next block share their latents; the
latents of the first filters serve both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rls.search.optimisers import Variables
from rls.stylegan2.convolution import convolve, convolve_transposed
from rls.stylegan2.fir import low_pass
from rls.stylegan2.networks import (
    Precision,
    SynthesisBlock,
    SynthesisLayer,
    SynthesisNetwork,
    ToRGBLayer,
    convolution_dtype,
)
from rls.stylegan2.operators import leaky, square_sum, upsample2d


def filter_counts(synthesis: SynthesisNetwork) -> list[int]:
    """Return the number of filters for each of the L styles: the most in a layer that uses it."""
    counts = [0] * synthesis.num_ws
    first = 0
    for block in synthesis.blocks():
        users: list[SynthesisLayer | ToRGBLayer] = [*_layers(block), block.torgb]
        for i, layer in enumerate(users):
            counts[first + i] = max(counts[first + i], len(layer.weight))
        first += block.n_convolutions
    return counts


def split(w: Tensor, counts: Sequence[int]) -> Variables:
    """Return w+ (n, L, d) as L tensors (n, filters, d), in which all filters' latents are equal."""
    return tuple(w[:, i : i + 1].expand(-1, count, -1) for i, count in enumerate(counts))


def mean_styles(latents: Variables) -> Tensor:
    """Return the mean latent of each style's filters, (n, L, d)."""
    return torch.stack([w.mean(dim=1) for w in latents], dim=1)


def synthesise(
    synthesis: SynthesisNetwork, latents: Variables, noise: Sequence[Tensor], precision: Precision
) -> Tensor:
    """Return the images (n, c, y, x) of w++, float32, which lie about in [-1, 1].

    Arguments:
        latents: L tensors (n, filters, d), as :func:`split` makes them.
        noise: One map (n or 1, 1, res, res) for each layer.
    """
    const = synthesis.get_parameter("b4.const")
    x = const.to(convolution_dtype(precision, const)).expand(len(latents[0]), -1, -1, -1)
    image: Tensor | None = None
    first = 0
    for block in synthesis.blocks():
        for i, layer in enumerate(_layers(block)):
            x = _convolution(layer, x, latents[first + i], noise[first + i])
        first += block.n_convolutions
        y = _to_rgb(block.torgb, x, latents[first])
        image = y if image is None else upsample2d(image) + y
    assert image is not None  # Every network has a block of 4 px.
    return image


def _layers(block: SynthesisBlock) -> list[SynthesisLayer]:
    return [layer for layer in block.children() if isinstance(layer, SynthesisLayer)]


def _convolution(layer: SynthesisLayer, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """Return the layer's features (n, o, y', x') for x (n, i, y, x) and w (n, >= o, d)."""
    n, n_in, height, width = x.shape
    n_out, gain = len(layer.weight), math.sqrt(2)
    styles = _styles(layer, w[:, :n_out])
    squares = (styles.square() * square_sum(layer.weight)).sum(dim=2)
    factor = ((squares + 1e-8).rsqrt() * gain).to(x.dtype)[:, :, None, None]
    # In a layout that is not contiguous the sum over kernels may round differently by image.
    kernels = (layer.weight.contiguous() * styles[..., None, None]).to(x.dtype)  # (n, o, i, k, k)
    x = x.reshape(1, n * n_in, height, width)
    if layer.up:
        kernels = kernels.transpose(1, 2).reshape(n * n_in, n_out, *kernels.shape[3:])
        x = convolve_transposed(x, kernels, stride=2, groups=n)
        x = low_pass(x, pad=1, gain=4.0)
    else:
        x = convolve(x, kernels.flatten(0, 1), padding=1, groups=n)
    x = x.reshape(n, n_out, *x.shape[2:])
    x = torch.addcmul((layer.bias * gain).to(x.dtype)[:, None, None], x, factor)
    x = x + (noise * (layer.noise_strength * gain)).to(x.dtype)
    return leaky(x, layer.clamp)


def _to_rgb(layer: ToRGBLayer, x: Tensor, w: Tensor) -> Tensor:
    """Return the images (n, c, y, x), float32, for x (n, i, y, x) and w (n, >= c, d)."""
    n_channels = len(layer.weight)
    styles = _styles(layer, w[:, :n_channels]) * layer.weight_gain
    kernels = layer.weight[None, :, :, 0, 0] * styles  # (n, c, i)
    y = torch.bmm(kernels, x.to(kernels.dtype).flatten(2))
    y = y.unflatten(2, x.shape[2:]) + layer.bias[:, None, None]
    return y if layer.clamp is None else y.clamp(-layer.clamp, layer.clamp)


def _styles(layer: SynthesisLayer | ToRGBLayer, w: Tensor) -> Tensor:
    """Return A w + b, (n, filters, i), for w (n, filters, d).

    Each image has a matrix product of its own: in one product of all rows, an image's rows may
    round differently at another place in the batch.
    """
    affine = layer.affine
    weight = (affine.weight * affine.weight_gain).t().expand(len(w), -1, -1)
    return torch.baddbmm(affine.bias * affine.bias_gain, w, weight)
