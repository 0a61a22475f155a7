"""The values of a feature on HR and on every method, for the same cells of both controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis.comparison.long_table import Row, Rows, estimate_facts
from analysis.comparison.measured import (
    KEYS,
    check_same_settings,
    read_evaluation,
    same_cells,
)
from analysis.comparison.settings import IntervalSettings
from analysis.measuring.columns import N_SOLUTIONS, OF_IMAGE
from analysis.numbers.statistics import jackknife
from analysis.run.description import Comparison
from rls.io.names import HIGH_RESOLUTION


@dataclass(frozen=True)
class FeatureValues:
    """One feature of one comparison.

    Attributes:
        column: Name of the feature's column.
        cells: image_id, plate, well, site and treatment, one row per cell.
        values: (n,) by method, NaN where not measurable.
        status: (n,) by method, ``ok`` or why a cell has no value; empty where measure did not say.
        n_solutions: Solutions of a cell over which the values of a method are means, where it has
            several.
        of_image: (n,) by method, where its values are such means: those of the one image that
            stands for the cell.
    """

    at: Comparison
    column: str
    cells: pd.DataFrame
    values: Mapping[str, np.ndarray]
    status: Mapping[str, np.ndarray]
    n_solutions: Mapping[str, int] = field(default_factory=dict)
    of_image: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def controls(self) -> tuple[str, str]:
        """The negative and the positive control."""
        return self.at.assay.treatments

    @property
    def methods(self) -> list[str]:
        """Everything that is compared with HR, in order."""
        return [method for method in self.values if method != HIGH_RESOLUTION]

    def of(self, method: str, treatment: str) -> np.ndarray:
        """Return the finite values of one method and treatment."""
        values = self.values[method][(self.cells["treatment"] == treatment).to_numpy()]
        return values[np.isfinite(values)]

    def wells(self, method: str, treatment: str) -> int:
        """Return how many wells those values come from."""
        measured = np.isfinite(self.values[method])
        here = self.cells[measured & (self.cells["treatment"] == treatment).to_numpy()]
        return int(here.groupby(["plate", "well"]).ngroups)

    def with_image(self, method: str) -> FeatureValues:
        """Return the feature with the values of a method's one image in place of its means."""
        values = {**self.values, method: self.of_image[method]}
        return replace(self, values=values, n_solutions={**self.n_solutions, method: 1})

    def pairs(self, method: str) -> pd.DataFrame:
        """Return one row per cell with its HR and its SR value."""
        return self.cells.assign(
            high_resolution=self.values[HIGH_RESOLUTION], super_resolution=self.values[method]
        )


def read_features(
    at: Comparison, columns: Sequence[str], methods: Sequence[str]
) -> list[FeatureValues]:
    """Return one entry a column; every file is read once.

    Raises:
        InputError: A method was measured on other cells, or lacks a column.
    """
    if not columns:
        return []
    tables: dict[str, pd.DataFrame] = {}
    for method in dict.fromkeys((HIGH_RESOLUTION, *methods)):
        path = at.measured(method, "features")
        table = read_evaluation(path, columns=list(columns))
        table = table[table["treatment"].isin(at.assay.treatments)].reset_index(drop=True)
        reference = tables.get(HIGH_RESOLUTION, table)
        check_same_settings(reference, table, path)
        tables[method] = same_cells(reference, table, path)
    keys = tables[HIGH_RESOLUTION][list(KEYS)]
    status = {
        method: table["status"].to_numpy(dtype=object) if "status" in table else np.array([])
        for method, table in tables.items()
    }
    several = {
        method: int(table[N_SOLUTIONS].iloc[0])
        for method, table in tables.items()
        if N_SOLUTIONS in table and len(table)
    }
    found = []
    for column in columns:
        values = {method: table[column].to_numpy(dtype=float) for method, table in tables.items()}
        images = {
            method: tables[method][column + OF_IMAGE].to_numpy(dtype=float)
            for method in several
            if column + OF_IMAGE in tables[method]
        }
        found.append(FeatureValues(at, column, keys, values, status, several, images))
    return found


def distribution_facts(feature: FeatureValues, method: str, settings: IntervalSettings) -> Rows:
    """Return measured share, median, wells, quartiles and sd of one method in each treatment."""
    measured = np.isfinite(feature.values[method])
    table = feature.cells[measured].reset_index(drop=True)
    values = feature.values[method][measured]
    facts: Rows = []
    for treatment in feature.controls:
        n_all = int((feature.cells["treatment"] == treatment).sum())
        here = (table["treatment"] == treatment).to_numpy()
        common: Row = {"treatment": treatment, "unit": "cell", "n": int(here.sum())}
        share = {"metric": "measured_share", "value": here.sum() / n_all}
        facts.append({**common, **share, "n": n_all})
        if here.any():
            facts += _measured_facts(values, table, here, common, settings)
        else:
            reason = "no cell of this treatment could be measured"
            facts.append({**common, "metric": "median", "reason": reason})
    return facts


def _measured_facts(
    values: np.ndarray,
    table: pd.DataFrame,
    here: np.ndarray,
    common: Row,
    settings: IntervalSettings,
) -> Rows:
    """Return the numbers of the values ``here``, which are one treatment's."""
    median = jackknife(
        lambda rows: float(np.median(values[rows][here[rows]])),
        table,
        confidence=settings.confidence_level,
    )
    wells = table[here].groupby(["plate", "well"]).ngroups
    own = values[here]
    return [
        {**common, "metric": "median", **estimate_facts(median)},
        {**common, "metric": "n_wells", "value": wells, "unit": "well", "n": wells},
        {**common, "metric": "quartile_1", "value": float(np.percentile(own, 25))},
        {**common, "metric": "quartile_3", "value": float(np.percentile(own, 75))},
        {**common, "metric": "sd", "value": float(own.std())},
    ]
