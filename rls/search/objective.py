"""The terms of the objective (Eq. 3 to 5), each per image; the caller sums over the batch.

    total = fidelity - lambda_w P_w + lambda_c cross  [+ lambda_n norm deviation: released code]

The article's lambdas, 5.0e-5 and 0.01, belong to a mean (not a sum) of |y - D(G(w))| and to the
mean pairwise distance, as in the authors' code; both are per image, so that neither learning rate
nor result depends on the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from rls.prior.flows import StyleFlow


def fidelity(y: Tensor, low: Tensor) -> Tensor:
    """Return mean |y - D(G(w))| over channels and pixels (Eq. 5), shape (n,).

    Arguments:
        y, low: (n, c, m, m) in [0, 1] units.
    """
    return (y - low).abs().mean(dim=(1, 2, 3))


def prior(flow: StyleFlow, w: Tensor) -> Tensor:
    """Return P_w, the mean over the L styles of log p_F(w_i) in nats (Eq. 3, 4), shape (n,)."""
    n, layers, d = w.shape
    return flow.log_prob(w.reshape(n * layers, d)).reshape(n, layers).mean(dim=1)


def norm_deviation(flow: StyleFlow, w: Tensor) -> Tensor:
    """Return the mean over the styles of (||F(w_i)||_2 - sqrt d)^2, shape (n,).

    The authors' code adds it to the prior; the article does not. The norm of a standard normal
    vector of d dimensions lies within about 0.7 of sqrt d.
    """
    n, layers, d = w.shape
    norms = flow.to_noise(w.reshape(n * layers, d)).norm(dim=1)
    return (norms - d**0.5).square().reshape(n, layers).mean(dim=1)


def mean_distance(w: Tensor) -> Tensor:
    """Return the mean over pairs i < j of ||w_i - w_j||_2 (as the authors' code), shape (n,).

    The gradient at w_i = w_j is 0 by definition: there the search starts. All L x L differences are
    taken, each pair twice: picking pairs by index would add up their gradients in whatever order
    threads come, and of a hundred images a few would not repeat.
    """
    squares = (w.unsqueeze(2) - w.unsqueeze(1)).square().sum(dim=3)
    tied = squares == 0
    # sqrt never sees a zero, whose infinite slope would make a NaN of the 0 below
    distances = torch.where(tied, 1.0, squares).sqrt()
    pairs_twice = max(w.shape[1] * (w.shape[1] - 1), 1)
    return torch.where(tied, 0.0, distances).sum(dim=(1, 2)) / pairs_twice


def sum_squares(w: Tensor) -> Tensor:
    """Return -P_cross as printed: the sum over pairs i < j of ||w_i - w_j||^2 (Eq. 3), shape (n,).

    By the parallel-axis identity it is L times the squared distances from the mean style.
    """
    deviations = w - w.mean(dim=1, keepdim=True)
    return w.shape[1] * deviations.square().sum(dim=(1, 2))


CROSS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_distance": mean_distance,
    "sum_squares": sum_squares,
}
