"""The discriminator of StyleGAN2: residual blocks and minibatch standard deviation.

The parameters have the names of NVlabs' stylegan2-ada-pytorch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rls.runtime.errors import InputError
from rls.stylegan2 import operators
from rls.stylegan2.networks import Architecture, Precision, convolution_dtype
from rls.stylegan2.operators import (
    FILTER_TAPS,
    Conv2dLayer,
    FullyConnectedLayer,
    setup_filter,
    to_fast_layout,
)

ROOT_HALF = math.sqrt(0.5)  # scales two branches of unit variance to a sum of unit variance


def minibatch_std(x: Tensor, group_size: int | None, n_features: int = 1) -> Tensor:
    """Append the standard deviation over groups of images as constant feature maps.

    Image i belongs to group i mod (n / g), where g = min(group_size, n) must divide n. The
    deviation is averaged over the pixels and over the channels of each feature. Source: Karras et
    al. 2018, progressive growing, section 3.

    Arguments:
        x: (n, c, y, x).
        group_size: Images per group; None is the whole batch.

    Returns:
        (n, c + n_features, y, x).
    """
    n, c, height, width = x.shape
    group = n if group_size is None else min(group_size, n)
    y = x.reshape(group, -1, n_features, c // n_features, height, width)
    y = ((y - y.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean(dim=(2, 3, 4))
    y = y.reshape(-1, n_features, 1, 1).repeat(group, 1, height, width)
    return torch.cat([x, y], dim=1)


class DiscriminatorBlock(nn.Module):
    """A residual block that halves the resolution: (n, in, r, r) -> (n, out, r/2, r/2)."""

    resample_filter: Tensor

    def __init__(self, architecture: Architecture, resolution: int) -> None:
        super().__init__()
        a = architecture
        n_in, n_out = a.features(resolution), a.features(resolution // 2)
        self.register_buffer("resample_filter", setup_filter(FILTER_TAPS))
        self.is_first = resolution == a.image_size
        if self.is_first:
            self.fromrgb = Conv2dLayer(a.n_channels, n_in, 1, activation="lrelu", clamp=a.clamp)
        self.conv0 = Conv2dLayer(n_in, n_in, 3, activation="lrelu", clamp=a.clamp)
        self.conv1 = Conv2dLayer(n_in, n_out, 3, activation="lrelu", down=True, clamp=a.clamp)
        self.skip = Conv2dLayer(n_in, n_out, 1, bias=False, down=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features at half the resolution; x is the image in the first block."""
        if self.is_first:
            x = self.fromrgb(x)
        y = self.skip(x, gain=ROOT_HALF)
        return y + self.conv1(self.conv0(x), gain=ROOT_HALF)


class DiscriminatorEpilogue(nn.Module):
    """The last block, in float32: features at 4 px (n, c, 4, 4) -> one logit per image (n, 1)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        n = a.features(4)
        self.group_size = a.mbstd_group_size
        self.conv = Conv2dLayer(n + 1, n, 3, activation="lrelu", clamp=a.clamp)
        self.fc = FullyConnectedLayer(n * 16, n, activation="lrelu")
        self.out = FullyConnectedLayer(n, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, 1)."""
        x = self.conv(minibatch_std(x.to(self.out.weight.dtype), self.group_size))
        return self.out(self.fc(x.flatten(1)))


class Discriminator(nn.Module):
    """The discriminator: image (n, c, y, x) -> logit (n, 1), where larger means more real.

    Convolutions run in ``precision``.
    """

    def __init__(self, architecture: Architecture, precision: Precision = "float32") -> None:
        super().__init__()
        self.architecture = architecture
        self.precision: Precision = precision
        self.resolutions = architecture.resolutions[:0:-1]
        for resolution in self.resolutions:
            self.add_module(f"b{resolution}", DiscriminatorBlock(architecture, resolution))
        self.b4 = DiscriminatorEpilogue(architecture)
        to_fast_layout(self)

    def freeze(self, n_layers: int) -> None:
        """Freeze the first ``n_layers`` layers, counted from the image (Freeze-D, Mo et al. 2020).

        Raises:
            InputError: There are not more layers than that.
        """
        # In the order of the modules: fromrgb, conv0, conv1, skip, ..., out.
        layers = [m for m in self.modules() if isinstance(m, Conv2dLayer | FullyConnectedLayer)]
        if n_layers >= len(layers):
            raise InputError(
                f"Found freeze_discriminator {n_layers}, expected fewer than the {len(layers)} "
                "layers of the discriminator. Set it to about 10 at 128 px, or 0 for none."
            )
        for layer in layers[:n_layers]:
            layer.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (n, 1) of a batch.

        Images in one group of the minibatch standard deviation influence one another.
        """
        dtype = convolution_dtype(self.precision, self.b4.out.weight)
        x = image.to(dtype, memory_format=operators.MEMORY_FORMAT)
        for resolution in self.resolutions:
            x = self.get_submodule(f"b{resolution}")(x)
        return self.b4(x)
