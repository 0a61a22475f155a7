"""The words that files and configurations share: splits, statuses, reserved rows, solutions.

Each word is written here once; everything else imports it.
"""

from __future__ import annotations

# The splits of an assay's cells, in the order of every table.
GAN, TUNE, CLASSIFIER, EVALUATION = "gan", "tune", "classifier", "evaluation"
SPLITS = (GAN, TUNE, CLASSIFIER, EVALUATION)

# Rows of the tables that no method of the configuration may be named after.
HIGH_RESOLUTION, LOW_RESOLUTION = "high_resolution", "low_resolution"
RESERVED_METHODS = (HIGH_RESOLUTION, LOW_RESOLUTION)
BICUBIC = "bicubic"

# Kinds of several solutions for one image (article, section 4.5).
SOLUTION_KINDS = ("article", "variational", "restarts")

# Rules of D, the downscaling of Eq. 1, at the border of an image.
BORDERS = ("renormalize", "reflect")

# Column ``status`` of the tables of features, metrics and classes.
OK = "ok"
NOT_MEASURABLE = "not_measurable"
MAJORITY_CLASS = "feature_not_measurable:majority_class"

# Column ``search_status`` of reconstructions: the search ended as planned (OK), started anew after
# a value that is not finite, or found none that is.
RESTARTED, NON_FINITE = "non_finite_restarted", "non_finite"


def not_measurable(reason: str) -> str:
    """Return the status of what could not be measured, such as ``not_measurable:no_spot``."""
    return f"{NOT_MEASURABLE}:{reason}"
