"""Measure how well a feature survives super-resolution: three numbers, and Bland-Altman's limits.

An effect size alone can be large without any information on single cells: a method that gives every
cell a value drawn from its class has the right effect size. So three numbers stand together, the
triple, and each is 1 for a reconstruction that equals the HR image:

* shift kept: (median SR+ - median SR-) / (median HR+ - median HR-);
* sd ratio: the square root of the mean over treatments of var SR, over that of var HR; 0 for a
  method that gives every cell its class's value;
* correlation: Pearson's r of SR and HR after each treatment's own mean was subtracted from both;
  about 0 for values shuffled within treatments, NaN with a reason where either is constant.

Bland and Altman's numbers are in the unit of the feature: bias = mean of SR - HR, and limits =
bias -+ 1.96 sd, between which 95 % of cells should lie (Bland & Altman 1986, Lancet 327:307; 1999,
Stat. Methods Med. Res. 8:135 for intervals of the limits). All intervals are Student's
over wells (:func:`analysis.numbers.statistics.jackknife_many`).

An interval over few wells has few degrees of freedom and may miss: r counts as different from 0
only if Fisher's interval with cells as units, which holds where cells are exchangeable, lies above
0 too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.numbers.statistics import Estimate, finite, fisher, jackknife, jackknife_many, ratio
from rls.io.names import HIGH_RESOLUTION

CELLS_NEEDED = 3  # Minimum number of cells per treatment that are measured in both HR and SR.
LIMIT_SDS = 1.96
SMALLEST = 1e-6  # Up to this, the lower end of an interval is 0 but for rounding.
COLUMNS = (HIGH_RESOLUTION, "super_resolution")
KINDS = ("number", "size", "correlation", "number", "number", "number")
# For each of these six numbers, why it may have no value although cells were measured.
REASONS = (
    "the medians of HR do not differ",
    "HR is constant within treatments",
    "one of the two is constant within treatments",
    *["fewer than two cells were measured in both"] * 3,
)


@dataclass(frozen=True)
class Agreement:
    """The triple and Bland-Altman's numbers of one feature.

    Attributes:
        correlation_of_cells: ``correlation`` with Fisher's interval, cells as units.
        n_cells: Number of cells with a value in both HR and SR.
    """

    shift_kept: Estimate
    sd_ratio: Estimate
    correlation: Estimate
    bias: Estimate
    lower_limit: Estimate
    upper_limit: Estimate
    correlation_of_cells: Estimate
    n_cells: int

    @property
    def not_above_zero(self) -> tuple[str, ...]:
        """Return the fields of the triple that have no value or an interval that reaches 0."""
        # An empty result is a minimum requirement: it does not mean that a feature is kept well.
        lowest = {
            "shift_kept": self.shift_kept.low,
            "sd_ratio": self.sd_ratio.low,
            "correlation": min(self.correlation.low, self.correlation_of_cells.low),
        }
        return tuple(name for name, low in lowest.items() if not low > SMALLEST)


def agreement(
    pairs: pd.DataFrame,
    *,
    negative_control: str,
    positive_control: str,
    confidence: float,
) -> Agreement:
    """Return the triple and the limits of one method and feature, with intervals over wells.

    Arguments:
        pairs: One row per cell with both values: plate, well, site, treatment, ``high_resolution``
            and ``super_resolution``. Rows where either is NaN are left out.

    Returns:
        ``n_cells`` counts the rows that are left, and ``n`` of each number their wells or fields.
    """
    table = _in_both(pairs[pairs["treatment"].isin((negative_control, positive_control))])
    sides = (table["treatment"] == positive_control).to_numpy()
    for name, here in ((negative_control, ~sides), (positive_control, sides)):
        if here.sum() < CELLS_NEEDED:
            none = Estimate.empty(f"{int(here.sum())} cells of {name} were measured in both")
            return Agreement(none, none, none, none, none, none, none, n_cells=len(table))
    high, super_ = (table[name].to_numpy(dtype=float) for name in COLUMNS)

    def numbers(rows: np.ndarray) -> tuple[float, ...]:
        hr, sr, side = high[rows], super_[rows], sides[rows]
        shifts = [np.median(x[side]) - np.median(x[~side]) for x in (sr, hr)]
        variances = [np.mean([x[side].var(), x[~side].var()]) for x in (sr, hr)]
        sd_ratio = math.sqrt(ratio(*variances)) if variances[1] > 0 else math.nan
        correlation = correlation_within(hr, sr, side)
        return (ratio(*shifts), sd_ratio, correlation, *bland_altman(hr, sr))

    found = jackknife_many(numbers, table, confidence=confidence, kinds=KINDS)
    shift, spread, r, bias, lower, upper = (
        replace(one, reason=why) if math.isnan(one.value) else one
        for one, why in zip(found, REASONS, strict=True)
    )
    # Two group means were subtracted, so there is one degree of freedom less than for plain r.
    of_cells = fisher(r.value, len(table) - 1, confidence=confidence)
    of_cells = replace(of_cells, reason=r.reason if math.isnan(r.value) else "")
    return Agreement(shift, spread, r, bias, lower, upper, of_cells, n_cells=len(table))


def correlation_of(pairs: pd.DataFrame, treatment: str, *, confidence: float) -> Estimate:
    """Return Pearson's r of SR and HR over the cells of one treatment, with intervals over wells.

    Arguments:
        pairs: As for :func:`agreement`.
    """
    table = _in_both(pairs[pairs["treatment"] == treatment])
    if len(table) < CELLS_NEEDED:
        return Estimate.empty(f"{len(table)} cells of {treatment} were measured in both")
    high, super_ = (table[name].to_numpy(dtype=float) for name in COLUMNS)
    found = jackknife(
        lambda rows: correlation_within(high[rows], super_[rows], np.zeros(len(rows), bool)),
        table,
        confidence=confidence,
        kind="correlation",
    )
    if math.isnan(found.value):
        return replace(found, reason="one of the two is constant")
    return found


def bland_altman(high: np.ndarray, super_: np.ndarray) -> tuple[float, float, float]:
    """Return bias, lower and upper limit of agreement over the cells (n,) with both values.

    The bias is the mean difference SR - HR; 95 % of differences should lie within bias -+ 1.96 sd.
    """
    difference = finite(np.asarray(super_, dtype=float) - np.asarray(high, dtype=float))
    if len(difference) < 2:
        return math.nan, math.nan, math.nan
    bias, half = float(difference.mean()), LIMIT_SDS * float(difference.std(ddof=1))
    return bias, bias - half, bias + half


def _in_both(table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells that were measured in both HR and SR."""
    kept = np.isfinite(table[list(COLUMNS)].to_numpy(dtype=float)).all(axis=1)
    return table[kept].reset_index(drop=True)


def correlation_within(high: np.ndarray, super_: np.ndarray, sides: np.ndarray) -> float:
    """Return Pearson's r after each side's mean was subtracted; NaN where either is constant."""
    centred = []
    for values in (high, super_):
        spread = values.copy()
        for here in (sides, ~sides):
            if here.any():
                spread[here] -= values[here].mean()
        # A constant leaves rounding errors, and those may correlate with anything.
        if np.abs(spread).max() <= 1e-9 * max(np.abs(values).max(), 1e-300):
            return math.nan
        centred.append(spread)
    a, b = centred
    return float(np.clip((a @ b) / math.sqrt((a @ a) * (b @ b)), -1.0, 1.0))
