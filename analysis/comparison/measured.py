"""Read the tables of measure and classify: evaluation rows, the same cells for every method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.features.registry import find_feature
from rls.io import read_table
from rls.io.splits import REPORT, rows_for
from rls.runtime.errors import InputError

SETTINGS_COLUMN = "feature_settings"  # measure writes a digest of the features' thresholds there
KEYS = ("image_id", "plate", "well", "site", "treatment")


def read_evaluation(path: Path, *, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Return the evaluation rows of a table, sorted by image_id.

    Raises:
        InputError: The file is missing or damaged, or has no row of the evaluation split.
    """
    table = read_table(path, columns=[*KEYS, *columns])
    table = table.iloc[rows_for(REPORT, table, str(path))]
    return table.sort_values("image_id").reset_index(drop=True)


def primary_column(feature: str) -> str:
    """Return the column that a feature is named for: PRIMARY of analysis/features/{feature}.py.

    Raises:
        InputError: There is no such feature.
    """
    return str(find_feature(feature).PRIMARY)


def feature_column(table: pd.DataFrame, feature: str, path: Path) -> str:
    """Return :func:`primary_column` of a feature that stands in ``table``.

    Raises:
        InputError: There is no such feature, or it was not measured.
    """
    column = primary_column(feature)
    if column not in table.columns:
        raise InputError(
            f"{path} has no column {column} of the feature '{feature}'; it has "
            f"{', '.join(table.columns[:12])}. Delete it and run measure again."
        )
    return column


def same_cells(reference: pd.DataFrame, other: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return ``other``, which was read from ``path``, with its rows in the order of ``reference``.

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


def check_same_settings(reference: pd.DataFrame, other: pd.DataFrame, path: Path) -> None:
    """Check that the features of HR and of a method were measured with the same thresholds.

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
