"""Whether a search finds HR itself: cells of tune are searched with D the identity.

What a search cannot find although it sees every pixel, no search finds from LR. The search is that
of Eq. 5 without its priors: W+, mean |x - G_s(w)|, from the mean style.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from analysis.evaluation.settings import NAME, Settings
from analysis.measuring.tables import similarity
from rls.prior.styles import styles_and_mean
from rls.runtime.progress import Progress
from rls.search import rls
from rls.search.forward import Forward
from rls.search.problem import BatchProgress, Problem, Styles
from rls.stylegan2.networks import Generator

N_STYLES, STYLES_AT_ONCE = 10_000, 1000  # Article 4.1: the mean of 10,000 w.
LAPLACIANS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float64)


class Identity(Forward):
    """D that leaves images (n, c, side, side) as they are."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.size_in = self.size_out = (side, side)

    def apply_to(self, images: Tensor) -> Tensor:
        """Return the images."""
        return images


def found(
    unit: np.ndarray,
    ids: Sequence[str],
    generator: Generator,
    styles: Styles,
    learning_rate: float,
    settings: Settings,
    bar: Progress,
) -> np.ndarray:
    """Return what the search finds of images (n, c, y, x) in [0, 1] units; the bar advances."""
    device, size = generator.w_mean.device, settings.inversion_batch_size
    course = rls.Settings(
        steps=settings.inversion_steps,
        learning_rate=learning_rate,
        learning_rate_unit="absolute",
        schedule="one_cycle_drop",
        lambda_w=0.0,
        lambda_c=0.0,
        lambda_n=0.0,
        cross="mean_distance",
    )
    images = []
    for first in range(0, len(unit), size):
        # Every batch is filled, so that a cell does not depend on where the last batch ends.
        rows = np.arange(first, first + size) % len(unit)
        problem = Problem(
            y=torch.from_numpy(unit[rows]).to(device),
            image_ids=tuple(ids[row] for row in rows),
            generator=generator,
            flow=None,
            styles=styles,
            factor=1,
            forward=Identity(unit.shape[-1]).to(device),
            seed=settings.seed,
            device=device,
            precision="float32",
            noise="shared",
        )
        batches = -(-(len(unit) - first) // size)
        one = rls.super_resolve(problem, course, BatchProgress(bar, batches))
        images.append(one.images.cpu().numpy())
        bar.advance(min(size, len(unit) - first))
    return np.concatenate(images)[: len(unit)]


def invert(
    unit: np.ndarray, ids: Sequence[str], generator: Generator, settings: Settings
) -> dict[str, Any]:
    """Return PSNR and mean absolute error of searches for HR images, after a choice of the rate.

    The first ``inversion_choose`` images choose the rate of least error; the others are reported.

    Arguments:
        unit: HR images of cells (n, c, y, x) in [0, 1] units, of which the first are used.
    """
    w, mean = styles_and_mean(
        generator,
        N_STYLES,
        N_STYLES,
        seed=settings.seed,
        batch_size=STYLES_AT_ONCE,
        label="styles of the generator",
    )
    styles = Styles(w.to(generator.w_mean.device), mean.to(generator.w_mean.device))
    rates, few = settings.inversion_rates, settings.inversion_choose
    n = min(settings.n_inverted, len(unit) - few)
    errors = {}
    with Progress(n + few * len(rates), f"{NAME}: searching HR", "img") as bar:
        for rate in rates:
            images = found(unit[:few], ids[:few], generator, styles, rate, settings, bar)
            errors[rate] = float(np.abs(images - unit[:few]).mean())
        rate = min(rates, key=errors.__getitem__)
        shown = slice(few, few + n)
        images = found(unit[shown], ids[shown], generator, styles, rate, settings, bar)
    quality = similarity(torch.from_numpy(images), torch.from_numpy(unit[shown]))
    return {
        "n": n,
        "steps": settings.inversion_steps,
        "learning_rate": rate,
        "l1_by_rate": {f"{one:g}": error for one, error in errors.items()},
        "psnr_db": float(np.median(quality["psnr_db"])),
        "l1": float(np.abs(images - unit[shown]).mean()),
        "noise_l1": float(noise_l1(unit[shown]).mean()),
    }


def noise_l1(images: np.ndarray) -> np.ndarray:
    """Return the mean absolute noise of each image (n, c, y, x), as white Gaussian noise has it.

    The sd is the mean absolute response to the difference of two Laplacians, which no plane raises.
    Fine structure does, so the number is rather too high.

    Source: Immerkaer 1996, Comput. Vis. Image Underst. 64:300.
    """
    height, width = images.shape[-2:]
    kernel = LAPLACIANS[None, None]
    response = np.abs(ndimage.correlate(images.astype(np.float64), kernel))[..., 1:-1, 1:-1]
    sd = math.sqrt(math.pi / 2) * response.sum(axis=(2, 3)) / (6 * (height - 2) * (width - 2))
    return np.asarray(math.sqrt(2 / math.pi) * sd.mean(axis=1))
