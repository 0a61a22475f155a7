"""Faults of the styles, the flow, the norms of Fig. 1, and what is learnt of generated pairs."""

from __future__ import annotations

from tests.planted import Fault

STYLES, FITTING = "rls/prior/styles.py", "rls/prior/fitting.py"
FLOWS, GAUSSIANIZE = "rls/prior/flows.py", "rls/prior/gaussianize.py"
NORMS = "analysis/drawing/style_norms.py"
TESTS = "tests/rls/test_unseen_styles.py"
MEAN = f"{TESTS}::test_the_mean_style_is_of_other_samples_than_those_of_the_flow"
BATCH_NORM = (
    f"{TESTS}::test_batch_norms_are_those_of_the_training_styles_under_the_last_weights[maf]"
)
SCALED = f"{TESTS}::test_the_flow_is_scaled_and_fitted_by_the_training_styles_alone"
CHOSEN = f"{TESTS}::test_the_epoch_is_chosen_by_styles_that_do_not_fit"
APART = f"{TESTS}::test_training_and_validation_styles_are_apart_and_together_all"
BASELINE = f"{TESTS}::test_the_gaussian_baseline_is_fitted_on_one_set_and_evaluated_on_the_other"
HEADER = f"{TESTS}::test_the_norms_in_the_header_are_those_of_validation_styles"
FIG1 = f"{TESTS}::test_fig_1_standardises_and_whitens_by_the_styles_of_the_fit"
MARKS = "tests/analysis/test_figure_marks.py"
SHOWN = f"{MARKS}::test_fig_1_fits_on_the_styles_of_the_file_and_shows_others_of_the_generator"
Z = f"{MARKS}::test_z_of_fig_1_are_standard_normal_and_make_the_shown_styles"
DENSITY = "tests/rls/test_flows.py::test_log_prob_is_the_change_of_variables_by_autograd"
WHITENING, NETWORK = "rls/prior/whitening.py", "rls/encoder/network.py"
OF_WHITENING, OF_ENCODER = "tests/rls/test_whitening.py", "tests/rls/test_encoder.py"
OF_TRAINING = "tests/rls/test_train_encoder.py"
WHITE = f"{OF_WHITENING}::test_the_coordinates_of_the_samples_are_white_and_give_the_styles_again"
MEAN_STYLE = f"{OF_ENCODER}::test_the_mean_style_is_the_mean_of_the_styles_of_draws"
LOG_DENSITY = f"{OF_ENCODER}::test_its_log_density_is_that_of_its_draws"
POSTERIOR = f"{OF_ENCODER}::test_mean_and_draws_are_those_of_the_posterior"
BEST_EPOCH = f"{OF_ENCODER}::test_the_weights_kept_are_those_of_the_best_epoch"
DEGRADED = f"{OF_TRAINING}::test_y_is_what_degrade_makes_of_x"
HELD_OUT = f"{OF_TRAINING}::test_held_out_pairs_are_others_and_never_mixed"
REGRESSION, FITTED = "rls/encoder/regression.py", "rls/encoder/regression_training.py"
OF_REGRESSION = "tests/rls/test_regression.py"
SQUARED = f"{OF_REGRESSION}::test_the_mean_is_moved_by_the_squared_error_alone"
IN_UNITS = f"{OF_REGRESSION}::test_mean_and_sd_in_units_are_those_of_draws"
BEST = f"{OF_REGRESSION}::test_the_weights_kept_are_those_of_the_best_epoch"
UNKNOWN = f"{OF_REGRESSION}::test_what_could_not_be_measured_moves_nothing"

FAULTS = [
    Fault(
        "w_mean is that of the flow's own styles", STYLES,
        "return styles, others.double()", "return styles, styles.double()", (MEAN,),
    ),
    Fault(
        "w_mean has the z of the flow's styles", STYLES,
        'torch_stream(seed, key, "sample_styles")', 'torch_stream(seed, "styles", "sample_styles")',
        (MEAN,),
    ),
    Fault(
        "w_mean of as many samples as there are styles", STYLES,
        '("mean", n_mean))', '("mean", n_styles))', (MEAN,),
    ),
    Fault(
        "batch norms are not recomputed", FLOWS,
        "                layer.running_mean.copy_(mean)\n"
        "                layer.running_var.copy_(variance)\n", "", (BATCH_NORM,),
    ),
    Fault(
        "batch norms are recomputed in the first epoch only", FITTING,
        "                fit.flow.recompute_batch_norm(train)\n",
        "                if fit.epoch == 0:\n"
        "                    fit.flow.recompute_batch_norm(train)\n", (BATCH_NORM,),
    ),
    Fault(
        "batch norms are recomputed after the epoch is judged", FITTING,
        "                fit.flow.recompute_batch_norm(train)\n"
        "                log_prob = mean_log_prob(fit.flow, validation)\n",
        "                fit.flow.fitted.fill_(True)\n"
        "                log_prob = mean_log_prob(fit.flow, validation)\n"
        "                fit.flow.recompute_batch_norm(train)\n", (BATCH_NORM,),
    ),
    Fault(
        "batch norms are those of the validation styles", FITTING,
        "fit.flow.recompute_batch_norm(train)", "fit.flow.recompute_batch_norm(validation)",
        (BATCH_NORM,),
    ),
    Fault(
        "batch norms are those of the first styles", FITTING,
        "fit.flow.recompute_batch_norm(train)", "fit.flow.recompute_batch_norm(train[:100])",
        (BATCH_NORM,),
    ),
    Fault(
        "batch norms all see the styles and not what the layers before make of them", FLOWS,
        "            x = torch.cat([layer(part)[0] for part in x.split(ROWS_AT_ONCE)])\n", "",
        (BATCH_NORM,),
    ),
    Fault(
        "the last weights are returned with the best log p", FITTING,
        "    fit.flow.load_state_dict(fit.best)\n    fit.flow.eval()\n", "    fit.flow.eval()\n",
        ("tests/rls/test_fit_flow.py::test_the_best_epoch_is_kept_and_fitting_stops_with_patience",),
    ),
    Fault(
        "the epoch is chosen by the training styles", FITTING,
        "log_prob = mean_log_prob(fit.flow, validation)",
        "log_prob = mean_log_prob(fit.flow, train)", (CHOSEN, BATCH_NORM),
    ),
    Fault(
        "the flow is scaled by all styles", FITTING,
        "    fit = start_fit(train, settings)\n",
        "    fit = start_fit(torch.cat([train, validation]), settings)\n", (SCALED,),
    ),
    Fault(
        "the flow is fitted to the validation styles too", FITTING,
        "steps = Steps(fit, train, settings,",
        "steps = Steps(fit, torch.cat([train, validation]), settings,", (SCALED,),
    ),
    Fault(
        "the validation styles are among the training styles", FITTING,
        "return w[order[n_validation:]], w[order[:n_validation]]",
        "return w[order], w[order[:n_validation]]", (APART,),
    ),
    Fault(
        "the styles are not shuffled before the split", FITTING,
        'order = torch.randperm(len(w), generator=torch_stream(seed, "styles", "fit_flow split"))',
        "order = torch.arange(len(w))", (APART,),
    ),
    Fault(
        "the Gaussian baseline is fitted on the styles that it is shown", FITTING,
        "    mean = train.mean(0)\n    covariance = torch.cov(train.T)",
        "    mean = train.mean(0)\n    covariance = torch.cov(shown.T)", (f"{BASELINE}[True]",),
    ),
    Fault(
        "the Gaussian baseline has the mean of the styles that it is shown", FITTING,
        "    mean = train.mean(0)\n", "    mean = shown.mean(0)\n", (BASELINE,),
    ),
    Fault(
        "the norms in the header are those of training styles", FITTING,
        "fit.flow.to_noise(validation[:ROWS_AT_ONCE])", "fit.flow.to_noise(train[:ROWS_AT_ONCE])",
        (HEADER,),
    ),
    Fault(
        "log p lacks the constant of the standardising", FLOWS,
        "return self.flow.log_prob(self.standardise(w)) - self.sd.log().sum()",
        "return self.flow.log_prob(self.standardise(w))", (f"{DENSITY}[maf]",),
    ),
    Fault(
        "the constant of the standardising has the wrong sign", FLOWS,
        "self.flow.log_prob(self.standardise(w)) - self.sd.log().sum()",
        "self.flow.log_prob(self.standardise(w)) + self.sd.log().sum()", (f"{DENSITY}[maf]",),
    ),
    Fault(
        "Fig. 1 standardises by the styles shown", GAUSSIANIZE,
        '"w_standardised": fit_standardise(fit)(shown)',
        '"w_standardised": fit_standardise(shown)(shown)', (FIG1, SHOWN),
    ),
    Fault(
        "Fig. 1 standardises PULSE's styles by those shown", GAUSSIANIZE,
        "fit_standardise(leaky_relu(fit))(leaky_relu(shown))",
        "fit_standardise(leaky_relu(shown))(leaky_relu(shown))", (FIG1,),
    ),
    Fault(
        "Fig. 1 whitens by the styles shown", GAUSSIANIZE,
        "fit_whiten(leaky_relu(fit))(leaky_relu(shown))",
        "fit_whiten(leaky_relu(shown))(leaky_relu(shown))", (FIG1, SHOWN),
    ),
    Fault(
        "Fig. 1 shows the styles of the fit, standardised", GAUSSIANIZE,
        '"w_standardised": fit_standardise(fit)(shown)',
        '"w_standardised": fit_standardise(fit)(fit)', (FIG1,),
    ),
    Fault(
        "Fig. 1 whitens without LeakyReLU", GAUSSIANIZE,
        "fit_whiten(leaky_relu(fit))(leaky_relu(shown))", "fit_whiten(fit)(shown)", (FIG1,),
    ),
    Fault(
        "Fig. 1 standardises by the variance", GAUSSIANIZE,
        "return lambda w: (w - mean) / sd", "return lambda w: (w - mean) / sd**2", (FIG1,),
    ),
    Fault(
        "Fig. 1 bends the positive side", GAUSSIANIZE,
        "np.where(w < 0, LEAKY_SLOPE * w, w)", "np.where(w > 0, LEAKY_SLOPE * w, w)", (FIG1,),
    ),
    Fault(
        "Fig. 1 shows the styles that were fitted", NORMS,
        "squared_norms(fit, shown.numpy(),", "squared_norms(fit, fit[: len(shown)],",
        (SHOWN, Z),
    ),
    Fault(
        "Fig. 1 fits on the styles shown", NORMS,
        "squared_norms(fit, shown.numpy(),", "squared_norms(shown.numpy(), shown.numpy(),",
        (SHOWN,),
    ),
    Fault(
        "Fig. 1 draws its z from the stream of sample_styles", NORMS,
        'torch_stream(settings.seed, "styles", "figure1")',
        'torch_stream(settings.seed, "styles", "sample_styles")', (SHOWN,),
    ),
    Fault(
        "Fig. 1 shows z that did not make the styles", NORMS,
        "read_flow(flow)[0], z.numpy())", "read_flow(flow)[0], z.numpy()[::-1])", (Z,),
    ),
    Fault(
        "the spread of a cell weighs its error in the regression", FITTED,
        "0.5 * squared.detach() *", "0.5 * squared *", (SQUARED,),
    ),
    Fault(
        "the mean of a log-normal feature is its median", REGRESSION,
        "centre + variance / 2, 0.0", "centre, 0.0", (IN_UNITS,),
    ),
    Fault(
        "the regression keeps its last epoch", FITTED,
        "state.net.load_state_dict(state.best)", "state.best", (BEST,),
    ),
    Fault(
        "features that could not be measured count as spread", FITTED,
        "return ((squared + likelihood) * known).sum()", "return (squared + likelihood).sum()",
        (UNKNOWN,),
    ),
    Fault(
        "coordinates are multiplied by their sd", WHITENING,
        "vectors / sd", "vectors * sd", (f"{WHITE}[False]",),
    ),
    Fault(
        "the mean style is the style of the mean", WHITENING,
        "return slope * v + (1.0 - slope) * positive",
        "return functional.leaky_relu(v, slope)", (MEAN_STYLE,),
    ),
    Fault(
        "draws of the encoder have no correlations", NETWORK,
        "z = torch.linalg.solve_triangular(self.triangle(), noise.T, upper=False).T", "z = noise",
        (POSTERIOR, LOG_DENSITY),
    ),
    Fault(
        "log q has the wrong sign of its log sd", NETWORK,
        "self.log_diagonal.sum() - found.log_sd", "self.log_diagonal.sum() + found.log_sd",
        (LOG_DENSITY,),
    ),
    Fault(
        "the encoder keeps its last epoch", "rls/encoder/training.py",
        "    state.encoder.load_state_dict(state.best)\n", "", (BEST_EPOCH,),
    ),
    Fault(
        "pairs are not degraded", "rls/encoder/pairs.py",
        "degrade_low(low, ids, self.chain,", "degrade_low(low, ids, (),", (DEGRADED,),
    ),
    Fault(
        "the pairs held out are those that are trained on", "rls/encoder/pool.py",
        'purpose=f"held-out {source.purpose}"', "purpose=source.purpose", (HELD_OUT,),
    ),
]  # fmt: skip
