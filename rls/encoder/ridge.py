"""A ridge regression from the pixels of y to features, and the choice between it and a network.

For every standardised feature t it minimises, over the examples on which t was measured,

    mean (t - b - w . p)^2  +  a |w|^2,

where p are the standardised pixels, averaged over turns and flips. The penalty a is the one with
the least squared error on examples held out (Hoerl & Kennard 1970, Technometrics 12:55).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from rls.encoder.regression import LOG_SD, BestNet, RegressionNet, pixels_of
from rls.encoder.regression_training import Examples

PENALTIES = np.logspace(-4, 3, 15)
AT_ONCE = 1024  # images


@dataclass(frozen=True)
class Ridge:
    """A fitted ridge regression.

    Attributes:
        weight, bias: (k, d) and (k,).
        error: (k,) mean squared error of t on the examples held out; NaN where none was measured.
    """

    weight: np.ndarray
    bias: np.ndarray
    error: np.ndarray


@torch.no_grad()
def design(net: RegressionNet, y: torch.Tensor) -> np.ndarray:
    """Return the standardised pixels (n, d) of images y (n, c, y, x), as ``net`` sees them."""
    parts = [pixels_of(net, part.to(net.mean.device)).cpu() for part in y.split(AT_ONCE)]
    return torch.cat(parts).double().numpy()


def fit_ridge(pixels: np.ndarray, t: np.ndarray, held: np.ndarray, held_t: np.ndarray) -> Ridge:
    """Return the regression of each feature, with the penalty that is best on ``held``.

    Arguments:
        pixels, held: (n, d) and (m, d).
        t, held_t: (n, k) and (m, k) standardised features, NaN where not measured.
    """
    k = t.shape[1]
    found = Ridge(np.zeros((k, pixels.shape[1])), np.zeros(k), np.full(k, np.nan))
    known = np.isfinite(t).T
    # Features that were measured on the same examples share one decomposition.
    for mask in np.unique(known, axis=0):
        alike = np.flatnonzero((known == mask).all(axis=1))
        centre = pixels[mask].mean(axis=0)
        x = pixels[mask] - centre
        squares, axes = np.linalg.eigh(x.T @ x / len(x))
        for j in alike:
            own = t[mask, j]
            along = axes.T @ (x.T @ (own - own.mean())) / len(x)
            weights = (along / (squares.clip(0) + PENALTIES[:, None])) @ axes.T
            errors = squared_error(own.mean() + (held - centre) @ weights.T, held_t[:, [j]])
            best = int(np.argmin(np.nan_to_num(errors, nan=np.inf)))
            found.weight[j], found.error[j] = weights[best], errors[best]
            found.bias[j] = own.mean() - centre @ weights[best]
    return found


def squared_error(predicted: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the mean squared error of each column over the rows where t is known; NaN if none."""
    known = np.isfinite(t) & np.ones_like(predicted, dtype=bool)
    squares = np.where(known, predicted - np.where(np.isfinite(t), t, 0.0), 0.0) ** 2
    n = known.sum(axis=0)
    return np.where(n > 0, squares.sum(axis=0) / np.maximum(n, 1), np.nan)


def better_of(net: RegressionNet, ridge: Ridge, held: Examples, batch_size: int) -> BestNet:
    """Return for every feature the predictor with the lower squared error on ``held``.

    Where a feature was not measured on ``held``, the network answers.
    """
    best = BestNet(
        len(net.mean),
        net.size,
        len(ridge.bias),
        width=net.width,
        hidden=net.hidden,
        turned=net.turned,
    )
    best.load_state_dict(net.state_dict(), strict=False)
    best.weight.copy_(torch.from_numpy(ridge.weight))
    best.bias.copy_(torch.from_numpy(ridge.bias))
    # NaN, where nothing is known of the error, becomes the spread of t itself.
    spread = 0.5 * np.log(np.nan_to_num(ridge.error, nan=1.0).clip(np.exp(2 * LOG_SD[0])))
    best.log_sd.copy_(torch.from_numpy(spread).clamp(*LOG_SD))
    with torch.no_grad():
        of_net = torch.cat([net.predict(y.to(net.mean.device)) for y in held.y.split(batch_size)])
    mean = of_net.chunk(2, dim=1)[0].cpu().double().numpy()
    error = squared_error(mean, held.t.cpu().double().numpy())
    best.linear.copy_(torch.from_numpy(ridge.error < error))
    return best.to(net.mean.device).eval()
