"""Effect sizes, proportions and intervals, each with its formula, unit of replication and source.

Nothing here knows of images. Arrays hold one value per cell unless a docstring says wells. A number
that cannot be computed is NaN with a reason, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from rls.runtime.errors import InputError
from rls.runtime.streams import stream

WELLS_FOR_BOOTSTRAP = 6  # With fewer wells in all, fields are resampled in their place.
WELLS_FOR_SCREENING = 3  # Z' and SSMD need a standard deviation over wells on either side.
MAD_TO_SD = 1.4826  # Standard deviation of a Gaussian over its median absolute deviation.


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        n: Number of units of replication.
        unit: The unit of replication, such as ``cell`` or ``well``.
        reason: Why there is no value or no interval.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    unit: str = "cell"
    reason: str = ""

    @staticmethod
    def empty(reason: str, n: int = 0, unit: str = "cell") -> Estimate:
        """Return the estimate without a value, NaN, with its ``reason``."""
        return Estimate(math.nan, n=n, unit=unit, reason=reason)


def replication_unit(table: pd.DataFrame) -> tuple[str, np.ndarray]:
    """Return the unit that is resampled, ``well`` or ``field``, and its label of each row.

    Cells of one well are not independent (at an intra-class correlation of 0.02 to 0.05, 250 cells
    count as 20 to 40), so wells are resampled. With fewer than six wells in all, fields are; their
    interval is too narrow, because it leaves out the variation between wells.

    Arguments:
        table: One row per cell; columns plate, well, site.
    """
    wells = table["plate"].astype(str) + "/" + table["well"].astype(str)
    if wells.nunique() >= WELLS_FOR_BOOTSTRAP:
        return "well", wells.to_numpy(dtype=object)
    return "field", (wells + "/" + table["site"].astype(str)).to_numpy(dtype=object)


def bootstrap(
    function: Callable[[np.ndarray], float],
    table: pd.DataFrame,
    *,
    n_resamples: int,
    confidence: float,
    seed: int,
    strata: str | None = "treatment",
) -> Estimate:
    """Return ``function`` of all rows with a percentile interval over resampled wells.

    Arguments:
        function: Takes integer row positions of ``table`` (with repeats) and returns a number.
        table: One row per cell; columns plate, well, site and ``strata``.
        strata: Units are resampled within each value of this column, so that no resample lacks
            a treatment; None resamples all together.

    Returns:
        n counts wells, or fields where there are fewer than six wells; ``unit`` says which.

    Source: Efron & Tibshirani 1993, chapter 13; cluster bootstrap, Davison & Hinkley 1997, 3.8.
    """
    (found,) = bootstrap_many(
        lambda rows: (function(rows),),
        table,
        n_resamples=n_resamples,
        confidence=confidence,
        seed=seed,
        strata=strata,
    )
    return found


def bootstrap_many(
    function: Callable[[np.ndarray], Sequence[float]],
    table: pd.DataFrame,
    *,
    n_resamples: int,
    confidence: float,
    seed: int,
    strata: str | None = "treatment",
) -> list[Estimate]:
    """Return the estimates of several numbers, all on the same resamples; see :func:`bootstrap`."""
    unit, labels = replication_unit(table)
    rows = np.arange(len(table))
    points = [float(value) for value in function(rows)]
    keys = table[strata].to_numpy(dtype=object) if strata else np.zeros(len(table), dtype=int)
    frame = pd.DataFrame({"stratum": keys, "unit": labels, "row": rows})
    groups = [  # For each stratum, the row positions of each unit.
        [part["row"].to_numpy() for _, part in group.groupby("unit", sort=True)]
        for _, group in frame.groupby("stratum", sort=True)
    ]
    n_units = sum(len(group) for group in groups)
    if not groups or min(len(group) for group in groups) < 2:
        reason = f"a stratum has fewer than two {unit}s, so there is no interval"
        return [Estimate(point, n=n_units, unit=unit, reason=reason) for point in points]
    random = stream(seed, "bootstrap", unit)
    values = np.empty((n_resamples, len(points)))
    for i in range(n_resamples):
        drawn = [group[k] for group in groups for k in random.integers(len(group), size=len(group))]
        values[i] = function(np.concatenate(drawn))
    tail = 50.0 * (1.0 - confidence)
    estimates = []
    for point, column in zip(points, values.T, strict=True):
        if np.isfinite(column).any():
            low, high = np.percentile(finite(column), [tail, 100.0 - tail])
            estimates.append(Estimate(point, float(low), float(high), n_units, unit))
        else:
            reason = "no resample gave a finite value"
            estimates.append(Estimate(point, n=n_units, unit=unit, reason=reason))
    return estimates


# Effect sizes ------------------------------------------------------------------------------------


def cohens_d(negative: np.ndarray, positive: np.ndarray) -> float:
    """Return (mean positive - mean negative) / pooled sd, ddof 1. Source: Cohen 1988, eq. 2.5.2."""
    a, b = finite(negative), finite(positive)
    if min(len(a), len(b)) < 2:
        return math.nan
    spread = (len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)
    return ratio(b.mean() - a.mean(), math.sqrt(spread / (len(a) + len(b) - 2)))


def ssmd(negative_wells: np.ndarray, positive_wells: np.ndarray) -> Estimate:
    """Return (m+ - m-) / sqrt(s+^2 + s-^2) over well means. Source: Zhang 2007, Genomics 89:552."""
    a, b = finite(negative_wells), finite(positive_wells)
    if short := _too_few_wells(a, b):
        return short
    value = ratio(b.mean() - a.mean(), math.sqrt(a.var(ddof=1) + b.var(ddof=1)))
    return Estimate(value, n=len(a) + len(b), unit="well")


def z_prime(
    negative_wells: np.ndarray, positive_wells: np.ndarray, *, robust: bool = False
) -> Estimate:
    """Return Z' = 1 - 3 (s+ + s-) / |m+ - m-| over well values, never over cells.

    With fewer than three wells per side it is NaN with a reason.

    Arguments:
        robust: Take the median and 1.4826 MAD in place of mean and standard deviation (Birmingham
            et al. 2009, Nat. Methods 6:569).

    Source: Zhang, Chung & Oldenburg 1999, J. Biomol. Screen. 4:67.
    """
    a, b = finite(negative_wells), finite(positive_wells)
    if short := _too_few_wells(a, b):
        return short
    if robust:
        centre = (np.median(a), np.median(b))
        spread = mad_sd(a) + mad_sd(b)
    else:
        centre = (a.mean(), b.mean())
        spread = a.std(ddof=1) + b.std(ddof=1)
    n = len(a) + len(b)
    if centre[0] == centre[1]:
        return Estimate.empty("both sides have the same centre", n=n, unit="well")
    return Estimate(float(1.0 - 3.0 * spread / abs(centre[1] - centre[0])), n=n, unit="well")


def well_values(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return the median of ``column`` in each well, NaN left out: the values of Z' and SSMD."""
    return table.groupby(["plate", "well"], sort=True)[column].median().dropna().to_numpy()


def mad_sd(values: np.ndarray) -> float:
    """Return 1.4826 x the median absolute deviation from the median."""
    values = finite(values)
    return float(MAD_TO_SD * np.median(np.abs(values - np.median(values))))


def auc(negative: np.ndarray, positive: np.ndarray) -> float:
    """Return P(positive > negative) + P(equal)/2, the area under the ROC curve.

    Source: Hanley & McNeil 1982, Radiology 143:29 (the Mann-Whitney statistic).
    """
    a, b = finite(negative), finite(positive)
    if min(len(a), len(b)) == 0:
        return math.nan
    ranks = stats.rankdata(np.concatenate([a, b]))
    return float((ranks[len(a) :].sum() - len(b) * (len(b) + 1) / 2) / (len(a) * len(b)))


def auc_interval(
    table: pd.DataFrame,
    column: str,
    *,
    negative_control: str,
    positive_control: str,
    n_resamples: int,
    confidence: float,
    seed: int,
) -> Estimate:
    """Return the AUC of ``column`` between two treatments, wells (or fields) resampled."""
    table = table[table["treatment"].isin((negative_control, positive_control))]
    values = table[column].to_numpy(dtype=float)
    is_positive = (table["treatment"] == positive_control).to_numpy()

    return bootstrap(
        lambda rows: auc(values[rows[~is_positive[rows]]], values[rows[is_positive[rows]]]),
        table,
        n_resamples=n_resamples,
        confidence=confidence,
        seed=seed,
    )


# Proportions -------------------------------------------------------------------------------------


def wilson(successes: int, n: int, *, confidence: float) -> Estimate:
    """Return a proportion with its Wilson score interval, cells as units.

    Source: Wilson 1927, JASA 22:209; Brown, Cai & DasGupta 2001, Stat. Sci. 16:101.
    """
    if n == 0:
        return Estimate.empty("no cell was classified")
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, max(centre - half, 0.0), min(centre + half, 1.0), n)


def mcnemar_exact(correct_a: np.ndarray, correct_b: np.ndarray) -> Estimate:
    """Return the two-sided exact McNemar p for two classifiers on the same cells, cells as units.

    p = 2 P(Bin(b + c, 1/2) <= min(b, c)), at most 1, where b and c count the cells that only one of
    the two classifies correctly; n is b + c.

    Source: McNemar 1947, Psychometrika 12:153.

    Raises:
        InputError: The two are not of equally many cells.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape:
        raise InputError(f"McNemar's test needs the same cells twice; found {len(a)} and {len(b)}.")
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    n = only_a + only_b
    if n == 0:
        return Estimate(1.0, n=0)
    return Estimate(min(1.0, 2.0 * float(stats.binom.cdf(min(only_a, only_b), n, 0.5))), n=n)


def fisher(r: float, n: int, *, confidence: float) -> Estimate:
    """Return the correlation ``r`` of ``n`` pairs with Fisher's z interval, cells as units.

    There is no interval with fewer than four pairs.

    Source: Fisher 1921, Metron.
    """
    if math.isnan(r) or n < 4:
        return Estimate(r, n=n)
    if abs(r) > 1.0 - 1e-12:
        return Estimate(r, r, r, n)
    half = stats.norm.ppf(0.5 + confidence / 2) / math.sqrt(n - 3)
    low, high = np.tanh(np.arctanh(r) + np.array([-half, half]))
    return Estimate(r, float(low), float(high), n)


def finite(values: np.ndarray | Sequence[float]) -> np.ndarray:
    """Return the finite values as floats."""
    array = np.asarray(values, dtype=float)
    return array[np.isfinite(array)]


def ratio(top: float, bottom: float) -> float:
    """Return ``top`` / ``bottom``, NaN where ``bottom`` is 0."""
    return float(top / bottom) if bottom != 0 else math.nan


def _too_few_wells(negative: np.ndarray, positive: np.ndarray) -> Estimate | None:
    """Return the empty estimate of a screen with too few wells on a side, else None."""
    if min(len(negative), len(positive)) >= WELLS_FOR_SCREENING:
        return None
    reason = (
        f"{len(negative)} negative and {len(positive)} positive wells; "
        f"{WELLS_FOR_SCREENING} a side are needed"
    )
    return Estimate.empty(reason, n=len(negative) + len(positive), unit="well")
