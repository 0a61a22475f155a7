"""Where a search starts: at the mean style, at a random one, or where the encoder says."""

from __future__ import annotations

import torch
from torch import Tensor

from rls.search.descent import exactly
from rls.search.problem import Draws, Problem, need
from rls.search.start_settings import DRAWS, MEAN, RANDOM, StartSettings

RESTART = "restart"  # names the random streams of random starts
DRAW = "draw of a start"  # names those of the encoder's draws


def start_of(problem: Problem, settings: StartSettings) -> Tensor:
    """Return one style for each image, (n, d), at which its search starts.

    Raises:
        InputError: The styles, the generator or the encoder that the start needs are missing.
    """
    styles, n = need(problem.styles, "styles"), len(problem.y)
    if settings.start == MEAN:
        return styles.mean.expand(n, -1)
    if settings.start == RANDOM:
        return random_start(problem, settings.start_spread)
    encoder = need(problem.encoder, "encoder")
    with exactly():
        found = encoder(problem.y)
        u = found.mean
        if settings.start == DRAWS:
            noise = Draws(problem.seed, problem.image_ids, DRAW).next(u.shape[1:], u.device)
            u = u + settings.start_spread * encoder.deviation(found, noise)
        return encoder.whitening.to_styles(u)


def random_start(problem: Problem, spread: float) -> Tensor:
    """Return mean + spread (G_m(z) - mean), (n, d), with a z for each image (released code)."""
    generator, styles = need(problem.generator, "generator"), need(problem.styles, "styles")
    z = Draws(problem.seed, problem.image_ids, RESTART).next((generator.z_dim,), problem.device)
    with torch.no_grad():
        w = generator.mapping(z)[:, 0]
    return styles.mean + spread * (w - styles.mean)
