"""What fits, what chooses, what calibrates and what judges are different cells.

The labels or the truth of one split are exchanged, and everything that must not see that split must
stay as it was, to the last bit.
"""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.accuracy import accuracy_rows
from analysis.comparison.solutions import solution_rows
from analysis.numbers.conformal import VARIANTS
from rls.io import read_stack, read_table, write_stack, write_table
from tests.analysis import made_up
from tests.analysis import test_table_solutions as of_solutions
from tests.analysis.test_classify import run as classify
from tests.analysis.test_figures import SETTINGS
from tests.analysis.test_measure import run as measure
from tests.analysis.test_measure import small_run

STACKS = ("high_resolution", "low_resolution")
CANDIDATES = {
    "high_resolution": {"cnn", "logistic_on_features", "forest_on_features"},
    "low_resolution": {"cnn", "logistic_on_pixels", "forest_on_pixels"},
}
OTHER = {"DMSO": "TNF", "TNF": "DMSO"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = small_run(tmp_path_factory.mktemp("judged"))
    for method in STACKS:
        measure(path, method)
    return path


@pytest.fixture(scope="module")
def judged(folder, tmp_path_factory):
    """Return the verdicts by (split whose labels were exchanged or '', stack)."""
    found = {}
    for split in ("", "classifier", "tune", "evaluation"):
        copy = tmp_path_factory.mktemp("copy") / "run"
        shutil.copytree(folder, copy)
        for name in STACKS:
            exchange_labels(copy / f"{name}.ome.tif", split)
        for name in STACKS:
            table = classify(copy, name).sort_values(["classifier", "image_id"])
            found[split, name] = table.set_index(["classifier", "image_id"])
    return found


def exchange_labels(path, split):
    """Give every cell of a split the other control's name."""
    stack = read_stack(path)
    table = stack.table.drop(columns="image_digest", errors="ignore")
    here = table["split"] == split
    table.loc[here, "treatment"] = table.loc[here, "treatment"].map(OTHER)
    write_stack(path, stack.images, table, channels=stack.channels,
                pixel_size_um=stack.pixel_size_um, written_by="test")  # fmt: skip


def by_classifier(table, column):
    return table.groupby("classifier")[column].first()


def accuracies(table):
    return table["correct"].dropna().astype(float).groupby("classifier").mean()


@pytest.mark.parametrize("name", STACKS)
def test_evaluation_cells_fit_and_choose_nothing(judged, name):
    """A classifier that was fitted on them would know the exchanged labels."""
    before, after = judged["", name], judged["evaluation", name]
    pd.testing.assert_series_equal(before["probability_positive"], after["probability_positive"])
    pd.testing.assert_series_equal(before["accuracy_tune"], after["accuracy_tune"])
    pd.testing.assert_series_equal(before["chosen"], after["chosen"])
    was, now = accuracies(before), accuracies(after)
    np.testing.assert_allclose(now, 1 - was)
    assert (was[sorted(CANDIDATES[name])] > 0.75).all() and (now.drop("channel_means") < 0.25).all()


@pytest.mark.parametrize("name", STACKS)
def test_tune_cells_choose_and_do_not_fit(judged, name):
    before, after = judged["", name], judged["tune", name]
    pd.testing.assert_series_equal(before["probability_positive"], after["probability_positive"])
    was, now = (by_classifier(t, "accuracy_tune").dropna() for t in (before, after))
    np.testing.assert_allclose(now, 1 - was)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("split", ["", "tune", "classifier", "evaluation"])
def test_the_chosen_one_is_the_candidate_with_the_highest_accuracy_on_tune(judged, name, split):
    """With exchanged labels on tune every candidate is bad, and the channel means are better."""
    table = judged[split, name]
    on_tune, chosen = by_classifier(table, "accuracy_tune"), by_classifier(table, "chosen")
    assert chosen.sum() == 1
    (best,) = chosen.index[chosen]
    assert best in CANDIDATES[name]
    assert on_tune[best] == max(on_tune[sorted(CANDIDATES[name])])


@pytest.mark.parametrize("name", STACKS)
def test_channel_means_are_not_chosen_where_they_are_better_than_every_candidate(judged, name):
    table = judged["tune", name]
    on_tune = by_classifier(table, "accuracy_tune")
    assert on_tune["channel_means"] > max(on_tune[sorted(CANDIDATES[name])])
    assert not by_classifier(table, "chosen")["channel_means"]


@pytest.mark.parametrize("name", STACKS)
def test_the_cells_of_the_split_classifier_fit(judged, name):
    """The network comes from a file; the others learn the exchanged labels."""
    before, after = judged["", name], judged["classifier", name]
    fitted = sorted(CANDIDATES[name] - {"cnn"})
    assert (accuracies(after)[fitted] < 0.25).all()
    assert accuracies(after)["cnn"] == accuracies(before)["cnn"] > 0.75


def test_table_2_shows_the_better_on_tune_of_the_classifiers_on_features(tmp_path):
    """On evaluation the other one is right in more cells, which must not decide."""
    accuracy = {"low_resolution": 0.7, "rls": 0.9, "high_resolution": 1.0}
    made_up.write_classification(tmp_path, accuracy)
    folder = of_solutions.folder_of(tmp_path)
    path = folder / "rls.classification.parquet"
    table = read_table(path)
    table.loc[table["classifier"] == "logistic_on_features", "accuracy_tune"] = 0.8  # forest: 0.6
    write_table(path, table, written_by="test")
    rows = accuracy_rows(made_up.run_of(tmp_path, ("rls",)), SETTINGS)
    (row,) = (r for r in rows if (r["method"], r["metric"]) == ("rls", "accuracy_features"))
    assert row["value"] == 0.5 and "logistic on features" in row["reason"]


# ---- intervals of solutions --------------------------------------------------------------------


def solutions_with_hr_moved(root, moved) -> dict[tuple[str, str], float]:
    """Return values by (kind, metric), after HR of the splits in ``moved`` was raised by 5."""
    of_solutions.write_run(root)
    path = of_solutions.folder_of(root) / "high_resolution.features.parquet"
    table = read_table(path)
    table.loc[table["split"].isin(moved), of_solutions.FEATURE] += 5.0
    write_table(path, table, written_by="test")
    rows = solution_rows(of_solutions.run_of(root), of_solutions.SETTINGS)
    return {(r["kind"], r["metric"]): r["value"] for r in rows if r["treatment"] == ""}


def test_intervals_are_calibrated_on_other_cells_than_those_that_judge_them(tmp_path):
    """Evaluation cells whose truth lies elsewhere are missed, and no interval grows by them."""
    plain = solutions_with_hr_moved(tmp_path / "plain", [])
    away = solutions_with_hr_moved(tmp_path / "away", ["evaluation"])
    for kind in of_solutions.SETTINGS.kinds:
        for variant in VARIANTS:
            assert plain[kind, f"coverage_{variant}"] > 0.8
            assert away[kind, f"coverage_{variant}"] == 0.0
            assert away[kind, f"width_{variant}"] == plain[kind, f"width_{variant}"]


def test_intervals_are_as_wide_as_the_cells_that_calibrate_them_need(tmp_path):
    splits = set(of_solutions.cells_of_splits()["split"]) - {"classifier", "evaluation"}
    wide = solutions_with_hr_moved(tmp_path, sorted(splits))
    for kind in of_solutions.SETTINGS.kinds:
        for variant in VARIANTS:
            assert wide[kind, f"coverage_{variant}"] == 1.0
            assert wide[kind, f"width_{variant}"] > 3.0
