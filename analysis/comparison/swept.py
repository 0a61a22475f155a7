"""The numbers of one point of a measured sweep: its images against the HR images of its cells."""

from __future__ import annotations

import pandas as pd

from analysis.comparison.image_metrics import KERNEL_DISTANCE
from analysis.comparison.image_quality import distance_facts
from analysis.comparison.long_table import Row
from analysis.comparison.measured import feature_column
from analysis.comparison.settings import IntervalSettings
from analysis.measuring.columns import HIGH
from analysis.numbers.agreement import Agreement, agreement
from analysis.run.description import Comparison
from rls.runtime.errors import InputError

KIND = "random"  # the features of the kernel distance, which know nothing of treatments


def high_resolution_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of one point with the random features of their HR images.

    Raises:
        InputError: The sweep was measured before these features were.
    """
    names = [name for name in table.columns if name.startswith(f"{KIND}_feature_")]
    if not names:
        raise InputError(
            "The measured sweep has no features of random convolutions, which the kernel distance "
            "needs. Run the rule that measured it again."
        )
    kept = table.drop(columns=[name for name in names if not name.endswith(HIGH)])
    return kept.rename(columns={name: name.removesuffix(HIGH) for name in names})


def kernel_fact(here: pd.DataFrame, high: pd.DataFrame, settings: IntervalSettings) -> Row:
    """Return KD x 1e3 of images to the HR images of the same cells, in units of the latter."""
    facts = distance_facts(KIND, here, high, high, settings)
    return next(fact for fact in facts if fact["metric"] == KERNEL_DISTANCE)


def agreements(
    at: Comparison, table: pd.DataFrame, settings: IntervalSettings, *more: str
) -> dict[str, Agreement]:
    """Return the agreement of columns with HR: one of each of the assay's features, and ``more``.

    Raises:
        InputError: A column was not measured.
    """
    found = {}
    columns = [feature_column(table, feature, at.folder) for feature in at.assay.features]
    for column in dict.fromkeys([*columns, *more]):
        if column + HIGH not in table.columns:
            measured = [name for name in table.columns if name + HIGH in table.columns]
            raise InputError(
                f"The features of {at.assay.name} have no column {column}; they have "
                f"{', '.join(measured)}. Name one of them."
            )
        pairs = table.assign(high_resolution=table[column + HIGH], super_resolution=table[column])
        found[column] = agreement(
            pairs,
            negative_control=at.assay.negative_control,
            positive_control=at.assay.positive_control,
            confidence=settings.confidence_level,
        )
    return found
