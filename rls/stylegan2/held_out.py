"""Measure how near a generator is to held-out crops, and whether it is as diverse.

Distances are between features of fixed random convolutions, which know nothing about treatments and
need no download (``rls.networks.perceptual``). These 96 features are strongly correlated, and a few
bright or broken cells lie tens of sd away. Standardised one by one, as in Table 1, the cubic kernel
would compare little but the brightness of such cells: on 600 crops of BBBC021 at 64 px, a blur by
2 px stays within 0.2 sd of chance. Whitened and compressed by asinh, as here, it is 20 sd away.
Numbers of different seeds or assays are not comparable. Nothing is clipped, because the images that
the generator is trained on are not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rls.io.splits import CHOOSE
from rls.networks.batches import in_batches
from rls.networks.kernel_distance import kernel_distance, polynomial_kernel, standardise
from rls.networks.perceptual import RandomFeatures
from rls.runtime.errors import InputError
from rls.runtime.streams import stream, torch_stream
from rls.stylegan2.networks import Generator
from rls.stylegan2.settings import Settings
from rls.stylegan2.training_images import TrainingImages

SHUFFLES = 100  # random divisions of the real crops, whose distances are due to chance
CHANCE = 95.0  # percentile of these distances
LEAST_VARIANCE = 1e-3  # directions with less than this share of the largest variance are noise
LAYOUT_SIDE = 8  # blocks along a side of an image, whose means are its layout


class HeldOut:
    """Real crops that are not trained on, and the distance of a generator to them.

    Arguments:
        images_unit: Crops (n, c, y, x) in unit intensity, cut and rotated as in training.
        floor_images: Training crops made in the same way, preferably as many; the floor is the
            distance to them.
        seed: Seed of the random convolutions and of z.
        batch_size: Images computed at once; results are bit-equal for equal batch sizes.

    Raises:
        InputError: One of the sets has fewer than two crops.
    """

    def __init__(
        self,
        images_unit: np.ndarray,
        *,
        floor_images: np.ndarray,
        seed: int,
        device: torch.device,
        batch_size: int,
    ) -> None:
        n = len(images_unit)
        if min(n, len(floor_images)) < 2:
            raise InputError(
                f"Found {n} held-out crops, expected at least 2, better hundreds. Hold out more "
                "cells, or measure no distance to them."
            )
        self.seed, self.device, self.batch_size = seed, device, batch_size
        self.network = RandomFeatures(images_unit.shape[1], seed).to(device)
        raw, raw_floor = (self._features(self.network, x) for x in (images_unit, floor_images))
        self._scale = Whitening(raw)
        self.features, other = self._scale(raw), self._scale(raw_floor)
        self.floor = distance_floor(self.features, other, seed=seed)
        # Use crops that were not used to fit the whitening, because it shrinks their spread.
        self.real_spread = mean_pairwise_distance(other)
        self.real_layouts = layout_spread(floor_images)

    def _features(self, function: Callable[[Tensor], Tensor], inputs: np.ndarray) -> np.ndarray:
        """Return the features (n, d), float64, that ``function`` computes of its inputs."""
        found = in_batches(function, inputs, self.device, self.batch_size)
        return found.astype(np.float64)

    @torch.no_grad()
    def distance(self, generator: Generator) -> dict[str, float]:
        """Return four numbers about generated images of fixed z, as many as crops are held out.

        Returns:
            kd: Kernel distance of generated images to held-out crops, not multiplied by 1,000.
            kd_floor: The same for training crops, which a generator reaches that has learned its
                images perfectly. It is at least the 95th percentile over random divisions of both
                sets, so that differences below it are due to chance.
            spread: Mean feature distance of two generated images over that of two real ones. At 1
                the generator is as diverse; near 0 it has collapsed to few images.
            layouts: :func:`layout_spread` of generated images over that of training crops, in the
                channel where it is lowest. Below 1 the images share where their cells lie.

            ``kd``, ``spread`` and ``layouts`` are NaN if an image is not finite.
        """
        random = torch_stream(self.seed, "held out", "train_gan")
        z = torch.randn((len(self.features), generator.z_dim), generator=random).numpy()
        images = in_batches(
            lambda z: (generator(z, noise="const").float() + 1) / 2, z, self.device, self.batch_size
        )
        found = self._scale(self._features(self.network, images))
        return {
            "kd": kernel_distance(found, self.features),
            "kd_floor": self.floor,
            "spread": mean_pairwise_distance(found) / self.real_spread,
            "layouts": float((layout_spread(images) / self.real_layouts).min()),
        }


def make_held_out(data: TrainingImages, settings: Settings, device: torch.device) -> HeldOut | None:
    """Return the crops of split tune, from which distances are measured, and their floor.

    Held-out and training crops are rotated and cut as in training; the floor is their distance.
    None is returned, and the reason printed, if there are too few held-out crops.
    """
    held_out = int(data.stack.table["split"].isin(CHOOSE.splits).sum())
    n = min(held_out, len(data), settings.evaluate_images)
    if n < 2:
        reason = f"{held_out} cells of split {CHOOSE}"
        if not settings.evaluate_images:
            reason = "evaluate_images is 0"
        print(f"train_gan: no kernel distance ({reason})", flush=True)
        return None
    size, seed = settings.image_size, settings.seed
    other = TrainingImages(data.stack, data.intensity, size, seed, use=CHOOSE, binning=data.binning)
    cpu = torch.device("cpu")
    unit, floor = ((x.batch(0, n, cpu).numpy() + 1) / 2 for x in (other, data))
    batch = settings.batch_size
    return HeldOut(unit, floor_images=floor, seed=seed, device=device, batch_size=batch)


class Whitening:
    """Whitening by the features ``reference`` (m, d), followed by asinh.

    Features are standardised, rotated to the principal directions of the reference, and divided by
    the sd along each (at least the root of 1e-3 of the largest variance). The asinh is linear
    within 1 sd and logarithmic beyond, so that no outlier dominates.
    """

    def __init__(self, reference: np.ndarray) -> None:
        self.reference = reference
        own = standardise(reference, reference)
        variances, directions = np.linalg.eigh(own.T @ own / len(own))
        least = LEAST_VARIANCE * variances[-1]
        self.matrix = directions / np.sqrt(np.maximum(variances, max(least, 1e-30)))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the whitened features (n, d)."""
        return np.arcsinh(standardise(features, self.reference) @ self.matrix)


def layout_spread(images: np.ndarray) -> np.ndarray:
    """Return how much the layouts of images (n, c, y, x) differ, (c,): 0 where all are one.

    The layout of an image is the means of its 8 x 8 blocks; its sides are powers of two from 8 on.
    The spread is the root of the variance between the images, averaged over the blocks.
    """
    n, c, height, width = images.shape
    side = LAYOUT_SIDE
    blocks = images.reshape(n, c, side, height // side, side, width // side)
    means = blocks.mean(axis=(3, 5), dtype=np.float64)
    return np.asarray(np.sqrt(means.var(axis=0).mean(axis=(1, 2))))


def mean_pairwise_distance(features: np.ndarray) -> float:
    """Return the mean Euclidean distance of two different rows of (n, d)."""
    return float(torch.pdist(torch.from_numpy(features)).mean())


def distance_floor(x: np.ndarray, y: np.ndarray, *, seed: int) -> float:
    """Return the KD of two real sets (n, d) and (m, d), at least its 95th percentile by chance.

    The percentile is over random divisions of the rows of both sets. There KD averages to 0 and may
    be negative, so its value for one division says little.
    """
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
