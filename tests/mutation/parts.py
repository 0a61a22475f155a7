"""Which parts of the program the campaign mutates, and how many mutants each file gets."""

# A file's share of the sample. The files that compute what is published have the largest shares.
SHARES = {
    "rls/search/objective.py": 10,
    "rls/search/geometry.py": 8,
    "rls/search/descent.py": 12,
    "rls/search/schedule.py": 4,
    "rls/search/steps.py": 6,
    "rls/search/forward.py": 10,
    "rls/search/forward_model.py": 8,
    "rls/search/forward_weights.py": 12,
    "rls/search/degradation.py": 8,
    "rls/search/equation5.py": 6,
    "rls/search/posterior.py": 10,
    "rls/search/pulse.py": 8,
    "rls/search/brgm.py": 8,
    "rls/search/robust_unsupervised.py": 6,
    "rls/search/filterwise.py": 4,
    "rls/search/optimisers.py": 6,
    "rls/search/sweep.py": 6,
    "rls/search/shards.py": 4,
    "rls/search/batches.py": 4,
    "rls/stylegan2/losses.py": 12,
    "rls/stylegan2/phases.py": 16,
    "rls/stylegan2/optimisation.py": 6,
    "rls/stylegan2/trainer.py": 10,
    "rls/stylegan2/training_images.py": 12,
    "rls/stylegan2/step_inputs.py": 8,
    "rls/stylegan2/held_out.py": 6,
    "rls/stylegan2/augment.py": 5,
    "rls/stylegan2/augment_draws.py": 8,
    "rls/prior/flows.py": 12,
    "rls/prior/fitting.py": 14,
    "rls/prior/gaussianize.py": 6,
    "rls/prior/styles.py": 3,
    "rls/networks/kernel_distance.py": 8,
    "rls/networks/lpips.py": 10,
    "rls/io/splits.py": 5,
    "analysis/numbers/statistics.py": 22,
    "analysis/numbers/agreement.py": 10,
    "analysis/numbers/metrics.py": 12,
    "analysis/numbers/conformal.py": 12,
    "analysis/comparison/image_quality.py": 14,
    "analysis/classification/classifiers.py": 8,
    "analysis/classification/controls.py": 4,
    "analysis/cells/split.py": 14,
    "analysis/drawing/ablations.py": 3,
    "analysis/drawing/boxes.py": 7,
    "analysis/drawing/degradations.py": 4,
    "analysis/drawing/dots.py": 5,
    "analysis/drawing/example_cells.py": 6,
    "analysis/drawing/grids.py": 8,
    "analysis/drawing/path_lengths.py": 5,
    "analysis/drawing/scatter.py": 8,
    "analysis/drawing/solution_panels.py": 5,
    "analysis/drawing/solutions.py": 4,
    "analysis/drawing/style_norms.py": 5,
    "analysis/drawing/sweep.py": 7,
}

# The functions of the figures that turn data into marks or numbers; the others lay out a page.
MARKS = {
    "ablations": {"numbers_of", "style_rows", "panels_of"},
    "boxes": {"numbers_of", "draw_boxes", "_draw_box", "draw_triple", "_draw_value"},
    "degradations": {"numbers_of", "images_of", "_draw_references", "_symmetric_scale"},
    "dots": {"draw_groups", "_draw_dot", "draw_dots", "_draw_row"},
    "example_cells": {"show_cells", "read_shown", "_pick", "_bicubic", "grid_rows", "_difference"},
    "grids": {
        *("channel_colours", "composite", "choose_cells", "choose_treatments"),
        *("scale_bar_um", "draw_scale_bar", "show_image"),
    },
    "path_lengths": {
        *("read_lengths", "numbers_of", "_correlation"),
        *("draw_steps", "draw_terms", "_histogram"),
    },
    "scatter": {"numbers_of", "draw_scatter", "draw_differences", "_controls", "_span", "_around"},
    "solution_panels": {
        *("draw_cells", "_chosen", "draw_coverage"),
        *("draw_widths", "draw_errors", "_draw_points"),
    },
    "solutions": {"read_shown", "read_images", "numbers_of"},
    "style_norms": {"read_norms", "numbers_of", "draw_densities", "draw_spreads"},
    "sweep": {"numbers_of", "read_sweep", "points_along", "draw_walk", "_draw_point", "positions"},
}

# What a call or an argument of these names says or shows changes no result.
WORDS = {"print", "warn", "progress", "legend", "text", "annotate", "set_xlabel", "set_ylabel"}
WORDS |= {"set_title", "tick_params", "write_number", "write_reason", "margins", "InputError"}
LOOKS = {
    *("fontsize", "linewidth", "linewidths", "lw", "alpha", "zorder", "markersize", "s", "pad"),
    *("labelpad", "capsize", "width", "widths", "markeredgewidth", "height", "legend", "flush"),
    *("linestyle", "dashes", "elinewidth", "edgecolor"),
}
