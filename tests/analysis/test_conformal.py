"""Split-conformal intervals: they hold, whatever the solutions are worth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.numbers.conformal import (
    CONSTANT,
    NORMALISED,
    QUANTILE,
    VARIANTS,
    Intervals,
    calibrated_intervals,
    conformal_quantile,
    expected_coverage,
    scores_of,
    summarise,
)
from rls.runtime.errors import InputError

LEVEL, FLOOR = 0.9, 0.01


def cells(random, n, quality=1.0, solutions=5):
    """HR values, and solutions around them: biased, too narrow, wider for some cells."""
    truth = random.normal(0, 1, n)
    width = random.gamma(2.0, 0.2, n)
    centre = truth + 0.3 + quality * width * random.standard_t(4, n)
    return truth, centre[:, None] + 0.2 * width[:, None] * random.normal(size=(n, solutions))


def summary_of(values, level, split):
    return summarise(values, level, np.full(len(values), split))


def intervals(truth, values, known, variant=NORMALISED, level=LEVEL):
    """The intervals of the cells that are not ``known``, calibrated on those that are."""
    return calibrated_intervals(
        summary_of(values[~known], level, "evaluation"),
        summary_of(values[known], level, "calibration"), truth[known], level=level,
        variant=variant, floor=FLOOR,
    )  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_coverage_of_exchangeable_cells_lies_in_the_binomial_range(variant):
    """One new cell for each of 2,000 calibrations: independent trials of the stated probability."""
    n, trials = 39, 2000  # 40 x 0.9 is whole: the coverage is 0.9 and not a little above
    truth, values = cells(np.random.default_rng(1), (n + 1) * trials)
    summary = summary_of(values, LEVEL, "calibration")
    new_ones = summary_of(values, LEVEL, "evaluation")
    inside = 0.0
    for first in range(0, len(truth), n + 1):
        known, new = np.arange(first, first + n), np.array([first + n])
        found = calibrated_intervals(
            new_ones.take(new), summary.take(known), truth[known], level=LEVEL, variant=variant,
            floor=FLOOR,
        )  # fmt: skip
        inside += found.contain(truth[new])[0]
    low, high = stats.binom.ppf([0.005, 0.995], trials, LEVEL)
    assert low <= inside <= high
    assert (
        Intervals(summary.low, summary.high).contain(truth).mean() < 0.5
    )  # which is why they are calibrated


def test_the_normalised_interval_is_the_narrower_one_where_the_spread_tells_the_error():
    random = np.random.default_rng(2)
    truth, width = random.normal(0, 1, 4000), random.gamma(1.0, 0.5, 4000)
    centre = truth + width * random.normal(size=4000)
    values = centre[:, None] + width[:, None] * random.normal(size=(4000, 20))
    tune = np.arange(4000) < 2000
    widths = {v: float(np.median(intervals(truth, values, tune, v).width)) for v in VARIANTS}
    assert widths[NORMALISED] < 0.8 * widths[CONSTANT]


@pytest.mark.parametrize(
    ("n", "rank"), [(9, 9), (10, 10), (19, 18), (20, 19), (39, 36), (99, 90), (100, 91)]
)
def test_the_quantile_is_the_exact_one_of_a_finite_sample(n, rank):
    scores = np.random.default_rng(0).permutation(n).astype(float)
    assert conformal_quantile(scores, 0.9) == rank - 1
    assert rank == math.ceil(round(0.9 * (n + 1), 6))


def test_too_few_cells_promise_nothing_less_than_everything():
    assert conformal_quantile(np.zeros(8), 0.9) == math.inf
    assert conformal_quantile(np.array([1.0] * 8 + [np.nan] * 20), 0.9) == math.inf
    truth, values = cells(np.random.default_rng(3), 12)
    tune = np.arange(12) < 5
    for variant in VARIANTS:
        found = intervals(truth, values, tune, variant)
        assert np.isinf(found.width).all() and (found.contain(truth[~tune]) == 1).all()


def test_the_expected_range_of_a_coverage_is_that_of_both_finite_splits():
    random = np.random.default_rng(8)
    scores = random.random((4000, 100))
    held = [np.mean(row[60:] <= conformal_quantile(row[:60], 0.9)) for row in scores]
    low, high = expected_coverage(60, 40, 0.9, 0.95)
    assert low <= np.quantile(held, 0.025) + 0.026 and high >= np.quantile(held, 0.975) - 0.026
    outside = np.mean((np.array(held) < low) | (np.array(held) > high))
    assert 0.005 < outside < 0.055
    # with no end of calibration it is the binomial range
    expected = stats.binom.ppf([0.005, 0.995], 500, 0.9) / 500
    assert expected_coverage(10**6, 500, 0.9, 0.99) == pytest.approx(expected, abs=0.0021)
    assert expected == pytest.approx([0.864, 0.932], abs=0.001)
    assert expected_coverage(5, 10, 0.9, 0.99) == (1.0, 1.0)
    assert np.isnan(expected_coverage(60, 0, 0.9, 0.99)).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_oracle_has_no_width(variant):
    truth = np.random.default_rng(4).integers(-40, 40, 200) / 8  # their mean is exact
    values = np.repeat(truth[:, None], 5, axis=1)  # solutions that agree: a spread of 0
    tune = np.arange(200) < 100
    found = intervals(truth, values, tune, variant)
    assert found.width == pytest.approx(0.0, abs=1e-9)
    assert (found.contain(truth[~tune]) == 1).all()


def test_agreeing_solutions_that_are_wrong_get_the_floor_and_not_a_division_by_zero():
    random = np.random.default_rng(5)
    truth = random.normal(size=400)
    values = np.repeat((truth + random.normal(0, 0.5, 400))[:, None], 5, axis=1)
    tune = np.arange(400) < 200
    found = intervals(truth, values, tune)
    assert np.isfinite(found.width).all() and np.ptp(found.width) < 1e-9
    assert found.contain(truth[~tune]).mean() > 0.8


def test_cells_that_cannot_be_measured_have_no_interval_and_calibrate_nothing():
    random = np.random.default_rng(6)
    truth, values = cells(random, 400)
    tune = np.arange(400) < 200
    expected = intervals(truth, values, tune)
    blind_values, blind_truth = values.copy(), truth.copy()
    blind_values[200:210] = np.nan  # no solution of an evaluation cell
    blind_values[210, 1:] = np.nan  # one solution left
    blind_truth[211] = np.nan  # HR of an evaluation cell
    found = intervals(blind_truth, blind_values, tune)
    inside = found.contain(blind_truth[~tune])
    assert np.isnan(found.low[:10]).all() and np.isnan(inside[:10]).all()
    assert np.isfinite(found.low[10]) and np.isnan(inside[11])
    assert np.isfinite(inside).sum() == 189
    assert found.low[12:] == pytest.approx(expected.low[12:])
    # in calibration they are as if they were not there
    gone = np.arange(400) < 0
    gone[:20] = True
    blind_values, blind_truth = values.copy(), truth.copy()
    blind_values[:10], blind_truth[10:20] = np.nan, np.nan
    left = intervals(truth[~gone], values[~gone], tune[~gone])
    assert intervals(blind_truth, blind_values, tune).low == pytest.approx(left.low)


def test_the_summary_is_of_the_solutions_that_were_measured():
    values = np.random.default_rng(7).normal(size=(50, 5))
    full = summary_of(values, 0.8, "evaluation")
    assert full.low == pytest.approx(np.quantile(values, 0.1, axis=1))
    assert full.high == pytest.approx(np.quantile(values, 0.9, axis=1))
    assert full.spread == pytest.approx(values.std(axis=1, ddof=1))
    few = np.array([[1.0, 3.0, np.nan], [np.nan] * 3, [2.0, np.nan, np.nan]])
    found = summary_of(few, 0.9, "evaluation")
    assert found.measured.tolist() == [2, 0, 1]
    assert found.centre[0] == 2.0 and np.isnan(found.centre[1]) and found.centre[2] == 2.0
    assert found.spread[0] == pytest.approx(math.sqrt(2.0)) and found.spread[2] == 0.0
    assert found.low[0] == pytest.approx(1.1) and found.high[0] == pytest.approx(2.9)
    assert found.low[2] == found.high[2] == 2.0


def test_a_quantile_score_is_negative_inside():
    values = np.tile(np.linspace(0, 1, 11), (3, 1))  # their quantiles are 0.1 and 0.9
    summary = summary_of(values, 0.8, "evaluation")
    scores = scores_of(summary, np.array([0.5, 0.95, -0.2]), QUANTILE, FLOOR)
    assert scores == pytest.approx([-0.4, 0.05, 0.3])


@pytest.mark.parametrize(
    ("change", "said"), [({"level": 1.0}, "level 1.0"), ({"floor": 0.0}, "floor 0.0"),
                         ({"variant": "other"}, "no variant 'other'")],
)  # fmt: skip
def test_what_cannot_be_is_refused(change, said):
    truth, values = cells(np.random.default_rng(0), 20)
    known, new = (summary_of(values, LEVEL, name) for name in ("calibration", "evaluation"))
    options = {"level": LEVEL, "floor": FLOOR, "variant": NORMALISED, **change}
    with pytest.raises(InputError, match=said):
        calibrated_intervals(new, known, truth, **options)


@pytest.mark.parametrize(
    ("of_known", "of_new", "said"), [("evaluation", "evaluation", "evaluation to calibrate"),
                                     ("tune", "evaluation", "tune to calibrate"),
                                     ("calibration", "calibration", "calibration to report")],
)  # fmt: skip
def test_intervals_are_learnt_on_calibration_and_judged_on_evaluation(of_known, of_new, said):
    truth, values = cells(np.random.default_rng(0), 20)
    known, new = (summary_of(values, LEVEL, name) for name in (of_known, of_new))
    with pytest.raises(InputError, match=said):
        calibrated_intervals(new, known, truth, level=LEVEL, floor=FLOOR)
