"""Table 2: accuracies, their intervals, the choice on tune, and what the wells let them mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparison import accuracy
from analysis.comparison.long_table import long_table
from analysis.comparison.settings import Settings
from analysis.comparison.wide_table import article_form
from analysis.tables import table2
from rls.io import read_table, write_table
from rls.io.names import LOW_RESOLUTION_ALL_CELLS, MAJORITY_CLASS
from tests.analysis import made_up
from tests.flags import as_flags

SETTINGS = Settings(confidence_level=0.95, seed=0)
QUALITY = {"high_resolution": 1.0, "bicubic": 0.2, "rls": 0.8}


def classes_of(root, shares, methods):
    made_up.write_classification(root, shares)
    rows = accuracy.accuracy_rows(made_up.run_of(root, methods), SETTINGS)
    return long_table(rows).set_index(["method", "metric"])


ACCURACY = {"low_resolution": 0.8, "rls": 0.9, "high_resolution": 1.0}


def test_accuracies_are_those_of_the_cells_with_both_kinds_of_interval(tmp_path):
    numbers = classes_of(tmp_path, ACCURACY, ("rls",))
    for method, share in ACCURACY.items():
        assert numbers.loc[(method, "accuracy_chosen"), "value"] == pytest.approx(share)
    wells = numbers.loc[("rls", "accuracy_cnn")]
    assert wells["unit_of_replication"] == "well" and wells["n"] == 6
    cells = numbers.loc[("rls", "accuracy_cnn_cells_as_units")]
    assert cells["unit_of_replication"] == "cell" and cells["n"] == 60
    assert cells["low"] < 0.9 < cells["high"]


def test_the_best_is_the_one_that_was_chosen_on_tune_and_is_named(tmp_path):
    numbers = classes_of(tmp_path, ACCURACY, ("rls",))
    low = numbers.loc[("low_resolution", "accuracy_chosen")]
    assert low["value"] == pytest.approx(0.8) and "forest on pixels" in low["reason"]
    assert numbers.loc[("low_resolution", "accuracy_cnn"), "value"] == pytest.approx(0.5)
    features = numbers.loc[("rls", "accuracy_features")]
    assert features["value"] == pytest.approx(0.9) and "forest on features" in features["reason"]


def test_lr_has_no_features_and_says_so_and_channel_means_have_their_row(tmp_path):
    numbers = classes_of(tmp_path, ACCURACY, ("rls",))
    empty = numbers.loc[("low_resolution", "accuracy_features")]
    assert np.isnan(empty["value"]) and "not measurable" in empty["reason"]
    means = numbers.loc[(accuracy.LOW_RESOLUTION_MEANS, "accuracy_chosen"), "value"]
    assert means == pytest.approx(0.5)
    order = list(dict.fromkeys(method for method, _ in numbers.index))
    low = ["low_resolution", accuracy.LOW_RESOLUTION_MEANS, LOW_RESOLUTION_ALL_CELLS]
    assert order == [*low, "rls", "high_resolution"]


def test_what_lies_beyond_a_classifier_of_lr_that_saw_all_cells(tmp_path):
    """Each well has 9 right by the method and 8 by LR: 10 points, the same without any well."""
    everything = {**ACCURACY, LOW_RESOLUTION_ALL_CELLS: 0.8, "low_resolution": 0.5}
    made_up.write_classification(tmp_path, everything)
    run = made_up.run_of(tmp_path, ("rls",))
    run = replace(run, assays=tuple(replace(assay, has_gan=True) for assay in run.assays))
    table = long_table(accuracy.accuracy_rows(run, SETTINGS)).set_index(["method", "metric"])
    own = table.loc[(LOW_RESOLUTION_ALL_CELLS, "accuracy_chosen")]
    assert own["value"] == pytest.approx(0.8) and "forest on pixels" in own["reason"]
    beyond = table.loc[("rls", accuracy.BEYOND)]
    assert beyond["value"] == pytest.approx(0.1) and beyond["unit_of_replication"] == "well"
    assert table.loc[("high_resolution", accuracy.BEYOND), "value"] == pytest.approx(0.2)
    assert ("low_resolution", accuracy.BEYOND) not in table.index


def test_without_cells_of_gan_the_row_of_all_cells_says_so(tmp_path):
    row = classes_of(tmp_path, ACCURACY, ("rls",)).loc[
        (LOW_RESOLUTION_ALL_CELLS, "accuracy_chosen")
    ]
    assert np.isnan(row["value"]) and "no cell of split gan" in row["reason"]


def test_cells_that_were_given_the_majority_are_counted(tmp_path):
    made_up.write_classification(tmp_path, ACCURACY)
    path = tmp_path / "translocation" / "8x" / "bicubic" / "rls.classification.parquet"
    table = read_table(path)
    blind = (table["classifier"] == "forest_on_features") & (table["well"] == "B02")
    write_table(
        path,
        table.assign(status=np.where(blind, MAJORITY_CLASS, table["status"])),
        written_by="test",
    )
    rows = long_table(accuracy.accuracy_rows(made_up.run_of(tmp_path, ("rls",)), SETTINGS))
    reason = rows.set_index(["method", "metric"]).loc[("rls", "accuracy_features"), "reason"]
    assert "10 of 60 cells" in reason


def test_mcnemar_compares_the_same_cells_with_low_resolution(tmp_path):
    numbers = classes_of(tmp_path, {**ACCURACY, "same": 0.8}, ("rls", "same"))
    assert numbers.loc[("same", accuracy.MCNEMAR), "value"] == 1.0
    better = numbers.loc[("high_resolution", accuracy.MCNEMAR)]
    assert better["n"] == 12 and better["value"] == pytest.approx(2 * 0.5**12)


def test_the_articles_form_has_a_line_an_assay_and_lr_methods_hr_as_columns(tmp_path):
    made_up.write_classification(tmp_path, ACCURACY)
    run = made_up.run_of(tmp_path, ("rls",))
    form = article_form(long_table(accuracy.accuracy_rows(run, SETTINGS)), run)
    assert list(form.columns) == ["", "assay", "degradation", "LR", "LR, all cells", "RLS", "HR"]
    assert len(form) == 1 and form.loc[0, ""] == "DMSO vs TNF-alpha (8x)"
    assert form.loc[0, "LR"].startswith("80.0") and form.loc[0, "HR"].startswith("100.0")


def test_the_command_writes_both_forms_and_says_what_is_confounded(tmp_path, capsys):
    made_up.write_classification(tmp_path, ACCURACY, wells=2)
    run = made_up.write_run(tmp_path, ("rls",))
    outputs = ("--output-csv", "table2.csv"), ("--output-article", "table2_article.csv")
    flags = [item for flag, name in outputs for item in (flag, str(tmp_path / name))]
    table2.main(["--run", str(run), *as_flags(SETTINGS), *flags])
    assert "DMSO has 1 well (P1/B02) and TNF-alpha has 1 well (P1/B03)" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "table2_article.csv")) == 1
    long = pd.read_csv(tmp_path / "table2.csv")
    assert (long["metric"] == "well_confounded_with_treatment").sum() == 1


def test_an_assay_without_a_classifier_says_so(tmp_path):
    run = made_up.run_of(tmp_path, ("rls",))
    run = replace(run, assays=tuple(replace(one, has_classifier=False) for one in run.assays))
    table = long_table(accuracy.accuracy_rows(run, SETTINGS))
    assert table["value"].isna().all()
    assert set(table["reason"]) == {accuracy.NO_CLASSIFIER}
    assert set(article_form(table, run).loc[0, ["LR", "RLS", "HR"]]) == {""}
