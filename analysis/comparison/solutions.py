"""The numbers of the table of solutions: coverage, width and error of several solutions a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparison.long_table import Row, Rows, estimate_facts, long_row
from analysis.comparison.measured import KEYS, feature_column
from analysis.comparison.solutions_settings import Settings
from analysis.numbers.conformal import (
    NORMALISED,
    VARIANTS,
    Intervals,
    Summary,
    calibrated_intervals,
    expected_coverage,
    summarise,
)
from analysis.numbers.statistics import Estimate, jackknife
from analysis.run.description import Comparison, Run
from rls.io import read_table
from rls.io.names import CLASSIFIER, HIGH_RESOLUTION, SEARCHES
from rls.io.splits import CALIBRATE, COMPARE, REPORT, Use, rows_for
from rls.runtime.errors import InputError

RAW = "raw"
SOURCE = "source_image_id"  # the column that names the cell of a solution
EXPECTED = 0.99  # probability of the range that a right coverage falls into
FEW_CELLS = "infinite: too few cells of calibration for this level"
NOT_EXPECTED: Row = {"expected_low": np.nan, "expected_high": np.nan}

Statistic = Callable[[np.ndarray], float]  # takes row positions of the cells


@dataclass(frozen=True)
class Cells:
    """One feature of the cells with solutions.

    Attributes:
        column: Name of the feature's column.
        table: image_id, plate, well, site, treatment and split, one row per cell.
        truth: (n,) measured on HR.
        values: (n, k) measured on the solutions.
        single: (n,) measured on the method's single search; NaN where there is none.
        fidelity: (n,) mean over the solutions of |D(SR) - LR|.
        floor: Least spread, in units of the feature.
        hr_range: Range from the 5th to the 95th percentile of HR cells of another split.
    """

    column: str
    table: pd.DataFrame
    truth: np.ndarray
    values: np.ndarray
    single: np.ndarray
    fidelity: np.ndarray
    floor: float
    hr_range: float

    def of(self, use: Use) -> Cells:
        """Return the cells that may serve ``use``.

        Raises:
            InputError: There is none.
        """
        rows = rows_for(use, self.table, "The table of solutions")
        arrays = ("truth", "values", "single", "fidelity")
        found = {name: getattr(self, name)[rows] for name in arrays}
        return replace(self, table=self.table.iloc[rows].reset_index(drop=True), **found)

    def summary(self, level: float) -> Summary:
        """Return the summary of the solutions, which knows the splits of the cells."""
        return summarise(self.values, level, self.table["split"].to_numpy())


def read_cells(at: Comparison, method: str, kind: str, feature: str, settings: Settings) -> Cells:
    """Read HR, a method's solutions of one kind and, where it was measured, the single search.

    Of a method that itself searches several solutions the one of least loss is the single search.

    Raises:
        InputError: A file is absent or holds other cells, or HR has no range.
    """
    path = at.measured(HIGH_RESOLUTION, "features")
    high = read_table(path, columns=[*KEYS, "split"])
    column = feature_column(high, feature, path)
    of_solutions = at.solutions(method, kind, ".features.parquet")
    found = read_table(of_solutions, columns=[SOURCE, "solution", column])
    wide = found.pivot(index=SOURCE, columns="solution", values=column)
    table = high[[*KEYS, "split"]].set_index("image_id", drop=False)
    missing = wide.index.difference(table.index)
    if len(missing):
        raise InputError(
            f"{len(missing)} images of {of_solutions} are not in {path} (first: {missing[0]}). "
            f"Delete it and run the workflow again (rule sample_solutions)."
        )
    hr_range = _hr_range(high, column, str(path))
    return Cells(
        column,
        table.loc[wide.index].reset_index(drop=True),
        high.set_index("image_id")[column].loc[wide.index].to_numpy(dtype=float),
        wide.to_numpy(dtype=float),
        _least_loss(found, column, wide.index)
        if kind == SEARCHES
        else _single_search(at, method, column, wide.index),
        _mean_fidelity(found, wide.index),
        settings.spread_floor * hr_range,
        hr_range,
    )


def _hr_range(high: pd.DataFrame, column: str, path: str) -> float:
    """Return the 5-95 % range of a feature on the HR cells that the classifiers were fitted on.

    Raises:
        InputError: It is 0.
    """
    rows = rows_for(COMPARE, high, path, split=CLASSIFIER, stage="measure")
    outside = high[column].iloc[rows].dropna()
    low, high_end = np.percentile(outside, [5.0, 95.0]) if len(outside) else (0.0, 0.0)
    if not high_end > low:
        raise InputError(
            f"{path} has no two different values of {column} in the split '{CLASSIFIER}', whose "
            f"range widths refer to. Run measure again, or leave the feature out."
        )
    return float(high_end - low)


def _mean_fidelity(found: pd.DataFrame, ids: pd.Index) -> np.ndarray:
    """Return the mean |D(SR) - LR| over the solutions of each cell; NaN where it is not known."""
    if "loss_fidelity" not in found:
        return np.full(len(ids), np.nan)
    means = found.groupby(SOURCE)["loss_fidelity"].mean()
    return means.loc[ids].to_numpy(dtype=float)


def _single_search(at: Comparison, method: str, column: str, ids: pd.Index) -> np.ndarray:
    """Return the feature on the method's single search of each cell; NaN where there is none."""
    path = at.measured(method, "features")
    if not path.is_file():
        return np.full(len(ids), np.nan)
    measured = read_table(path, columns=["image_id", column]).set_index("image_id")
    return measured[column].reindex(ids).to_numpy(dtype=float)


def _least_loss(found: pd.DataFrame, column: str, ids: pd.Index) -> np.ndarray:
    """Return the feature on the solution of least loss of each cell, where a loss is finite."""
    rows = found[np.isfinite(found["loss_total"])]
    best = rows.loc[rows.groupby(SOURCE)["loss_total"].idxmin()].set_index(SOURCE)
    return best[column].reindex(ids).to_numpy(dtype=float)


def intervals_of(cells: Cells, settings: Settings) -> dict[str, Intervals]:
    """Return the intervals of the evaluation cells: raw, and calibrated in every variant."""
    known = cells.of(CALIBRATE)
    learnt, summary = known.summary(settings.level), cells.of(REPORT).summary(settings.level)
    found = {RAW: Intervals(summary.low, summary.high)}
    for variant in VARIANTS:
        found[variant] = calibrated_intervals(
            summary, learnt, known.truth, level=settings.level, variant=variant, floor=cells.floor
        )
    return found


# Numbers -----------------------------------------------------------------------------------------


def solution_rows(run: Run, settings: Settings) -> Rows:
    """Return every row of the table, of the clean degradation.

    After the kinds of sampled solutions come the methods that search several solutions of a cell.
    """
    rows: Rows = []
    for at in run.comparisons(clean_only=True):
        sampled = [(settings.method, kind) for kind in settings.kinds]
        searched = [(name, SEARCHES) for name in at.methods if name in run.n_solutions]
        for feature in at.assay.features:
            for method, kind in (*sampled, *searched):
                cells = read_cells(at, method, kind, feature, settings)
                more = {"kind": kind, "feature": feature, "n_solutions": cells.values.shape[1]}
                for own, facts in kind_facts(cells, settings):
                    rows.append({**long_row(at, method, **facts), **own, **more})
    return rows


def kind_facts(cells: Cells, settings: Settings) -> Iterator[tuple[Row, Row]]:
    """Yield every number of one kind of solutions and one feature.

    Yields:
        The columns of this table alone, and the arguments of ``long_row``.
    """
    evaluation = cells.of(REPORT)
    summary = evaluation.summary(settings.level)
    yield from count_facts(evaluation, summary)
    treatments = ("", *sorted(set(evaluation.table["treatment"])))
    known = cells.of(CALIBRATE)
    n_known = int((np.isfinite(known.truth) & np.isfinite(known.values).any(axis=1)).sum())
    for name, intervals in intervals_of(cells, settings).items():
        for treatment in treatments:
            here = (evaluation.table["treatment"] == treatment).to_numpy() | (treatment == "")
            for own, facts in interval_facts(evaluation, intervals, name, here, n_known, settings):
                yield own, {**facts, "treatment": treatment}
    yield from error_facts(evaluation, summary, settings)
    here = np.isfinite(evaluation.fidelity)
    yield _fact("fidelity_l1", evaluation, here, settings, _mean_of(evaluation.fidelity), "size")


def count_facts(cells: Cells, summary: Summary) -> Iterator[tuple[Row, Row]]:
    """Yield how many cells can be judged, and why others cannot."""
    no_truth, no_solution = ~np.isfinite(cells.truth), summary.measured == 0
    n, left = len(cells.table), int((~no_truth & ~no_solution).sum())
    reason = ""
    if left < n:
        reason = (
            f"of {n} cells HR of {int(no_truth.sum())} and every solution of "
            f"{int(no_solution.sum())} could not be measured"
        )
    own, common = {"n_cells": n, **NOT_EXPECTED}, {"n": n, "unit": "cell"}
    yield own, {"metric": "measured_share", "value": left / max(n, 1), "reason": reason, **common}
    share = float(summary.measured.sum() / max(cells.values.size, 1))
    yield own, {"metric": "measured_share_of_solutions", "value": share, **common}


def interval_facts(
    cells: Cells,
    intervals: Intervals,
    name: str,
    here: np.ndarray,
    n_known: int,
    settings: Settings,
) -> Iterator[tuple[Row, Row]]:
    """Yield coverage and mean relative width of the cells ``here``, (n,) bool.

    The range that a right coverage falls into takes cells as units. The guarantee holds over all
    cells together, not within a treatment, and the raw quantiles have none.
    """
    inside, width = intervals.contain(cells.truth), intervals.width / cells.hr_range
    known = here & np.isfinite(inside)
    n = int(known.sum())
    own, coverage = _fact(f"coverage_{name}", cells, known, settings, _mean_of(inside), "share")
    if name != RAW:
        low, high = expected_coverage(n_known, n, settings.level, EXPECTED)
        own = {**own, "expected_low": low, "expected_high": high}
    yield own, coverage
    if np.isinf(width[known]).any():
        yield {"n_cells": n, **NOT_EXPECTED}, {"metric": f"width_{name}", "reason": FEW_CELLS}
    else:
        yield _fact(f"width_{name}", cells, known, settings, _mean_of(width), "size")


def error_facts(cells: Cells, summary: Summary, settings: Settings) -> Iterator[tuple[Row, Row]]:
    """Yield errors of one solution, of their mean, of the single search, and differences.

    The error of one solution is the mean over the solutions, since any of them might be the one.
    """
    finite = np.isfinite(cells.values)
    each = np.where(finite, cells.values - cells.truth[:, None], 0.0)
    counted = np.maximum(finite.sum(axis=1), 1)
    absolute = {
        "one_solution": np.abs(each).sum(axis=1) / counted,
        "mean_of_solutions": np.abs(summary.centre - cells.truth),
        "single_search": np.abs(cells.single - cells.truth),
    }
    squared = {name: values**2 for name, values in absolute.items()}
    squared["one_solution"] = (each**2).sum(axis=1) / counted
    known = np.isfinite(cells.truth) & (summary.measured > 0)
    searched = known & np.isfinite(cells.single)
    for error, of in (
        ("mae", {name: _mean_of(values) for name, values in absolute.items()}),
        ("rmse", {name: _mean_of(values, root=True) for name, values in squared.items()}),
    ):
        for name, function in of.items():
            here = searched if name == "single_search" else known
            yield _fact(f"{error}_{name}", cells, here, settings, function, "size")
        for other, here in (("one_solution", known), ("single_search", searched)):
            gain = _difference(of["mean_of_solutions"], of[other])
            yield _fact(f"{error}_mean_minus_{other}", cells, here, settings, gain)
    yield _fact(
        "spearman_of_spread_and_error",
        cells,
        known & (summary.measured > 1),
        settings,
        lambda rows: _spearman(summary.spread[rows], absolute["mean_of_solutions"][rows]),
        "correlation",
    )


def _mean_of(values: np.ndarray, *, root: bool = False) -> Statistic:
    """Return a function of rows: the mean of their values, or its square root."""
    if root:
        return lambda rows: float(np.sqrt(values[rows].mean()))
    return lambda rows: float(values[rows].mean())


def _difference(first: Statistic, second: Statistic) -> Statistic:
    return lambda rows: first(rows) - second(rows)


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    # Where all solutions agree, only rounding is left, and its order means nothing.
    if len(x) < 3 or min(np.ptp(x), np.ptp(y)) < 1e-12:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])


def _fact(
    metric: str,
    cells: Cells,
    here: np.ndarray,
    settings: Settings,
    function: Statistic,
    kind: str = "number",
) -> tuple[Row, Row]:
    """Return a number of the cells ``here`` with its interval over wells."""
    positions = np.flatnonzero(here)
    own = {"n_cells": len(positions), **NOT_EXPECTED}
    if not len(positions):
        return own, {"metric": metric, "reason": "no cell was measured in both"}
    found: Estimate = jackknife(
        lambda rows: function(positions[rows]),
        cells.table.iloc[positions].reset_index(drop=True),
        confidence=settings.confidence_level,
        kind=kind,
    )
    return own, {"metric": metric, **estimate_facts(found)}


def summary_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield one line on each kind of solutions of a feature."""
    whole = table[table["treatment"] == ""]
    for _, part in whole.groupby(["assay", "factor", "feature", "method", "kind"], sort=False):
        first, value = part.iloc[0], part.set_index("metric")["value"]
        yield (
            f"solutions: {first['assay']} {first['factor']}x {first['feature']}, "
            f"{first['n_solutions']} {first['kind']} of {first['method']}: "
            f"coverage {value[f'coverage_{RAW}']:.2f} raw, "
            f"{value[f'coverage_{NORMALISED}']:.2f} calibrated; "
            f"width {value[f'width_{RAW}']:.2f} raw, {value[f'width_{NORMALISED}']:.2f} calibrated"
        )
