"""The words that files and configurations share: splits, reserved rows, statuses and others.

Each word is written here once; everything else imports it.
"""

from __future__ import annotations

# The splits of an assay's cells, in the order of every table; splits.py says what each may serve.
GAN, TUNE, CALIBRATION = "gan", "tune", "calibration"
CLASSIFIER, EVALUATION = "classifier", "evaluation"
SPLITS = (GAN, TUNE, CALIBRATION, CLASSIFIER, EVALUATION)
HELD_OUT = SPLITS[1:]  # Those on which no generator is trained.

# Rows of the tables whose names no method of the configuration may have.
HIGH_RESOLUTION, LOW_RESOLUTION = "high_resolution", "low_resolution"
RESERVED_METHODS = (HIGH_RESOLUTION, LOW_RESOLUTION)
BICUBIC = "bicubic"

# Rows of a regression from y to features, which make no image. One is trained on generated pairs
# (analysis/train_amortised.py), the other on cells of split gan (analysis/train_regression.py).
AMORTISED, REGRESSION = "amortised", "regression"
WITHOUT_IMAGES = (AMORTISED, REGRESSION)

# The row of a classifier of LR images that saw the cells of the generator, too; it is no stack.
LOW_RESOLUTION_ALL_CELLS = "low_resolution_all_cells"

# Kinds of several solutions for one image (article, section 4.5).
SOLUTION_KINDS = ("article", "variational", "restarts")
SEARCHES = "searches"  # The kind of a row whose own search has n_solutions above 1.

# Rules of D, the downscaling of Eq. 1, at the border of an image.
BORDERS = ("renormalize", "reflect")

# Column ``status`` of the tables of features, metrics and classes.
OK = "ok"
NOT_MEASURABLE = "not_measurable"
MAJORITY_CLASS = "feature_not_measurable:majority_class"

# Column ``search_status`` of reconstructions: the search ended as planned (OK), restarted after a
# value that was not finite, or found no finite value.
RESTARTED, NON_FINITE = "non_finite_restarted", "non_finite"


def not_measurable(reason: str) -> str:
    """Return the status of a cell without a measurement, such as ``not_measurable:no_spot``."""
    return f"{NOT_MEASURABLE}:{reason}"
