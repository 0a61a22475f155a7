"""A small network that tells two treatments apart; its 32 features serve KD and FD (section 4.2).

It takes any number of channels and any size from 4 px up, in unit intensity. Each channel is
standardised with one frozen mean and sd from the training cells, never cell by cell, because a
treatment may change the brightness of a cell. Features are averaged over the eight turns and flips
of an image, so that a rotated cell has the same features and the same class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rls.io import read_weights
from rls.io.weights import load_state
from rls.networks.batches import in_batches
from rls.runtime.errors import InputError

FEATURES = 32
SMALLEST_SIDE = 4  # Side in px of the smallest image, and of the maps before the features.


class TreatmentNet(nn.Module):
    """Convolutions down to 4 x 4, then 32 features, then two logits.

    Arguments:
        channels: Number of channels of the images.
        size: (y, x) of the images in px, at least 4.
        width: Maps of the first layer; they double at each halving, up to four times as many.
        dropout: Share of the 32 features left out in training.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, channels: int, size: tuple[int, int], width: int, dropout: float) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("sd", torch.ones(channels, 1, 1))
        layers: list[nn.Module] = []
        side, inner, outer = min(size), channels, width
        while True:
            layers += [
                nn.Conv2d(inner, outer, 3, padding=1, bias=False),
                nn.BatchNorm2d(outer),
                nn.SiLU(),
            ]
            if side < 2 * SMALLEST_SIDE:
                break
            layers.append(nn.AvgPool2d(2))
            side, inner, outer = side // 2, outer, min(2 * outer, 4 * width)
        # Cells are centred, so the place in the crop is kept: 4 x 4 values, not a global mean.
        layers += [nn.AdaptiveAvgPool2d(SMALLEST_SIDE), nn.Flatten()]
        self.body = nn.Sequential(*layers)
        self.squeeze = nn.Sequential(nn.Linear(outer * SMALLEST_SIDE**2, FEATURES), nn.SiLU())
        self.dropout = dropout
        self.head = nn.Linear(FEATURES, 2)

    def set_standardisation(self, mean: np.ndarray, sd: np.ndarray) -> None:
        """Set the mean and sd (c,) of each channel, in unit intensity."""
        self.mean.copy_(torch.as_tensor(mean, dtype=torch.float32)[:, None, None])
        self.sd.copy_(torch.as_tensor(sd, dtype=torch.float32)[:, None, None])

    def features(self, images: Tensor) -> Tensor:
        """Return (n, 32) features of images (n, c, y, x) in unit intensity, in one orientation."""
        return self.squeeze(self.body((images - self.mean) / self.sd))

    def forward(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return (n, 2) logits of images (n, c, y, x) in one orientation.

        Arguments:
            kept: Factors (n, 32) of the features in training, see :meth:`draw_dropout`.
        """
        features = self.features(images)
        return self.head(features if kept is None else features * kept)

    def draw_dropout(self, kept: Tensor, random: torch.Generator) -> None:
        """Fill ``kept`` with zeros for the features to leave out; the mean of its draws is 1."""
        share = 1 - self.dropout
        kept.bernoulli_(share, generator=random).div_(share)

    def features_of_views(self, images: Tensor) -> Tensor:
        """Return (n, 32) features averaged over turns and flips, as the head takes them."""
        return torch.stack([self.features(view) for view in views(images)]).mean(dim=0)


def views(images: Tensor) -> Iterator[Tensor]:
    """Yield the eight quarter turns and flips of images (n, c, y, x), or four if y is not x."""
    turns = range(4) if images.shape[-1] == images.shape[-2] else (0, 2)
    for turn in turns:
        turned = torch.rot90(images, turn, (-2, -1))
        yield turned
        yield turned.flip(-1)


def pixels_of_views(height: int, width: int) -> Tensor:
    """Return for each view where its pixels come from, (8 or 4, y * x)."""
    pixels = torch.arange(height * width).view(1, 1, height, width)
    return torch.stack([view.flatten() for view in views(pixels)])


def oriented(images: Tensor, pixels: Tensor, choice: Tensor) -> Tensor:
    """Return images (n, c, y, x), each in an orientation of its own.

    Arguments:
        pixels: What :func:`pixels_of_views` returns, on the device of the images.
        choice: Numbers (n,) of the views.
    """
    source = pixels[choice][:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, source).view_as(images)


class Classifier:
    """A trained :class:`TreatmentNet` with its header; it is applied and never changed.

    Attributes:
        net: The network, in eval mode.
        header: classes (negative, positive), channels, image_size (y, x), pixel_size_um,
            intensity, accuracy_tune, n_training, n_tune, settings.
        device: Where the network is.
        batch_size: Images per call of the network.
    """

    def __init__(
        self, net: TreatmentNet, header: dict[str, Any], device: torch.device, batch_size: int
    ) -> None:
        self.net = net.eval().requires_grad_(False).to(device)
        self.header = header
        self.device = device
        self.batch_size = batch_size

    def features(self, images_unit: np.ndarray) -> np.ndarray:
        """Return float32 (n, 32) features of images (n, c, y, x) in unit intensity.

        Raises:
            InputError: The images have another size or number of channels.
        """
        expected = (len(self.header["channels"]), *self.header["image_size"])
        if images_unit.ndim != 4 or images_unit.shape[1:] != expected:
            raise InputError(
                f"The classifier was trained on images of {expected[0]} channels and "
                f"{expected[1]} x {expected[2]} px and was given an array {images_unit.shape}."
            )
        if not len(images_unit):
            return np.empty((0, FEATURES), np.float32)
        return in_batches(self.net.features_of_views, images_unit, self.device, self.batch_size)

    def probabilities(self, images_unit: np.ndarray) -> np.ndarray:
        """Return float32 (n, 2), the probabilities of the negative and the positive control."""
        features = torch.as_tensor(self.features(images_unit), device=self.device)
        with torch.no_grad():
            return torch.softmax(self.net.head(features), dim=1).cpu().numpy()


def load_classifier(
    path: Path | str,
    *,
    image_size: tuple[int, int] | None = None,
    channels: Sequence[str] | None = None,
    device: torch.device | None = None,
    batch_size: int = 64,
) -> Classifier:
    """Return the classifier in ``path``.

    Arguments:
        path: ``classifier.safetensors``.
        image_size: (y, x) in px of the images it will be applied to; None to allow any.
        channels: Names of their channels, in order; None to allow any.
        device: Where to compute; None for the CPU.
        batch_size: Images per call of the network.

    Raises:
        InputError: The file is missing, damaged, no classifier, or made for other images.
    """
    tensors, header = read_weights(path, kind="classifier")
    trained = tuple(header["image_size"])
    if image_size is not None and trained != tuple(image_size):
        raise InputError(
            f"The classifier {path} was trained on images of {trained[0]} x {trained[1]} px; the "
            f"stack has {image_size[0]} x {image_size[1]} px. Train one on this stack "
            f"(python -m rls.train_classifier), or give the classifier of this size."
        )
    if channels is not None and list(channels) != list(header["channels"]):
        raise InputError(
            f"The classifier {path} was trained on the channels {', '.join(header['channels'])}; "
            f"the stack has {', '.join(channels)}. Give the classifier of this assay."
        )
    net = TreatmentNet(
        len(header["channels"]), (trained[0], trained[1]), header["width"], header["dropout"]
    )
    load_state(net, tensors, path)
    return Classifier(net, header, device or torch.device("cpu"), batch_size)
