"""The table of solutions: planted coverage, planted errors, cells that could not be measured."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.long_table import LONG_COLUMNS, long_table, read_long
from analysis.comparison.solutions import EXPECTED, read_cells, solution_rows
from analysis.comparison.solutions_settings import Settings
from analysis.numbers.conformal import VARIANTS, expected_coverage
from analysis.report import solutions as shown_solutions
from analysis.run.description import Run
from analysis.tables import solutions
from rls.io import read_table, write_table
from rls.runtime.errors import InputError
from tests.analysis import made_up
from tests.flags import as_flags

FEATURE = "nucleocytoplasmic_ratio"
SETTINGS = Settings(
    method="rls", kinds=("variational", "restarts"), kind_shown="variational", level=0.9,
    interval_shown="normalised", spread_floor=0.02, confidence_level=0.95, seed=0,
)  # fmt: skip
WELLS, CELLS = 12, 50
SD = 0.1  # of what a solution gets wrong


def cells_of_splits() -> pd.DataFrame:
    """A third of the wells each for classifier, calibration and evaluation."""
    table = made_up.cells_table(WELLS, CELLS)
    well = table["well"].str[1:].astype(int) - 2
    names = np.array(["classifier", "calibration", "evaluation"])
    return table.assign(split=names[(well // 2) % 3])


def folder_of(root):
    return root / "translocation" / f"{made_up.FACTOR}x" / made_up.DEGRADATION


def write_solutions(
    root, kind: str, values: np.ndarray, table: pd.DataFrame, method: str = "rls", **columns
) -> None:
    """Write the features of the solutions of calibration and evaluation cells, values (n, k)."""
    k = values.shape[1]
    long = table.loc[table.index.repeat(k)].reset_index(drop=True)
    long = long.rename(columns={"image_id": "source_image_id"}).assign(
        solution=np.tile(np.arange(1, k + 1), len(table)), n_solutions=k, loss_fidelity=0.02,
        **{FEATURE: values.reshape(-1)}, **columns,
    )  # fmt: skip
    long.insert(0, "image_id", long["source_image_id"] + "_k" + long["solution"].astype(str))
    path = folder_of(root) / "solutions" / f"{method}.{kind}.features.parquet"
    write_table(path, long, written_by="measure_solutions")


def write_run(root, blind: int = 0) -> pd.DataFrame:
    """HR, two kinds of solutions and the single search; returns the cells that have solutions.

    ``variational`` has as much spread as error; ``restarts`` agree on a value that is as wrong.
    """
    random = np.random.default_rng(0)
    table = cells_of_splits()
    truth = np.where(table["treatment"] == made_up.CONTROLS[1], 2.0, 1.0)
    truth = truth + random.normal(0, 0.2, len(table))
    high = table.assign(**{FEATURE: truth})
    write_table(folder_of(root) / "high_resolution.features.parquet", high, written_by="test")
    here = table["split"] != "classifier"
    cells, n = table[here].reset_index(drop=True), int(here.sum())
    values = truth[here][:, None] + SD * random.normal(size=(n, 5))
    values[:blind] = np.nan
    write_solutions(root, "variational", values, cells)
    agreed = truth[here] + SD * random.normal(size=n)
    write_solutions(root, "restarts", np.repeat(agreed[:, None], 5, axis=1), cells)
    single = table.assign(**{FEATURE: truth + 2 * SD * random.normal(size=len(table))})
    single = single[single["split"] == "evaluation"]
    write_table(folder_of(root) / "rls.features.parquet", single, written_by="test")
    return cells


def run_of(root) -> Run:
    return made_up.run_of(root, ("rls",), degradations=(made_up.DEGRADATION, "noise"))


def value_of(rows, kind: str, metric: str, treatment: str = ""):
    found = [
        r for r in rows if (r["kind"], r["metric"], r["treatment"]) == (kind, metric, treatment)
    ]
    assert len(found) == 1, (kind, metric, treatment)
    return found[0]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    write_run(root)
    return solution_rows(run_of(root), SETTINGS)


@pytest.mark.parametrize("kind", SETTINGS.kinds)
def test_calibrated_intervals_hold_whether_or_not_the_solutions_spread(rows, kind: str) -> None:
    for variant in ("normalised", "quantile", "constant"):
        found = value_of(rows, kind, f"coverage_{variant}")
        assert found["expected_low"] <= found["value"] <= found["expected_high"]
        assert found["n_cells"] == 200 and found["unit_of_replication"] == "field"
        assert 0.0 < value_of(rows, kind, f"width_{variant}")["value"] < 1.0
        for treatment in made_up.CONTROLS:
            assert value_of(rows, kind, f"coverage_{variant}", treatment)["n_cells"] == 100


def test_solutions_that_agree_cover_nothing_before_calibration(rows) -> None:
    assert value_of(rows, "restarts", "coverage_raw")["value"] == 0.0
    assert value_of(rows, "restarts", "width_raw")["value"] == 0.0
    # the mean of five errs by a fifth of the variance: their range holds it nearly always
    assert value_of(rows, "variational", "coverage_raw")["value"] > 0.8


def test_errors_of_one_solution_of_the_mean_and_of_the_single_search_are_the_planted_ones(
    rows,
) -> None:
    planted = {
        ("variational", "one_solution"): SD,
        ("variational", "mean_of_solutions"): SD / np.sqrt(5),
        ("variational", "single_search"): 2 * SD,
        ("restarts", "one_solution"): SD,
        ("restarts", "mean_of_solutions"): SD,
    }
    for (kind, name), sd in planted.items():
        assert value_of(rows, kind, f"rmse_{name}")["value"] == pytest.approx(sd, rel=0.15)
        expected = sd * np.sqrt(2 / np.pi)
        assert value_of(rows, kind, f"mae_{name}")["value"] == pytest.approx(expected, rel=0.15)
    gain = value_of(rows, "variational", "mae_mean_minus_one_solution")
    assert gain["low"] <= gain["value"] <= gain["high"] < 0.0
    assert value_of(rows, "restarts", "mae_mean_minus_one_solution")["value"] == pytest.approx(0.0)
    gain = value_of(rows, "variational", "rmse_mean_minus_single_search")
    assert gain["low"] < gain["value"] < gain["high"] and gain["value"] < -SD / 2


def test_every_number_has_the_agreed_columns_and_an_empty_one_its_reason(rows) -> None:
    for row in rows:
        assert set(LONG_COLUMNS) <= set(row) and row["feature"] == FEATURE
        assert np.isfinite(row["value"]) or row["reason"]
    # the degradations after the first have no solutions, and are not asked for any
    assert {row["degradation"] for row in rows} == {made_up.DEGRADATION}
    # a spread that is nought tells nothing of the error
    assert np.isnan(value_of(rows, "restarts", "spearman_of_spread_and_error")["value"])


def test_cells_that_could_not_be_measured_are_counted(tmp_path) -> None:
    cells = write_run(tmp_path, blind=60)
    blind = int((cells["split"].iloc[:60] == "evaluation").sum())
    lost = 60 - blind
    rows = solution_rows(run_of(tmp_path), SETTINGS)
    share = value_of(rows, "variational", "measured_share")
    assert share["value"] == pytest.approx((200 - blind) / 200)
    assert f"every solution of {blind} " in share["reason"] or not blind
    assert value_of(rows, "variational", "coverage_normalised")["n_cells"] == 200 - blind
    assert lost > 0 and value_of(rows, "restarts", "measured_share")["reason"] == ""


def test_the_command_writes_the_long_table(tmp_path, capsys) -> None:
    write_run(tmp_path)
    run = made_up.write_run(tmp_path, ("rls",))
    output = ["--output-csv", str(tmp_path / "solutions.csv")]
    solutions.main(["--run", str(run), *output, *as_flags(SETTINGS)])
    table = read_table(tmp_path / "solutions.csv")
    assert tuple(table.columns[: len(LONG_COLUMNS)]) == LONG_COLUMNS
    assert set(table["kind"]) == {"variational", "restarts"}
    assert "coverage 0.00 raw" in capsys.readouterr().out


def test_solutions_of_other_cells_are_refused(tmp_path) -> None:
    cells = write_run(tmp_path)
    others = cells.assign(image_id=cells["image_id"] + "x")
    write_solutions(tmp_path, "restarts", np.ones((len(cells), 5)), others)
    with pytest.raises(InputError, match="rule sample_solutions"):
        solution_rows(run_of(tmp_path), SETTINGS)


def test_every_variant_of_calibrated_intervals_can_be_shown() -> None:
    (field,) = [one for one in fields(Settings) if one.name == "interval_shown"]
    assert field.metadata["choices"] == VARIANTS


def test_the_unit_of_widths_and_the_floor_come_from_cells_without_solutions(tmp_path) -> None:
    write_run(tmp_path)
    (at,) = run_of(tmp_path).comparisons(clean_only=True)
    cells = read_cells(at, "rls", "variational", FEATURE, SETTINGS)
    high = read_table(at.measured("high_resolution", "features"))
    outside = high.loc[high["split"] == "classifier", FEATURE]
    expected = np.diff(np.percentile(outside, [5, 95]))[0]
    assert cells.hr_range == pytest.approx(expected)
    assert cells.floor == pytest.approx(SETTINGS.spread_floor * expected)


def test_the_range_of_a_right_coverage_is_that_of_new_cells_after_calibration(rows) -> None:
    for treatment, n in (("", 200), *((name, 100) for name in made_up.CONTROLS)):
        found = value_of(rows, "variational", "coverage_normalised", treatment)
        expected = expected_coverage(200, n, SETTINGS.level, EXPECTED)
        assert (found["expected_low"], found["expected_high"]) == pytest.approx(expected)


def test_a_method_that_searches_several_solutions_has_its_own_intervals(tmp_path) -> None:
    cells = write_run(tmp_path)
    random = np.random.default_rng(1)
    high = read_table(folder_of(tmp_path) / "high_resolution.features.parquet")
    truth = high.set_index("image_id")[FEATURE].loc[cells["image_id"]].to_numpy()
    values = truth[:, None] + SD * random.normal(size=(len(cells), 4))
    loss = random.random(values.shape)
    values[np.arange(len(cells)), loss.argmin(axis=1)] = truth  # of least loss, and right
    columns = {"loss_total": loss.reshape(-1)}
    write_solutions(tmp_path, "searches", values, cells, "rls_mean", **columns)
    run = made_up.run_of(tmp_path, ("rls", "rls_mean"), degradations=(made_up.DEGRADATION,))
    rows = solution_rows(replace(run, n_solutions={"rls_mean": 4}), SETTINGS)
    own = [row for row in rows if row["method"] == "rls_mean"]
    assert {row["kind"] for row in own} == {"searches"} and {r["n_solutions"] for r in own} == {4}
    assert {row["kind"] for row in rows if row["method"] == "rls"} == set(SETTINGS.kinds)
    coverage = value_of(rows, "searches", "coverage_normalised")
    assert coverage["expected_low"] <= coverage["value"] <= coverage["expected_high"]
    # The single search of such a method is its solution of least loss.
    assert value_of(rows, "searches", "rmse_single_search")["value"] == pytest.approx(0.0)
    mean = value_of(rows, "searches", "rmse_mean_of_solutions")["value"]
    assert mean == pytest.approx(SD * np.sqrt(3) / 4, rel=0.2)
    assert len(solution_rows(run, SETTINGS)) == len(rows) - len(own)


def test_the_report_shows_the_solutions_of_every_kind(tmp_path):
    write_run(tmp_path)
    path = tmp_path / "solutions.csv"
    long_table(solution_rows(run_of(tmp_path), SETTINGS)).to_csv(path, index=False)
    shown = shown_solutions.section(run_of(tmp_path), read_long(path))
    assert shown.count("<table") == 1
    for text in ("variational", "restarts", "coverage, calibrated", "single search"):
        assert text in shown, text
