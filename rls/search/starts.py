"""Where a search starts: at the mean style, at a random one, or where the encoder says."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rls.search.descent import exactly
from rls.search.problem import Draws, Problem, need, select_rows
from rls.search.start_settings import DRAWS, MEAN, RANDOM

RESTART = "restart"  # names the random streams of random starts
DRAW = "draw of a start"  # names those of the encoder's draws


def start_of(problem: Problem, start: str, spread: float = 1.0) -> Tensor:
    """Return one style for each image, (n, d), at which its search starts.

    They are computed ``problem.lanes`` at a time, so that a style does not depend on n.

    Arguments:
        start: One of STARTS in rls/search/start_settings.py.
        spread: Scale of the deviation of draws and of random starts.

    Raises:
        InputError: The styles, the generator or the encoder that the start needs are missing.
    """
    n = len(problem.y)
    lanes = problem.lanes or n
    parts = [np.arange(first, first + lanes).clip(max=n - 1) for first in range(0, n, lanes)]
    found = [_start_of_batch(select_rows(problem, rows), start, spread) for rows in parts]
    return torch.cat(found)[:n]


def _start_of_batch(problem: Problem, start: str, spread: float) -> Tensor:
    styles, n = need(problem.styles, "styles"), len(problem.y)
    if start == MEAN:
        return styles.mean.expand(n, -1)
    if start == RANDOM:
        return random_start(problem, spread)
    encoder = need(problem.encoder, "encoder")
    with exactly():
        found = encoder(problem.y)
        if start != DRAWS:
            return encoder.mean_style(found)
        shape, device = found.mean.shape[1:], found.mean.device
        noise = Draws(problem.seed, problem.image_ids, DRAW).next(shape, device)
        return encoder.whitening.to_styles(found.mean + spread * encoder.deviation(found, noise))


def random_start(problem: Problem, spread: float) -> Tensor:
    """Return mean + spread (G_m(z) - mean), (n, d), with a z for each image (released code)."""
    generator, styles = need(problem.generator, "generator"), need(problem.styles, "styles")
    z = Draws(problem.seed, problem.image_ids, RESTART).next((generator.z_dim,), problem.device)
    with torch.no_grad():
        w = generator.mapping(z)[:, 0]
    return styles.mean + spread * (w - styles.mean)
