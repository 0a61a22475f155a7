from __future__ import annotations

import dataclasses
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analysis import classify
from analysis.classification.classifiers import (
    Verdict,
    fit_and_judge,
    forest,
    judge_cells,
    pixel_features,
    verdict_table,
)
from analysis.classification.controls import KEPT, Cells, Parts, cells_of, check_splits
from analysis.classification.settings import Settings
from rls.io import read_intensity, read_stack, read_table, write_stack, write_table
from rls.io.names import LOW_RESOLUTION_ALL_CELLS
from rls.io.splits import CHOOSE, CLASSIFY_ALL, REPORT, TRAIN
from rls.runtime.errors import InputError
from tests.analysis.test_measure import call, evaluation_images, flags, small_run, write_method
from tests.analysis.test_measure import run as run_measure

OPTIONS = {
    "forest_trees": 30, "forest_leaf": 2, "logistic_c": 0.1, "batch_size": 32, "seed": 0,
    "device": "cpu", "threads": 1,
}  # fmt: skip
SETTINGS = Settings(feature_columns=("nucleocytoplasmic_ratio",), **OPTIONS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = small_run(tmp_path_factory.getbasetemp())
    flat = evaluation_images(path).mean(axis=(2, 3), keepdims=True) + np.zeros((1, 1, 32, 32))
    write_method(path, "flat", flat)
    for method in ("high_resolution", "low_resolution", "flat"):
        run_measure(path, method)
    return path


def run(folder, method, controls=("DMSO", "TNF"), features="high_resolution", **changes):
    call(
        classify.main, "--stack", folder / f"{method}.ome.tif", "--method", method,
        "--high-resolution", folder / "high_resolution.ome.tif",
        "--classifier", folder / "classifier.safetensors",
        "--low-resolution-classifier", folder / "low_classifier.safetensors",
        "--features", folder / f"{features}.features.parquet",
        "--method-features", folder / f"{method}.features.parquet",
        "--intensity", folder / "intensity.json", "--negative-control", controls[0],
        "--positive-control", controls[1], "--output", folder / f"{method}.classification.parquet",
        "--feature-columns", "nucleocytoplasmic_ratio", *flags({**OPTIONS, **changes}),
    )  # fmt: skip
    return read_table(folder / f"{method}.classification.parquet")


def by_name(table):
    return {name: rows.reset_index(drop=True) for name, rows in table.groupby("classifier")}


def test_hr_is_told_apart_by_the_network_and_by_the_feature_on_cells_of_evaluation(folder):
    table = run(folder, "high_resolution")
    assert set(table["split"]) == {"evaluation"} and (table["method"] == "high_resolution").all()
    assert list(table.columns[: len(KEPT)]) == list(KEPT)
    found = by_name(table)
    for name in ("cnn", "logistic_on_features", "forest_on_features"):
        rows = found[name]
        assert len(rows) == 24 and rows["image_id"].is_unique
        assert rows["correct"].mean() > 0.9, name
        positive = rows["probability_positive"] > 0.5
        assert (rows["correct"] == (positive == (rows["treatment"] == "TNF"))).all()
        assert (rows["status"] == "ok").all()


def test_one_is_chosen_by_its_accuracy_on_tune_whatever_evaluation_says(folder):
    stack = read_stack(folder / "high_resolution.ome.tif")
    intensity = read_intensity(folder / "intensity.json")
    cells = cells_of(stack, intensity, ("DMSO", "TNF"), None, ("x",)).of(REPORT)
    good, n = cells.labels.astype(float), len(cells.labels)
    verdicts = [
        Verdict(name, probability, np.full(n, "ok"), on_tune, 10, candidate)
        for name, probability, on_tune, candidate in (
            ("right_here", good, 0.7, True),
            ("wrong_here", 1 - good, 0.9, True),
            ("as_good_on_tune", good, 0.9, True),
            ("no_candidate", good, 1.0, False),
            ("without_tune", good, np.nan, True),
        )
    ]
    table = verdict_table(cells, verdicts, "m")
    assert set(table.loc[table["chosen"], "classifier"]) == {"wrong_here"}
    assert by_name(table)["wrong_here"]["correct"].mean() == 0


@pytest.mark.parametrize("kind", ["features", "pixels"])
def test_the_candidates_are_the_network_and_both_that_learn_from_the_kind_of_input(folder, kind):
    stack = read_stack(folder / "high_resolution.ome.tif")
    intensity = read_intensity(folder / "intensity.json")
    cells = cells_of(stack, intensity, ("DMSO", "TNF"), None, ("x",))
    network = SimpleNamespace(probabilities=lambda unit: np.tile([0.4, 0.6], (len(unit), 1)))
    cells = dataclasses.replace(cells, features=cells.unit.mean(axis=(2, 3)))
    verdicts = judge_cells(cells, cells.of(REPORT), network, SETTINGS, kind)
    candidates = {verdict.name for verdict in verdicts if verdict.candidate}
    assert candidates == {"cnn", f"logistic_on_{kind}", f"forest_on_{kind}"}
    assert verdicts[0].probability.tolist() == [0.6] * 24


def test_channel_means_are_a_row_and_never_chosen(folder):
    for method in ("high_resolution", "low_resolution"):
        rows = by_name(run(folder, method))["channel_means"]
        assert rows["correct"].notna().all() and not rows["chosen"].any()


def test_lr_has_its_own_classifiers_and_no_feature(folder):
    table = run(folder, "low_resolution")
    chosen = set(table.loc[table["chosen"], "classifier"])
    assert len(chosen) == 1 and chosen <= {"cnn", "logistic_on_pixels", "forest_on_pixels"}
    for name in ("logistic_on_features", "forest_on_features"):
        rows = by_name(table)[name]
        assert rows["correct"].isna().all() and rows["probability_positive"].isna().all()
        assert (rows["status"] == "not_measurable:no_features").all()


def test_cells_without_a_feature_are_given_the_majority_and_counted(folder):
    rows = by_name(run(folder, "flat"))["logistic_on_features"]
    assert (rows["status"] == "feature_not_measurable:majority_class").all()
    # training is balanced, so all are called negative: half are right, none by information
    assert (rows["correct"] == (rows["treatment"] == "DMSO")).all()


def test_two_runs_are_equal(folder):
    assert run(folder, "high_resolution").equals(run(folder, "high_resolution"))


def made_up_cells(features, labels, split) -> Cells:
    """Cells that only features tell apart."""
    table = pd.DataFrame({"image_id": [f"{split}{i}" for i in range(len(labels))], "split": split})
    return Cells(table, np.zeros((len(labels), 1, 4, 4)), labels, features)


def parts_of(training, tune, evaluation) -> Parts:
    """Parts with these features, each (n, d); labels alternate."""
    named = {"classifier": training, "tune": tune, "evaluation": evaluation}
    return Parts(*(made_up_cells(x, np.arange(len(x)) % 2, name) for name, x in named.items()))


def features_of(cells: Cells) -> np.ndarray:
    return cells.features


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("split", ["gan", "tune", "calibration", "classifier", "evaluation"])
def test_cells_serve_the_part_of_their_own_split_alone(place, split):
    own = ("classifier", "tune", "evaluation")
    values, labels = np.zeros((4, 1)), np.arange(4) % 2
    given = [made_up_cells(values, labels, name) for name in own]
    given[place] = made_up_cells(values, labels, split)
    if split == own[place]:
        assert Parts(*given).in_order[place] is given[place]
        return
    with pytest.raises(InputError, match=f"cells of split {split} to"):
        Parts(*given)


def test_the_generator_s_cells_fit_where_they_may_and_no_cell_of_tune_does():
    values, labels = np.zeros((4, 1)), np.arange(4) % 2
    gan, tune, shown = (made_up_cells(values, labels, n) for n in ("gan", "tune", "evaluation"))
    assert Parts(gan, tune, shown, CLASSIFY_ALL).training is gan
    for wrong in (tune, shown):
        with pytest.raises(InputError, match="to fit a classifier of low-resolution images on all"):
            Parts(wrong, tune, shown, CLASSIFY_ALL)


def test_on_all_cells_a_classifier_of_lr_learns_what_few_cells_do_not_show(folder, tmp_path):
    """The cells of split classifier get wrong labels; many of split gan have the right ones."""
    stack = read_stack(folder / "low_resolution.ome.tif")
    table = stack.table.drop(columns="image_digest")
    kind = {"channels": stack.channels, "pixel_size_um": 8.0, "written_by": "test"}
    own = table["split"] == "classifier"
    swapped = table["treatment"].map({"DMSO": "TNF", "TNF": "DMSO"}).where(own, table["treatment"])
    write_stack(tmp_path / "low_resolution.ome.tif", stack.images,
                table.assign(treatment=swapped), **kind)  # fmt: skip
    rows = np.tile(np.flatnonzero(table["treatment"].isin(("DMSO", "TNF"))), 6)
    gan = table.iloc[rows].reset_index(drop=True).assign(split="gan")
    gan = gan.assign(image_id=[f"gan{i}" for i in range(len(rows))])
    write_stack(tmp_path / "gan.ome.tif", stack.images[rows], gan, **kind)
    found = {}
    for method, more in (
        ("low_resolution", ()),
        (LOW_RESOLUTION_ALL_CELLS, ("--more-cells", tmp_path / "gan.ome.tif")),
    ):
        call(
            classify.main, "--stack", tmp_path / "low_resolution.ome.tif", "--method", method,
            "--low-resolution-classifier", folder / "low_classifier.safetensors",
            "--intensity", folder / "intensity.json", "--negative-control", "DMSO",
            "--positive-control", "TNF", "--output", tmp_path / "classes.parquet", *more,
            "--feature-columns", "nucleocytoplasmic_ratio", *flags(OPTIONS),
        )  # fmt: skip
        table = read_table(tmp_path / "classes.parquet")
        assert set(table["split"]) == {"evaluation"} and set(table["method"]) == {method}
        found[method] = by_name(table)["forest_on_pixels"]["correct"].mean()
    assert found["low_resolution"] < 0.5 < 0.9 < found[LOW_RESOLUTION_ALL_CELLS]


def test_a_method_without_the_files_of_hr_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="Found no --high-resolution"):
        call(
            classify.main, "--stack", folder / "flat.ome.tif", "--method", "flat",
            "--low-resolution-classifier", folder / "low_classifier.safetensors",
            "--intensity", folder / "intensity.json", "--negative-control", "DMSO",
            "--positive-control", "TNF", "--output", tmp_path / "classes.parquet",
            "--feature-columns", "nucleocytoplasmic_ratio", *flags(OPTIONS),
        )  # fmt: skip


def test_the_seed_moves_forests():
    values = np.random.default_rng(0).normal(size=(60, 2))

    def probability(seed):
        model = forest(dataclasses.replace(SETTINGS, seed=seed), "f")
        return fit_and_judge("f", model, parts_of(values, values, values), features_of).probability

    np.testing.assert_array_equal(probability(0), probability(0))
    assert not np.array_equal(probability(0), probability(1))


def test_evaluation_cells_change_nothing_that_was_learnt():
    random = np.random.default_rng(0)
    training, labels = random.normal(size=(60, 2)), np.arange(60) % 2
    training[labels == 1] += 1
    evaluation = random.normal(size=(10, 2))
    verdicts = [
        fit_and_judge(
            "f", forest(SETTINGS, "f"), parts_of(training, training[:10], part), features_of
        )
        for part in (evaluation, np.concatenate([evaluation, evaluation + 100]))
    ]
    np.testing.assert_array_equal(verdicts[0].probability, verdicts[1].probability[:10])
    assert verdicts[0].accuracy_tune == verdicts[1].accuracy_tune


def test_sorted_pixels_do_not_know_a_turn_and_normalised_ones_no_brightness():
    unit = np.random.default_rng(0).random((3, 2, 4, 4)).astype(np.float32)
    n = 2 * 4 * 4
    a, b = pixel_features(unit), pixel_features(np.rot90(unit, 1, (2, 3)).copy())
    np.testing.assert_array_equal(a[:, n : 2 * n], b[:, n : 2 * n])
    np.testing.assert_allclose(a[:, 2 * n :], pixel_features(5 * unit)[:, 2 * n :], rtol=1e-5)


def test_without_training_cells_that_can_be_measured_there_is_no_verdict():
    nothing = np.full((20, 1), np.nan)
    parts = parts_of(nothing, nothing, nothing)
    verdict = fit_and_judge("f", forest(SETTINGS, "f"), parts, features_of)
    assert np.isnan(verdict.probability).all()
    assert (verdict.status == "not_measurable:too_few_training_cells").all()


def test_features_of_other_cells_or_without_the_column_are_refused(folder):
    features = read_table(folder / "high_resolution.features.parquet")
    write_table(folder / "short.features.parquet", features[:-3], written_by="measure")
    with pytest.raises(InputError, match="images have no row in the table of features"):
        run(folder, "flat", features="short")
    bare = features.drop(columns="nucleocytoplasmic_ratio")
    write_table(folder / "bare.features.parquet", bare, written_by="measure")
    with pytest.raises(InputError, match="lacks the column nucleocytoplasmic_ratio"):
        run(folder, "flat", features="bare")


def test_a_network_for_other_controls_is_refused(folder):
    with pytest.raises(InputError, match="trained on DMSO against TNF"):
        run(folder, "flat", controls=("TNF", "DMSO"))


def test_a_split_without_one_of_the_controls_is_named(folder):
    stack = read_stack(folder / "high_resolution.ome.tif")
    intensity = read_intensity(folder / "intensity.json")
    cells = cells_of(stack, intensity, ("DMSO", "TNF"), None, ("x",))
    check_splits(cells, folder, (CHOOSE,))
    with pytest.raises(InputError, match="no cell of split 'gan'"):
        check_splits(cells, folder, (TRAIN,))
    one = replace(cells, labels=np.zeros_like(cells.labels))
    with pytest.raises(InputError, match="'tune' of .* and 0 of the positive control"):
        check_splits(one, folder, (CHOOSE,))
    bare = type(stack)(
        stack.images, stack.table.drop(columns="split"), stack.channels, stack.pixel_size_um
    )
    with pytest.raises(InputError, match="lacks the column split"):
        cells_of(bare, intensity, ("DMSO", "TNF"), None, ("x",))
