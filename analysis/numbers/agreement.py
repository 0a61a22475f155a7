"""Whether a feature survived super-resolution: the triple, and Bland-Altman's limits.

An effect size alone can be large with no information per cell: a method that gives every cell a
value drawn from its class has the right one. So three numbers stand together, and each is 1 for a
reconstruction that is the HR image:

* shift kept: (median SR+ - median SR-) / (median HR+ - median HR-);
* sd ratio: sqrt of the mean over treatments of var SR over that of var HR; 0 for a method that
  gives every cell its class's value;
* correlation: Pearson r of SR and HR after each treatment's own mean is taken off both; about 0
  for values shuffled within treatments, NaN with a reason where either is constant.

Bland-Altman is in the unit of the feature: bias = mean of SR - HR, limits = bias -+ 1.96 sd between
which 95 % of cells should lie (Bland & Altman 1986, Lancet 327:307; 1999, Stat. Methods Med. Res.
8:135 for intervals of the limits). All intervals are a bootstrap over wells.

With few wells a percentile bootstrap is too narrow: of values shuffled within treatments the
95 % interval of r lay above 0 in 15, 7 and 5 % of 120 trials with 3, 6 and 10 wells a treatment,
where 2.5 % were promised. So r is told from 0 only if Fisher's interval with cells as units, which
holds where cells are exchangeable, lies above 0 too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.numbers.statistics import Estimate, bootstrap, bootstrap_many, finite, fisher, ratio

CELLS_NEEDED = 3  # of each treatment, measured in both
LIMIT_SDS = 1.96
SMALLEST = 1e-6  # what rounding leaves of 0
COLUMNS = ("high_resolution", "super_resolution")
REASONS = (  # why one of the six has no value, though cells were measured
    "the medians of HR do not differ",
    "HR is constant within treatments",
    "one of the two is constant within treatments",
    *["fewer than two cells were measured in both"] * 3,
)


@dataclass(frozen=True)
class Agreement:
    """The triple and Bland-Altman of one feature; ``n_cells`` have a value in both.

    ``correlation_of_cells`` is ``correlation`` with Fisher's interval, cells as units.
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
        """Which of the triple cannot be told from 0: no value, or an interval that reaches 0.

        Names of fields. Empty is the least that can be asked; it does not say that a feature is
        well kept.
        """
        lowest = {
            "shift_kept": self.shift_kept.low,
            "sd_ratio": self.sd_ratio.low,
            "correlation": min(self.correlation.low, self.correlation_of_cells.low),
        }
        return tuple(name for name, low in lowest.items() if not low > SMALLEST)


@dataclass(frozen=True)
class BlandAltman:
    """Mean difference SR - HR and the limits bias -+ 1.96 sd between which 95 % should lie."""

    bias: float
    lower_limit: float
    upper_limit: float
    sd: float
    n: int


def agreement(
    pairs: pd.DataFrame,
    *,
    negative_control: str,
    positive_control: str,
    n_resamples: int,
    confidence: float,
    seed: int,
) -> Agreement:
    """Return triple and limits of one method and feature, wells (or fields) resampled.

    Arguments:
        pairs: One row a cell with both values: plate, well, site, treatment, ``high_resolution``
            and ``super_resolution``. Rows where either is NaN are left out; ``n_cells`` says what
            is left, ``n`` of each number how many wells.
    """
    table = _in_both(pairs[pairs["treatment"].isin((negative_control, positive_control))])
    sides = (table["treatment"] == positive_control).to_numpy()
    for name, here in ((negative_control, ~sides), (positive_control, sides)):
        if here.sum() < CELLS_NEEDED:
            empty = Estimate.empty(f"{int(here.sum())} cells of {name} were measured in both")
            return Agreement(*[empty] * 7, n_cells=len(table))
    high, super_ = (table[name].to_numpy(dtype=float) for name in COLUMNS)

    def numbers(rows: np.ndarray) -> tuple[float, ...]:
        chosen = high[rows], super_[rows], sides[rows]
        limits = bland_altman(*chosen[:2])
        return (
            _shift_kept(*chosen), _sd_ratio(*chosen), _correlation_within(*chosen),
            limits.bias, limits.lower_limit, limits.upper_limit,
        )  # fmt: skip

    found = bootstrap_many(
        numbers, table, n_resamples=n_resamples, confidence=confidence, seed=seed
    )
    named = zip(found, REASONS, strict=True)
    explained = [replace(one, reason=why) if math.isnan(one.value) else one for one, why in named]
    r = explained[2]
    of_cells = fisher(r.value, len(table) - 1, confidence=confidence)  # a mean more was estimated
    return Agreement(*explained, replace(of_cells, reason=r.reason), n_cells=len(table))


def correlation_of(
    pairs: pd.DataFrame, treatment: str, *, n_resamples: int, confidence: float, seed: int
) -> Estimate:
    """Return Pearson r of SR and HR over the cells of one treatment, wells (or fields) resampled.

    Arguments:
        pairs: As of :func:`agreement`.
    """
    table = _in_both(pairs[pairs["treatment"] == treatment])
    if len(table) < CELLS_NEEDED:
        return Estimate.empty(f"{len(table)} cells of {treatment} were measured in both")
    high, super_ = (table[name].to_numpy(dtype=float) for name in COLUMNS)
    found = bootstrap(
        lambda rows: _correlation_within(high[rows], super_[rows], np.zeros(len(rows), bool)),
        table, n_resamples=n_resamples, confidence=confidence, seed=seed,
    )  # fmt: skip
    if math.isnan(found.value):
        return replace(found, reason="one of the two is constant")
    return found


def bland_altman(high: np.ndarray, super_: np.ndarray) -> BlandAltman:
    """Return bias and limits of agreement over cells that have both values."""
    difference = finite(np.asarray(super_, dtype=float) - np.asarray(high, dtype=float))
    if len(difference) < 2:
        return BlandAltman(math.nan, math.nan, math.nan, math.nan, len(difference))
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    half = LIMIT_SDS * sd
    return BlandAltman(bias, bias - half, bias + half, sd, len(difference))


def _in_both(table: pd.DataFrame) -> pd.DataFrame:
    kept = np.isfinite(table[list(COLUMNS)].to_numpy(dtype=float)).all(axis=1)
    return table[kept].reset_index(drop=True)


def _shift_kept(high: np.ndarray, super_: np.ndarray, sides: np.ndarray) -> float:
    shift = np.median(high[sides]) - np.median(high[~sides])
    return ratio(np.median(super_[sides]) - np.median(super_[~sides]), shift)


def _sd_ratio(high: np.ndarray, super_: np.ndarray, sides: np.ndarray) -> float:
    variances = [np.mean([x[sides].var(), x[~sides].var()]) for x in (super_, high)]
    return math.sqrt(ratio(*variances)) if variances[1] > 0 else math.nan


def _correlation_within(high: np.ndarray, super_: np.ndarray, sides: np.ndarray) -> float:
    centred = []
    for values in (high, super_):
        spread = values.copy()
        for here in (sides, ~sides):
            if here.any():
                spread[here] -= values[here].mean()
        # A constant leaves rounding behind, and rounding correlates with anything.
        if np.abs(spread).max() <= 1e-9 * max(np.abs(values).max(), 1e-300):
            return math.nan
        centred.append(spread)
    a, b = centred
    return float(np.clip((a @ b) / math.sqrt((a @ a) * (b @ b)), -1.0, 1.0))
