"""How near the generator is to real crops that it never saw, and whether it is as diverse.

Distances are taken on fixed random convolutions, which know nothing of treatments and need no
download (rls.networks.perceptual). These 96 features are much correlated, and a few bright or
broken cells lie tens of sd away: standardised one by one, as in Table 1, the cubic kernel compares
little but the brightness of such cells. On 600 crops of BBBC021 at 64 px a blur by 2 px then stays within 0.2
sd of chance; whitened and drawn in by asinh, as here, it is 20 sd away. Numbers of two seeds or two
assays are not comparable. Nothing is clipped: the generator is trained on images that are not.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rls.networks.batches import in_batches
from rls.networks.kernel_distance import kernel_distance, polynomial_kernel, standardise
from rls.networks.perceptual import RandomFeatures
from rls.runtime.errors import InputError
from rls.runtime.streams import stream, torch_stream

SHUFFLES = 100  # of the real crops: how far two sets of one distribution are by chance
CHANCE = 95.0  # percentile of their distances
LEAST_VARIANCE = 1e-3  # of the largest, of a direction that is whitened; less is noise


class Generates(Protocol):
    """A generator: z (n, z_dim) to images (n, c, y, x), about [-1, 1]."""

    @property
    def z_dim(self) -> int:
        """Dimensions of z."""
        ...

    def __call__(self, z: Tensor, *, noise: str) -> Tensor:
        """Images of z."""
        ...


class HeldOut:
    """Real crops that are not trained on, and the distance of a generator to them.

    Arguments:
        images_unit: Crops (n, c, y, x) in unit intensity, cut and turned as the training's are.
        floor_images: Training crops made in the same way, best as many; the floor is the distance
            to them. Without, it is that of two halves of ``images_unit``, twice as uncertain.
        seed: Of the random convolutions and of z.
        batch_size: Images at once; a result is bit-equal at one batch size.

    Raises:
        InputError: One of the sets has fewer than two crops.
    """

    def __init__(
        self,
        images_unit: np.ndarray,
        *,
        floor_images: np.ndarray | None = None,
        seed: int,
        device: torch.device,
        batch_size: int,
    ) -> None:
        n = len(images_unit)
        if min(n, n if floor_images is None else len(floor_images)) < 2:
            raise InputError(
                f"Found {n} held-out crops, expected at least 2, better hundreds. Hold out more "
                "cells, or measure no distance to them."
            )
        self.seed, self.device, self.batch_size = seed, device, batch_size
        self.network = RandomFeatures(images_unit.shape[1], seed).to(device)
        raw = self._features(images_unit)
        self._scale = Whitening(raw)
        self.features = self._scale(raw)
        if floor_images is None:
            other = self.features
            order = stream(seed, "held out", "halves").permutation(n)
            halves = self.features[order[: n // 2]], self.features[order[n // 2 :]]
            self.floor = distance_floor(*halves, seed=seed)
        else:
            other = self._scale(self._features(floor_images))
            self.floor = distance_floor(self.features, other, seed=seed)
        # Of other crops than the scale was made of: it makes its own a little narrower.
        self.real_spread = mean_pairwise_distance(other)

    def __len__(self) -> int:
        return len(self.features)

    def _features(self, images_unit: np.ndarray) -> np.ndarray:
        found = in_batches(self.network, images_unit, self.device, self.batch_size)
        return found.astype(np.float64)

    @torch.no_grad()
    def distance(self, generator: Generates) -> dict[str, float]:
        """Return three numbers for as many generated images of fixed z as crops are held out.

        - ``kd``: their kernel distance to the held-out crops (not multiplied by 1,000);
        - ``kd_floor``: the same of training crops: where a generator is that has learned its images
          perfectly. At least what 95 % of random divisions of both sets stay under, so that
          differences below it are chance;
        - ``spread``: the mean feature distance of two generated images over that of two real ones.
          1: as diverse; near 0: the generator has collapsed to few images.

        All are NaN if an image is not finite.
        """
        random = torch_stream(self.seed, "held out", "train_gan")
        z = torch.randn((len(self), generator.z_dim), generator=random).numpy()

        def embed(z: Tensor) -> Tensor:
            return self.network((generator(z, noise="const").float() + 1) / 2)

        features = in_batches(embed, z, self.device, self.batch_size).astype(np.float64)
        found = self._scale(features)
        return {
            "kd": kernel_distance(found, self.features),
            "kd_floor": self.floor,
            "spread": mean_pairwise_distance(found) / self.real_spread,
        }


class Whitening:
    """Features (n, d) in units of the spread of ``reference`` (m, d), alike in all directions.

    Standardised, turned to the principal directions of the reference, each divided by its sd (at
    least the root of 1e-3 of the largest variance), then asinh: linear within 1 sd, logarithmic
    beyond, so that no outlier decides.
    """

    def __init__(self, reference: np.ndarray) -> None:
        self.reference = reference
        own = standardise(reference, reference)
        variances, directions = np.linalg.eigh(own.T @ own / len(own))
        least = LEAST_VARIANCE * variances[-1]
        self.matrix = directions / np.sqrt(np.maximum(variances, max(least, 1e-30)))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return np.arcsinh(standardise(features, self.reference) @ self.matrix)


def mean_pairwise_distance(features: np.ndarray) -> float:
    """Return the mean Euclidean distance of two different rows of (n, d)."""
    return float(torch.pdist(torch.from_numpy(features)).mean())


def distance_floor(x: np.ndarray, y: np.ndarray, *, seed: int) -> float:
    """Return KD of two real sets (n, d), (m, d), at least the 95th percentile over shuffles.

    In a shuffle the rows of both are divided anew at random. KD averages to 0 there and may be
    negative, so its value for one division says little. NaN with fewer than two rows in a set.
    """
    if min(len(x), len(y)) < 2:
        return math.nan
    pooled = np.concatenate([x, y])
    n, m = len(x), len(y)
    kernel = polynomial_kernel(pooled, pooled)
    np.fill_diagonal(kernel, 0.0)
    random = stream(seed, "held out", "shuffles")
    members = np.zeros((SHUFFLES, n + m))
    for row in members:
        row[random.permutation(n + m)[:n]] = 1.0
    others = 1.0 - members
    within = ((members @ kernel) * members).sum(axis=1) / (n * (n - 1))
    within += ((others @ kernel) * others).sum(axis=1) / (m * (m - 1))
    by_chance = within - 2.0 * ((members @ kernel) * others).sum(axis=1) / (n * m)
    return max(kernel_distance(x, y), float(np.percentile(by_chance, CHANCE)))
