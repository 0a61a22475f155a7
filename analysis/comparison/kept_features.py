"""The numbers of the table of features: the triple, agreement and separation of the controls.

The triple is shift kept, sd ratio and within-treatment correlation
(:mod:`analysis.numbers.agreement`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.comparison.ceiling import CEILING, IN_TABLES, OWED, ceiling_facts
from analysis.comparison.feature_values import FeatureValues, read_features
from analysis.comparison.long_table import (
    NO_HIGH_RESOLUTION,
    Row,
    Rows,
    estimate_facts,
    estimate_of,
    long_row,
    rows_at,
    rows_of,
)
from analysis.comparison.measured import feature_column, primary_column, read_evaluation
from analysis.comparison.predicted import interval_facts
from analysis.comparison.settings import IntervalSettings
from analysis.features.registry import columns_of
from analysis.numbers.agreement import Agreement, agreement
from analysis.numbers.statistics import (
    WELLS_PER_STRATUM,
    Estimate,
    auc_interval,
    cohens_d,
    ssmd,
    well_values,
    z_prime,
)
from analysis.run.description import Comparison, Run
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION, WITHOUT_IMAGES
from rls.runtime.progress import Progress

# Field of Agreement -> metric of the table.
TRIPLE = {
    "shift_kept": "shift_kept",
    "sd_ratio": "sd_ratio",
    "correlation": "correlation_within_treatment",
}
AGREEMENT = {
    "bias": "bland_altman_bias",
    "lower_limit": "bland_altman_lower_limit",
    "upper_limit": "bland_altman_upper_limit",
}
OF_CELLS = "correlation_within_treatment_cells_as_units"
SEPARATION = ("cohens_d", "auc", "ssmd", "z_prime", "robust_z_prime")
OF_ONE_IMAGE = "one_image_"  # Begins the metrics of the image that stands for several solutions.
CELLS_ENOUGH, SHARE_ENOUGH = 30, 0.5  # A control with less has a caution.
ABOVE_ZERO, IN_BOTH = "triple_above_zero", "cells_in_both"
MEASURED, NOT_MEASURED = "cells_measured", "cells_not_measurable"


def kept_rows(run: Run, settings: IntervalSettings) -> Rows:
    """Return every row: features in the order of the assay, in each LR, the methods and HR."""
    return [row for at in run.comparisons() for row in comparison_rows(at, settings)]


def comparison_rows(at: Comparison, settings: IntervalSettings) -> Rows:
    """Return every row of one assay, factor and degradation."""
    if not at.assay.features:
        return []
    methods, rows = methods_of(at), []
    found = read_features(at, columns_measured(at), methods)
    with Progress(len(found) * len(methods), f"features of {at.title}", "rows") as bar:
        for feature in found:
            for method in methods:
                rows += feature_rows(feature, method, settings)
                bar.advance(1)
    return rows


def columns_measured(at: Comparison) -> list[str]:
    """Return the columns of the assay's features that HR has.

    Raises:
        InputError: The primary column of a feature was not measured.
    """
    path = at.measured(HIGH_RESOLUTION, "features")
    table = read_evaluation(path)
    names: dict[str, None] = {}
    for feature in at.assay.features:
        names[feature_column(table, feature, path)] = None
        names |= dict.fromkeys(columns_of(feature, at.assay.channels))
    return [name for name in names if name in table.columns]


def methods_of(at: Comparison) -> list[str]:
    """Return LR where it was measured, the methods in order, HR last."""
    low = [LOW_RESOLUTION] if at.measured(LOW_RESOLUTION, "features").is_file() else []
    named = [m for m in at.methods if m not in (LOW_RESOLUTION, HIGH_RESOLUTION)]
    return [*low, *named, HIGH_RESOLUTION]


def feature_rows(feature: FeatureValues, method: str, settings: IntervalSettings) -> Rows:
    """Return every number of one method and feature; HR has no triple with itself."""
    has_high = feature.at.assay.has_high_resolution
    facts = measured_facts(feature, method)
    if method != HIGH_RESOLUTION:
        found = agreement_with_high(feature, method, settings)
        compared = [*triple_facts(found), *agreement_facts(found)]
        if has_high:
            compared += ceiling_facts(feature, method, settings)
        if method in WITHOUT_IMAGES and has_high:
            compared += interval_facts(feature.at, method, feature.column, settings)
        facts += compared if has_high else map(_without_reference, compared)
    facts += separation_facts(feature, method, settings)
    if method == HIGH_RESOLUTION and not has_high:
        facts = [_without_reference(fact) for fact in facts]
    own = {
        "feature": feature.column,
        "caution": caution(feature, method),
        "n_solutions": feature.n_solutions.get(method, 1),
    }
    rows = [{**long_row(feature.at, method, **fact), **own} for fact in facts]
    if method in feature.of_image and has_high:
        rows += image_rows(feature.with_image(method), method, own, settings)
    return rows


def image_rows(feature: FeatureValues, method: str, own: Row, settings: IntervalSettings) -> Rows:
    """Return the numbers of the one image of a method whose other rows are of means over several.

    Arguments:
        feature: With the values of the image.
        own: The columns that its rows share with those of the means.
    """
    facts = triple_facts(agreement_with_high(feature, method, settings))
    facts += ceiling_facts(feature, method, settings)
    return [
        {
            **long_row(feature.at, method, **{**fact, "metric": OF_ONE_IMAGE + fact["metric"]}),
            **own,
            "n_solutions": 1,
        }
        for fact in facts
    ]


def caution(feature: FeatureValues, method: str) -> str:
    """Return what the wells and cells of a method cannot carry; '' where they are enough."""
    notes = []
    for treatment in feature.controls:
        wells, n = feature.wells(method, treatment), len(feature.of(method, treatment))
        share = n / max(int((feature.cells["treatment"] == treatment).sum()), 1)
        if wells < WELLS_PER_STRATUM:
            notes.append(f"{wells} well{'s' * (wells != 1)} of {treatment}")
        if n < CELLS_ENOUGH:
            notes.append(f"{n} cells of {treatment}")
        if share < SHARE_ENOUGH:
            notes.append(f"{100 * share:.0f} % of {treatment} measured")
    return "; ".join(notes)


def _without_reference(fact: Row) -> Row:
    """Return a number that needs HR as an empty one, because no HR exists."""
    return {"metric": fact["metric"], "unit": fact.get("unit", ""), "reason": NO_HIGH_RESOLUTION}


def agreement_with_high(
    feature: FeatureValues, method: str, settings: IntervalSettings
) -> Agreement:
    """Return the triple and the limits of agreement of one method."""
    pairs, (negative, positive) = feature.pairs(method), feature.controls
    return agreement(
        pairs,
        negative_control=negative,
        positive_control=positive,
        confidence=settings.confidence_level,
    )


def triple_facts(found: Agreement) -> Rows:
    """Return the triple as the arguments of ``long_row``, and whether it is above 0."""
    weak = [TRIPLE[name] for name in found.not_above_zero]
    return [
        *({"metric": m, **estimate_facts(getattr(found, name))} for name, m in TRIPLE.items()),
        {"metric": OF_CELLS, **estimate_facts(found.correlation_of_cells)},
        {
            "metric": ABOVE_ZERO,
            "value": float(not weak),
            "reason": f"not told from 0: {', '.join(weak)}" if weak else "",
            "unit": found.shift_kept.unit,
            "n": found.shift_kept.n,
        },
    ]


def agreement_facts(found: Agreement) -> Rows:
    """Return Bland-Altman bias and limits, in the feature's unit, and the number of cells."""
    return [
        *({"metric": m, **estimate_facts(getattr(found, name))} for name, m in AGREEMENT.items()),
        {"metric": IN_BOTH, "value": found.n_cells, "n": found.n_cells, "unit": "cell"},
    ]


def separation_facts(feature: FeatureValues, method: str, settings: IntervalSettings) -> Rows:
    """Return how far the controls are apart on one method, with cells and with wells as units."""
    negative, positive = feature.controls
    table = feature.cells.assign(value=feature.values[method])
    table = table[np.isfinite(table["value"])].reset_index(drop=True)
    sides = [table[table["treatment"] == name] for name in feature.controls]
    if min(map(len, sides)) == 0:
        reason = "a control has no measured cell"
        return [{"metric": metric, "reason": reason, "unit": "cell"} for metric in SEPARATION]
    effect = cohens_d(*(side["value"].to_numpy() for side in sides))
    reason = "" if np.isfinite(effect) else "fewer than two cells of a control, or all alike"
    area = auc_interval(
        table,
        "value",
        negative_control=negative,
        positive_control=positive,
        confidence=settings.confidence_level,
    )
    wells = [well_values(side, "value") for side in sides]
    of_wells = (ssmd(*wells), z_prime(*wells), z_prime(*wells, robust=True))
    return [
        {"metric": "cohens_d", "value": effect, "n": len(table), "unit": "cell", "reason": reason},
        *(
            {"metric": metric, **estimate_facts(found)}
            for metric, found in zip(SEPARATION[1:], (area, *of_wells), strict=True)
        ),
    ]


def measured_facts(feature: FeatureValues, method: str) -> Rows:
    """Return how many cells were measured and how many were not; the reason counts why."""
    finite = np.isfinite(feature.values[method])
    status = feature.status[method]
    why = ""
    if len(status):
        counts = pd.Series(status[~finite]).value_counts()
        why = ", ".join(f"{n} {str(name).split(':', 1)[-1]}" for name, n in counts.items())
    common = {"n": len(finite), "unit": "cell"}
    return [
        {"metric": MEASURED, "value": int(finite.sum()), **common},
        {"metric": NOT_MEASURED, "value": int((~finite).sum()), "reason": why, **common},
    ]


# Reading the table back -------------------------------------------------------------------------


class Kept(NamedTuple):
    """One feature of one comparison, with its rows of the table of features.

    Attributes:
        rows: The feature's rows of the table.
        agreements: Agreement of every method with HR.
        ceilings: For every method, c on its cells and what its solutions owe; NaN where no
            regression runs.
    """

    feature: FeatureValues
    rows: pd.DataFrame
    agreements: dict[str, Agreement]
    ceilings: dict[str, tuple[Estimate, Estimate]]

    def beside_ceiling(self) -> Rows:
        """Return the rows that set methods against what LR can know, and those of one image."""
        metrics = self.rows["metric"]
        chosen = metrics.isin(IN_TABLES) | metrics.str.startswith(OF_ONE_IMAGE)
        return [{str(k): v for k, v in row.items()} for row in self.rows[chosen].to_dict("records")]


def read_kept(at: Comparison, table: pd.DataFrame) -> list[Kept]:
    """Return the values of each feature and its rows of ``table``, the table of features."""
    columns = [primary_column(feature) for feature in at.assay.features]
    found = []
    for feature in read_features(at, columns, at.methods):
        rows = feature_part(table, at, feature.column)
        ceilings = {
            method: (estimate_of(rows, method, CEILING), estimate_of(rows, method, OWED))
            for method in feature.methods
        }
        found.append(Kept(feature, rows, read_agreements(rows, feature.methods), ceilings))
    return found


def feature_part(table: pd.DataFrame, at: Comparison, column: str) -> pd.DataFrame:
    """Return the rows of the table of features on one comparison and column."""
    here = rows_at(table, at, "table_features")
    return here[here["feature"] == column]


def read_agreements(rows: pd.DataFrame, methods: Sequence[str]) -> dict[str, Agreement]:
    """Return the agreement of every method with HR from the rows of one comparison and feature."""
    fields = {**TRIPLE, **AGREEMENT, "correlation_of_cells": OF_CELLS}
    return {
        method: Agreement(
            **{name: estimate_of(rows, method, metric) for name, metric in fields.items()},
            n_cells=estimate_of(rows, method, IN_BOTH).n,
        )
        for method in methods
    }


def triple_rows(table: pd.DataFrame, at: Comparison, methods: Sequence[str]) -> Rows:
    """Return the triple of every feature and method, as the table of features has it."""
    return [
        row
        for column in map(primary_column, at.assay.features)
        for method in methods
        for row in rows_of(feature_part(table, at, column), method, list(TRIPLE.values()))
    ]
