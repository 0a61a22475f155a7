"""The headline numbers of a run: medians, the triple and accuracies of one method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.comparison.accuracy import CHOSEN
from analysis.comparison.labels import method_label
from analysis.comparison.long_table import estimate_of, read_long
from analysis.numbers.statistics import Estimate
from rls.io.names import BICUBIC, HIGH_RESOLUTION, LOW_RESOLUTION, LOW_RESOLUTION_ALL_CELLS
from rls.runtime.errors import InputError

COMPARED = ["assay", "factor", "degradation"]


@dataclass(frozen=True)
class Headline:
    """The numbers of one assay, factor, degradation and feature.

    Attributes:
        method: The method that the headline is about.
        medians: Medians of the feature on HR and on the method, by treatment.
        accuracy: Accuracy of the classifier chosen on tune, on LR, on LR by
            one that saw all cells (where there is one), on the method and on HR.
    """

    assay: str
    simulated: bool
    factor: int
    degradation: str
    feature: str
    method: str
    medians: dict[str, tuple[float, float]]
    shift_kept: Estimate
    sd_ratio: Estimate
    correlation: Estimate
    accuracy: dict[str, float]


def main_method(methods: Sequence[str]) -> str:
    """Return rls if it is there, else the first search, else bicubic.

    Raises:
        InputError: There is none.
    """
    shown = (HIGH_RESOLUTION, LOW_RESOLUTION)
    found = [name for name in dict.fromkeys(methods) if name not in shown]
    if not found:
        raise InputError("The tables name no method but HR and LR. Run one more.")
    searches = [name for name in found if name != BICUBIC]
    return "rls" if "rls" in searches else (searches or found)[0]


def headlines(figure5: pd.DataFrame, table2: pd.DataFrame) -> list[Headline]:
    """Return the headline numbers of every assay, factor, degradation and feature.

    Arguments:
        figure5, table2: The long CSVs of Fig. 5 and of Table 2.
    """
    parts = figure5.groupby([*COMPARED, "feature"], sort=False)
    return [_headline(part, table2) for _, part in parts]


def _headline(part: pd.DataFrame, table2: pd.DataFrame) -> Headline:
    """Return the headline of the rows of Fig. 5 of one comparison and feature."""
    first = part.iloc[0]
    method = main_method(list(part["method"]))
    here = (table2[COMPARED] == first[COMPARED]).all(axis=1)
    return Headline(
        assay=str(first["assay"]),
        simulated=bool(first["simulated"]),
        factor=int(first["factor"]),
        degradation=str(first["degradation"]),
        feature=str(first["feature"]),
        method=method,
        medians={
            name: (
                estimate_of(part, HIGH_RESOLUTION, "median", treatment=name).value,
                estimate_of(part, method, "median", treatment=name).value,
            )
            for name in dict.fromkeys(part["treatment"])
            if name
        },
        shift_kept=estimate_of(part, method, "shift_kept"),
        sd_ratio=estimate_of(part, method, "sd_ratio"),
        correlation=estimate_of(part, method, "correlation_within_treatment"),
        accuracy={
            row: estimate_of(table2[here], row, CHOSEN).value
            for row in (LOW_RESOLUTION, LOW_RESOLUTION_ALL_CELLS, method, HIGH_RESOLUTION)
            if row != LOW_RESOLUTION_ALL_CELLS or row in set(table2[here]["method"])
        },
    )


def sentence(found: Headline) -> str:
    """Return the numbers of one assay in one clause."""
    medians = ", ".join(
        f"{treatment} {number(high)} -> {number(super_)}"
        for treatment, (high, super_) in found.medians.items()
    )
    accuracy = ", ".join(
        f"{method_label(row)} {number(100 * value, 1)} %" for row, value in found.accuracy.items()
    )
    simulated = " (simulated)" if found.simulated else ""
    return (
        f"{found.assay}{simulated} {found.factor}x: median {found.feature.replace('_', ' ')} "
        f"HR -> {method_label(found.method)}: {medians}; "
        f"shift kept {number(found.shift_kept.value)}; accuracy {accuracy}"
    )


def number(value: float, digits: int = 2) -> str:
    """Return a number for people, 'n/a' where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "n/a"


def lines(results: Path, report: Path) -> tuple[str, str, str]:
    """Return three lines: the assays and methods, the path of the report, the numbers.

    Raises:
        InputError: A table or the report is missing.
    """
    figure5 = read_long(results / "figures" / "figure5.csv")
    table2 = read_long(results / "tables" / "table2.csv")
    if not report.is_file():
        raise InputError(f"The report {report} does not exist. Run the rule report first.")
    methods = [m for m in dict.fromkeys(figure5["method"]) if m != HIGH_RESOLUTION]
    assays = dict.fromkeys(
        f"{assay} (simulated)" if simulated else str(assay)
        for assay, simulated in zip(figure5["assay"], figure5["simulated"], strict=True)
    )
    factors = ", ".join(f"{factor}x" for factor in dict.fromkeys(figure5["factor"]))
    made = f"made: {', '.join(assays)} at {factors} with {', '.join(methods)}"
    where = f"report: {report.resolve()}"
    return made, where, "; ".join(map(sentence, headlines(figure5, table2)))
