"""Effect sizes, proportions and intervals, each with its formula, unit of replication and source.

Nothing here knows of images. Arrays hold one value per cell unless a docstring says wells. A number
that cannot be computed is NaN with a reason, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats

from rls.runtime.errors import InputError

WELLS_PER_STRATUM = 3  # With fewer wells of a treatment, fields are the units in their place.
WELLS_TOGETHER = 6  # So many wells of treatments with fewer than three each are one stratum.
ROUNDING = 1e-12  # Relative differences below it are rounding errors.
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


class Replication(NamedTuple):
    """The units that are left out in turn, and the strata that keep their place.

    Attributes:
        unit: ``well`` or ``field``.
        codes: (n,) unit of each row, from 0 to u - 1.
        labels: (u,) name of each unit.
        strata: (u,) number of the stratum of each unit.
        reason: Why the interval is narrower than it should be; '' where the unit is the well.
    """

    unit: str
    codes: np.ndarray
    labels: np.ndarray
    strata: np.ndarray
    reason: str = ""


def replication(table: pd.DataFrame, strata: str | None = "treatment") -> Replication:
    """Return the unit of replication of every row: wells, or fields where wells are too few.

    Cells of one well are not independent (at an intra-class correlation of 0.02 to 0.05, 250 cells
    count as 20 to 40), so wells are the units wherever every stratum has three. Strata with fewer
    count as one together if they have six wells, which can only widen an interval. Otherwise fields
    are the units; their interval is too narrow, because it leaves out the variation between wells,
    and its reason says so.

    Arguments:
        table: One row per cell; columns plate, well, site and ``strata``.
        strata: Column whose values are fixed by design, such as the treatment; None for none.
    """
    keys = table[strata].astype(str) if strata else pd.Series("", index=table.index)
    wells = table["plate"].astype(str) + "/" + table["well"].astype(str)
    counts = wells.groupby(keys).nunique()
    few = counts[counts < WELLS_PER_STRATUM]
    if few.empty or few.sum() >= WELLS_TOGETHER:
        return _units("well", wells, keys.where(~keys.isin(few.index), "\0"))
    reason = (
        f"{few.min()} well{'s' * int(few.min() != 1)} of {few.idxmin() or 'all'}, fewer than "
        f"{WELLS_PER_STRATUM}: fields are the units, and the interval leaves out how wells differ"
    )
    return _units("field", wells + "/" + table["site"].astype(str), keys, reason)


def _units(unit: str, names: pd.Series, keys: pd.Series, reason: str = "") -> Replication:
    """Return the units of these names, each within its stratum."""
    pairs = pd.MultiIndex.from_arrays([keys, names])
    codes, known = pd.factorize(pairs, sort=True)
    strata = pd.factorize(known.get_level_values(0))[0]
    return Replication(unit, codes, known.get_level_values(1).to_numpy(str), strata, reason)


def jackknife(
    function: Callable[[np.ndarray], float],
    table: pd.DataFrame,
    *,
    confidence: float,
    kind: str = "number",
    strata: str | None = "treatment",
) -> Estimate:
    """Return ``function`` of all rows with its interval over wells; see :func:`jackknife_many`."""
    (found,) = jackknife_many(
        lambda rows: (function(rows),), table, confidence=confidence, kinds=(kind,), strata=strata
    )
    return found


def jackknife_many(
    function: Callable[[np.ndarray], Sequence[float]],
    table: pd.DataFrame,
    *,
    confidence: float,
    kinds: Sequence[str],
    strata: str | None = "treatment",
) -> list[Estimate]:
    """Return several numbers of all rows, each with its :func:`t_interval` over wells.

    Every well is left out once, so the intervals need no random numbers. A percentile bootstrap is
    too narrow at few wells: ``benchmarks/interval_coverage.py`` measures both.

    Arguments:
        function: Takes integer row positions of ``table`` and returns a number for each of
            ``kinds``.
        table: One row per cell; columns plate, well, site and ``strata``.
        kinds: The scale of each number, see :data:`SCALES`.

    Returns:
        n counts wells, or fields where there are too few wells; ``unit`` says which.
    """
    rows = np.arange(len(table))
    points = [float(value) for value in function(rows)]
    units = replication(table, strata)
    if (np.bincount(units.strata) < 2).any():
        reason = f"a stratum has fewer than two {units.unit}s, so there is no interval"
        return [
            Estimate(point, n=len(units.strata), unit=units.unit, reason=reason) for point in points
        ]
    without = np.array([function(rows[units.codes != u]) for u in range(len(units.strata))])
    return [
        t_interval(point, column, units, confidence=confidence, kind=kind)
        for point, column, kind in zip(points, without.T, kinds, strict=True)
    ]


class Scale(NamedTuple):
    """A scale on which an interval is symmetric, its slope at a value, and the way back."""

    there: Callable[[float], float]
    slope: Callable[[float], float]
    back: Callable[[float], float]


SCALES = {
    "number": Scale(lambda x: x, lambda x: 1.0, lambda y: y),
    "size": Scale(lambda x: x, lambda x: 1.0, lambda y: max(y, 0.0)),  # never below 0
    "correlation": Scale(math.atanh, lambda r: 1.0 / (1.0 - r * r), math.tanh),
    "share": Scale(special.logit, lambda p: 1.0 / (p * (1.0 - p)), special.expit),  # in [0, 1]
}


def t_interval(
    point: float, without: np.ndarray, units: Replication, *, confidence: float, kind: str
) -> Estimate:
    """Return a number with Student's interval from its values without each unit.

    The variance is the sum over strata of (u - 1) / u sum_i (without_i - their mean)^2, where u
    is the number of units in the stratum. Its degrees of freedom are Satterthwaite's, as in Welch's
    test. The interval is symmetric on the scale of its kind, which the delta method gives.

    Arguments:
        point: The number with all units.
        without: (u,) the number without each unit.
        kind: One of :data:`SCALES`.

    Source: Efron & Tibshirani 1993, chapter 11; Satterthwaite 1946, Biometrics Bull. 2:110.
    """
    found = Estimate(point, n=len(without), unit=units.unit, reason=units.reason)
    if math.isnan(point):
        return replace(found, reason="it has no value for these cells")
    if not np.isfinite(without).all():
        return replace(found, reason=f"without one {units.unit} it has no value, so no interval")
    parts = [without[units.strata == s] for s in np.unique(units.strata)]
    variances = [(len(p) - 1) * float(p.var()) for p in parts]
    variance = sum(variances)
    if variance <= (ROUNDING * abs(point)) ** 2:
        width = math.nan if kind == "share" else point
        reason = f"it is the same without any {units.unit}, which does not make it certain"
        return replace(found, low=width, high=width, reason=reason)
    freedom = variance**2 / sum(v**2 / (len(p) - 1) for v, p in zip(variances, parts, strict=True))
    scale = SCALES[kind]
    half = stats.t.ppf(0.5 + confidence / 2, freedom) * math.sqrt(variance) * scale.slope(point)
    low, high = (float(scale.back(scale.there(point) + side)) for side in (-half, half))
    return replace(found, low=low, high=high)


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
    confidence: float,
) -> Estimate:
    """Return the AUC of ``column`` between two treatments with its interval over wells."""
    table = table[table["treatment"].isin((negative_control, positive_control))]
    values = table[column].to_numpy(dtype=float)
    is_positive = (table["treatment"] == positive_control).to_numpy()
    return jackknife(
        lambda rows: auc(values[rows[~is_positive[rows]]], values[rows[is_positive[rows]]]),
        table,
        confidence=confidence,
        kind="share",
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
