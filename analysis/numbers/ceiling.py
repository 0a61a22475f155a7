"""What correlation with the truth is owed by someone who sees an LR image alone.

Let h be a feature of a cell, y its LR image and c the correlation of E[h | y] with h. No function
of y has a correlation above c. One exact draw from p(h | y) has c^2, and the mean of K such draws

    c^2 / sqrt(c^2 + (1 - c^2) / K),

which is c^2 for K = 1 and tends to c: the variance of h is that of E[h | y], a share c^2 of it, and
1 - c^2 within y, and draws share the first part with the truth and nothing of the second
(docs/what_lr_knows.md derives it).
"""

from __future__ import annotations

import math


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
