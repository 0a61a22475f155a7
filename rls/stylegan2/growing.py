"""How networks of small images begin as networks of larger ones.

Both begin as the smaller network. New blocks of the generator leave its image, enlarged, as it is:
their toRGB layer is 0. New blocks of the discriminator hand on what the smaller one saw in the
image at half the side: a discriminator that starts with random first layers sees nothing, and in
our trainings it stayed blind.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rls.runtime.streams import torch_stream
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.operators import Conv2dLayer

N_COLOURS, REACH = 4096, 1.5  # colours in [-1.5, 1.5], on which features are compared
FROM_RGB = "b{}.fromrgb.{}"


def grown_generator(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a generator that begins with the images of a smaller one, enlarged.

    Arguments:
        network: The larger generator, at its random start.
        weights: Of the smaller one.
    """
    own = network.state_dict()
    zero = {name: torch.zeros_like(v) for name, v in own.items() if ".torgb.weight" in name}
    return {**own, **zero, **weights}


def grown_discriminator(
    network: Discriminator, weights: Mapping[str, Tensor], small: Architecture
) -> dict[str, Tensor]:
    """Return the weights of a discriminator that begins as a smaller one on averaged images.

    A new block's features are some of those that fromRGB made at half the side, and its skip layer
    gives the best linear approximation (least squares over colours) of all of them; its
    convolutions add 0.

    Arguments:
        network: The larger discriminator, at its random start.
        weights: Of the smaller one.
        small: The smaller one's sizes.
    """
    own, size = network.state_dict(), small.image_size
    names = {kind: FROM_RGB.format(size, kind) for kind in ("weight", "bias")}
    found = {k: v for k, v in weights.items() if not k.startswith(f"b{size}.fromrgb.")}
    weight, bias = (weights[name].to(own["b4.out.weight"].device) for name in names.values())
    colours = _colours(weight.shape[1]).to(weight)
    while size < network.architecture.image_size:
        size *= 2
        block = network.get_submodule(f"b{size}")
        kept = _spread(len(weight), network.architecture.features(size))
        wanted = _features(weight, bias, colours)
        weight, bias = weight[kept], bias[kept]
        # In float64, so that rounding leaves the same bits in every run.
        fit = torch.linalg.lstsq(_features(weight, bias, colours).double(), wanted.double())
        mix = fit.solution.T.to(weight)
        skip = block.get_submodule("skip")
        assert isinstance(skip, Conv2dLayer)
        # The block multiplies both of its branches by the root of one half.
        found[f"b{size}.skip.weight"] = (mix * 2**0.5 / skip.weight_gain)[:, :, None, None]
        found[f"b{size}.conv1.weight"] = torch.zeros_like(own[f"b{size}.conv1.weight"])
    for kind, value in (("weight", weight), ("bias", bias)):
        found[FROM_RGB.format(size, kind)] = value
    return {**own, **found}


def _colours(n_channels: int) -> Tensor:
    """Return colours (n, c), the same in every run."""
    random = torch_stream(0, "colours", "grown discriminator")
    return (2 * torch.rand((N_COLOURS, n_channels), generator=random) - 1) * REACH


def _features(weight: Tensor, bias: Tensor, colours: Tensor) -> Tensor:
    """Return the features (n, k) that a layer fromRGB makes of colours (n, c)."""
    linear = colours @ weight[:, :, 0, 0].T / weight.shape[1] ** 0.5 + bias
    return nn.functional.leaky_relu(linear, 0.2) * 2**0.5


def _spread(n: int, n_kept: int) -> Tensor:
    """Return ``n_kept`` of n positions, evenly spread."""
    return torch.linspace(0, n - 1, n_kept).round().long()
