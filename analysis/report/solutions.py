"""The report's table of several solutions a cell: coverage, width and error of each kind."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analysis.comparison.labels import feature_label, method_label
from analysis.comparison.long_table import estimate_of
from analysis.comparison.wide_table import format_estimate
from analysis.report import html
from analysis.run.description import Run

# Metric of the long table -> heading and digits.
COLUMNS: Mapping[str, tuple[str, int]] = {
    "coverage_raw": ("coverage, raw", 2),
    "coverage_normalised": ("coverage, calibrated", 2),
    "width_normalised": ("width / HR range, calibrated", 2),
    "mae_one_solution": ("|SR − HR|, one solution ↓", 3),
    "mae_mean_of_solutions": ("|SR − HR|, their mean ↓", 3),
    "mae_single_search": ("|SR − HR|, single search ↓", 3),
}
KEYS = ["factor", "feature"]


def section(run: Run, table: pd.DataFrame) -> str:
    """Return a table for each assay, factor and feature.

    Arguments:
        table: The long table of solutions.
    """
    pieces = []
    for assay in run.assays:
        whole = table[(table["assay"] == assay.name) & (table["treatment"] == "")]
        for (factor, feature), part in whole.groupby(KEYS, sort=False):
            title = f"{assay.label}, {factor}x: {feature_label(str(feature))}"
            rows = [_row(own) for _, own in part.groupby(["method", "kind"], sort=False)]
            frame = pd.DataFrame(rows)
            pieces.append(html.table(frame, caption=title, numbers=list(frame.columns[1:])))
    return "".join(pieces)


def _row(own: pd.DataFrame) -> dict[str, str]:
    """Return the row of one method and kind of solutions."""
    first = own.iloc[0]
    name = str(first["method"])
    row = {"solutions": f"{method_label(name)}, {first['kind']}", "n": str(first["n_solutions"])}
    for metric, (heading, digits) in COLUMNS.items():
        found = estimate_of(own, name, metric)
        row[heading] = format_estimate(found.value, found.low, found.high, digits) or "–"
    return row
