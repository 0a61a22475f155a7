"""Several solutions an image (section 4.5): what their spread is worth, and what their mean is.

For every assay, factor, kind of solutions and feature, on evaluation cells: how often HR lies
inside the raw quantiles of the solutions and inside intervals calibrated on tune, how wide they
are, and the error of one solution, of the mean over them, and of the method's single search. Wells
are resampled. The article's first degradation only.

Width is relative to the 5-95 % range of HR, and the least spread is a share of that range, both
from the split classifier: neither tune nor evaluation has a say. That a mean errs less than one
solution in expectation is no discovery (Jensen); against the single search it would be one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparison.layout import (
    HIGH_RESOLUTION,
    Comparison,
    Inputs,
    add_inputs,
    inputs_from,
    long_row,
    long_table,
)
from analysis.comparison.measured import EVALUATION, KEYS, estimate_facts, feature_column
from analysis.numbers.conformal import (
    NORMALISED,
    VARIANTS,
    Intervals,
    Summary,
    calibrated_intervals,
    expected_coverage,
    raw_intervals,
    summarise,
)
from analysis.numbers.statistics import bootstrap
from rls.io import read_table, write_table
from rls.runtime.command import Parser, option, run
from rls.runtime.errors import InputError

TUNE, RANGE_SPLIT = "tune", "classifier"
RAW = "raw"
EXPECTED = 0.99  # probability of the range of a coverage that is right
FEW_CELLS = "infinite: too few tune cells for this level"

Rows = list[dict[str, Any]]
Statistic = Callable[[np.ndarray], float]  # of row positions of the cells


@dataclass(frozen=True)
class Settings:
    """Section 'solutions': what is sampled, and how it is judged."""

    method: str = option("RLS row whose objective the solutions share.")
    kinds: tuple[str, ...] = option("Kinds compared: article, variational, restarts.")
    kind_shown: str = option("Kind whose images Fig. 8 shows.")
    level: float = option("Probability that an interval shall hold a cell's HR value.")
    interval_shown: str = option("Calibrated interval drawn in Fig. 8.", choices=VARIANTS)
    spread_floor: float = option("Least spread of a cell's solutions, as a share of the HR range.")
    n_bootstrap: int = option("Draws of the bootstrap over wells.")
    confidence_level: float = option("Of the bootstrap intervals.")
    seed: int = option("Seed of the bootstrap.")


@dataclass(frozen=True)
class Cells:
    """One feature of the cells with solutions.

    Attributes:
        table: image_id, plate, well, site, treatment, split, a row a cell.
        truth: (n,) measured on HR.
        values: (n, k) measured on the solutions.
        single: (n,) measured on the method's single search; NaN where there is none.
        fidelity: (n,) mean over the solutions of |D(SR) - LR|.
        floor: Least spread, in units of the feature.
        hr_range: 5-95 % range of HR cells that are in neither split.
    """

    table: pd.DataFrame
    truth: np.ndarray
    values: np.ndarray
    single: np.ndarray
    fidelity: np.ndarray
    floor: float
    hr_range: float

    def of(self, rows: np.ndarray) -> Cells:
        """Return some of the cells."""
        arrays = (self.truth, self.values, self.single, self.fidelity)
        table = self.table[rows].reset_index(drop=True)
        return Cells(table, *(array[rows] for array in arrays), self.floor, self.hr_range)

    def split(self, name: str) -> Cells:
        """Return the cells of a split."""
        return self.of((self.table["split"] == name).to_numpy())


def solutions_path(at: Comparison, method: str, kind: str, suffix: str) -> Path:
    """Return the file of the solutions of one kind, such as ``.ome.tif``."""
    return at.folder / "solutions" / f"{method}.{kind}{suffix}"


def read_cells(at: Comparison, kind: str, feature: str, settings: Settings) -> Cells:
    """Read HR, solutions and, where it was measured, the single search.

    Raises:
        InputError: A file is absent or holds other cells, or HR has no range.
    """
    path = at.features(HIGH_RESOLUTION)
    high = read_table(path, columns=[*KEYS, "split"])
    column = feature_column(high, feature, path)
    outside = high.loc[high["split"] == RANGE_SPLIT, column].dropna()
    hr_range = float(np.diff(np.percentile(outside, [5.0, 95.0]))[0]) if len(outside) else 0.0
    if not hr_range > 0.0:
        raise InputError(
            f"{path} has no two different values of {column} in the split '{RANGE_SPLIT}', whose "
            f"range widths refer to. Run measure again, or leave the feature out."
        )
    of_solutions = solutions_path(at, settings.method, kind, ".features.parquet")
    found = read_table(of_solutions, columns=["source_image_id", "solution", column])
    wide = found.pivot(index="source_image_id", columns="solution", values=column)
    table = high[[*KEYS, "split"]].set_index("image_id", drop=False)
    missing = wide.index.difference(table.index)
    if len(missing):
        raise InputError(
            f"{len(missing)} images of {of_solutions} are not in {path} (first: {missing[0]}). "
            f"Delete it and run the workflow again (rule sample_solutions)."
        )
    if "loss_fidelity" in found:
        fidelity = found.groupby("source_image_id")["loss_fidelity"].mean()
    else:
        fidelity = pd.Series(np.nan, index=wide.index)
    of_method = at.features(settings.method)
    single = pd.Series(np.nan, index=wide.index)
    if of_method.is_file():
        measured = read_table(of_method, columns=["image_id", column]).set_index("image_id")
        single = measured[column].reindex(wide.index)
    return Cells(
        table.loc[wide.index].reset_index(drop=True),
        high.set_index("image_id")[column].loc[wide.index].to_numpy(dtype=float),
        wide.to_numpy(dtype=float),
        single.to_numpy(dtype=float),
        fidelity.loc[wide.index].to_numpy(dtype=float),
        settings.spread_floor * hr_range,
        hr_range,
    )


def intervals_of(cells: Cells, settings: Settings) -> dict[str, Intervals]:
    """Return the intervals of the evaluation cells: raw, and calibrated in every variant."""
    tune, evaluation = cells.split(TUNE), cells.split(EVALUATION)
    learnt, summary = (summarise(part.values, settings.level) for part in (tune, evaluation))
    found = {RAW: raw_intervals(summary)}
    for variant in VARIANTS:
        found[variant] = calibrated_intervals(
            summary, learnt, tune.truth, level=settings.level, variant=variant, floor=cells.floor
        )
    return found


def rows_of(inputs: Inputs, settings: Settings) -> Rows:
    """Return every row of the table."""
    rows: Rows = []
    for at in inputs.comparisons():
        if not at.clean:
            continue
        for feature in at.assay.features:
            for kind in settings.kinds:
                cells = read_cells(at, kind, feature, settings)
                more = {"kind": kind, "feature": feature, "n_solutions": cells.values.shape[1]}
                facts = [*kind_facts(cells, settings)]
                rows += [{**_long(at, settings.method, one), **more} for one in facts]
    return rows


def _long(at: Comparison, method: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the long layout; what it does not know stays behind it."""
    own = {name: facts.pop(name) for name in ("n_cells", "expected_low", "expected_high")}
    return {**long_row(at, method, **facts), **own}


def kind_facts(cells: Cells, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield every number of one kind of solutions and one feature."""
    evaluation = cells.split(EVALUATION)
    summary = summarise(evaluation.values, settings.level)
    yield from count_facts(evaluation, summary)
    treatments = ("", *sorted(set(evaluation.table["treatment"])))
    tune = cells.split(TUNE)
    n_tune = int((np.isfinite(tune.truth) & np.isfinite(tune.values).any(axis=1)).sum())
    for name, intervals in intervals_of(cells, settings).items():
        for treatment in treatments:
            here = (evaluation.table["treatment"] == treatment).to_numpy() | (treatment == "")
            for facts in interval_facts(evaluation, intervals, name, here, n_tune, settings):
                yield {**facts, "treatment": treatment}
    yield from error_facts(evaluation, summary, settings)
    yield _estimate(
        "fidelity_l1", evaluation, np.isfinite(evaluation.fidelity), settings,
        lambda rows: float(evaluation.fidelity[rows].mean()),
    )  # fmt: skip


def count_facts(cells: Cells, summary: Summary) -> Iterator[dict[str, Any]]:
    """Yield how many cells can be judged, and why others cannot."""
    no_truth, no_solution = ~np.isfinite(cells.truth), summary.measured == 0
    n, left = len(cells.table), int((~no_truth & ~no_solution).sum())
    reason = ""
    if left < n:
        reason = (
            f"of {n} cells HR of {int(no_truth.sum())} and every solution of "
            f"{int(no_solution.sum())} could not be measured"
        )
    counts = {"n": n, "unit": "cell", "n_cells": n, "expected_low": np.nan, "expected_high": np.nan}
    yield {"metric": "measured_share", "value": left / max(n, 1), "reason": reason, **counts}
    share = summary.measured.sum() / max(cells.values.size, 1)
    yield {"metric": "measured_share_of_solutions", "value": float(share), **counts}


def interval_facts(
    cells: Cells,
    intervals: Intervals,
    name: str,
    here: np.ndarray,
    n_tune: int,
    settings: Settings,
) -> Iterator[dict[str, Any]]:
    """Yield coverage and mean relative width of the cells ``here``.

    The range of a right coverage takes cells as units, and no treatment by itself is promised one.
    """
    inside, width = intervals.contain(cells.truth), intervals.width / cells.hr_range
    known = here & np.isfinite(inside)
    coverage = _estimate(
        f"coverage_{name}", cells, known, settings, lambda rows: float(inside[rows].mean())
    )
    n = int(known.sum())
    low, high = np.nan, np.nan  # nothing is promised of the raw quantiles
    if name != RAW:
        low, high = expected_coverage(n_tune, n, settings.level, EXPECTED)
    yield {**coverage, "expected_low": low, "expected_high": high}
    metric = f"width_{name}"
    if np.isinf(width[known]).any():
        empty = {"metric": metric, "reason": FEW_CELLS, "n_cells": n}
        yield {**empty, "expected_low": np.nan, "expected_high": np.nan}
        return
    yield _estimate(metric, cells, known, settings, lambda rows: float(width[rows].mean()))


def error_facts(cells: Cells, summary: Summary, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield errors of one solution, of their mean, of the single search, and differences.

    The error of one solution is its mean over the solutions: any of them might have been the one.
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
    for error, parts, root in (("mae", absolute, False), ("rmse", squared, True)):
        of = {name: _mean(values, root) for name, values in parts.items()}
        for name, function in of.items():
            here = searched if name == "single_search" else known
            yield _estimate(f"{error}_{name}", cells, here, settings, function)
        for other, here in (("one_solution", known), ("single_search", searched)):
            gain = _difference(of["mean_of_solutions"], of[other])
            yield _estimate(f"{error}_mean_minus_{other}", cells, here, settings, gain)
    yield _estimate(
        "spearman_of_spread_and_error", cells, known & (summary.measured > 1), settings,
        lambda rows: _spearman(summary.spread[rows], absolute["mean_of_solutions"][rows]),
    )  # fmt: skip


def _mean(values: np.ndarray, root: bool) -> Statistic:
    return lambda rows: float(np.sqrt(values[rows].mean()) if root else values[rows].mean())


def _difference(first: Statistic, second: Statistic) -> Statistic:
    return lambda rows: first(rows) - second(rows)


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    # solutions that agree leave rounding behind, whose order means nothing
    if len(x) < 3 or min(np.ptp(x), np.ptp(y)) < 1e-12:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])


def _estimate(
    metric: str,
    cells: Cells,
    here: np.ndarray,
    settings: Settings,
    function: Statistic,
) -> dict[str, Any]:
    """Return a number of the cells ``here`` with its interval over wells."""
    positions = np.flatnonzero(here)
    own = {"n_cells": len(positions), "expected_low": np.nan, "expected_high": np.nan}
    if not len(positions):
        return {"metric": metric, "reason": "no cell was measured in both", **own}
    found = bootstrap(
        lambda rows: function(positions[rows]),
        cells.table.iloc[positions].reset_index(drop=True),
        n_resamples=settings.n_bootstrap, confidence=settings.confidence_level,
        seed=settings.seed,
    )  # fmt: skip
    return {"metric": metric, **estimate_facts(found), **own}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of solutions."""
    parser = Parser(__doc__, Settings, "solutions")
    add_inputs(parser)
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    args, settings = parser.parse(argv)
    table = long_table(rows_of(inputs_from(args), settings))
    write_table(args.output_csv, table, written_by="solutions")
    for line in summary_lines(table):
        print(line)
    print(f"solutions: {len(table)} numbers, {args.output_csv}")


def summary_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield what each kind came to, in a line."""
    if table.empty:
        return
    whole = table[table["treatment"] == ""]
    for key, part in whole.groupby(["assay", "factor", "feature", "kind"], sort=False):
        value = part.set_index("metric")["value"]
        yield (
            f"solutions: {key[0]} {key[1]}x {key[2]}, {key[3]}: coverage "
            f"{value[f'coverage_{RAW}']:.2f} raw, {value[f'coverage_{NORMALISED}']:.2f} "
            f"calibrated; width {value[f'width_{RAW}']:.2f} raw, "
            f"{value[f'width_{NORMALISED}']:.2f} calibrated"
        )


if __name__ == "__main__":
    run(main)
