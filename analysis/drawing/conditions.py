"""The numbers of Table 1 and of the table of features under one condition, as Fig. 6 and 7 show."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.comparison.kept_features import TRIPLE
from analysis.comparison.long_table import Rows, rows_at, rows_of
from analysis.comparison.measured import primary_column
from analysis.run.description import Comparison


def quality_rows(table1: pd.DataFrame, at: Comparison, method: str, metrics: Sequence[str]) -> Rows:
    """Return some metrics of a method from Table 1."""
    rows = rows_of(rows_at(table1, at, "table1"), method, metrics)
    return [{**row, "feature": ""} for row in rows]


def triple_rows(features: pd.DataFrame, at: Comparison, methods: Sequence[str]) -> Rows:
    """Return the triple of every feature and method from the table of features."""
    here = rows_at(features, at, "table_features")
    return [
        row
        for column in map(primary_column, at.assay.features)
        for method in methods
        for row in rows_of(here[here["feature"] == column], method, list(TRIPLE.values()))
    ]
