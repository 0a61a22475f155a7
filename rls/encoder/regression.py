"""A regression from a low-resolution image y to features h of its cell, with a spread for each.

The network gives the mean m(y) and the log sd log s(y) of every standardised feature t. It makes no
image, so it searches nothing: a cell takes a millisecond. :mod:`rls.encoder.regression_training`
fits it to pairs (y, h), and what it was fitted to decides what it may claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from rls.encoder.settings import LARGEST_MAP
from rls.io import read_weights, write_weights
from rls.io.names import AMORTISED, REGRESSION
from rls.io.weights import load_state
from rls.networks.batches import in_batches
from rls.networks.classifier import views
from rls.runtime.errors import InputError

LOG_SD = (-5.0, 3.0)  # Range of log s: a spread must neither vanish nor overflow.


@dataclass(frozen=True)
class Scale:
    """How each of k features becomes a number t of mean 0 and sd 1 that a network can learn.

    Attributes:
        names: Names of the features.
        logarithm: Whether t is linear in log h instead of h.
        mean, sd: Of log h or h over the pairs.
    """

    names: tuple[str, ...]
    logarithm: tuple[bool, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @classmethod
    def of(cls, names: Sequence[str], values: np.ndarray) -> Scale:
        """Return the scale of values (n, k); NaN marks what could not be measured.

        The logarithm is taken of a feature that is above 0 on every pair and less skewed on that
        scale: areas, ratios, intensities.

        Raises:
            InputError: A feature was measured on fewer than two pairs.
        """
        logarithm, means, sds = [], [], []
        for name, column in zip(names, np.asarray(values, dtype=float).T, strict=True):
            known = column[np.isfinite(column)]
            if len(known) < 2:
                raise InputError(
                    f"Found {len(known)} of {len(column)} images on which {name} can be measured, "
                    "expected 2 or more. If a generator made them, train it for longer; or leave "
                    "the feature out of the assay."
                )
            in_log = bool((known > 0).all() and np.ptp(known) > 0) and (
                abs(stats.skew(np.log(known))) < abs(stats.skew(known))
            )
            used = np.log(known) if in_log else known
            logarithm.append(bool(in_log))
            means.append(float(used.mean()))
            sds.append(float(used.std()) or 1.0)  # a feature that never varies
        return cls(tuple(names), tuple(logarithm), tuple(means), tuple(sds))

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """Return t (n, k) float32 of features h (n, k); NaN stays NaN.

        Where t is linear in log h, an h of 0 or less gives NaN: it is outside the scale's range.
        """
        values = np.array(values, dtype=float)
        for j, in_log in enumerate(self.logarithm):
            if in_log:
                values[:, j] = np.log(np.where(values[:, j] > 0, values[:, j], np.nan))
        return ((values - np.array(self.mean)) / np.array(self.sd)).astype(np.float32)

    def in_units(self, mean: np.ndarray, log_sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and sd of h, (n, k) each in its unit, of Gaussian t.

        Where t is linear in log h, h is log-normal: E h = exp(m + s^2 / 2), and its sd is
        E h sqrt(exp(s^2) - 1).
        """
        centre = np.array(self.mean) + np.array(self.sd) * np.asarray(mean, dtype=float)
        spread = np.array(self.sd) * np.exp(np.asarray(log_sd, dtype=float))
        variance = np.where(self.logarithm, spread**2, 0.0)
        expected = np.exp(np.where(self.logarithm, centre + variance / 2, 0.0))
        centre = np.where(self.logarithm, expected, centre)
        return centre, np.where(self.logarithm, expected * np.sqrt(np.expm1(variance)), spread)

    def as_dict(self) -> dict[str, Any]:
        """Return the scale as the header of a file holds it."""
        return {
            "features": list(self.names),
            "transforms": ["log" if x else "none" for x in self.logarithm],
            "mean": list(self.mean),
            "sd": list(self.sd),
        }

    @classmethod
    def from_dict(cls, header: Mapping[str, Any]) -> Scale:
        """Return the scale of a header."""
        logarithm = tuple(x == "log" for x in header["transforms"])
        names, mean, sd = (tuple(header[name]) for name in ("features", "mean", "sd"))
        return cls(names, logarithm, mean, sd)


class RegressionNet(nn.Module):
    """Three 3x3 convolutions and two linear layers.

    Arguments:
        n_channels: Number of channels of y.
        size: (y, x) of y in px.
        n_features: Number k of features.
        width: Maps of the first two layers; the third has twice as many.
        hidden: Values between the linear layers.
        turned: Whether the answer is the mean over the quarter turns and flips of y. It is right
            where D, and all that follows it, treats every orientation alike.
    """

    mean: Tensor
    sd: Tensor

    def __init__(
        self,
        n_channels: int,
        size: tuple[int, int],
        n_features: int,
        *,
        width: int,
        hidden: int,
        turned: bool,
    ) -> None:
        super().__init__()
        self.size, self.width, self.hidden, self.turned = size, width, hidden, turned
        self.register_buffer("mean", torch.zeros(n_channels, 1, 1))
        self.register_buffer("sd", torch.ones(n_channels, 1, 1))
        layers: list[nn.Module] = []
        for inner, outer in ((n_channels, width), (width, width), (width, 2 * width)):
            layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.SiLU()]
        maps = tuple(min(side, LARGEST_MAP) for side in size)
        if maps != size:
            layers.append(nn.AdaptiveAvgPool2d(maps))
        # Cells are centred, so the place in the crop is kept and not averaged away.
        n_values = 2 * width * maps[0] * maps[1]
        layers += [nn.Flatten(), nn.Linear(n_values, hidden), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(hidden, 2 * n_features)

    def standardise_by(self, images: Tensor) -> None:
        """Take mean and sd of each channel over images (n, c, y, x), once and for all."""
        self.mean.copy_(images.mean(dim=(0, 2, 3))[:, None, None])
        self.sd.copy_(images.std(dim=(0, 2, 3))[:, None, None].clamp_min(1e-6))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log sd of t, (n, k) each, of images y in one orientation."""
        mean, log_sd = self.head(self.body((y - self.mean) / self.sd)).chunk(2, dim=1)
        return mean, log_sd.clamp(*LOG_SD)

    def predict(self, y: Tensor) -> Tensor:
        """Return mean and log sd beside each other, (n, 2 k), averaged over turns if they count."""
        seen = views(y) if self.turned else (y,)
        return torch.stack([torch.cat(self(view), dim=1) for view in seen]).mean(dim=0)


class BestNet(RegressionNet):
    """The network for some features, and for others a linear predictor on the pixels of y.

    Attributes:
        weight, bias: (k, c y x) and (k,): t of standardised pixels.
        log_sd: (k,) the same spread for every image.
        linear: (k,) whether the linear predictor answers for a feature.
    """

    weight: Tensor
    bias: Tensor
    log_sd: Tensor
    linear: Tensor

    def __init__(
        self,
        n_channels: int,
        size: tuple[int, int],
        n_features: int,
        *,
        width: int,
        hidden: int,
        turned: bool,
    ) -> None:
        super().__init__(n_channels, size, n_features, width=width, hidden=hidden, turned=turned)
        n_pixels = n_channels * size[0] * size[1]
        self.register_buffer("weight", torch.zeros(n_features, n_pixels))
        self.register_buffer("bias", torch.zeros(n_features))
        self.register_buffer("log_sd", torch.zeros(n_features))
        self.register_buffer("linear", torch.zeros(n_features, dtype=torch.bool))

    def predict(self, y: Tensor) -> Tensor:
        """Return mean and log sd beside each other, (n, 2 k), each by its better predictor."""
        found = super().predict(y)
        mean = pixels_of(self, y) @ self.weight.T + self.bias
        of_pixels = torch.cat([mean, self.log_sd.expand_as(mean)], dim=1)
        return torch.where(self.linear.repeat(2), of_pixels, found)


def pixels_of(net: RegressionNet, y: Tensor) -> Tensor:
    """Return standardised pixels (n, c y x) of images y, averaged over turns where they count."""
    seen = views(y) if net.turned else (y,)
    return torch.stack([((v - net.mean) / net.sd).flatten(1) for v in seen]).mean(dim=0)


NETWORKS = {AMORTISED: RegressionNet, REGRESSION: BestNet}  # by the kind of a file


@dataclass(frozen=True)
class Regression:
    """A trained network with the scale of its features and its header."""

    net: RegressionNet
    scale: Scale
    header: dict[str, Any]

    def predict(self, y: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and sd of every feature, (n, k) each in its unit, of images y (n, c, y, x).

        Arguments:
            y: In [0, 1] units.
        """
        found = in_batches(self.net.predict, y, self.net.mean.device, batch_size)
        mean, log_sd = np.split(found, 2, axis=1)
        return self.scale.in_units(mean, log_sd)


def write_regression(path: Path, regression: Regression) -> None:
    """Write a regression; its header gains the shape of the network and the scale.

    Its kind is ``amortised`` unless its header names another of :data:`NETWORKS`.
    """
    net, scale = regression.net, regression.scale
    shape = {
        "n_channels": len(net.mean),
        "low_size": list(net.size),
        "width": net.width,
        "hidden": net.hidden,
        "turned": net.turned,
    }
    header = {"kind": AMORTISED, **regression.header, **shape, **scale.as_dict()}
    write_weights(path, net.state_dict(), header)


def load_regression(path: Path, device: torch.device) -> Regression:
    """Return the regression of a file; its header says which of :data:`NETWORKS` it is.

    Raises:
        InputError: The file is missing or damaged, or holds something else.
    """
    tensors, header = read_weights(path)
    kind = str(header.get("kind"))
    if kind not in NETWORKS:
        raise InputError(f"{path} holds a {kind}, expected one of {', '.join(NETWORKS)}.")
    scale = Scale.from_dict(header)
    height, width = header["low_size"]
    net = NETWORKS[kind](
        header["n_channels"],
        (height, width),
        len(scale.names),
        width=header["width"],
        hidden=header["hidden"],
        turned=header["turned"],
    )
    load_state(net, tensors, path)
    return Regression(net.eval().requires_grad_(False).to(device), scale, header)
