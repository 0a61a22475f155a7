"""Pix2Pix (Isola et al. 2017) for cells: a U-Net, a PatchGAN, and their inputs.

The published parts are the U-Net with skips and 4x4 convolutions of stride 2 down to 1x1, batch
norm, dropout of one half in three decoder blocks, the PatchGAN of 70x70 that sees input and output,
and the loss BCE + 100 L1. Four things differ. The low-resolution image is enlarged bicubically to
the size of its target, because a U-Net keeps the size. The last layer is linear, because a tanh
saturates at black and white of the intensity scale and the features need the values beyond. Batch
norm uses running statistics when the network is applied, where the original uses those of its
batch of one, because the image of a cell must not depend on the rest of the batch. Small images get
fewer layers and a smaller patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from rls.io import Intensity, read_weights
from rls.io.weights import load_state
from rls.runtime.errors import InputError
from rls.runtime.streams import torch_stream
from rls.search.forward import Forward, upscale

KIND = "pix2pix"
SMALLEST_SIZE = 16  # px; the smallest patch does not fit into smaller images.
# Side in px of a patch of the PatchGAN, its receptive field, by the number of strided layers.
PATCH_SIDES = {1: 16, 2: 34, 3: 70}
DROPOUT = 0.5
DROPOUT_BLOCKS = 3
INIT_SD = 0.02
SLOPE = 0.2  # Slope of the leaky ReLUs below 0.
LEVELS = 255.0  # Steps of an 8-bit low-resolution image, as in rls.degrade.


class UNet(nn.Module):
    """The generator: from enlarged low-resolution to high-resolution images, in [-1, 1] units.

    It halves the images down to 1x1, 7 times at 128 px.

    Arguments:
        n_channels: Number of channels of the images.
        image_size: Side of the images in px.
        width: Maps of the first layer; they double at each halving, up to 8 times as many.

    Raises:
        InputError: The size is not a power of two, or is below 16 px.
    """

    def __init__(self, n_channels: int, image_size: int, width: int) -> None:
        super().__init__()
        depth = image_size.bit_length() - 1
        if image_size != 2**depth or image_size < SMALLEST_SIZE:
            raise InputError(
                f"Found image_size {image_size} px, expected a power of two of at least "
                f"{SMALLEST_SIZE} px, which a U-Net can halve down to one pixel. Crop cells of "
                f"another size, or leave this method out of run.methods."
            )
        self.n_channels, self.image_size, self.depth = n_channels, image_size, depth
        maps = [width * min(2**level, 8) for level in range(depth)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level in range(depth):
            outer = n_channels if level == 0 else maps[level - 1]
            # The innermost level has no norm, because one pixel per image has no variance.
            plain = level in (0, depth - 1)
            convolution = nn.Conv2d(outer, maps[level], 4, 2, 1, bias=plain)
            self.down.append(convolution if plain else _normed(convolution))
            inner = maps[level] * (1 if level == depth - 1 else 2)
            transposed = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=level == 0)
            self.up.append(transposed if level == 0 else _normed(transposed))
        # Dropout starts next to the innermost level and never reaches the outermost. The shapes are
        # (c, y, x) of the maps at each level.
        self.dropout_shapes = {
            level: (maps[level - 1], image_size >> level, image_size >> level)
            for level in list(range(depth - 2, 0, -1))[:DROPOUT_BLOCKS]
        }
        self.apply(_initialise)

    def forward(self, images: Tensor, masks: dict[int, Tensor] | None = None) -> Tensor:
        """Return images (n, c, y, x) for enlarged images; without ``masks`` nothing is dropped."""
        kept = [self.down[0](images)]
        for level in range(1, self.depth):
            kept.append(self.down[level](functional.leaky_relu(kept[-1], SLOPE)))
        x = kept.pop()
        for level in range(self.depth - 1, 0, -1):
            x = self.up[level](functional.relu(x))
            if masks is not None and level in masks:
                x = x * masks[level]
            x = torch.cat([kept.pop(), x], dim=1)
        return self.up[0](functional.relu(x))

    def masks(self, n: int, random: torch.Generator) -> dict[int, Tensor]:
        """Return the dropout of n images in training, on the device of ``random``."""
        return {level: _mask((n, *shape), random) for level, shape in self.dropout_shapes.items()}

    def draw_masks(self, masks: dict[int, Tensor], random: torch.Generator) -> None:
        """Draw other dropout into the tensors of ``masks``, which :meth:`masks` made."""
        for mask in masks.values():
            mask.copy_(_mask(tuple(mask.shape), random))

    def masks_of(self, image_ids: Sequence[str], seed: int) -> dict[int, Tensor]:
        """Return the dropout of named images, each from its own stream whatever the batch."""
        drawn: dict[int, list[Tensor]] = {level: [] for level in self.dropout_shapes}
        for image_id in image_ids:
            random = torch_stream(seed, image_id, "pix2pix dropout")
            for level, shape in self.dropout_shapes.items():
                drawn[level].append(_mask(shape, random))
        return {level: torch.stack(masks) for level, masks in drawn.items()}


class PatchGAN(nn.Module):
    """The discriminator: one logit for each patch of the pair (input, output).

    There are as many strided layers, one to three, as give a patch that fits into the image: of
    16x16, 34x34 or 70x70 px.

    Arguments:
        n_channels: Number of channels of the images.
        image_size: Side of the images in px.
        width: Maps of the first layer.
    """

    def __init__(self, n_channels: int, image_size: int, width: int) -> None:
        super().__init__()
        fitting = [n for n, side in PATCH_SIDES.items() if side <= image_size]
        strided = max(fitting, default=1)
        self.receptive_field = PATCH_SIDES[strided]
        maps = [width * min(2**level, 8) for level in range(strided + 1)]
        layers: list[nn.Module] = [nn.Conv2d(2 * n_channels, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for level in range(1, strided + 1):
            stride = 2 if level < strided else 1
            convolution = nn.Conv2d(maps[level - 1], maps[level], 4, stride, 1, bias=False)
            layers += [_normed(convolution), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(maps[-1], 1, 4, 1, 1))
        self.apply(_initialise)

    def forward(self, source: Tensor, images: Tensor) -> Tensor:
        """Return the logits (n, 1, y', x') that ``images`` are real, given ``source``.

        Both are (n, c, y, x).
        """
        return self.layers(torch.cat([source, images], dim=1))


class Pairing(nn.Module):
    """Make inputs of the U-Net: y = D(x), rounded to 256 levels as in ``degrade``, and enlarged.

    Arguments:
        down: D.
        quantise: ``8bit`` rounds y to 256 levels of [0, 1]; ``none`` keeps floats.
    """

    def __init__(self, down: Forward, quantise: str) -> None:
        super().__init__()
        self.down = down
        self.up = upscale(down.size_out, down.size_in[0] // down.size_out[0])
        self.quantise = quantise

    def low_resolution(self, unit: Tensor) -> Tensor:
        """Return y (n, c, y/factor, x/factor) of images x (n, c, y, x), both in [0, 1] units."""
        low = self.down(unit)
        if self.quantise == "8bit":
            low = (low * LEVELS).round().clamp(0.0, LEVELS) / LEVELS
        return low

    def forward(self, high: Tensor) -> Tensor:
        """Return the inputs (n, c, y, x) for images (n, c, y, x), both in [-1, 1] units."""
        return enlarged(self.low_resolution((high + 1) / 2), self.up)


def enlarged(low: Tensor, up: nn.Module) -> Tensor:
    """Return the U-Net's input in [-1, 1] units for low-resolution images in [0, 1] units."""
    return up(low) * 2 - 1


def load_unet(
    path: Path | str,
    device: torch.device | str = "cpu",
    *,
    factor: int | None = None,
    image_size: tuple[int, int] | None = None,
    n_channels: int | None = None,
) -> tuple[UNet, dict[str, Any]]:
    """Return (the network of a file, frozen and in eval mode, its header).

    Arguments:
        path: The file.
        device: Where to compute.
        factor, image_size, n_channels: Properties of the images that it will
            produce; None to allow any.

    Raises:
        InputError: The file is missing, damaged, of another kind, or made for other images.
    """
    tensors, header = read_weights(path, kind=KIND)
    size = image_size and " x ".join(map(str, image_size))
    asked = {"factor": factor, "image_size": size, "channels": n_channels}
    found = {
        "factor": header["factor"],
        "image_size": f"{header['image_size']} x {header['image_size']}",
        "channels": len(header["channels"]),
    }
    differing = [name for name, value in asked.items() if value not in (None, found[name])]
    if differing:
        trained = ", ".join(f"{name} {found[name]}" for name in differing)
        wanted = ", ".join(f"{name} {asked[name]}" for name in differing)
        raise InputError(
            f"{path} was trained for {trained}, and these images have {wanted}. Give the network "
            f"of this assay and factor, or train one (python -m rls.train_pix2pix)."
        )
    net = UNet(len(header["channels"]), header["image_size"], header["generator_width"])
    load_state(net, tensors, path)
    return net.to(device).eval().requires_grad_(False), header


def check_assay(path: Path | str, header: dict[str, Any], intensity: Intensity) -> None:
    """Check the channels and the intensity scale that a network was trained on.

    Raises:
        InputError: They are not those of ``intensity``.
    """
    trained = Intensity.from_dict(header["intensity"])
    if trained != intensity:
        raise InputError(
            f"{path} was trained on the channels {', '.join(trained.channels)} with black "
            f"{trained.black} and white {trained.white}; these images have the channels "
            f"{', '.join(intensity.channels)} with black {intensity.black} and white "
            f"{intensity.white}. Give the network of this assay."
        )


def _normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))


def _mask(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Return factors that are 0 with probability ``DROPOUT`` and have a mean of 1."""
    kept = torch.rand(shape, generator=random, device=random.device) >= DROPOUT
    return kept / (1 - DROPOUT)


def _initialise(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02^2) and scales from N(1, 0.02^2); shifts start at 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
        mean = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
        nn.init.normal_(module.weight, mean, INIT_SD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
