"""LPIPS, version 0.1: a distance of images by the features of AlexNet or VGG16.

With F_l(x), the output of layer l (n_l positions) after ReLU, scaled to unit length at each
position, and fitted weights h_l >= 0 of its channels,

    LPIPS(a, b) = sum over l of 1 / n_l sum over positions of h_l . (F_l(a) - F_l(b))^2

Images smaller than 64 px are enlarged to 64 px bilinearly, since the weights h_l were fitted on
patches of 64 px; VGG16 halves an image four times, and AlexNet cannot take one under 32 px. LPIPS
of images of two sizes are therefore not comparable. Larger images are taken as they are.

Source: Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric",
CVPR, eq. 1 and section 2.1; the constants SHIFT and SCALE are those of its published code.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from rls.io.weights import load_state, read_weights
from rls.networks.batches import in_batches
from rls.networks.perceptual import as_rgb_bytes, check_sha256, load_torchscript
from rls.networks.weights_settings import SMALLEST
from rls.runtime.errors import InputError

KIND = "lpips"  # kind of the weights file
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # for RGB on [-1, 1]
LENGTH_FLOOR = 1e-20  # added to squared lengths, so that a position without features has length 0
AT_ONCE = 16  # images at most: VGG16 takes 0.5 GB for 16 of 128 px, and more are not faster
EMBEDDED = (2, 3)  # the compared layers of VGG16 that embed images: relu3_3 and relu4_3


class Layer(NamedTuple):
    """A convolution with ReLU.

    Attributes:
        pool: Side of the maximum pooling of stride 2 before it; 0 for none.
        compared: Whether LPIPS compares its output.
    """

    filters: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 0
    compared: bool = True


def _block(n: int, filters: int, pool: int = 2) -> tuple[Layer, ...]:
    """Return a block of VGG16: n convolutions, of which the last is compared."""
    return tuple(Layer(filters, pool=pool if i == 0 else 0, compared=i == n - 1) for i in range(n))


ALEXNET = (
    Layer(64, kernel=11, stride=4, padding=2),
    Layer(192, kernel=5, padding=2, pool=3),
    Layer(384, pool=3),
    Layer(256),
    Layer(256),
)
VGG16 = (
    *_block(2, 64, pool=0),
    *_block(2, 128),
    *_block(3, 256),
    *_block(3, 512),
    *_block(3, 512),
)
LAYERS = {"alexnet": ALEXNET, "vgg16": VGG16}


def tensor_shapes(net: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a network with its heads, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    inner, head = 3, 0
    for i, layer in enumerate(LAYERS[net]):
        shapes[f"weight{i}"] = (layer.filters, inner, layer.kernel, layer.kernel)
        shapes[f"bias{i}"] = (layer.filters,)
        inner = layer.filters
        if layer.compared:
            shapes[f"head{head}"] = (layer.filters,)
            head += 1
    return shapes


class Lpips(nn.Module):
    """LPIPS by AlexNet or VGG16; weights are 0 until they are loaded.

    Images are (n, 3, y, x) in 0 to 255.

    Arguments:
        net: ``alexnet`` or ``vgg16``.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: str) -> None:
        super().__init__()
        self.net = net
        for name, shape in tensor_shapes(net).items():
            self.register_buffer(name, torch.zeros(shape))
        for name, values in (("shift", SHIFT), ("scale", SCALE)):
            tensor = torch.tensor(values).view(1, 3, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    def layers(self, images: Tensor) -> list[Tensor]:
        """Return the outputs (n, filters, y, x) of the compared layers."""
        x = (enlarge(images) / 127.5 - 1.0 - self.shift) / self.scale
        found = []
        for i, layer in enumerate(LAYERS[self.net]):
            if layer.pool:
                x = functional.max_pool2d(x, layer.pool, stride=2)
            weight, bias = getattr(self, f"weight{i}"), getattr(self, f"bias{i}")
            x = functional.conv2d(x, weight, bias, layer.stride, layer.padding).relu()
            if layer.compared:
                found.append(x)
        return found

    def features(self, images: Tensor) -> Tensor:
        """Return features (n, k), whose squared Euclidean distance is LPIPS."""
        parts = []
        for i, x in enumerate(self.layers(images)):
            unit = x * (x.square().sum(dim=1, keepdim=True) + LENGTH_FLOOR).rsqrt()
            head = (getattr(self, f"head{i}") / (x.shape[2] * x.shape[3])).sqrt()
            parts.append((unit * head.view(1, -1, 1, 1)).flatten(1))
        return torch.cat(parts, dim=1)

    def embedding(self, images: Tensor) -> Tensor:
        """Return the means over the image of the layers EMBEDDED, (n, 768) for VGG16."""
        layers = self.layers(images)
        return torch.cat([layers[i].mean(dim=(2, 3)) for i in EMBEDDED], dim=1)


class TorchScriptVgg(nn.Module):
    """StyleGAN2-ADA's file of VGG16, which returns the features of LPIPS and no layers."""

    def __init__(self, module: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.module = module

    def features(self, images: Tensor) -> Tensor:
        """Return features (n, k), whose squared Euclidean distance is LPIPS."""
        found: Tensor = self.module(enlarge(images), resize_images=False, return_lpips=True)
        return found.flatten(1)


AnyLpips = Lpips | TorchScriptVgg


def enlarge(images: Tensor) -> Tensor:
    """Return images (n, c, y, x), the smaller side enlarged to 64 px where it is under that."""
    size = images.shape[-2:]
    if min(size) >= SMALLEST:
        return images
    larger = [round(side * SMALLEST / min(size)) for side in size]
    return functional.interpolate(images, size=larger, mode="bilinear", align_corners=False)


def load_lpips(net: str, path: Path, sha256: str, device: torch.device) -> AnyLpips:
    """Return LPIPS by ``net`` from safetensors, or from StyleGAN2-ADA's TorchScript file of VGG16.

    Raises:
        InputError: The file is missing, has another SHA-256, or holds another network.
    """
    module: AnyLpips
    if path.suffix != ".safetensors":
        if net != "vgg16":
            raise InputError(
                f"Found {path} for {net}, expected safetensors: only VGG16 is known as TorchScript."
                " Run make weights, and set its path to auto."
            )
        module = TorchScriptVgg(load_torchscript(path, sha256, device))
    else:
        check_sha256(path, sha256)
        tensors, header = read_weights(path, kind=KIND)
        if header.get("net") != net:
            raise InputError(
                f"{path} holds the weights of {header.get('net')}, expected {net}. Correct "
                f"{net}_path in the section weights."
            )
        module = Lpips(net)
        load_state(module, tensors, path)
    for weight in module.parameters():
        weight.requires_grad = False
    return module.to(device).eval()


def lpips_distances(
    network: AnyLpips,
    a: np.ndarray,
    b: np.ndarray,
    device: torch.device,
    batch_size: int,
    rgb: tuple[int, ...] = (),
) -> np.ndarray:
    """Return LPIPS (n,) between pairs of images (n, c, y, x) in unit intensity.

    Arguments:
        rgb: Which channels become red, green and blue (:func:`as_rgb_bytes`).
    """
    channels = a.shape[1]

    def of_pairs(pairs: Tensor) -> Tensor:
        of_a, of_b = (
            network.features(as_rgb_bytes(images, rgb)) for images in pairs.split(channels, dim=1)
        )
        return (of_a - of_b).square().sum(dim=1, keepdim=True)

    pairs = np.concatenate([a, b], axis=1)
    return in_batches(of_pairs, pairs, device, min(batch_size, AT_ONCE))[:, 0]


def vgg16_features(
    network: Lpips,
    images_unit: np.ndarray,
    device: torch.device,
    batch_size: int,
    rgb: tuple[int, ...] = (),
) -> np.ndarray:
    """Return float32 (n, 768), the means of relu3_3 and relu4_3 of VGG16 over each image.

    These middle layers see structure of 40 and 92 px. The last one is left out: of an image of 64
    px it has 4 x 4 positions, all of them at a border.
    """
    return in_batches(
        lambda images: network.embedding(as_rgb_bytes(images, rgb)),
        images_unit,
        device,
        min(batch_size, AT_ONCE),
    )
