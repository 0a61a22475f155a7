"""What LR can know, in the table of features: exact draws reach what they owe, means more."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparison import ceiling, kept_features
from analysis.comparison.settings import Settings
from analysis.measuring.columns import N_SOLUTIONS, OF_IMAGE
from analysis.numbers.ceiling import mean_of_draws
from rls.io import read_table, write_table
from tests.analysis import made_up

SETTINGS = Settings(confidence_level=0.95, seed=0)
COLUMN = "nucleocytoplasmic_ratio"
WELLS, CELLS, C, K = 12, 250, 0.6, 4


# ---- the formula ------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "owed"), [(1, 0.40), (2, 0.48), (4, 0.54), (6, 0.56), (16, 0.60)])
def test_the_formula_at_a_known_c(k, owed):
    assert mean_of_draws(0.63, k) == pytest.approx(owed, abs=0.006)


def test_one_draw_has_c_squared_infinitely_many_have_c_and_nothing_known_owes_nothing():
    for c in (0.1, 0.5, 0.99, 1.0):
        assert mean_of_draws(c, 1) == pytest.approx(c * c)
        assert mean_of_draws(c, math.inf) == pytest.approx(c)
    assert mean_of_draws(0.0, 3) == mean_of_draws(-0.2, math.inf) == 0.0
    assert math.isnan(mean_of_draws(math.nan, 3))


# ---- the table --------------------------------------------------------------------------------


def planted():
    """HR of cells of which LR tells a share C^2 of the variance, its mean given LR, and draws."""
    table = made_up.cells_table(WELLS, CELLS)
    random = np.random.default_rng(5)
    n = len(table)
    shift = np.where(table["treatment"] == made_up.CONTROLS[1], 6.0, 0.0)
    mean = shift + C * random.normal(size=n)
    rest = math.sqrt(1 - C * C)
    draws = mean[:, None] + rest * random.normal(size=(n, K + 1))
    return draws[:, 0], mean, draws[:, 1:]


def table_of(root, values, changes=None):
    made_up.write_features(root, values, wells=WELLS, cells=CELLS)
    run = made_up.run_of(root, tuple(name for name in values if name != "high_resolution"))
    at = next(run.comparisons())
    for method, columns in (changes or {}).items():
        path = at.measured(method, "features")
        write_table(path, read_table(path).assign(**columns), written_by="measure")
    found = pd.DataFrame(kept_features.kept_rows(run, SETTINGS))
    return found.set_index(["method", "treatment", "metric"]).sort_index()


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    high, mean, draws = planted()
    values = {
        "high_resolution": high, "one": draws[:, 0], "several": draws.mean(axis=1),
        "pulled": mean, "regression": mean,
    }  # fmt: skip
    several = {N_SOLUTIONS: K, COLUMN + OF_IMAGE: draws[:, 1]}
    return table_of(tmp_path_factory.mktemp("ceiling"), values, {"several": several})


@pytest.mark.parametrize("treatment", ["", *made_up.CONTROLS])
def test_c_is_that_of_the_regression_and_stands_beside_every_method(numbers, treatment):
    for method in ("one", "several", "regression"):
        row = numbers.loc[(method, treatment, ceiling.CEILING)]
        assert row["value"] == pytest.approx(C, abs=0.04)
        assert row["low"] < C < row["high"] and row["unit_of_replication"] == "well"
        one = numbers.loc[(method, treatment, ceiling.ONE_DRAW)]
        for name in ("value", "low", "high"):
            assert one[name] == pytest.approx(row[name] ** 2), name


def test_r_in_each_treatment_leaves_the_shift_out(numbers):
    """Over both treatments together the shift alone would make r 0.9."""
    for treatment in made_up.CONTROLS:
        row = numbers.loc[("one", treatment, ceiling.IN_TREATMENT)]
        assert row["value"] == pytest.approx(C * C, abs=0.06) and row["n"] == WELLS / 2
    assert ("one", "", ceiling.IN_TREATMENT) not in numbers.index


def test_a_draw_reaches_c_squared_and_a_mean_the_formula(numbers):
    for method, k in (("one", 1), ("several", K)):
        c = numbers.loc[(method, "", ceiling.CEILING), "value"]
        owed = numbers.loc[(method, "", ceiling.OWED)]
        assert owed["value"] == pytest.approx(mean_of_draws(c, k)) and owed["n_solutions"] == k
        share = numbers.loc[(method, "", ceiling.SHARE)]
        r = numbers.loc[(method, "", "correlation_within_treatment"), "value"]
        assert share["value"] == pytest.approx(r / owed["value"])
        assert share["low"] < 1 < share["high"] and 0.9 < share["value"] < 1.1


def test_a_mode_may_have_more_than_a_draw(numbers):
    assert numbers.loc[("pulled", "", ceiling.SHARE), "value"] == pytest.approx(1 / C, abs=0.1)


def test_the_regression_is_no_judge_of_itself(numbers):
    row = numbers.loc[("regression", "", ceiling.SHARE)]
    assert np.isnan(row["value"]) and "ceiling is taken from" in row["reason"]
    owed = numbers.loc[("regression", "", ceiling.OWED), "value"]
    assert owed == pytest.approx(numbers.loc[("regression", "", ceiling.CEILING), "value"])


def test_of_a_mean_over_solutions_its_one_image_is_shown_too(numbers):
    image = numbers.loc["several"]
    first = kept_features.OF_ONE_IMAGE
    r = image.loc[("", f"{first}correlation_within_treatment")]
    assert r["n_solutions"] == 1 and r["value"] == pytest.approx(C * C, abs=0.05)
    assert image.loc[("", "correlation_within_treatment"), "value"] > r["value"] + 0.08
    assert image.loc[("", f"{first}sd_ratio"), "value"] == pytest.approx(1.0, abs=0.04)
    assert image.loc[("", "sd_ratio"), "value"] < 0.8
    assert image.loc[("", f"{first}{ceiling.SHARE}"), "value"] == pytest.approx(1.0, abs=0.15)
    for treatment in made_up.CONTROLS:
        assert np.isfinite(image.loc[(treatment, f"{first}{ceiling.IN_TREATMENT}"), "value"])
    others = numbers.drop(index="several").reset_index()["metric"]
    assert not others.str.startswith(first).any()


def test_where_lr_tells_nothing_no_share_is_given(tmp_path):
    high, _, draws = planted()
    nothing = np.random.default_rng(8).normal(size=len(high))
    values = {"high_resolution": high, "one": draws[:, 0], "regression": nothing}
    found = table_of(tmp_path, values).loc["one"]
    share = found.loc[("", ceiling.SHARE)]
    assert np.isnan(share["value"]) and share["reason"] == ceiling.NOTHING_KNOWN
    assert 0 <= found.loc[("", ceiling.ONE_DRAW), "low"] < 0.02


def test_the_share_of_a_method_that_is_the_regression_has_no_width(tmp_path):
    """r and c are taken from the same wells: what they share leaves their ratio."""
    high, mean, _ = planted()
    values = {"high_resolution": high, "one": 2.0 * mean + 1.0, "regression": mean}
    made_up.write_features(tmp_path, values, wells=WELLS, cells=CELLS)
    run = made_up.run_of(tmp_path, ("amortised", "regression"))
    at = next(run.comparisons())
    path = at.measured("amortised", "features")
    write_table(path, read_table(at.measured("one", "features")), written_by="test")
    (feature,) = kept_features.read_features(at, [COLUMN], ["amortised", "regression"])
    rows = ceiling.ceiling_facts(feature, "amortised", SETTINGS)
    share = next(r for r in rows if r["metric"] == ceiling.SHARE and "treatment" not in r)
    assert share["value"] == pytest.approx(1.0)
    assert share["low"] == share["high"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("has_gan", "said"), [(True, "name it in run.methods"), (False, "no cell")]
)
def test_without_the_row_a_sentence_says_why(tmp_path, has_gan, said):
    high, _, draws = planted()
    values = {"high_resolution": high, "one": draws[:, 0]}
    made_up.write_features(tmp_path, values, wells=WELLS, cells=CELLS)
    run = made_up.run_of(tmp_path, ("one",))
    run = replace(run, assays=tuple(replace(a, has_gan=has_gan) for a in run.assays))
    found = pd.DataFrame(kept_features.kept_rows(run, SETTINGS))
    found = found[found["method"] == "one"].set_index(["treatment", "metric"])
    row = found.loc[("", ceiling.CEILING)]
    assert np.isnan(row["value"]) and said in row["reason"]
    assert ("", ceiling.SHARE) not in found.index
    for treatment in made_up.CONTROLS:
        assert np.isfinite(found.loc[(treatment, ceiling.IN_TREATMENT), "value"])


def test_too_few_cells_of_a_treatment_are_named(tmp_path):
    high, mean, draws = planted()
    lost = draws[:, 0].copy()
    lost[np.flatnonzero(made_up.cells_table(WELLS, CELLS)["treatment"] == "DMSO")[2:]] = np.nan
    found = table_of(tmp_path, {"high_resolution": high, "one": lost, "regression": mean})
    row = found.loc[("one", "DMSO", ceiling.IN_TREATMENT)]
    assert np.isnan(row["value"]) and row["reason"].startswith("only 2 cells")
