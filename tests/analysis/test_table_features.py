"""The table of features: an oracle scores one, a constant nothing, a shuffle keeps no cell."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparison import kept_features
from analysis.comparison.labels import method_label
from analysis.comparison.long_table import LONG_COLUMNS, long_table, read_long
from analysis.comparison.settings import Settings
from analysis.numbers.statistics import z_prime
from analysis.tables import features
from rls.io import read_table, write_table
from rls.runtime.errors import InputError
from tests.analysis import made_up
from tests.flags import as_flags

SETTINGS = Settings(confidence_level=0.95, seed=0)
METHODS = ("oracle", "by_class", "flat", "shuffled", "biased")
COLUMN = "nucleocytoplasmic_ratio"
TRIPLE = ("shift_kept", "sd_ratio", "correlation_within_treatment")
WELLS, CELLS = 8, 40


def planted():
    """HR values of made-up cells, whether each is positive, and what methods make of them."""
    table = made_up.cells_table(WELLS, CELLS)
    random = np.random.default_rng(2)
    positive = (table["treatment"] == made_up.CONTROLS[1]).to_numpy()
    wells = random.normal(0, 0.02, WELLS)[np.repeat(np.arange(WELLS), CELLS)]
    high = np.where(positive, 2.3, 0.9) + wells + random.normal(0, 0.15, len(table))
    shuffled = high.copy()
    for side in (positive, ~positive):
        shuffled[side] = random.permutation(high[side])
    methods = {
        "oracle": high, "by_class": np.where(positive, 2.3, 0.9), "flat": np.full(len(high), 1.5),
        "shuffled": shuffled, "biased": high + 0.3,
    }  # fmt: skip
    return high, positive, methods


def rows_of(root, methods=METHODS, **changes):
    run = made_up.run_of(root, methods)
    run = replace(run, assays=tuple(replace(assay, **changes) for assay in run.assays))
    return kept_features.kept_rows(run, SETTINGS)


def numbers_of(root, values, methods=METHODS, **changes):
    made_up.write_features(root, values, wells=WELLS, cells=CELLS)
    return together(rows_of(root, methods, **changes))


def together(rows):
    """The numbers of both treatments together; test_table_ceiling has those of each."""
    table = pd.DataFrame(rows)
    return table[table["treatment"] == ""].set_index(["method", "metric"])


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    high, _, methods = planted()
    root = tmp_path_factory.mktemp("features")
    return numbers_of(root, {"high_resolution": high, **methods})


def test_an_oracle_scores_one_three_times_with_no_bias(numbers):
    for metric in TRIPLE:
        row = numbers.loc[("oracle", metric)]
        assert row["value"] == pytest.approx(1.0)
        assert row["low"] == pytest.approx(1.0) and row["high"] == pytest.approx(1.0)
        assert row["n"] == WELLS and row["unit_of_replication"] == "well"
    for metric in kept_features.AGREEMENT.values():
        assert numbers.loc[("oracle", metric), "value"] == pytest.approx(0.0, abs=1e-12)
    for metric in kept_features.SEPARATION:
        found = numbers.loc[("oracle", metric), "value"]
        assert found == pytest.approx(numbers.loc[("high_resolution", metric), "value"])


def test_a_constant_does_not_pass(numbers):
    assert numbers.loc[("flat", "shift_kept"), "value"] == pytest.approx(0.0)
    assert numbers.loc[("flat", "sd_ratio"), "value"] == pytest.approx(0.0)
    assert numbers.loc[("flat", "auc"), "value"] == pytest.approx(0.5)
    for metric in ("correlation_within_treatment", "cohens_d", "z_prime", "ssmd"):
        row = numbers.loc[("flat", metric)]
        assert np.isnan(row["value"]) and row["reason"], metric


def test_a_value_a_class_keeps_the_shift_and_fails_the_rest_of_the_triple(numbers):
    """What an effect size alone would call perfect."""
    assert numbers.loc[("by_class", "auc"), "value"] == 1.0
    assert numbers.loc[("by_class", "shift_kept"), "value"] == pytest.approx(1.0, abs=0.05)
    assert numbers.loc[("by_class", "sd_ratio"), "value"] == pytest.approx(0.0, abs=1e-6)
    correlation = numbers.loc[("by_class", "correlation_within_treatment")]
    assert np.isnan(correlation["value"]) and "constant" in correlation["reason"]


def test_a_shuffle_within_treatments_keeps_shift_and_spread_and_no_cell(numbers):
    assert numbers.loc[("shuffled", "shift_kept"), "value"] == pytest.approx(1.0)
    assert numbers.loc[("shuffled", "sd_ratio"), "value"] == pytest.approx(1.0)
    correlation = numbers.loc[("shuffled", "correlation_within_treatment")]
    assert abs(correlation["value"]) < 0.12
    assert correlation["low"] < 0 < correlation["high"]
    assert correlation["high"] < 0.4


def test_only_what_keeps_shift_spread_and_cells_is_told_from_zero(numbers):
    """A constant, a value a class and a shuffle fail visibly, each for its own reason."""
    verdicts = {method: numbers.loc[(method, kept_features.ABOVE_ZERO)] for method in METHODS}
    assert [m for m, row in verdicts.items() if row["value"] == 1] == ["oracle", "biased"]
    for method, lacking in (
        ("flat", "shift_kept, sd_ratio, correlation_within_treatment"),
        ("by_class", "sd_ratio, correlation_within_treatment"),
        ("shuffled", "correlation_within_treatment"),
    ):
        assert verdicts[method]["value"] == 0
        assert verdicts[method]["reason"] == f"not told from 0: {lacking}"


def test_a_bias_is_found_and_does_not_touch_the_triple(numbers):
    for metric in kept_features.AGREEMENT.values():
        assert numbers.loc[("biased", metric), "value"] == pytest.approx(0.3)
    for metric in TRIPLE:
        assert numbers.loc[("biased", metric), "value"] == pytest.approx(1.0)


def test_z_prime_is_of_well_medians_and_the_robust_one_stands_beside_it(numbers):
    high, positive, _ = planted()
    table = made_up.cells_table(WELLS, CELLS).assign(value=high)
    sides = [table[side].groupby("well")["value"].median() for side in (~positive, positive)]
    for metric, robust in (("z_prime", False), ("robust_z_prime", True)):
        row = numbers.loc[("high_resolution", metric)]
        assert row["value"] == pytest.approx(z_prime(*sides, robust=robust).value)
        assert row["n"] == WELLS and row["unit_of_replication"] == "well"


def test_hr_has_no_triple_with_itself(numbers):
    found = set(numbers.loc["high_resolution"].index)
    assert not found & {*TRIPLE, kept_features.ABOVE_ZERO, *kept_features.AGREEMENT.values()}
    assert {*kept_features.SEPARATION, kept_features.MEASURED} <= found
    assert (numbers["feature"] == COLUMN).all()
    empty = numbers["value"].isna()
    assert (numbers.loc[empty, "reason"].str.len() > 0).all()


def test_under_three_wells_a_side_z_prime_is_empty_and_says_why(tmp_path):
    high = planted()[0][: 4 * CELLS]
    made_up.write_features(tmp_path, {"high_resolution": high, "rls": high}, wells=4, cells=CELLS)
    found = together(rows_of(tmp_path, ("rls",)))
    for metric in ("z_prime", "robust_z_prime", "ssmd"):
        row = found.loc[("rls", metric)]
        assert np.isnan(row["value"]) and "3 a side" in row["reason"]
    assert np.isfinite(found.loc[("rls", "cohens_d"), "value"])


def test_cells_that_could_not_be_measured_are_counted_with_their_reason(tmp_path):
    high, _, _ = planted()
    broken = np.where(np.arange(len(high)) % 4 == 0, np.nan, high)
    values = {"high_resolution": high, "rls": broken, "low_resolution": np.full(len(high), np.nan)}
    made_up.write_features(tmp_path, values, wells=WELLS, cells=CELLS)
    folder = tmp_path / "translocation" / "8x" / made_up.DEGRADATION
    for method, reason in (("rls", "no_nucleus"), ("low_resolution", "image_too_small")):
        path = folder / f"{method}.features.parquet"
        table = read_table(path)
        status = np.where(table[COLUMN].isna(), f"not_measurable:{reason}", "ok")
        write_table(path, table.assign(status=status), written_by="test")
    found = together(rows_of(tmp_path, ("rls",)))
    lost = found.loc[("rls", kept_features.NOT_MEASURED)]
    assert lost["value"] == len(high) // 4 and lost["reason"] == f"{len(high) // 4} no_nucleus"
    assert found.loc[("rls", kept_features.MEASURED), "value"] == len(high) - len(high) // 4
    both = found.loc[("rls", kept_features.IN_BOTH)]
    assert both["value"] == len(high) - len(high) // 4 and both["unit_of_replication"] == "cell"
    assert found.loc[("rls", "bland_altman_bias"), "n"] == WELLS
    low = found.loc["low_resolution"]
    assert low.loc[kept_features.NOT_MEASURED, "value"] == len(high)
    assert "image_too_small" in low.loc[kept_features.NOT_MEASURED, "reason"]
    counts = [
        kept_features.MEASURED,
        kept_features.NOT_MEASURED,
        kept_features.IN_BOTH,
        kept_features.ABOVE_ZERO,
    ]
    assert low.loc[kept_features.ABOVE_ZERO, "value"] == 0
    others = low.drop(index=counts)
    assert others["value"].isna().all() and others["reason"].str.len().gt(0).all()


def test_every_column_of_a_feature_has_rows_and_reads_like_hr(tmp_path):
    high, _, _ = planted()
    table = made_up.cells_table(WELLS, CELLS)
    folder = tmp_path / "translocation" / "8x" / made_up.DEGRADATION
    frame = table.assign(**{COLUMN: high, "nucleus_area_um2": 150 + 10 * high})
    for method in ("high_resolution", "rls"):
        write_table(folder / f"{method}.features.parquet", frame, written_by="test")
    found = pd.DataFrame(rows_of(tmp_path, ("rls",)))
    assert list(dict.fromkeys(found["feature"])) == [COLUMN, "nucleus_area_um2"]
    area = found[(found["feature"] == "nucleus_area_um2") & (found["method"] == "rls")]
    assert area.set_index("metric").loc["shift_kept", "value"] == pytest.approx(1.0)


def test_a_feature_that_was_not_measured_is_named(tmp_path):
    high, _, _ = planted()
    made_up.write_features(tmp_path, {"high_resolution": high}, wells=WELLS, cells=CELLS)
    with pytest.raises(InputError, match="golgi_mean_spot_area_um2"):
        rows_of(tmp_path, (), features=("golgi",))


def test_a_method_measured_with_other_thresholds_than_hr_is_refused(tmp_path):
    high, _, _ = planted()
    values = {"high_resolution": high, "rls": high}
    made_up.write_features(tmp_path, values, wells=WELLS, cells=CELLS)
    folder = tmp_path / "translocation" / "8x" / made_up.DEGRADATION
    for method, digest in (("high_resolution", "aa"), ("rls", "bb")):
        path = folder / f"{method}.features.parquet"
        write_table(path, read_table(path).assign(feature_settings=digest), written_by="test")
    with pytest.raises(InputError, match=r"rls.features.parquet were measured with other settings"):
        rows_of(tmp_path, ("rls",))
    write_table(path, read_table(path).assign(feature_settings="aa"), written_by="test")
    assert rows_of(tmp_path, ("rls",))


def test_the_command_writes_the_agreed_columns(tmp_path):
    high, _, _ = planted()
    made_up.write_features(
        tmp_path, {"high_resolution": high, "rls": high}, wells=WELLS, cells=CELLS
    )
    run = made_up.write_run(tmp_path, ("rls",))
    output = tmp_path / "features.csv"
    features.main(["--run", str(run), *as_flags(SETTINGS), "--output-csv", str(output)])
    table = pd.read_csv(output)
    own = ["feature", "caution", "n_solutions", "n_wells_shared_with_training"]
    assert list(table.columns) == [*LONG_COLUMNS, *own]
    assert set(table["method"]) == {"rls", "high_resolution"} and table["simulated"].all()


def test_the_agreement_is_read_back_from_the_table_as_it_was_computed(tmp_path):
    high, _, methods = planted()
    made_up.write_features(tmp_path, {"high_resolution": high, **methods}, wells=WELLS, cells=CELLS)
    table = long_table(rows_of(tmp_path))
    write_table(tmp_path / "features.csv", table, written_by="table_features")
    at = next(made_up.run_of(tmp_path, METHODS).comparisons())
    (kept,) = kept_features.read_kept(at, read_long(tmp_path / "features.csv"))
    for method, agreement in kept.agreements.items():
        computed = kept_features.agreement_with_high(kept.feature, method, SETTINGS)
        assert agreement.not_above_zero == computed.not_above_zero
        np.testing.assert_equal(asdict(agreement), asdict(computed))


def test_what_wells_and_cells_cannot_carry_is_marked(tmp_path):
    """Three wells and thirty cells a control are enough; one fewer is marked, and half measured."""

    def marks(wells, cells, missing=0):
        n = wells * cells
        values = np.random.default_rng(0).normal(1.0, 0.2, n)
        lost = values.copy()
        negative = np.flatnonzero(made_up.cells_table(wells, cells)["treatment"] == "DMSO")
        lost[np.random.default_rng(1).permutation(negative)[:missing]] = np.nan
        folder = tmp_path / f"{wells}_{cells}_{missing}"
        made_up.write_features(
            folder, {"high_resolution": values, "rls": lost}, wells=wells, cells=cells
        )
        table = long_table(kept_features.kept_rows(made_up.run_of(folder, ("rls",)), SETTINGS))
        return table[table["method"] == "rls"]["caution"]

    assert set(marks(6, 10)) == {""}
    assert set(marks(4, 15)) == {"2 wells of DMSO; 2 wells of TNF-alpha"}
    assert set(marks(6, 10, 1)) == {"29 cells of DMSO"}
    assert set(marks(6, 30, 45)) == {""}
    found = set(marks(6, 30, 46))
    assert len(found) == 1 and "49 % of DMSO measured" in found.pop()


def test_a_mean_over_solutions_says_over_how_many(tmp_path):
    high, _, methods = planted()
    made_up.write_features(tmp_path, {"high_resolution": high, **methods}, wells=WELLS, cells=CELLS)
    path = next(made_up.run_of(tmp_path, METHODS).comparisons()).measured("oracle", "features")
    write_table(path, read_table(path).assign(n_solutions=4), written_by="measure")
    found = pd.DataFrame(rows_of(tmp_path)).groupby("method")["n_solutions"].unique()
    assert found["oracle"] == [4] and found["biased"] == found["high_resolution"] == [1]
    assert method_label("rls_encoder", 4).endswith(" (mean of 4)")
    assert "mean" not in method_label("rls_encoder")
