"""Intervals of single cells from a predicted spread, and how often they hold HR.

A row without images predicts a feature's mean and sd for each cell. The sd is that of generated
images, so it is no interval of real cells yet: how far HR lies from the mean, in units of the sd,
is learnt on cells of the split calibration (:mod:`analysis.numbers.conformal`, normalised).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.comparison.image_metrics import mean_of_cells
from analysis.comparison.long_table import Rows, estimate_facts
from analysis.comparison.measured import KEYS
from analysis.comparison.settings import IntervalSettings
from analysis.measuring.columns import PREDICTED_SD
from analysis.numbers.conformal import Intervals, Summary, calibrated_intervals
from analysis.run.description import Comparison
from rls.io import read_table
from rls.io.names import HIGH_RESOLUTION
from rls.io.splits import CALIBRATE, REPORT, Use, rows_for

COVERAGE, WIDTH = "interval_coverage", "interval_width"
NO_CELLS = "no cell of split calibration: set select_cells.share_calibration"
TOO_FEW = "infinite: too few cells of calibration for this level"
SMALLEST = 1e-12  # Keeps a predicted sd that was rounded to 0 from a division by it.


class Cells(NamedTuple):
    """Cells with a predicted feature.

    Attributes:
        table: image_id, plate, well, site, treatment and split, one row per cell.
        truth: (n,) measured on HR; NaN where it could not be.
        summary: Predicted mean and sd.
    """

    table: pd.DataFrame
    truth: np.ndarray
    summary: Summary


def read_cells(at: Comparison, method: str, column: str, use: Use) -> Cells:
    """Return the cells of both controls that may serve ``use``, sorted by image_id."""
    path = at.measured(method, "features")
    table = read_table(path, columns=[*KEYS, "split", column, column + PREDICTED_SD])
    table = table[table["treatment"].isin(at.assay.treatments)]
    table = table.iloc[rows_for(use, table, str(path))].sort_values("image_id")
    table = table.reset_index(drop=True)
    high = read_table(at.measured(HIGH_RESOLUTION, "features"), columns=["image_id", column])
    truth = high.set_index("image_id")[column].reindex(table["image_id"])
    centre, spread = (table[name].to_numpy(float) for name in (column, column + PREDICTED_SD))
    none, one = np.full(len(table), np.nan), np.isfinite(centre).astype(int)
    summary = Summary(centre, spread, none, none, one, table["split"].to_numpy())
    return Cells(table[[*KEYS, "split"]], truth.to_numpy(float), summary)


def cell_intervals(
    at: Comparison, method: str, column: str, level: float
) -> tuple[Cells, Intervals]:
    """Return the cells of evaluation with an interval for each, which holds HR with ``level``.

    Raises:
        InputError: No cell may calibrate or be judged.
    """
    known, judged = (read_cells(at, method, column, use) for use in (CALIBRATE, REPORT))
    found = calibrated_intervals(
        judged.summary, known.summary, known.truth, level=level, floor=SMALLEST
    )
    return judged, found


def interval_facts(at: Comparison, method: str, column: str, settings: IntervalSettings) -> Rows:
    """Return how often HR of a cell lies in its interval, and the mean width in the feature's unit.

    The intervals are of the confidence level of the tables. Both numbers have intervals over wells.
    """
    splits = read_table(at.measured(method, "features"), columns=["split"])["split"]
    if not splits.isin(CALIBRATE.splits).any():
        return [{"metric": metric, "reason": NO_CELLS} for metric in (COVERAGE, WIDTH)]
    cells, found = cell_intervals(at, method, column, settings.confidence_level)
    inside = found.contain(cells.truth)
    coverage = mean_of_cells(inside, cells.table, settings, "share")
    facts: Rows = [{"metric": COVERAGE, **estimate_facts(coverage)}]
    if np.isinf(found.width).any():
        return [*facts, {"metric": WIDTH, "reason": TOO_FEW}]
    width = mean_of_cells(found.width, cells.table, settings, "size")
    return [*facts, {"metric": WIDTH, **estimate_facts(width)}]
