"""Read what measure and classify wrote: the evaluation rows, the same cells for every method."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.numbers.statistics import Estimate
from rls.io import read_table
from rls.runtime.errors import InputError

EVALUATION = "evaluation"
SETTINGS_COLUMN = "feature_settings"  # of measure: a digest of the features' thresholds
KEYS = ("image_id", "plate", "well", "site", "treatment")


def read_evaluation(path: Path, *, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Return the evaluation rows of a table, sorted by image_id.

    Raises:
        InputError: The file is missing or damaged, or has no row of the evaluation split.
    """
    table = read_table(path, columns=[*KEYS, *columns])
    if "split" in table.columns:
        table = table[table["split"] == EVALUATION]
    if table.empty:
        raise InputError(f"{path} has no row of the split '{EVALUATION}'. Run its stage again.")
    return table.sort_values("image_id").reset_index(drop=True)


def feature_column(table: pd.DataFrame, feature: str, path: Path) -> str:
    """Return the column of a feature: the PRIMARY one of analysis/features/{feature}.py.

    Raises:
        InputError: There is no such feature, or it was not measured.
    """
    try:
        column = str(importlib.import_module(f"analysis.features.{feature}").PRIMARY)
    except (ModuleNotFoundError, AttributeError) as error:
        raise InputError(
            f"There is no feature '{feature}' (analysis/features/{feature}.py with PRIMARY). "
            f"Correct the assay's 'features'."
        ) from error
    if column not in table.columns:
        raise InputError(
            f"{path} has no column {column} of the feature '{feature}'; it has "
            f"{', '.join(table.columns[:12])}. Delete it and run measure again."
        )
    return column


def same_cells(reference: pd.DataFrame, other: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return ``other`` with its rows in the order of ``reference``.

    Raises:
        InputError: The two do not hold the same cells.
    """
    missing = set(reference["image_id"]) ^ set(other["image_id"])
    if missing or other["image_id"].duplicated().any():
        raise InputError(
            f"{path} and the high-resolution rows differ in {len(missing)} cells "
            f"(such as {sorted(missing)[0] if missing else 'a repeated one'}); every method must "
            f"be measured on the same cells. Delete {path} and run the workflow again."
        )
    return other.set_index("image_id").loc[reference["image_id"]].reset_index()


def same_settings(reference: pd.DataFrame, other: pd.DataFrame, path: Path) -> None:
    """Hold that features of HR and of a method were measured with the same thresholds.

    Raises:
        InputError: They were not, or a table does not say.
    """
    found = [
        set(table[SETTINGS_COLUMN]) if SETTINGS_COLUMN in table else set()
        for table in (reference, other)
    ]
    if found[0] != found[1] or len(found[0]) > 1:
        raise InputError(
            f"The features in {path} were measured with other settings than those of HR; "
            f"thresholds are fixed once for all images. Delete {path} and run measure again."
        )


def estimate_facts(found: Estimate, scale: float = 1.0) -> dict[str, object]:
    """Return an estimate as the keyword arguments of ``long_row``."""
    return {
        "value": found.value * scale,
        "low": found.low * scale,
        "high": found.high * scale,
        "n": found.n,
        "unit": found.unit,
        "reason": found.reason,
    }


# Name in the table -> column of {method}.metrics.parquet, one value a cell.
IMAGE_METRICS = {"ms_ssim": "ms_ssim", "psnr_db": "psnr_db", "fidelity_l1": "fidelity_l1"}
# Beside them where LR is degraded: on clean LR it is fidelity_l1.
FIDELITY_CLEAN = "fidelity_clean_l1"
PERCEPTUAL_METRICS = {"lpips": "lpips"}
# Kind of features of {method}.features.parquet -> prefix of their columns.
EMBEDDINGS = {
    "classifier": "classifier_feature_",
    "random": "random_feature_",
    "inception": "inception_feature_",
}
NO_NETWORK = {
    "inception": "no file of Inception weights was given, and none is downloaded",
    "lpips": "no file of VGG weights was given, and none is downloaded",
}


def embedding(table: pd.DataFrame, kind: str) -> np.ndarray | None:
    """Return the features of one kind, (n, d) float64, or None where they were not measured."""
    pattern = re.compile(re.escape(EMBEDDINGS[kind]) + r"\d+$")
    columns = [name for name in table.columns if pattern.match(name)]
    return table[columns].to_numpy(dtype=np.float64) if columns else None


# Classifiers on the assay's features, of which the better on tune is shown.
ON_FEATURES = ("logistic_on_features", "forest_on_features")
CNN, CHANNEL_MEANS = "cnn", "channel_means"
MAJORITY = "feature_not_measurable:majority_class"


def verdicts(path: Path, treatments: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return what each classifier said of the evaluation cells of both controls, by its name.

    Every table is sorted by image_id and has ``correct``, float: 1 right, 0 wrong, NaN neither.
    """
    table = read_evaluation(path, columns=["classifier", "correct", "chosen", "accuracy_tune"])
    table = table[table["treatment"].isin(treatments)]
    table = table.assign(
        correct=table["correct"].astype("Float64").to_numpy(float, na_value=np.nan)
    )
    return {
        str(name): part.sort_values("image_id").reset_index(drop=True)
        for name, part in table.groupby("classifier", sort=False)
    }


def chosen_verdict(found: Mapping[str, pd.DataFrame]) -> str:
    """Return the classifier that classify chose on tune."""
    return next(name for name, part in found.items() if bool(part["chosen"].iloc[0]))


def features_verdict(found: Mapping[str, pd.DataFrame]) -> str | None:
    """Return the better on tune of the classifiers on features; None if none was measured."""
    tune = {
        name: float(found[name]["accuracy_tune"].iloc[0])
        for name in ON_FEATURES
        if name in found and np.isfinite(found[name]["accuracy_tune"].iloc[0])
    }
    return max(tune, key=lambda name: tune[name]) if tune else None
