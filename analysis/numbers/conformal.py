"""Intervals that hold for single cells: split-conformal prediction from several solutions.

The n solutions for the image of a cell give n values of a feature, with a centre and a spread. How
far the HR value lies from the centre, in units of the spread, is learnt on cells of the split
calibration, on which nothing else was chosen.
If those cells and a new one are exchangeable, the interval holds with at least the probability
``level``, whatever the solutions are worth: bad ones only make it wide. It holds over all cells
together, not within every treatment.

Source: Vovk, Gammerman & Shafer 2005; Lei et al. 2018, JASA 113:1094 (normalised residuals);
Romano, Patterson & Candes 2019, NeurIPS (quantiles).

Arrays hold one value per cell. NaN marks a value that could not be measured; a cell without a
centre has no interval (NaN).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from rls.io.splits import CALIBRATE, REPORT, check
from rls.runtime.errors import InputError

NORMALISED, QUANTILE, CONSTANT = VARIANTS = ("normalised", "quantile", "constant")


@dataclass(frozen=True)
class Intervals:
    """Limits of one interval for each cell, (n,) each; between infinite ones lies every value."""

    low: np.ndarray
    high: np.ndarray

    def contain(self, values: np.ndarray) -> np.ndarray:
        """Return 1 where a value (n,) lies inside, 0 where outside, NaN where either is unknown."""
        known = np.isfinite(values) & ~np.isnan(self.low)
        inside = (values >= self.low) & (values <= self.high)
        return np.where(known, inside.astype(float), np.nan)

    @property
    def width(self) -> np.ndarray:
        """Return high - low, (n,)."""
        return self.high - self.low


@dataclass(frozen=True)
class Summary:
    """Statistics over the solutions of each cell, (n,) each; NaN where none could be measured.

    Attributes:
        centre: Mean of the solutions that were measured.
        spread: Their standard deviation (ddof 1; 0 where only one was measured).
        low, high: Their outer quantiles at the level; between them, coverage is not guaranteed.
        measured: Their number.
        split: The split of each cell.
    """

    centre: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray
    measured: np.ndarray
    split: np.ndarray

    def take(self, rows: np.ndarray) -> Summary:
        """Return the cells in ``rows``."""
        return Summary(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def summarise(values: np.ndarray, level: float, split: np.ndarray) -> Summary:
    """Return the summary of values (cells, solutions); quantiles are interpolated linearly.

    Arguments:
        split: (cells,) the split of each cell.
    """
    values = np.asarray(values, dtype=float)
    finite = np.isfinite(values)
    measured = finite.sum(axis=1)
    none = measured == 0
    counted = np.maximum(measured, 1)
    centre = np.where(finite, values, 0.0).sum(axis=1) / counted
    squares = np.where(finite, (values - centre[:, None]) ** 2, 0.0).sum(axis=1)
    spread = np.sqrt(squares / np.maximum(measured - 1, 1))
    ordered = np.sort(np.where(finite, values, np.inf), axis=1)
    tail = 0.5 * (1.0 - level)
    low, high = (_quantile(ordered, counted, share) for share in (tail, 1.0 - tail))
    centre, spread, low, high = (np.where(none, np.nan, x) for x in (centre, spread, low, high))
    return Summary(centre, spread, low, high, measured, np.asarray(split))


def _quantile(ordered: np.ndarray, counted: np.ndarray, share: float) -> np.ndarray:
    """Return the quantile ``share`` of the first ``counted`` values of each sorted row."""
    at = share * (counted - 1)
    below = np.floor(at).astype(int)
    rows = np.arange(len(ordered))
    lower = ordered[rows, below]
    upper = ordered[rows, np.minimum(below + 1, counted - 1)]
    with np.errstate(invalid="ignore"):  # A row without a value gives inf - inf.
        return lower + (at - below) * (upper - lower)


def conformal_quantile(scores: np.ndarray, level: float) -> float:
    """Return the ceil((n + 1) level)-th smallest of n finite scores; infinite where n is smaller.

    Where scores are exchangeable, a new one is at most this with a probability of at least
    ``level``, and without ties of at most ``level`` + 1 / (n + 1).

    Raises:
        InputError: The level is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"Found the level {level}, expected one between 0 and 1, such as 0.9.")
    scores = np.sort(np.asarray(scores, dtype=float)[~np.isnan(scores)])
    rank = _rank(len(scores), level)
    return float(scores[rank - 1]) if rank <= len(scores) else math.inf


def _rank(n: int, level: float) -> int:
    """Return ceil((n + 1) level)."""
    # (n + 1) level may be a whole number; rounding errors (0.9 is not 9/10) must not raise it.
    return math.ceil((n + 1) * level - 1e-9)


def expected_coverage(
    n_calibration: int, n: int, level: float, probability: float
) -> tuple[float, float]:
    """Return the range in which the coverage of ``n`` new cells lies with ``probability``.

    Both splits are finite, so the coverage varies. Where scores are exchangeable and have no ties,
    the number of new cells whose intervals hold is beta-binomial with the parameters rank and
    n_calibration + 1 - rank (Vovk 2012, ACML).
    """
    rank = _rank(n_calibration, level)
    if n == 0:
        return math.nan, math.nan
    if rank > n_calibration:
        return 1.0, 1.0
    tail = (1.0 - probability) / 2
    held = stats.betabinom(n, rank, n_calibration + 1 - rank)
    return float(held.ppf(tail)) / n, float(held.ppf(1.0 - tail)) / n


def scale_of(summary: Summary, variant: str, floor: float) -> np.ndarray:
    """Return the unit of each cell's score, (n,): the spread, at least ``floor``, if normalised.

    Otherwise it is 1; in either case it is NaN for a cell without a centre.

    Raises:
        InputError: The floor is not above 0, so solutions that agree would break the score.
    """
    if variant != NORMALISED:
        return np.where(np.isnan(summary.centre), np.nan, 1.0)
    if not floor > 0.0:
        raise InputError(f"Found the floor {floor} of the spread, expected one above 0.")
    return np.maximum(summary.spread, floor)


def scores_of(summary: Summary, truth: np.ndarray, variant: str, floor: float) -> np.ndarray:
    """Return how far each cell's truth lies from its solutions, (n,); NaN where either is unknown.

    ``normalised``: |truth - centre| / max(spread, floor). ``constant``: |truth - centre|.
    ``quantile``: max(low - truth, truth - high), negative inside.
    """
    if variant == QUANTILE:
        return np.maximum(summary.low - truth, truth - summary.high)
    return np.abs(truth - summary.centre) / scale_of(summary, variant, floor)


def calibrated_intervals(
    summary: Summary,
    calibration: Summary,
    truth: np.ndarray,
    *,
    level: float,
    variant: str = NORMALISED,
    floor: float = 0.0,
) -> Intervals:
    """Return the intervals of the cells of ``summary``.

    Arguments:
        calibration, truth: Summary and HR values of the cells on which the score is learnt; those
            where either is unknown are left out.
        level: Probability with which a new cell's HR value shall lie inside.
        variant: One of ``VARIANTS``.
        floor: Smallest spread of a cell, in units of the feature; not to be chosen on these cells.

    Raises:
        InputError: Unknown variant, a level or floor out of its range, or cells of a split that may
            not be calibrated on or judged.
    """
    check(CALIBRATE, calibration.split)
    check(REPORT, summary.split)
    if variant not in VARIANTS:
        raise InputError(f"There is no variant '{variant}'; there are {', '.join(VARIANTS)}.")
    q = conformal_quantile(scores_of(calibration, truth, variant, floor), level)
    if variant == QUANTILE:
        # A negative q makes intervals narrower, at most down to their middle.
        middle = (summary.low + summary.high) / 2
        return Intervals(np.minimum(summary.low - q, middle), np.maximum(summary.high + q, middle))
    half = q * scale_of(summary, variant, floor)
    return Intervals(summary.centre - half, summary.centre + half)
