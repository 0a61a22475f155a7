"""Faults of Table 2 and of the intervals of solutions: cells that see what they must not."""

from __future__ import annotations

from tests.planted import Fault

CLASSIFIERS, SOLUTIONS = (
    "analysis/classification/classifiers.py",
    "analysis/comparison/solutions.py",
)
TESTS = "tests/analysis/test_judged_elsewhere.py"
EVALUATION = f"{TESTS}::test_evaluation_cells_fit_and_choose_nothing"
TUNE = f"{TESTS}::test_tune_cells_choose_and_do_not_fit"
CHOSEN = f"{TESTS}::test_the_chosen_one_is_the_candidate_with_the_highest_accuracy_on_tune"
MEANS = f"{TESTS}::test_channel_means_are_not_chosen_where_they_are_better_than_every_candidate"
FITTED = f"{TESTS}::test_the_cells_of_the_split_classifier_fit"
CALIBRATED = f"{TESTS}::test_intervals_are_calibrated_on_other_cells_than_those_that_judge_them"
WIDE = f"{TESTS}::test_intervals_are_as_wide_as_the_cells_that_calibrate_them_need"
SPLITS = "Parts(reference.of(use), reference.of(CHOOSE), evaluation, use)"

FAULTS = [
    Fault(
        "the classifiers of LR are fitted on evaluation cells", CLASSIFIERS, SPLITS,
        'Parts(evaluation if kind == "pixels" else reference.of(use), '
        "reference.of(CHOOSE), evaluation, use)",
        (f"{EVALUATION}[low_resolution]", f"{FITTED}[low_resolution]"),
    ),
    Fault(
        "the classifiers of HR are fitted on evaluation cells", CLASSIFIERS, SPLITS,
        "Parts(evaluation, reference.of(CHOOSE), evaluation, use)",
        (f"{EVALUATION}[high_resolution]", f"{FITTED}[high_resolution]"),
    ),
    Fault(
        "the classifiers are fitted on tune", CLASSIFIERS, SPLITS,
        "Parts(reference.of(CHOOSE), reference.of(CHOOSE), evaluation, use)",
        (f"{TUNE}[high_resolution]", f"{FITTED}[high_resolution]"),
    ),
    Fault(
        "the choice is made on training cells", CLASSIFIERS,
        "accuracy(probability(tune), parts.tune.labels)",
        "accuracy(probability(training), parts.in_order[0].labels)",
        (f"{TUNE}[high_resolution]", f"{TUNE}[low_resolution]"),
    ),
    Fault(
        "the network's accuracy on tune is that on training cells", CLASSIFIERS,
        "accuracy(network.probabilities(tune.unit)[:, 1], tune.labels)",
        "accuracy(network.probabilities(parts.in_order[0].unit)[:, 1], parts.in_order[0].labels)",
        (f"{TUNE}[high_resolution]",),
    ),
    Fault(
        "the choice is made on evaluation", CLASSIFIERS,
        "accuracy(network.probabilities(tune.unit)[:, 1], tune.labels)",
        "accuracy(network.probabilities(evaluation.unit)[:, 1], evaluation.labels)",
        (f"{EVALUATION}[high_resolution]",),
    ),
    Fault(
        "channel means are a candidate", CLASSIFIERS,
        "parts, channel_means, candidate=False)", "parts, channel_means)",
        (f"{MEANS}[low_resolution]", f"{MEANS}[high_resolution]"),
    ),
    Fault(
        "the worst on tune is chosen", CLASSIFIERS,
        "best = max(candidates, key=lambda", "best = min(candidates, key=lambda",
        ("tests/analysis/test_classify.py::"
         "test_one_is_chosen_by_its_accuracy_on_tune_whatever_evaluation_says",),
    ),
    Fault(
        "the probability is that of the negative control", CLASSIFIERS,
        "model.predict_proba(values[good])[:, 1]", "model.predict_proba(values[good])[:, 0]",
        (f"{EVALUATION}[high_resolution]",),
    ),
    Fault(
        "intervals are calibrated on evaluation", SOLUTIONS,
        "known = cells.of(CALIBRATE)\n    learnt,", "known = cells.of(REPORT)\n    learnt,",
        (CALIBRATED, WIDE),
    ),
    Fault(
        "intervals are calibrated on all cells", SOLUTIONS,
        "known = cells.of(CALIBRATE)\n    learnt,", "known = cells\n    learnt,", (CALIBRATED,),
    ),
    Fault(
        "the range of HR is that of all cells", SOLUTIONS,
        "outside = high[column].iloc[rows].dropna()", "outside = high[column].dropna()",
        (CALIBRATED,),
    ),
    Fault(
        "the scores of calibration have no rank of n + 1", "analysis/numbers/conformal.py",
        "math.ceil((n + 1) * level - 1e-9)", "math.ceil(n * level - 1e-9)",
        ("tests/analysis/test_formulas.py::test_the_conformal_quantile_has_the_rank_of_n_plus_1"
         "[19-0.9-18]",
         "tests/analysis/test_formulas.py::test_conformal_intervals_cover_new_cells_as_often_as_"
         "they_say_at_few_calibration_cells"),
    ),
    Fault(
        "Table 2 chooses the classifier on features by evaluation",
        "analysis/comparison/accuracy.py",
        'name: float(found[name]["accuracy_tune"].iloc[0])',
        'name: float(found[name]["correct"].mean())',
        ("tests/analysis/test_judged_elsewhere.py::"
         "test_table_2_shows_the_better_on_tune_of_the_classifiers_on_features",),
    ),
    Fault(
        "the intensity scale is that of evaluation cells", "analysis/cells/selection.py",
        "split = GAN if as_drawn and (settings.share_gan > 0 or settings.plates_gan) else TUNE",
        'split = "evaluation"',
        ("tests/analysis/test_select_cells.py::test_intensity_comes_from_the_gan_split_alone",),
    ),
]  # fmt: skip
