"""Features that know nothing of treatments: random convolutions, and Inception from a file.

Distances on the treatment classifier's features reward class signal; distances on these features
do not. The random network has three layers of convolutions with weights that are drawn once from a
seed, and each layer is summarised by the mean and sd of every filter over the image. Random
shallow networks describe texture about as well as trained ones (Ustyuzhaninov et al. 2017, "What
does it take to generate natural textures?", ICLR) and compare sets of images without a bias towards
the training data of a network (Naeem et al. 2020, "Reliable fidelity and diversity metrics for
generative models", ICML, section 4.3).

Nothing is downloaded here. A TorchScript file (Inception for FID and KID, VGG16 for LPIPS) is
loaded by path and SHA-256, because such a file can run code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from rls.io.files import file_sha256, need_file
from rls.networks.batches import in_batches
from rls.runtime.errors import InputError
from rls.runtime.streams import torch_stream

LAYERS, FILTERS, KERNEL = 3, 16, 5
RANDOM_FEATURES = 2 * LAYERS * FILTERS  # Mean and sd of every filter.
RGB = 3  # channels


class RandomFeatures(nn.Module):
    """Map images (n, c, y, x) of any size in unit intensity to features (n, 96).

    Arguments:
        channels: Number of channels of the images.
        seed: Decides the weights. Features of two seeds are not comparable.
    """

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        random = torch_stream(seed, f"{channels} channels", "random_features")
        inner = channels
        for layer in range(LAYERS):
            weight = torch.randn(FILTERS, inner, KERNEL, KERNEL, generator=random)
            # He scaling keeps the variance through the layers.
            weight *= math.sqrt(2.0 / (inner * KERNEL * KERNEL))
            bias = 0.1 * torch.randn(FILTERS, generator=random)
            self.register_buffer(f"weight{layer}", weight)
            self.register_buffer(f"bias{layer}", bias)
            inner = FILTERS

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return (n, 96), for each layer the means and then the sds of its 16 filters."""
        parts = []
        x = images
        for layer in range(LAYERS):
            if layer > 0 and min(x.shape[-2:]) >= 2:
                x = functional.avg_pool2d(x, 2)
            weight, bias = getattr(self, f"weight{layer}"), getattr(self, f"bias{layer}")
            # Borders are replicated, because zeros would give every image an edge as strong as
            # the cell.
            padded = functional.pad(x, (KERNEL // 2,) * 4, mode="replicate")
            x = functional.leaky_relu(functional.conv2d(padded, weight, bias), 0.2)
            parts += [x.mean(dim=(-2, -1)), x.std(dim=(-2, -1), correction=0)]
        return torch.cat(parts, dim=1)


def random_features(
    images_unit: np.ndarray, *, seed: int, device: torch.device, batch_size: int
) -> np.ndarray:
    """Return float32 (n, 96) features of images (n, c, y, x) in unit intensity."""
    net = RandomFeatures(images_unit.shape[1], seed).to(device)
    return in_batches(net, images_unit, device, batch_size)


def load_torchscript(path: Path | str, sha256: str, device: torch.device) -> torch.jit.ScriptModule:
    """Return the TorchScript module in ``path`` after a check of its SHA-256.

    Raises:
        InputError: The file is missing, has another digest, or is not TorchScript.
    """
    check_sha256(path, sha256)
    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise InputError(f"{path} is not a TorchScript file.") from error


def check_sha256(path: Path | str, sha256: str) -> None:
    """Raise InputError unless the file exists and has this SHA-256."""
    found = file_sha256(need_file(path, "file of weights"))
    if found != sha256.lower():
        raise InputError(
            f"{path} has the SHA-256 {found}, expected {sha256 or 'one in the settings'}. Files of "
            "weights may hold code: check where it comes from, then correct the section weights."
        )


def rgb_indices(channels: Sequence[str], named: Sequence[str]) -> tuple[int, ...]:
    """Return the positions among ``channels`` of the channels named as red, green and blue.

    Raises:
        InputError: More than three are named, or one that the images do not have.
    """
    if len(named) > RGB or not set(named) <= set(channels):
        raise InputError(
            f"Found network_rgb_channels {', '.join(named)}, expected up to three of "
            f"{', '.join(channels)}. Correct them in the assay's block."
        )
    return tuple(channels.index(name) for name in named)


def as_rgb_bytes(images_unit: Tensor, rgb: tuple[int, ...] = ()) -> Tensor:
    """Return images (n, 3, y, x) as whole floats in [0, 255], as these networks take them.

    Values are clipped and rounded, as in the 8-bit images of the article.

    Arguments:
        images_unit: (n, c, y, x) in unit intensity.
        rgb: Positions of the channels that become red, green and blue; none: the first three. One
            channel is repeated, and two channels get an empty third.
    """
    images_unit = images_unit[:, list(rgb or range(min(RGB, images_unit.shape[1])))]
    n, channels, height, width = images_unit.shape
    if channels == 1:
        images_unit = images_unit.expand(n, RGB, height, width)
    elif channels == 2:
        empty = torch.zeros_like(images_unit[:, :1])
        images_unit = torch.cat([images_unit, empty], dim=1)
    return (images_unit.clamp(0.0, 1.0) * 255.0).round()


def inception_features(
    module: torch.jit.ScriptModule,
    images_unit: np.ndarray,
    device: torch.device,
    batch_size: int,
    rgb: tuple[int, ...] = (),
) -> np.ndarray:
    """Return (n, d) features of a module that is called ``module(images, return_features=True)``.

    The Inception file of StyleGAN2-ADA and clean-fid has this call and resizes the images itself.
    Values from other Inception files are not comparable.
    """
    return in_batches(
        lambda images: module(as_rgb_bytes(images, rgb), return_features=True),
        images_unit,
        device,
        batch_size,
    )
