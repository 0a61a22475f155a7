"""Which row of a search serves a feature best, on cells of split tune, each at its own steps.

Every search is given the same care: its published settings are one row, other settings are further
rows, and the row that errs least is chosen before any evaluation cell is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.comparison.image_metrics import FIDELITY, mean_fact, mean_of_cells
from analysis.comparison.kept_features import triple_facts
from analysis.comparison.long_table import Rows, estimate_facts, long_row
from analysis.comparison.measured import feature_column
from analysis.comparison.settings import IntervalSettings
from analysis.comparison.swept import agreements, high_resolution_of, kernel_fact
from analysis.comparison.traced import read_trace
from analysis.measuring.columns import HIGH
from analysis.run.description import Comparison, Run

OF_IMAGES = (FIDELITY, "psnr_db", "ms_ssim", "log_prior")
ERROR = (
    "feature_error"  # |SR - HR| of the assay's first feature over the sd of HR within treatments
)


def choice_rows(run: Run, methods: Sequence[str], settings: IntervalSettings) -> Rows:
    """Return every number of every row, with its search, and whether it is the row to choose.

    The columns ``search``, ``n_cells`` and ``chosen`` stand beside those of every long table.
    """
    rows: Rows = []
    for at in run.comparisons(clean_only=True):
        if at.assay.has_high_resolution and at.assay.features:
            found = [row for method in methods for row in _rows_of(at, method, settings)]
            best = _best_of(found)
            rows += [{**row, "chosen": row["method"] == best[row["search"]]} for row in found]
    return rows


def _rows_of(at: Comparison, method: str, settings: IntervalSettings) -> Rows:
    """Return the numbers of one row at its own number of steps."""
    table = read_trace(at.trace(method), "search")
    own = table[table["own"]].reset_index(drop=True)
    column = feature_column(own, at.assay.features[0], at.trace(method))
    facts: Rows = [mean_fact(own, name, settings) for name in OF_IMAGES]
    facts.append(kernel_fact(own, high_resolution_of(own), settings))
    error = mean_of_cells(errors(own, column), own, settings, "size")
    facts.append({"metric": ERROR, **estimate_facts(error)})
    facts += triple_facts(agreements(at, own, settings)[column])
    more = {"feature": column, "search": str(own["search"].iloc[0]), "n_cells": len(own)}
    return [{**long_row(at, method, **fact), **more} for fact in facts]


def errors(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return |SR - HR| (n,) of a feature over the standard deviation of HR within treatments."""
    truth = table[column + HIGH]
    within = truth - truth.groupby(table["treatment"]).transform("mean")
    difference = (table[column] - truth).abs()
    return (difference / np.sqrt(np.nanmean(within**2))).to_numpy(dtype=float)


def _best_of(rows: Rows) -> dict[str, str]:
    """Return {search: the method whose feature errs least}; ties go to the first."""
    known = [row for row in rows if row["metric"] == ERROR and np.isfinite(row["value"])]
    best = {str(row["search"]): "" for row in rows}
    for search in best:
        own = [row for row in known if row["search"] == search]
        best[search] = min(own, key=lambda row: row["value"])["method"] if own else ""
    return best


def chosen_lines(rows: Rows) -> list[str]:
    """Return a line for each search of each assay and factor: what was chosen, and its error."""
    return [
        f"choices: {row['assay']}, {row['factor']}x, {row['search']}: {row['method']}, "
        f"error {row['value']:.3f} of {row['n_cells']} cells"
        for row in rows
        if row["chosen"] and row["metric"] == ERROR
    ]
