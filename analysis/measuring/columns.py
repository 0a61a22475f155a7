"""Names of columns that the tables of measured cells share."""

# Columns that a table of cells must have, and columns that are copied from it where they exist.
NEEDED = ("plate", "well", "site", "treatment", "split")
KEPT = (
    "image_id",
    "plate",
    "well",
    "site",
    "treatment",
    "compound",
    "dose",
    "dose_unit",
    "moa",
    "split",
)

# Digest of the thresholds with which the features of a cell were measured.
FEATURE_SETTINGS = "feature_settings"

# Networks of other people that measured a cell, with the first digits of their SHA-256.
WEIGHTS = "weights"

# Solutions of an image over which its features are means; a table without it has one of each.
N_SOLUTIONS = "n_solutions"

# Beside such a mean: suffix of a feature's name where it was measured on the one image that stands
# for the cell, the solution of least loss.
OF_IMAGE = "_of_image"

# In the table of a sweep: suffix of a feature's name where it was measured on the HR image.
HIGH = "_high_resolution"

# In the table of a row that predicts features: suffix of the predicted sd of a feature.
PREDICTED_SD = "_predicted_sd"
