"""What correlation with the truth is owed by someone who sees an LR image alone.

Let h be a feature of a cell, y its LR image and c the correlation of E[h | y] with h. No function
of y has a correlation above c. One exact draw from p(h | y) has c^2, and the mean of K such draws

    c^2 / sqrt(c^2 + (1 - c^2) / K),

which is c^2 for K = 1 and tends to c: a share c^2 of the variance of h is that of E[h | y], and
1 - c^2 is left within y; draws share the first part with the truth, and nothing of the second
(docs/what_lr_knows.md derives it).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.numbers.agreement import correlation_within
from analysis.numbers.statistics import Estimate, jackknife_many, ratio

KINDS = ("correlation", "correlation", "number")


def mean_of_draws(c: float, k: float) -> float:
    """Return the correlation with the truth of the mean of k exact draws from the posterior.

    Arguments:
        c: Correlation of the best prediction with the truth; 0 or less counts as 0.
        k: Number of draws; infinity for the posterior's mean itself.
    """
    known = max(c, 0.0) ** 2
    if known == 0:
        return 0.0 if not math.isnan(c) else math.nan
    return known / math.sqrt(known + (1.0 - known) / k)


def against_ceiling(
    table: pd.DataFrame,
    high: np.ndarray,
    found: np.ndarray,
    best: np.ndarray | None,
    k: float,
    *,
    confidence: float,
) -> list[Estimate]:
    """Return r, c, c^2, what k solutions owe and r over it, each within treatments, over wells.

    All are computed on the same wells, and each well is left out of all at once, so that the
    interval of the ratio holds the errors of r and of c together.

    Arguments:
        table: One row a cell; columns plate, well, site and treatment, of which there are at most
            two.
        high, found: (n,) the feature on HR, and by the method.
        best: (n,) the best prediction from LR; None for r alone.
        k: Solutions over which ``found`` is a mean; infinity for a prediction.
    """
    sides = (table["treatment"] == table["treatment"].iloc[0]).to_numpy()

    def numbers(rows: np.ndarray) -> tuple[float, ...]:
        r = correlation_within(high[rows], found[rows], sides[rows])
        if best is None:
            return (r,)
        c = correlation_within(high[rows], best[rows], sides[rows])
        return r, c, ratio(r, mean_of_draws(c, k))

    kinds = KINDS[:1] if best is None else KINDS
    estimates = jackknife_many(numbers, table, confidence=confidence, kinds=kinds)
    if best is None:
        return estimates
    r, c, share = estimates
    return [r, c, _of(c, 1), _of(c, k), share]


def _of(c: Estimate, k: float) -> Estimate:
    """Return what k draws owe, with the interval of c carried over, since it rises with c."""
    value, low, high = (mean_of_draws(x, k) for x in (c.value, c.low, c.high))
    return replace(c, value=value, low=low, high=high)
