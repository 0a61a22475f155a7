"""Features blind to treatments: fixed random convolutions, and Inception or VGG by file.

Distances on the treatment classifier's features reward class signal; these do not. Three layers of
convolutions with weights drawn once from a seed, each layer summarised by the mean and sd of every
filter over the image. Random shallow networks describe texture about as well as trained ones
(Ustyuzhaninov et al. 2017, "What does it take to generate natural textures?", ICLR) and compare
sets of images without a bias to what a network was trained on (Naeem et al. 2020, "Reliable
fidelity and diversity metrics for generative models", ICML, section 4.3).

Nothing is downloaded. A TorchScript file (Inception for FID and KID, VGG16 for LPIPS) is loaded by
path and SHA-256, because such a file can run code.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from rls.io.files import need_file
from rls.runtime.errors import InputError
from rls.runtime.streams import torch_stream

LAYERS, FILTERS, KERNEL = 3, 16, 5
RANDOM_FEATURES = 2 * LAYERS * FILTERS  # mean and sd of every filter
VGG_CHANNELS = 3


class RandomFeatures(nn.Module):
    """(n, c, y, x) in unit intensity to (n, 96), any size; the same seed gives the same weights.

    Arguments:
        channels: Of the images.
        seed: Of the weights. Numbers of two seeds are not comparable.
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
        """Return (n, 96): per layer the mean, then the sd, of its 16 filters."""
        parts = []
        x = images
        for layer in range(LAYERS):
            if layer > 0 and min(x.shape[-2:]) >= 2:
                x = functional.avg_pool2d(x, 2)
            weight, bias = getattr(self, f"weight{layer}"), getattr(self, f"bias{layer}")
            # Replicated borders: zeros would be an edge in every image, as strong as the cell.
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


def in_batches(
    function: Any,  # noqa: ANN401  # a module or a TorchScript module
    images_unit: np.ndarray,
    device: torch.device,
    batch_size: int,
) -> np.ndarray:
    """Return float32 (n, d) of ``function`` on whole batches, the last one filled by repeats."""
    parts = []
    for start in range(0, len(images_unit), batch_size):
        batch = images_unit[start : start + batch_size]
        n = len(batch)
        tensor = torch.as_tensor(
            batch[np.arange(batch_size) % n], dtype=torch.float32, device=device
        )
        with torch.no_grad():
            parts.append(function(tensor)[:n].float().cpu().numpy())
    return np.concatenate(parts)


def load_torchscript(path: Path | str, sha256: str, device: torch.device) -> torch.jit.ScriptModule:
    """Return the TorchScript module in ``path`` after its SHA-256 has been found right.

    Raises:
        InputError: The file is missing, has another digest, or is no TorchScript.
    """
    path = need_file(path, "TorchScript file")
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    found = digest.hexdigest()
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
    """Return (n, 3, y, x) uint8-valued floats in [0, 255]: what Inception and VGG files take.

    One channel is repeated, two get an empty third, more than three are cut; values are clipped
    and rounded, as in the 8-bit images of the article.
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
    """Return (n, d) features of a file with the call ``module(images, return_features=True)``.

    The stored Inception of StyleGAN2-ADA and clean-fid has this call and resizes by itself. Numbers
    from other Inception files are not interchangeable.
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
    """Return LPIPS (n,) between two sets of images in unit intensity, by a VGG16 file.

    The file has the call ``module(images, resize_images=False, return_lpips=True)`` (that of
    StyleGAN2-ADA), whose features' squared L2 distance is LPIPS with the net VGG.

    Source: Zhang et al. 2018, eq. 1.
    """

    def embed(images: Tensor) -> Tensor:
        return module(as_rgb_bytes(images), resize_images=False, return_lpips=True)

    pair = [in_batches(embed, images, device, batch_size) for images in (a, b)]
    return ((pair[0] - pair[1]) ** 2).sum(axis=1)
