"""Faults of D, of the objective and of the search."""

from __future__ import annotations

from tests.planted import Fault

FORWARD, DEGRADATION = "rls/search/forward.py", "rls/search/degradation.py"
WEIGHTS = "rls/search/forward_weights.py"
OBJECTIVE, STEPS = "rls/search/objective.py", "rls/search/steps.py"
EQUATION5, STARTS = "rls/search/equation5.py", "rls/search/starts.py"
TESTS = "tests/rls/test_forward_plainly.py"
REFLECT = f"{TESTS}::test_d_equals_a_plain_computation_tap_by_tap[reflect-size4-4]"
PLAIN = f"{TESTS}::test_d_equals_a_plain_computation_tap_by_tap[renormalize-size0-4]"
ADJOINT = f"{TESTS}::test_the_gradient_through_d_is_its_adjoint_also_where_images_are_not_square"
APART = f"{TESTS}::test_d_keeps_channels_and_images_apart"
ENLARGED = f"{TESTS}::test_the_enlargement_puts_rows_and_columns_where_they_belong"
ROUNDED = f"{TESTS}::test_low_resolution_images_are_rounded_to_the_nearest_of_256_levels"
OWN_NOISE = (
    f"{TESTS}::test_each_image_and_channel_has_noise_of_its_own_that_its_id_and_seed_decide[step0]"
)
ORDER = f"{TESTS}::test_noise_comes_after_d_and_before_the_rounding"
QUADRATIC = (
    "tests/rls/test_search_rls.py::"
    "test_with_priors_the_search_finds_the_minimiser_of_the_quadratic[0.3]"
)
TERMS = "tests/rls/test_search_objective.py"
BEST = "tests/rls/test_search_descent.py::test_the_best_iterate_is_returned_and_not_the_last"
COMPANY = (
    "tests/rls/test_search_rls.py::"
    "test_an_image_alone_in_a_filled_batch_is_bit_equal_to_it_in_company"
)

OF_STARTS, OF_LANES = "tests/rls/test_starts.py", "tests/rls/test_search_lanes.py"
PENALTY = f"{OF_STARTS}::test_a_penalty_on_the_distance_keeps_the_search_near_its_start"
BAYES = f"{OF_STARTS}::test_a_lambda_per_value_of_1_is_bayes_rule"
IN_W = f"{OF_STARTS}::test_first_steps_in_w_keep_one_style"
ITSELF = f"{OF_STARTS}::test_a_start_depends_on_its_image_alone"
REACHED = f"{OF_LANES}::test_an_image_that_stops_returns_the_iterate_that_reached_the_goal"
BY_A_LOOP = f"{OF_LANES}::test_each_image_ends_as_by_a_plain_loop_over_it_alone"
OTHER_CHAIN = "tests/rls/test_train_encoder.py::test_an_encoder_of_another_d_or_chain_is_refused"
OF_SOLUTIONS = "tests/rls/test_super_resolve_solutions.py"
LEAST_LOSS = f"{OF_SOLUTIONS}::test_the_best_row_is_the_first_of_least_loss_and_of_finite_ones"
ALL_THERE = f"{OF_SOLUTIONS}::test_a_table_with_a_missing_or_a_doubled_solution_is_refused"

FAULTS = [
    Fault(
        "the image of a cell is its solution of greatest loss", "rls/search/solutions.py",
        "sort=False).idxmin()", "sort=False).idxmax()", (LEAST_LOSS,),
    ),
    Fault(
        "a solution that occurs twice stands for a missing one", "rls/search/solutions.py",
        'right = (counts["size"] == wanted) & (counts["nunique"] == wanted)',
        'right = counts["size"] == wanted', (ALL_THERE,),
    ),
    Fault(
        "the mirror repeats the first pixel", WEIGHTS,
        "np.where(taps < 0, -taps, taps)", "np.where(taps < 0, -taps - 1, taps)", (REFLECT,),
    ),
    Fault(
        "the mirror repeats the last pixel", WEIGHTS,
        "np.where(folded >= size, 2 * (size - 1) - folded, folded)",
        "np.where(folded >= size, 2 * size - 1 - folded, folded)", (REFLECT,),
    ),
    Fault(
        "taps outside are clipped to the edge", WEIGHTS,
        "np.where(taps < 0, -taps, taps)", "np.where(taps < 0, 0, taps)", (REFLECT,),
    ),
    Fault(
        "reflect is renormalize", WEIGHTS,
        'if border == "renormalize":\n            taps', "if True:\n            taps", (REFLECT,),
    ),
    Fault(
        "the adjoint is that of another border", FORWARD,
        "        return rows @ (images @ columns.T)",
        "        low = rows @ (images @ columns.T)\n        size = self.size_in\n"
        "        rough = nn.functional.adaptive_avg_pool2d(images, self.size_out)\n"
        "        return low if size[0] == size[1] else rough + (low - rough).detach()",
        tuple(f"{ADJOINT}[{case}]" for case in ("renormalize-size0-4", "reflect-size4-4")),
    ),
    Fault(
        "rows and columns of D exchanged where both fit", FORWARD,
        "return rows @ (images @ columns.T)", "return columns @ (images @ rows.T)", (PLAIN,),
    ),
    Fault(
        "a = -0.75 in D", WEIGHTS, "A = -0.5 ", "A = -0.75 ", (PLAIN, REFLECT),
    ),
    Fault(
        "D is not antialiased", WEIGHTS, "stretch = max(scale, 1.0)", "stretch = 1.0", (PLAIN,),
    ),
    Fault(
        "D lies half a pixel aside", WEIGHTS,
        "centre = (row + 0.5) * scale", "centre = 0.5 + (row + 0.5) * scale",
        (PLAIN, REFLECT),
    ),
    Fault(
        "D mixes the channels", FORWARD,
        "        return rows @ (images @ columns.T)",
        "        return rows @ (images.mean(1, keepdim=True).expand_as(images) @ columns.T)",
        (APART,),
    ),
    Fault(
        "the enlargement exchanges its axes", FORWARD,
        "BORDERS[0]) for side in _pair(size))", "BORDERS[0]) for side in _pair(size)[::-1])",
        (ENLARGED,),
    ),
    Fault(
        "LR is rounded down", DEGRADATION,
        "np.rint(low * LEVELS)", "np.floor(low * LEVELS)", (ROUNDED,),
    ),
    Fault(
        "LR has 255 levels", DEGRADATION, "LEVELS = 255.0", "LEVELS = 254.0", (ROUNDED,),
    ),
    Fault(
        "all images share their noise", DEGRADATION,
        'stream(seed, image_id, f"degrade {name}")', 'stream(seed, "image", f"degrade {name}")',
        (OWN_NOISE,),
    ),
    Fault(
        "all channels share their noise", DEGRADATION,
        "return image + sigma * random.standard_normal(image.shape)",
        "return image + sigma * random.standard_normal(image.shape[1:])", (OWN_NOISE,),
    ),
    Fault(
        "the noise does not know the seed", DEGRADATION,
        'stream(seed, image_id, f"degrade {name}")', 'stream(0, image_id, f"degrade {name}")',
        (OWN_NOISE,),
    ),
    Fault(
        "noise comes after the rounding", DEGRADATION,
        '    if quantise == "8bit":\n        low = np.clip',
        '    if quantise == "8bit" and not chain:\n        low = np.clip', (ORDER,),
    ),
    Fault(
        "LR is not clipped", DEGRADATION,
        "np.clip(np.rint(low * LEVELS), 0.0, LEVELS)", "np.rint(low * LEVELS)", (ROUNDED,),
    ),
    Fault(
        "the prior has the wrong sign", EQUATION5,
        "total = total - weights.prior * terms[name]",
        "total = total + weights.prior * terms[name]", (QUADRATIC,),
    ),
    Fault(
        "the cross term has the wrong sign", EQUATION5,
        'total = total + weights.cross * terms["loss_cross"]',
        'total = total - weights.cross * terms["loss_cross"]', (QUADRATIC,),
    ),
    Fault(
        "lambda_w is divided by the batch", EQUATION5,
        "total = total - weights.prior * terms[name]",
        "total = total - weights.prior / len(w) * terms[name]",
        ("tests/rls/test_search_start.py::"
         "test_the_weights_of_the_terms_do_not_depend_on_the_size_of_the_batch",),
    ),
    Fault(
        "the prior is summed over styles", OBJECTIVE,
        "flow.log_prob(w.reshape(n * layers, d)).reshape(n, layers).mean(dim=1)",
        "flow.log_prob(w.reshape(n * layers, d)).reshape(n, layers).sum(dim=1)",
        (f"{TERMS}::test_the_prior_is_the_mean_of_log_p_over_the_styles_of_each_image",),
    ),
    Fault(
        "the prior mixes images and styles", OBJECTIVE,
        "flow.log_prob(w.reshape(n * layers, d)).reshape(n, layers).mean(dim=1)",
        "flow.log_prob(w.reshape(n * layers, d)).reshape(layers, n).mean(dim=0)",
        (f"{TERMS}::test_the_prior_is_the_mean_of_log_p_over_the_styles_of_each_image",),
    ),
    Fault(
        "the cross term is over images", OBJECTIVE,
        "squares = (w.unsqueeze(2) - w.unsqueeze(1)).square().sum(dim=3)",
        "w = w.transpose(0, 1)\n"
        "    squares = (w.unsqueeze(2) - w.unsqueeze(1)).square().sum(dim=3)",
        (f"{TERMS}::test_mean_distance_equals_the_double_loop",),
    ),
    Fault(
        "the fidelity is summed over channels", OBJECTIVE,
        "(y - low).abs().mean(dim=(1, 2, 3))", "(y - low).abs().mean(dim=(2, 3)).sum(dim=1)",
        (f"{TERMS}::test_fidelity_is_the_mean_over_channels_and_pixels_of_each_image",),
    ),
    Fault(
        "the fidelity is squared", OBJECTIVE,
        "(y - low).abs().mean(dim=(1, 2, 3))", "(y - low).square().mean(dim=(1, 2, 3))",
        (f"{TERMS}::test_fidelity_is_the_mean_over_channels_and_pixels_of_each_image",),
    ),
    Fault(
        "the last iterate is returned", STEPS,
        "better = finite & (total < self.best_total)", "better = finite", (BEST,),
    ),
    Fault(
        "the search starts at the first style", STARTS,
        "styles.mean.expand(", "styles.w[0].expand(",
        ("tests/rls/test_search_start.py::"
         "test_the_search_starts_at_the_mean_style_in_every_layer",),
    ),
    Fault(
        "draws of all images share their noise", STARTS,
        "Draws(problem.seed, problem.image_ids, DRAW)",
        "Draws(problem.seed, [problem.image_ids[0]] * len(problem.y), DRAW)",
        (f"{ITSELF}[draws]",),
    ),
    Fault(
        "the distance from the start is that of w", EQUATION5,
        "apart = whitening.to_whitened(w) - whitening.to_whitened(start)", "apart = w - start",
        (PENALTY,),
    ),
    Fault(
        "a lambda per value weighs beside the mean", EQUATION5,
        "share = (settings.noise_scale or 0.0) / n_values", "share = settings.noise_scale or 0.0",
        (BAYES,),
    ),
    Fault(
        "the steps in W are in W+", "rls/search/rls.py",
        "    if not settings.steps_w:\n        start = start",
        "    if True:\n        start = start", (IN_W,),
    ),
    Fault(
        "an image that reaches its goal returns its least loss", "rls/search/lanes.py",
        "self._keep(reached | counts &", "self._keep(counts &", (REACHED,),
    ),
    Fault(
        "the next image of a lane keeps the moments of the last", "rls/search/lanes.py",
        "        self.optimiser.reset(lanes)\n", "", (BY_A_LOOP,),
    ),
    Fault(
        "a second search in a lane has the rate of the first", "rls/search/lanes.py",
        "for rate in (learning_rate, learning_rate / 2)", "for rate in (learning_rate,) * 2",
        (BY_A_LOOP,),
    ),
    Fault(
        "an encoder of another chain is taken", "rls/search/setup.py",
        "    if trained != given:", "    if trained[0] != given[0]:",
        (f"{OTHER_CHAIN}[changes1-and the chain 'gaussian_noise:0.1', and]",),
    ),
]  # fmt: skip
