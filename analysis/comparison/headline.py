"""The headline tables of a run: what every row keeps of a feature, and how well it is classified.

There is one table for each assay, factor, degradation and feature. A method that searches several
solutions of a cell has two rows: the mean over them is the cell's number, one of them its picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.comparison.accuracy import CHOSEN, LOW_RESOLUTION_MEANS
from analysis.comparison.ceiling import OWED
from analysis.comparison.kept_features import IN_BOTH, OF_ONE_IMAGE, TRIPLE
from analysis.comparison.labels import feature_label, method_label
from analysis.comparison.long_table import estimate_of, read_long
from analysis.comparison.wide_table import format_estimate
from analysis.numbers.statistics import Estimate
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION
from rls.runtime.errors import InputError

COMPARED = ["assay", "factor", "degradation"]
HEADINGS = {
    TRIPLE["shift_kept"]: "shift kept",
    TRIPLE["sd_ratio"]: "sd ratio",
    TRIPLE["correlation"]: "r within",
    OWED: "r of exact draws",
}
ACCURACY = "accuracy, %"
NUMBERS = (*HEADINGS.values(), ACCURACY, "cells")


@dataclass(frozen=True)
class HeadlineTable:
    """The rows of one assay, factor, degradation and feature.

    Attributes:
        medians: Medians of the feature on HR, by treatment.
        rows: One row for each method, LR and HR, as texts; '' where there is no number.
        units: How many units of replication the intervals are over, such as '12 wells'.
    """

    assay: str
    simulated: bool
    factor: int
    degradation: str
    feature: str
    medians: dict[str, float]
    rows: pd.DataFrame
    units: str

    @property
    def title(self) -> str:
        """Assay, factor, degradation, feature, its medians on HR, and what intervals are over."""
        simulated = " (simulated)" if self.simulated else ""
        medians = ", ".join(f"{name} {value:.2f}" for name, value in self.medians.items())
        return (
            f"{self.assay}{simulated}, {self.factor}x, {self.degradation}: "
            f"{feature_label(self.feature)}, in HR {medians}; intervals over {self.units}"
        )


def headline_tables(
    figure5: pd.DataFrame, features: pd.DataFrame, table2: pd.DataFrame
) -> list[HeadlineTable]:
    """Return the table of every assay, factor, degradation and feature of Fig. 5.

    Arguments:
        figure5, features, table2: The long CSVs of Fig. 5, of the table of features and of Table 2.

    Raises:
        InputError: They name no method but HR and LR.
    """
    if not set(features["method"]) - {HIGH_RESOLUTION, LOW_RESOLUTION}:
        raise InputError("The tables name no method but HR and LR. Run one more.")
    parts = figure5.groupby([*COMPARED, "feature"], sort=False)
    return [_table(part, features, table2) for _, part in parts]


def _table(shown: pd.DataFrame, features: pd.DataFrame, table2: pd.DataFrame) -> HeadlineTable:
    first = shown.iloc[0]
    here = (features[COMPARED] == first[COMPARED]).all(axis=1)
    own = features[here & (features["feature"] == first["feature"])]
    accuracy = table2[(table2[COMPARED] == first[COMPARED]).all(axis=1)]
    rows = pd.DataFrame(_rows(own, accuracy), columns=["", *NUMBERS]).fillna("")
    empty = [name for name in NUMBERS if not (rows[name] != "").any()]
    shifts = own[own["metric"] == TRIPLE["shift_kept"]]
    known = shifts.loc[shifts["n"].idxmax()]
    treatments = [name for name in dict.fromkeys(shown["treatment"]) if name]
    return HeadlineTable(
        assay=str(first["assay"]),
        simulated=bool(first["simulated"]),
        factor=int(first["factor"]),
        degradation=str(first["degradation"]),
        feature=str(first["feature"]),
        medians={
            name: estimate_of(shown, HIGH_RESOLUTION, "median", treatment=name).value
            for name in treatments
        },
        rows=rows.drop(columns=empty),
        units=f"{int(known['n'])} {known['unit_of_replication']}s",
    )


def _rows(own: pd.DataFrame, accuracy: pd.DataFrame) -> Iterator[dict[str, str]]:
    """Walk over LR, the methods in the order of Table 2, those without images, and HR."""
    names = dict.fromkeys((*accuracy["method"], *own["method"]))
    last = [name for name in (HIGH_RESOLUTION,) if name in names]
    for name in (*(n for n in names if n not in (LOW_RESOLUTION_MEANS, *last)), *last):
        right = _text(estimate_of(accuracy, name, CHOSEN), 100, 0)
        rows = own[own["method"] == name]
        several = max((int(n) for n in rows.get("n_solutions", ())), default=1)
        label = method_label(name, several)
        if not rows["metric"].str.startswith(OF_ONE_IMAGE).any():
            yield {"": label, **_numbers(rows, name), ACCURACY: right}
            continue
        yield {"": label, **_numbers(rows, name)}
        label = f"{method_label(name)} (one image)"
        yield {"": label, **_numbers(rows, name, OF_ONE_IMAGE), ACCURACY: right}


def _numbers(rows: pd.DataFrame, method: str, prefix: str = "") -> dict[str, str]:
    """Return the triple of a row, what exact draws would have, and the cells behind them."""
    found = {
        heading: _text(estimate_of(rows, method, prefix + metric))
        for metric, heading in HEADINGS.items()
    }
    cells = estimate_of(rows, method, IN_BOTH)
    return {**found, "cells": str(cells.n) if found[HEADINGS[TRIPLE["shift_kept"]]] else ""}


def _text(found: Estimate, scale: float = 1, digits: int = 2) -> str:
    return format_estimate(found.value * scale, found.low * scale, found.high * scale, digits)


def as_markdown(table: pd.DataFrame) -> list[str]:
    """Return a table of texts as the lines of a Markdown table, padded to be read as it is."""
    columns = [[str(name), *table[name]] for name in table.columns]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "| " + " | ".join(text.ljust(n) for text, n in zip(row, widths, strict=True)) + " |"
        for row in zip(*columns, strict=True)
    ]
    return [lines[0], "| " + " | ".join("-" * max(n, 3) for n in widths) + " |", *lines[1:]]


def lines(results: Path, report: Path) -> list[str]:
    """Return what a run ends with: assays and methods, the path of the report, the tables.

    Raises:
        InputError: A table or the report is missing.
    """
    figure5 = read_long(results / "figures" / "figure5.csv")
    features = read_long(results / "tables" / "features.csv")
    table2 = read_long(results / "tables" / "table2.csv")
    if not report.is_file():
        raise InputError(f"The report {report} does not exist. Run the rule report first.")
    tables = headline_tables(figure5, features, table2)
    methods = [m for m in dict.fromkeys(figure5["method"]) if m != HIGH_RESOLUTION]
    assays = dict.fromkeys(
        f"{one.assay} (simulated)" if one.simulated else one.assay for one in tables
    )
    factors = ", ".join(f"{factor}x" for factor in dict.fromkeys(figure5["factor"]))
    found = [
        f"made: {', '.join(assays)} at {factors} with {', '.join(methods)}",
        f"report: {report.resolve()}",
    ]
    for one in tables:
        found += ["", one.title, "", *as_markdown(one.rows)]
    return found
