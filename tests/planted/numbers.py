"""Faults of the numbers: image metrics, distances, effect sizes and intervals."""

from __future__ import annotations

from tests.planted import Fault

METRICS, STATISTICS = "analysis/numbers/metrics.py", "analysis/numbers/statistics.py"
KERNEL, PERCEPTUAL = "rls/networks/kernel_distance.py", "rls/networks/perceptual.py"
QUALITY, AGREEMENT = "analysis/comparison/image_quality.py", "analysis/numbers/agreement.py"
TESTS = "tests/analysis/test_formulas.py"
SSIM = f"{TESTS}::test_ms_ssim_equals_a_plain_computation_window_by_window[size0-3]"
SSIM_128 = f"{TESTS}::test_ms_ssim_at_the_article_s_size_equals_the_plain_computation"
NEGATIVE = f"{TESTS}::test_a_negative_contrast_at_one_scale_makes_ms_ssim_0"
BYTES = f"{TESTS}::test_images_are_rounded_to_8_bits_before_inception_and_vgg"
SCALES = f"{TESTS}::test_inception_features_keep_their_scale_and_others_have_that_of_hr"
PAIRS = f"{TESTS}::test_a_cell_is_never_paired_with_itself_however_often_it_is_drawn"
AROUND = f"{TESTS}::test_resamples_of_wells_lie_around_the_distance_and_not_above_it"
EFFECTS = f"{TESTS}::test_effect_sizes_are_positive_where_the_positive_control_is_higher"
TWO_SIDED = f"{TESTS}::test_intervals_and_tests_of_proportions_are_two_sided"
MEDIAN = f"{TESTS}::test_a_well_has_the_median_of_its_cells"
OF_STATISTICS = "tests/analysis/test_statistics.py"

MEANS = "tests/analysis/test_measure_means.py"
OF_MEASURED = f"{MEANS}::test_a_mean_is_over_the_solutions_that_can_be_measured"

FAULTS = [
    Fault(
        "the mean over solutions is a median", "analysis/measuring/solutions.py",
        "wide.mean(axis=1)", "wide.median(axis=1)", (OF_MEASURED,),
    ),
    Fault(
        "one solution without a measurement leaves the cell without any",
        "analysis/measuring/solutions.py",
        "wide.mean(axis=1)", "wide.mean(axis=1, skipna=False)", (OF_MEASURED,),
    ),
    Fault(
        "MS-SSIM has SSIM at every scale", METRICS,
        "term = similarity if scale == n_scales - 1 else contrast", "term = similarity",
        (SSIM, SSIM_128),
    ),
    Fault(
        "MS-SSIM has no luminance at all", METRICS,
        "term = similarity if scale == n_scales - 1 else contrast", "term = contrast",
        (SSIM, SSIM_128),
    ),
    Fault(
        "MS-SSIM has luminance at the first scale", METRICS,
        "similarity if scale == n_scales - 1 else", "similarity if scale == 0 else",
        (SSIM, SSIM_128),
    ),
    Fault(
        "the weights of the scales stand the other way round", METRICS,
        "torch.tensor(SCALE_WEIGHTS[:n_scales],", "torch.tensor(SCALE_WEIGHTS[:n_scales][::-1],",
        (SSIM, SSIM_128),
    ),
    Fault(
        "MS-SSIM has no ReLU", METRICS, "torch.relu(term)", "term", (NEGATIVE,),
    ),
    Fault(
        "MS-SSIM has an absolute value for a ReLU", METRICS, "torch.relu(term)", "term.abs()",
        (NEGATIVE,),
    ),
    Fault(
        "the weights of fewer scales are not renormalised", METRICS,
        "    weights = weights / weights.sum()\n", "", (SSIM,),
    ),
    Fault(
        "the window has 9 px", METRICS, "WINDOW_PX, WINDOW_SD_PX = 11, 1.5",
        "WINDOW_PX, WINDOW_SD_PX = 9, 1.5", (SSIM, SSIM_128),
    ),
    Fault(
        "the window has an sd of 2 px", METRICS, "WINDOW_PX, WINDOW_SD_PX = 11, 1.5",
        "WINDOW_PX, WINDOW_SD_PX = 11, 2.0", (SSIM, SSIM_128),
    ),
    Fault(
        "a window of even size is not centred", METRICS, "- (window - 1) / 2", "- window // 2",
        (SSIM_128,),
    ),
    Fault(
        "K1 and K2 exchanged", METRICS, "K1, K2 = 0.01, 0.03", "K1, K2 = 0.03, 0.01", (SSIM,),
    ),
    Fault(
        "scales are made by every other pixel", METRICS,
        "functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)",
        "a[..., ::2, ::2], b[..., ::2, ::2]", (SSIM, SSIM_128),
    ),
    Fault(
        "MS-SSIM is that of the batch", METRICS,
        "        result = result * torch.relu(term) ** weights[scale]",
        "        result = result * torch.relu(term.mean()) ** weights[scale]", (SSIM,),
    ),
    Fault(
        "KID's features are standardised", QUALITY,
        ' or scale is None or kind == "inception"', " or scale is None", (f"{SCALES}[inception]",),
    ),
    Fault(
        "features are standardised by their own set", QUALITY,
        "standardise)(found, scale)", "standardise)(found, found)",
        (f"{SCALES}[random]", f"{SCALES}[classifier]"),
    ),
    Fault(
        "no rounding to 8 bits before Inception", PERCEPTUAL,
        ".clamp(0.0, 1.0) * 255.0).round()", ".clamp(0.0, 1.0) * 255.0)", (BYTES,),
    ),
    Fault(
        "rounding down to 8 bits before Inception", PERCEPTUAL,
        ".clamp(0.0, 1.0) * 255.0).round()", ".clamp(0.0, 1.0) * 255.0).floor()", (BYTES,),
    ),
    Fault(
        "no clipping to 8 bits before Inception", PERCEPTUAL,
        ".clamp(0.0, 1.0) * 255.0).round()", " * 255.0).round()", (BYTES,),
    ),
    Fault(
        "pairs of a cell with its own copy are counted in a resample", KERNEL,
        "pairs_x = n * n - (times_x**2) @ cells_x", "pairs_x = n * n - times_x @ cells_x",
        (PAIRS, AROUND),
    ),
    Fault(
        "pairs of a cell with its own copy are counted on the other side", KERNEL,
        "pairs_y = m * m - (times_y**2) @ cells_y", "pairs_y = m * m - times_y @ cells_y",
        (PAIRS, AROUND),
    ),
    Fault(
        "a cell drawn twice is paired with itself and pushes the distance up", KERNEL,
        "within = times_x @ xx @ times_x / pairs_x + times_y @ yy @ times_y / pairs_y",
        "repeats = ((times_x**2 - times_x) @ cells_x / pairs_x"
        " + (times_y**2 - times_y) @ cells_y / pairs_y)\n"
        "    within = times_x @ xx @ times_x / pairs_x + times_y @ yy @ times_y / pairs_y"
        " + 8.0 * repeats",
        (PAIRS, AROUND),
    ),
    Fault(
        "the cross term of KD counts once", KERNEL,
        "within - 2.0 * (times_x", "within - 1.0 * (times_x", (PAIRS,),
    ),
    Fault(
        "Cohen's d has the other sign", STATISTICS,
        "return ratio(b.mean() - a.mean(), math.sqrt(spread",
        "return ratio(a.mean() - b.mean(), math.sqrt(spread",
        (EFFECTS,),
    ),
    Fault(
        "Cohen's d pools n and not n - 1", STATISTICS,
        "spread = (len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)",
        "spread = len(a) * a.var(ddof=1) + len(b) * b.var(ddof=1)", (EFFECTS,),
    ),
    Fault(
        "SSMD has the other sign", STATISTICS,
        "ratio(b.mean() - a.mean(), math.sqrt(a.var(",
        "ratio(a.mean() - b.mean(), math.sqrt(a.var(",
        (EFFECTS,),
    ),
    Fault(
        "the AUC is that of the negative control", STATISTICS,
        "float((ranks[len(a) :].sum() - len(b) * (len(b) + 1) / 2)",
        "float((len(a) * len(b) + len(b) * (len(b) + 1) / 2 - ranks[len(a) :].sum())", (EFFECTS,),
    ),
    Fault(
        "ties of the AUC count as won", STATISTICS,
        "ranks = stats.rankdata(np.concatenate([a, b]))",
        'ranks = stats.rankdata(np.concatenate([a, b]), method="max")', (EFFECTS,),
    ),
    Fault(
        "Wilson's z is one-sided", STATISTICS,
        "z = float(stats.norm.ppf(0.5 + confidence / 2))", "z = float(stats.norm.ppf(confidence))",
        (TWO_SIDED,),
    ),
    Fault(
        "McNemar's test is one-sided", STATISTICS,
        "min(1.0, 2.0 * float(", "min(1.0, 1.0 * float(", (TWO_SIDED,),
    ),
    Fault(
        "McNemar's test takes the greater count", STATISTICS,
        "cdf(min(only_a, only_b), n, 0.5)", "cdf(max(only_a, only_b), n, 0.5)", (TWO_SIDED,),
    ),
    Fault(
        "Fisher's z is one-sided", STATISTICS,
        "half = stats.norm.ppf(0.5 + confidence / 2) /", "half = stats.norm.ppf(confidence) /",
        (TWO_SIDED,),
    ),
    Fault(
        "a well has the mean of its cells", STATISTICS,
        "[column].median().dropna()", "[column].mean().dropna()", (MEDIAN,),
    ),
    Fault(
        "the shift kept is HR's over SR's", AGREEMENT,
        "for x in (sr, hr)]\n        variances", "for x in (hr, sr)]\n        variances",
        ("tests/analysis/test_figures.py::"
         "test_medians_in_the_numbers_are_those_of_the_cells",),
    ),
    Fault(
        "the sd ratio is a ratio of variances", AGREEMENT,
        "math.sqrt(ratio(*variances))", "ratio(*variances)",
        ("tests/analysis/test_figures.py::"
         "test_a_number_far_beyond_one_stands_at_the_edge_as_an_arrow",),
    ),
    Fault(
        "the bias is HR less SR", AGREEMENT,
        "np.asarray(super_, dtype=float) - np.asarray(high, dtype=float)",
        "np.asarray(high, dtype=float) - np.asarray(super_, dtype=float)",
        ("tests/analysis/test_figure_marks.py::"
         "test_the_limits_of_a_difference_panel_are_those_of_its_method",),
    ),
    Fault(
        "r is not within treatments", AGREEMENT,
        "for here in (sides, ~sides):", "for here in (sides | ~sides,):",
        (f"{OF_STATISTICS}::"
         "test_r_within_treatments_is_that_of_residuals_of_a_regression_on_treatment",),
    ),
]  # fmt: skip
