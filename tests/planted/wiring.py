"""Faults of what reaches a number: cells of another split, other channels, the wrong count."""

from __future__ import annotations

from tests.planted import Fault

SOLUTIONS = "analysis/comparison/solutions.py"
OF_SOLUTIONS = "tests/analysis/test_table_solutions.py"
COLOURS = (
    "tests/analysis/test_measure.py::"
    "test_networks_for_colour_images_get_the_channels_that_the_assay_names"
)

FAULTS = [
    Fault(
        "reference cells of trust are judged by quantiles that contain them",
        "rls/pretrained/trust.py",
        "[_fact(name, facts[name][fold != k]) for name in names]",
        "[_fact(name, facts[name]) for name in names]",
        ("tests/rls/test_trust.py::"
         "test_a_reference_cell_is_judged_by_the_others_and_never_by_itself",),
    ),
    Fault(
        "the range of HR, and with it the floor of the spread, is that of all splits", SOLUTIONS,
        "    outside = high[column].iloc[rows].dropna()\n", "    outside = high[column].dropna()\n",
        (f"{OF_SOLUTIONS}::test_the_unit_of_widths_and_the_floor_come_from_cells_without_solutions",
         ),
    ),
    Fault(
        "the range of a right coverage has the counts of both splits exchanged", SOLUTIONS,
        "expected_coverage(n_known, n,", "expected_coverage(n, n_known,",
        (f"{OF_SOLUTIONS}::"
         "test_the_range_of_a_right_coverage_is_that_of_new_cells_after_calibration",),
    ),
    Fault(
        "held-out and training crops are exchanged", "rls/stylegan2/held_out.py",
        "for x in (other, data))", "for x in (data, other))",
        ("tests/rls/test_stylegan2_held_out.py::"
         "test_distances_are_to_cells_that_are_not_trained_on",),
    ),
    Fault(
        "samples of the mapping network are compared with themselves",
        "analysis/measuring/priors.py", 'SAMPLES, seed, "reference")', 'SAMPLES, seed, "samples")',
        ("tests/analysis/test_priors.py::"
         "test_samples_fitted_styles_and_reference_images_are_all_of_different_styles",),
    ),
    Fault(
        "LPIPS sees the first channels, whichever are named", "analysis/measuring/tables.py",
        "networks.device, settings.batch_size, networks.rgb\n",
        "networks.device, settings.batch_size\n", (COLOURS,),
    ),
    Fault(
        "VGG16 sees the first channels, whichever are named", "analysis/measuring/embeddings.py",
        "vgg16_features(vgg16, unit, device, batch_size, networks.rgb)",
        "vgg16_features(vgg16, unit, device, batch_size)", (COLOURS,),
    ),
    Fault(
        "Inception sees the first channels, whichever are named",
        "analysis/measuring/embeddings.py",
        "networks.inception, unit, device, batch_size, networks.rgb\n",
        "networks.inception, unit, device, batch_size\n", (COLOURS,),
    ),
    Fault(
        "the camera's offset counts as light", "rls/search/objective.py",
        "(black + span * y - offset)", "(black + span * y)",
        ("tests/rls/test_search_objective.py::test_the_camera_s_offset_is_no_light",
         "tests/rls/test_forward_choice.py::"
         "test_the_likelihood_stands_in_the_result_and_in_its_loss[poisson_gaussian]"),
    ),
    Fault(
        "the read noise is not squared", "rls/search/objective.py",
        "gain * counts + read_noise**2", "gain * counts + read_noise",
        ("tests/rls/test_search_objective.py::"
         "test_the_variance_of_a_camera_is_shot_noise_and_the_square_of_the_read_noise",),
    ),
]  # fmt: skip
