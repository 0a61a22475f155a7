"""Compare transforms that should make styles w standard normal, by the squared norm (Fig. 1).

Under a standard normal distribution of d dimensions |z|^2 follows chi-squared with mean d and
standard deviation sqrt(2 d). Every transform that standardises has mean d by construction, so the
spread is the result. Every transform is fitted on other styles than those shown (section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rls.runtime.errors import InputError

if TYPE_CHECKING:
    from rls.prior.flows import StyleFlow

# Undoes the slope 0.2 of the mapping network's last activation (PULSE, Menon et al. 2020).
LEAKY_SLOPE = 5.0
Transform = Callable[[np.ndarray], np.ndarray]


def leaky_relu(w: np.ndarray) -> np.ndarray:
    """Return w where it is positive and 5 w elsewhere."""
    return np.where(w < 0, LEAKY_SLOPE * w, w)


def fit_standardise(fit: np.ndarray) -> Transform:
    """Return the transform that gives styles (n, d) mean 0 and sd 1 per dimension."""
    mean, sd = fit.mean(axis=0), fit.std(axis=0, ddof=1)
    return lambda w: (w - mean) / sd


def fit_whiten(fit: np.ndarray) -> Transform:
    """Return the full (PCA) whitening of styles (n, d), to mean 0 and covariance I.

    Raises:
        InputError: There are no more styles than dimensions, or the covariance is singular.
    """
    mean = fit.mean(axis=0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(fit, rowvar=False)))
    if len(fit) <= fit.shape[1] or values[0] <= values[-1] * np.finfo(np.float64).eps:
        raise InputError(
            f"{len(fit)} styles do not determine a full covariance of {fit.shape[1]} dimensions. "
            f"Sample more styles."
        )
    return lambda w: (w - mean) @ vectors / np.sqrt(values)


def squared_norms(
    styles_fit: np.ndarray, styles_shown: np.ndarray, flow: StyleFlow, z_shown: np.ndarray
) -> dict[str, np.ndarray]:
    """Return |x|^2 of every shown vector x under each transform of Fig. 1.

    Arguments:
        styles_fit: w (n, d) on which the transforms are fitted.
        styles_shown: Other w (m, d); ideally the flow was fitted on neither.
        flow: A fitted flow.
        z_shown: z (m, d_z) of the shown styles, or any standard normal sample.

    Returns:
        Arrays (m,) float64: ``z``; ``w`` (unchanged, as BRGM assumes); ``w_standardised``;
        ``pulse_per_dimension`` (LeakyReLU(5), then standardised: PULSE); ``leaky_relu`` (alone);
        ``leaky_relu_whitened`` (LeakyReLU(5), then full whitening); ``flow`` (F(w), ours).

    Raises:
        InputError: There are too few styles for a full covariance, or a style that was fitted on
            is shown.
    """
    if len(np.unique(np.concatenate([styles_fit, styles_shown]), axis=0)) < (
        len(np.unique(styles_fit, axis=0)) + len(np.unique(styles_shown, axis=0))
    ):
        raise InputError(
            "Some styles are both fitted on and shown, so that every transform would look better "
            "than it is. Draw other styles to show."
        )
    import torch  # Imported here, because only the flow needs it and it takes seconds.

    fit, shown = styles_fit.astype(np.float64), styles_shown.astype(np.float64)
    with torch.no_grad():
        start = torch.as_tensor(styles_shown, dtype=torch.float32).to(flow.mean)
        noise = flow.to_noise(start).double().cpu().numpy()
    transformed = {
        "z": z_shown.astype(np.float64),
        "w": shown,
        "w_standardised": fit_standardise(fit)(shown),
        "pulse_per_dimension": fit_standardise(leaky_relu(fit))(leaky_relu(shown)),
        "leaky_relu": leaky_relu(shown),
        "leaky_relu_whitened": fit_whiten(leaky_relu(fit))(leaky_relu(shown)),
        "flow": noise,
    }
    return {name: (x**2).sum(axis=1) for name, x in transformed.items()}
