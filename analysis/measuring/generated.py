"""What a generator draws: features of its images, and their distance to cells that it never saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from analysis.features.settings import Measurement
from analysis.measuring.tables import features_of_rows
from rls.io import Intensity, Stack
from rls.io.splits import COMPARE, REPORT, Use
from rls.runtime.progress import Progress
from rls.stylegan2.held_out import HeldOut
from rls.stylegan2.networks import Generator
from rls.stylegan2.sampling import draw_z
from rls.stylegan2.training_images import TrainingImages

NAME = "measure_generated"
ALL = ""  # the treatment of a distance to cells of both controls


@torch.no_grad()
def generated_features(
    generator: Generator,
    intensity: Intensity,
    measurement: Measurement,
    *,
    n_images: int,
    seed: int,
) -> pd.DataFrame:
    """Return the features of images 0 to n_images - 1, measured as those of cells are.

    Images have the generator's noise maps and no truncation.

    Returns:
        ``number``, the columns of the features, and ``status``; one row an image.
    """
    size, device = measurement.settings.batch_size, generator.w_mean.device
    tables = []
    with Progress(n_images, f"{NAME}: drawing", "img") as bar:
        for first in range(0, n_images, size):
            # Every batch is filled, so that no image depends on where the last one ends.
            images = generator(draw_z(generator, seed, first, size).to(device), noise="const")
            kept = ((images.float() + 1) / 2)[: n_images - first].cpu().numpy()
            rows = pd.DataFrame({"number": range(first, first + len(kept))})
            counts = intensity.to_counts(kept)
            stack = Stack(counts, rows, intensity.channels, generator.pixel_size_um)
            found = features_of_rows(stack, intensity, np.arange(len(kept)), measurement)
            tables.append(pd.concat([rows, found.reset_index(drop=True)], axis=1))
            bar.advance(len(kept))
    return pd.concat(tables, ignore_index=True)


def distances(
    generator: Generator,
    cells: Stack,
    intensity: Intensity,
    controls: Sequence[str],
    *,
    seed: int,
    batch_size: int,
) -> pd.DataFrame:
    """Return the kernel distance of generated images to cells of evaluation.

    The cells of both controls are one reference, and those of each control another. As many images
    are generated as the reference has cells, with the same z for every generator, so that
    generators can be compared. The floor is the distance of cells of splits classifier and tune,
    which no generator of this assay was trained on either.

    Returns:
        treatment ('' for both), n_cells, kd, kd_floor; one row a reference.
    """
    rows = []
    for treatment in (ALL, *controls):
        names = controls if treatment == ALL else [treatment]
        real, others = (
            _images(cells, intensity, names, use, generator.image_size, seed)
            for use in (REPORT, COMPARE)
        )
        held_out = HeldOut(
            real,
            floor_images=others,
            seed=seed,
            device=generator.w_mean.device,
            batch_size=batch_size,
        )
        found = held_out.distance(generator)
        own = {"treatment": treatment, "n_cells": len(real)}
        rows.append({**own, "kd": found["kd"], "kd_floor": found["kd_floor"]})
    return pd.DataFrame(rows)


def _images(
    cells: Stack,
    intensity: Intensity,
    treatments: Sequence[str],
    use: Use,
    image_size: int,
    seed: int,
) -> np.ndarray:
    """Return the cells of some treatments in [0, 1], (n, c, y, x), turned as in training."""
    part = cells.select(np.flatnonzero(cells.table["treatment"].isin(treatments)))
    images = TrainingImages(part, intensity, image_size, seed, use=use)
    shown = images.batch(0, len(images), torch.device("cpu"))
    return np.asarray((shown.numpy() + 1) / 2)
