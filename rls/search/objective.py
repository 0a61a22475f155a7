"""The terms of the objective (Eq. 3 to 5), one value for each image.

    total = fidelity - lambda_w P_w + lambda_c cross  [+ lambda_n norm deviation: released code]

The sum itself, with the weights of a method's block, is ``Equation5`` in rls/search/equation5.py.

The article's lambdas, 5.0e-5 and 0.01, fit the mean (not the sum) of |y - D(G(w))| and the mean
pairwise distance, as in the authors' code. Both are taken per image and then summed over the batch,
so that neither the learning rate nor the result depends on the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rls.search.optimisers import Variables

if TYPE_CHECKING:
    from rls.io import Intensity
    from rls.prior.flows import StyleFlow


def fidelity(y: Tensor, low: Tensor) -> Tensor:
    """Return mean |y - D(G(w))| over channels and pixels (Eq. 5), shape (n,).

    Arguments:
        y, low: (n, c, m, m) in [0, 1] units.
    """
    return (y - low).abs().mean(dim=(1, 2, 3))


def gaussian_misfit(y: Tensor, low: Tensor, sd: float) -> Tensor:
    """Return mean r^2 / (2 sd) of r = y - D(G(w)), shape (n,): -log N(r; 0, sd^2) times sd.

    Its slope at |r| = sd is that of |r|, so the lambdas of Eq. 5 keep their scale.
    """
    return (y - low).square().mean(dim=(1, 2, 3)) / (2.0 * sd)


def poisson_gaussian_misfit(y: Tensor, low: Tensor, noise: Variables) -> Tensor:
    """Return s mean r^2 / (2 v), shape (n,); where v is constant, :func:`gaussian_misfit`.

    Arguments:
        noise: Variances v of y (n, c, m, m) and s = sqrt(mean v) of each image, (n,), as
            :func:`camera_noise` gives them.
    """
    variance, sd = noise
    return ((y - low).square() / (2.0 * variance)).mean(dim=(1, 2, 3)) * sd


def camera_noise(
    y: Tensor, intensity: Intensity, gain: float, read_noise: float, offset: float = 0.0
) -> Variables:
    """Return the variances of the values of y, (n, c, m, m), and the sd of each image, (n,).

    A signal of k counts above the camera's offset has the variance gain k + read_noise^2, the sum
    of shot noise and read noise. It is taken at y, since it must not move with the search.

    Arguments:
        intensity: The counts of 0 and 1 of each channel.
        gain: Counts per electron.
        read_noise: Sd of the read noise in counts.
        offset: Counts of the camera without light.
    """
    black = y.new_tensor(intensity.black).view(1, -1, 1, 1)
    span = y.new_tensor(intensity.white).view(1, -1, 1, 1) - black
    counts = (black + span * y - offset).clamp(min=0.0)
    variance = (gain * counts + read_noise**2) / span.square()
    return variance, variance.mean(dim=(1, 2, 3)).sqrt()


def prior(flow: StyleFlow, w: Tensor) -> Tensor:
    """Return P_w, the mean of log p_F(w_i) over the L styles in nats (Eq. 3, 4), shape (n,)."""
    n, layers, d = w.shape
    return flow.log_prob(w.reshape(n * layers, d)).reshape(n, layers).mean(dim=1)


def norm_deviation(flow: StyleFlow, w: Tensor) -> Tensor:
    """Return the mean of (||F(w_i)||_2 - sqrt d)^2 over the styles, shape (n,).

    The authors' code adds this term to the prior; the article has none. The norm of a standard
    normal vector of d dimensions lies within about 0.7 of sqrt d.
    """
    n, layers, d = w.shape
    norms = flow.to_noise(w.reshape(n * layers, d)).norm(dim=1)
    return (norms - d**0.5).square().reshape(n, layers).mean(dim=1)


def mean_distance(w: Tensor) -> Tensor:
    """Return the mean of ||w_i - w_j||_2 over pairs i < j (as in the authors' code), shape (n,).

    The gradient at w_i = w_j, where the search starts, is defined as 0. All L x L differences are
    taken, each pair twice, because picking pairs by index would sum their gradients in an order
    that depends on the threads: a few images of a hundred would not repeat.
    """
    squares = (w.unsqueeze(2) - w.unsqueeze(1)).square().sum(dim=3)
    tied = squares == 0
    # sqrt must not see a zero: its infinite slope would turn the gradient of 0 below into NaN.
    distances = torch.where(tied, 1.0, squares).sqrt()
    pairs_twice = max(w.shape[1] * (w.shape[1] - 1), 1)
    return torch.where(tied, 0.0, distances).sum(dim=(1, 2)) / pairs_twice


def sum_squares(w: Tensor) -> Tensor:
    """Return -P_cross as printed: the sum of ||w_i - w_j||^2 over pairs i < j (Eq. 3), shape (n,).

    By the parallel-axis identity this is L times the sum of squared distances from the mean style.
    """
    deviations = w - w.mean(dim=1, keepdim=True)
    return w.shape[1] * deviations.square().sum(dim=(1, 2))


SQUARES = "sum_squares"
CROSS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_distance": mean_distance,
    SQUARES: sum_squares,
}


def reported_terms(flow: StyleFlow | None, w: Tensor, y: Tensor, low: Tensor) -> dict[str, Tensor]:
    """Return the terms of Eq. 5 that a search with another objective only reports, each (n,).

    They are ``loss_fidelity``, mean |y - D(x)|, and ``log_prior``, P_w in nats, which is left out
    without a flow.

    Arguments:
        w: (n, L, d).
        y, low: y and D(x), (n, c, m, m) in [0, 1] units.
    """
    found = {"loss_fidelity": fidelity(y, low)}
    return found if flow is None else {**found, "log_prior": prior(flow, w)}
