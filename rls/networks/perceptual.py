"""Features that know nothing of treatments: random convolutions, and Inception or VGG from a file.

Distances on the treatment classifier's features reward class signal; distances on these features
do not. The random network has three layers of convolutions with weights that are drawn once from a
seed, and each layer is summarised by the mean and sd of every filter over the image. Random
shallow networks describe texture about as well as trained ones (Ustyuzhaninov et al. 2017, "What
does it take to generate natural textures?", ICLR) and compare sets of images without a bias towards
the training data of a network (Naeem et al. 2020, "Reliable fidelity and diversity metrics for
generative models", ICML, section 4.3).

Nothing is downloaded. A TorchScript file (Inception for FID and KID, VGG16 for LPIPS) is loaded by
path and SHA-256, because such a file can run code.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from rls.io.files import need_file
from rls.networks.batches import in_batches
from rls.runtime.errors import InputError
from rls.runtime.streams import torch_stream

LAYERS, FILTERS, KERNEL = 3, 16, 5
RANDOM_FEATURES = 2 * LAYERS * FILTERS  # Mean and sd of every filter.
VGG_CHANNELS = 3


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
    path = need_file(path, "TorchScript file")
    with open(path, "rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != sha256.lower():
        raise InputError(
            f"{path} has the SHA-256 {found}, expected {sha256 or 'one in the settings'}. "
            f"It can run code when loaded: check where it comes from, then correct the setting."
        )
    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise InputError(f"{path} is not a TorchScript file.") from error


def as_rgb_bytes(images_unit: Tensor) -> Tensor:
    """Return images (n, 3, y, x) as whole floats in [0, 255], as Inception and VGG files take them.

    One channel is repeated, two channels get an empty third, and of more than three the first
    three are kept. Values are clipped and rounded, as in the 8-bit images of the article.
    """
    n, channels, height, width = images_unit.shape
    if channels == 1:
        images_unit = images_unit.expand(n, VGG_CHANNELS, height, width)
    elif channels == 2:
        empty = torch.zeros_like(images_unit[:, :1])
        images_unit = torch.cat([images_unit, empty], dim=1)
    return (images_unit[:, :VGG_CHANNELS].clamp(0.0, 1.0) * 255.0).round()


def inception_features(
    module: torch.jit.ScriptModule, images_unit: np.ndarray, device: torch.device, batch_size: int
) -> np.ndarray:
    """Return (n, d) features of a module that is called ``module(images, return_features=True)``.

    The Inception file of StyleGAN2-ADA and clean-fid has this call and resizes the images itself.
    Values from other Inception files are not comparable.
    """
    return in_batches(
        lambda images: module(as_rgb_bytes(images), return_features=True),
        images_unit,
        device,
        batch_size,
    )


def lpips_distances(
    module: torch.jit.ScriptModule,
    a: np.ndarray,
    b: np.ndarray,
    device: torch.device,
    batch_size: int,
) -> np.ndarray:
    """Return LPIPS (n,) between pairs of images in unit intensity, by a VGG16 file.

    The module is called ``module(images, resize_images=False, return_lpips=True)``, as that of
    StyleGAN2-ADA; the squared L2 distance of its features is LPIPS with the net VGG.

    Source: Zhang et al. 2018, eq. 1.
    """
    of_a, of_b = (
        in_batches(
            lambda x: module(as_rgb_bytes(x), resize_images=False, return_lpips=True),
            images,
            device,
            batch_size,
        )
        for images in (a, b)
    )
    return ((of_a - of_b) ** 2).sum(axis=1)
