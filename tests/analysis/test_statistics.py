from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.numbers import agreement as ag
from analysis.numbers import statistics as st
from rls.runtime.errors import InputError

LEVEL = {"confidence": 0.95}
CONTROLS = {"negative_control": "DMSO", "positive_control": "TNF"}


def plate(n_wells=4, n_cells=40, shift=1.5, seed=0):
    """Cells of two treatments with a planted shift of the feature; wells differ a little."""
    random = np.random.default_rng(seed)
    rows = []
    for t, treatment in enumerate(("DMSO", "TNF")):
        for w in range(n_wells):
            gain = random.normal(0, 0.1)
            for i in range(n_cells):
                value = 1.0 + t * shift + gain + random.normal(0, 0.3)
                rows.append(("P1", f"{'AB'[t]}{w + 1:02d}", 1 + i % 2, treatment, value))
    table = pd.DataFrame(rows, columns=["plate", "well", "site", "treatment", "high_resolution"])
    return table


def triple(table, values):
    return ag.agreement(table.assign(super_resolution=values), **CONTROLS, **LEVEL)


def test_an_oracle_scores_one_on_all_three():
    table = plate()
    found = triple(table, table["high_resolution"])
    for estimate in (found.shift_kept, found.sd_ratio, found.correlation):
        assert estimate.value == pytest.approx(1.0)
        assert estimate.low == pytest.approx(1.0) and estimate.high == pytest.approx(1.0)
        assert estimate.unit == "well" and estimate.n == 8


def test_a_constant_reconstruction_does_not_pass():
    table = plate()
    found = triple(table, np.full(len(table), 1.234567))
    assert found.shift_kept.value == 0.0
    assert found.sd_ratio.value == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(found.correlation.value) and found.correlation.reason


def test_the_value_of_the_class_keeps_the_shift_but_neither_spread_nor_correlation():
    table = plate()
    medians = table.groupby("treatment")["high_resolution"].transform("median")
    found = triple(table, medians)
    assert found.shift_kept.value == pytest.approx(1.0)
    assert found.sd_ratio.value == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(found.correlation.value)


def test_cells_drawn_anew_from_their_class_have_shift_and_spread_but_no_correlation():
    table = plate(n_cells=150)
    random = np.random.default_rng(5)
    drawn = table.groupby("treatment")["high_resolution"].transform(
        lambda x: random.permutation(x.to_numpy())
    )
    found = triple(table, drawn)
    assert found.shift_kept.value == pytest.approx(1.0)
    assert found.sd_ratio.value == pytest.approx(1.0)
    assert abs(found.correlation.value) < 0.15
    # and yet the effect size alone would call this a success
    sides = table["treatment"] == "TNF"
    assert st.cohens_d(drawn[~sides], drawn[sides]) > 3


def test_values_shuffled_within_treatments_are_seldom_told_from_zero():
    """At three wells a side, a bootstrap over wells let one shuffle in seven pass."""
    passed = 0
    for seed in range(40):
        table = plate(n_wells=3, n_cells=20, seed=seed)
        random = np.random.default_rng(seed)
        groups = table.groupby("treatment")["high_resolution"]
        shuffled = groups.transform(lambda x, random=random: random.permutation(x.to_numpy()))
        found = ag.agreement(table.assign(super_resolution=shuffled), **CONTROLS, **LEVEL)
        passed += not found.not_above_zero
    assert passed <= 4  # 2.5 % are promised: of 40 more than 4 in one of 280 such tests


def test_the_triple_does_not_change_with_the_unit_of_the_shift():
    table = plate()
    noisy = table["high_resolution"] * 0.5 + np.random.default_rng(1).normal(0, 0.1, len(table))
    a = triple(table, noisy)
    b = ag.agreement(
        table.assign(high_resolution=table["high_resolution"] * 10, super_resolution=noisy * 10),
        **CONTROLS, **LEVEL,
    )  # fmt: skip
    assert a.shift_kept.value == pytest.approx(b.shift_kept.value)
    assert a.shift_kept.value == pytest.approx(0.5, abs=0.05)
    assert a.correlation.low < a.correlation.value < a.correlation.high


def test_cells_without_a_value_are_left_out_and_too_few_give_a_reason():
    table = plate()
    values = table["high_resolution"].where(table["treatment"] == "DMSO")
    found = triple(table, values)
    assert math.isnan(found.shift_kept.value)
    assert "0 cells of TNF" in found.shift_kept.reason


def test_cohens_d_of_unit_gaussians_one_sd_apart_is_one():
    grid = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    assert st.cohens_d(grid, grid + 1.0) == pytest.approx(1.0, abs=0.01)


def test_cohens_d_equals_the_t_statistic_of_scipy():
    random = np.random.default_rng(1)
    a, b = random.normal(1, 2, 13), random.normal(2, 3, 21)
    t = stats.ttest_ind(b, a).statistic
    assert st.cohens_d(a, b) == pytest.approx(t * math.sqrt(1 / 13 + 1 / 21))
    assert math.isnan(st.cohens_d(a, b[:1])) and math.isnan(st.cohens_d([1, 1], [2, 2]))


def test_the_auc_of_two_gaussians_and_its_interval_are_those_of_theory():
    """A cell a well, so that wells are cells: SE after Hanley & McNeil, AUC = Phi(d / sqrt 2)."""
    n = 120
    grid = stats.norm.ppf((np.arange(n) + 0.5) / n)
    table = pd.DataFrame({"plate": "P", "well": np.arange(2 * n).astype(str), "site": 1,
                          "treatment": np.repeat(["DMSO", "TNF"], n)})  # fmt: skip
    table["value"] = np.concatenate([grid, grid + 1.0])
    found = st.auc_interval(table, "value", **CONTROLS, **LEVEL)
    assert found.value == pytest.approx(stats.norm.cdf(1 / math.sqrt(2)), abs=0.005)
    area = found.value
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n - 1) * (first + second - 2 * area**2)
    width = 2 * 1.96 * math.sqrt(variance / n**2)
    assert found.high - found.low == pytest.approx(width, rel=0.2)


def test_r_within_treatments_is_that_of_residuals_of_a_regression_on_treatment():
    table = plate()
    random = np.random.default_rng(8)
    noisy = 0.4 * table["high_resolution"] + random.normal(0, 0.2, len(table))
    design = np.column_stack([np.ones(len(table)), table["treatment"] == "TNF"])
    residuals = [
        values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        for values in (table["high_resolution"].to_numpy(), noisy.to_numpy())
    ]
    expected = stats.pearsonr(*residuals).statistic
    found = triple(table, noisy)
    assert found.correlation.value == pytest.approx(expected)
    assert found.correlation_of_cells.value == pytest.approx(expected)
    assert found.correlation_of_cells.unit == "cell" and found.n_cells == len(table)


def test_r_of_one_treatment_knows_no_cell_of_another():
    table = plate()
    random = np.random.default_rng(9)
    table["super_resolution"] = table["high_resolution"] + random.normal(0, 0.2, len(table))
    for treatment in ("DMSO", "TNF"):
        here = table[table["treatment"] == treatment]
        expected = stats.pearsonr(here["high_resolution"], here["super_resolution"]).statistic
        assert ag.correlation_of(table, treatment, confidence=0.95).value == pytest.approx(expected)
    none = ag.correlation_of(table, "nocodazole", confidence=0.95)
    assert "0 cells of nocodazole" in none.reason


def test_a_reason_stands_where_a_number_is_absent_and_nowhere_else():
    table = plate()
    found = triple(table, np.ones(len(table)))
    assert math.isnan(found.correlation.value) and found.correlation.reason
    assert not found.bias.reason and "same without any well" in found.shift_kept.reason


def test_a_number_with_cells_as_units_does_not_speak_of_fields():
    table = plate(n_wells=2)
    found = triple(table, table["high_resolution"] + np.linspace(0, 1, len(table)))
    assert "fields are the units" in found.correlation.reason
    assert found.correlation_of_cells.unit == "cell" and not found.correlation_of_cells.reason


def test_bias_and_limits_stand_with_an_interval_over_wells():
    """The bias of a method that errs by well is known to no more than its wells say."""
    table = plate(n_wells=6)
    random = np.random.default_rng(3)
    wells = dict(zip(table["well"].unique(), random.normal(0.5, 0.4, 12), strict=True))
    difference = table["well"].map(wells) + random.normal(0, 0.1, len(table))
    found = triple(table, table["high_resolution"] + difference)
    values = difference.to_numpy()
    assert found.bias.value == pytest.approx(values.mean())
    assert found.upper_limit.value == pytest.approx(values.mean() + 1.96 * values.std(ddof=1))
    assert found.bias.n == 12 and found.bias.unit == "well"
    of_wells = 2 * 1.96 * np.std(list(wells.values()), ddof=1) / math.sqrt(12)
    assert found.bias.high - found.bias.low == pytest.approx(of_wells, rel=0.35)


def test_several_numbers_at_once_are_those_of_one_each():
    table = plate()
    values = table["high_resolution"].to_numpy()
    functions = (lambda rows: values[rows].mean(), lambda rows: np.median(values[rows]))
    both = st.jackknife_many(
        lambda rows: [function(rows) for function in functions],
        table, kinds=("number", "number"), **LEVEL,
    )  # fmt: skip
    assert both == [st.jackknife(function, table, **LEVEL) for function in functions]


def test_the_interval_of_a_difference_of_means_is_that_of_welch():
    """One cell a well: leaving wells out and Satterthwaite's freedom give Welch's interval."""
    random = np.random.default_rng(2)
    a, b = random.normal(0, 1, 5), random.normal(1, 3, 8)
    table = pd.DataFrame({"plate": "P", "well": np.arange(13), "site": 1})
    table["treatment"] = np.repeat(["DMSO", "TNF"], [5, 8])
    values, positive = np.concatenate([a, b]), np.arange(13) >= 5
    found = st.jackknife(
        lambda rows: values[rows[positive[rows]]].mean() - values[rows[~positive[rows]]].mean(),
        table, **LEVEL,
    )  # fmt: skip
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("kind", ["share", "correlation", "size"])
def test_an_interval_stays_on_its_scale(kind):
    units = st.Replication("well", np.arange(6), np.arange(6).astype(str), np.repeat([0, 1], 3))
    values = 0.9 + np.array([-0.09, 0.05, 0.09, -0.02, 0.0, 0.08])
    found = st.t_interval(0.97, values, units, kind=kind, **LEVEL)
    lowest = {"share": 0.0, "correlation": -1.0, "size": 0.0}[kind]
    highest = {"share": 1.0, "correlation": 1.0, "size": math.inf}[kind]
    assert lowest <= found.low < 0.97 < found.high < highest


def test_wells_that_all_agree_do_not_make_a_share_certain():
    table = plate(n_wells=3)
    found = st.jackknife(lambda rows: 1.0, table, kind="share", **LEVEL)
    assert found.value == 1.0 and math.isnan(found.low) and "not make it certain" in found.reason
    same = st.jackknife(lambda rows: 4.0, table, **LEVEL)
    assert (same.low, same.high) == (4.0, 4.0) and "not make it certain" in same.reason


def test_a_number_without_a_value_has_a_reason():
    """The rank correlation of spread and error has none where all spreads are equal."""
    found = st.jackknife(lambda rows: math.nan, plate(), **LEVEL)
    assert math.isnan(found.value) and "no value" in found.reason


def test_a_number_that_needs_every_well_has_no_interval():
    table = plate(n_wells=3)
    found = st.jackknife(lambda rows: 1.0 if len(rows) == len(table) else math.nan, table, **LEVEL)
    assert found.value == 1.0 and math.isnan(found.low) and "without one well" in found.reason


def test_z_prime_and_ssmd_equal_their_formulas_by_hand():
    a, b = np.array([0.0, 1.0, 2.0]), np.array([10.0, 11.0, 12.0])
    assert st.z_prime(a, b).value == pytest.approx(1 - 3 * 2 / 10)
    assert st.ssmd(a, b).value == pytest.approx(10 / math.sqrt(2))
    assert st.z_prime(a, b, robust=True).value == pytest.approx(1 - 3 * 2 * 1.4826 / 10)


def test_one_broken_well_moves_robust_z_prime_less():
    a = np.array([0.0, 1.0, 2.0, 1.0, 0.5])
    b = np.array([10.0, 11.0, 12.0, 11.0, 60.0])
    assert st.z_prime(a, b, robust=True).value > 0.3 > st.z_prime(a, b).value


@pytest.mark.parametrize("function", [st.z_prime, st.ssmd])
def test_two_wells_a_side_give_no_number_but_a_reason(function):
    found = function(np.array([1.0, 2.0]), np.array([5.0, 6.0, 7.0]))
    assert math.isnan(found.value) and "2 negative and 3 positive wells" in found.reason


def test_auc_equals_scikit_learn_with_ties():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    a, b = random.integers(0, 6, 50), random.integers(2, 9, 70)
    expected = roc_auc_score(np.r_[np.zeros(50), np.ones(70)], np.r_[a, b])
    assert st.auc(a, b) == pytest.approx(expected)


def test_wells_widen_the_interval_where_cells_of_a_well_agree():
    random = np.random.default_rng(2)
    table = plate(n_wells=6, n_cells=50, shift=0.0)
    wells = table["well"].unique()
    offsets = dict(zip(wells, random.normal(0, 1.0, len(wells)), strict=True))
    table["value"] = table["well"].map(offsets) + random.normal(0, 0.3, len(table))
    by_well = st.auc_interval(table, "value", **CONTROLS, **LEVEL)
    as_cells = table.assign(well=[f"{i}" for i in range(len(table))])
    by_cell = st.auc_interval(as_cells, "value", **CONTROLS, **LEVEL)
    assert by_well.unit == "well" and by_well.n == 12
    assert (by_well.high - by_well.low) > 2 * (by_cell.high - by_cell.low)


def test_with_three_wells_a_treatment_wells_are_the_unit_and_with_two_fields():
    found = st.auc_interval(plate(n_wells=2), "high_resolution", **CONTROLS, **LEVEL)
    assert found.unit == "field" and found.n == 8
    assert "2 wells of DMSO" in found.reason and "leaves out how wells differ" in found.reason
    found = st.auc_interval(plate(n_wells=3), "high_resolution", **CONTROLS, **LEVEL)
    assert found.unit == "well" and found.n == 6 and not found.reason
    many = plate(n_wells=9)
    few = many[(many["treatment"] == "DMSO") | many["well"].isin(["B01", "B02"])]
    assert st.replication(few).unit == "field"


def test_treatments_with_few_wells_are_one_stratum_if_they_have_six_together():
    """A screen with two wells of each of many compounds is not left to its fields."""
    parts = [plate(n_wells=2).assign(treatment=lambda t, i=i: t["treatment"] + str(i),
                                     plate=f"P{i}") for i in range(3)]  # fmt: skip
    for n, unit in ((1, "field"), (2, "well")):
        units = st.replication(pd.concat([plate(n_wells=4), *parts[: n + (n == 2)]]))
        assert units.unit == unit
    assert len(set(units.strata)) == 3 and (np.bincount(units.strata) == [12, 4, 4]).all()
    six = pd.concat(parts[:2])
    six = six[~((six["plate"] == "P1") & (six["treatment"] == "TNF1"))]
    assert st.replication(six).unit == "well"
    assert st.replication(six[six["well"] != "B02"]).unit == "field"


def test_one_unit_a_treatment_gives_a_value_without_an_interval():
    table = plate(n_wells=1).assign(site=1)
    found = st.auc_interval(table, "high_resolution", **CONTROLS, **LEVEL)
    assert found.value > 0.9 and math.isnan(found.low) and "fewer than two" in found.reason


@pytest.mark.parametrize("n_wells", [3, 6])
def test_the_interval_covers_the_shift_kept_as_often_as_it_says(n_wells):
    """A percentile bootstrap covers it in 84 % of simulations at three wells a side."""
    hits = 0
    for seed in range(100):
        table = plate(n_wells=n_wells, n_cells=20, seed=seed)
        random = np.random.default_rng(1000 + seed)
        error = pd.Series(random.normal(0, 0.1, 2 * n_wells), table["well"].unique())
        values = 0.8 * table["high_resolution"] + table["well"].map(error)
        found = triple(table, values + random.normal(0, 0.2, len(table))).shift_kept
        hits += found.low <= 0.8 <= found.high
    assert hits >= 89  # 95 expected: fewer than 89 in one of 100 such tests


def test_an_interval_does_not_depend_on_the_order_of_rows():
    table = plate()
    turned = table[::-1].reset_index(drop=True)
    a, b = (
        st.auc_interval(each, "high_resolution", **CONTROLS, confidence=0.95)
        for each in (table, turned)
    )
    assert (b.value, b.low, b.high) == pytest.approx((a.value, a.low, a.high))


def test_wilson_matches_its_published_example():
    # Newcombe 1998, Statist. Med. 17:857, table I: 81/263 gives 0.2553 to 0.3662
    found = st.wilson(81, 263, confidence=0.95)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert st.wilson(0, 0, confidence=0.95).reason


def test_mcnemar_equals_the_binomial_test_and_refuses_other_cells():
    a = np.array([True] * 30 + [False] * 10 + [True] * 9 + [False] * 2)
    b = np.array([True] * 30 + [False] * 10 + [False] * 9 + [True] * 2)
    found = st.mcnemar_exact(a, b)
    assert found.value == pytest.approx(stats.binomtest(2, 11, 0.5).pvalue) and found.n == 11
    assert st.mcnemar_exact(a, a).value == 1.0 and st.mcnemar_exact(a, a).n == 0
    with pytest.raises(InputError, match="same cells"):
        st.mcnemar_exact(a, b[:-1])


def test_fisher_interval_of_r_equals_scipy():
    random = np.random.default_rng(4)
    x = random.normal(size=80)
    y = 0.6 * x + random.normal(size=80)
    expected = stats.pearsonr(x, y).confidence_interval(0.9)
    found = st.fisher(np.corrcoef(x, y)[0, 1], len(x), confidence=0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_bland_altman_limits_hold_95_percent_of_gaussian_differences():
    random = np.random.default_rng(6)
    high = random.normal(5, 2, 5000)
    super_ = high + random.normal(0.4, 0.5, 5000)
    bias, lower, upper = ag.bland_altman(high, super_)
    inside = ((super_ - high > lower) & (super_ - high < upper)).mean()
    assert bias == pytest.approx(0.4, abs=0.03) and inside == pytest.approx(0.95, abs=0.01)


def test_well_values_are_medians_per_plate_and_well():
    table = pd.DataFrame(
        {"plate": ["1", "1", "1", "2"], "well": ["A"] * 4, "x": [1.0, 5.0, np.nan, 7.0]}
    )
    assert list(st.well_values(table, "x")) == [3.0, 7.0]
