"""Table 2: accuracy of telling the two controls apart on LR, on every method and on HR.

Classifiers were fitted on HR (for HR and every method) or on LR (rows LR), on cells of another
split. Intervals resample wells; Wilson's interval and McNemar's exact test against LR take cells
as units and are named so. SR holds no more class information than LR plus the prior (data
processing): a row above LR has a better classifier or a helpful prior, not more information.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics import bootstrap, mcnemar_exact, wilson
from analysis.tables.layout import (
    HIGH_RESOLUTION,
    LOW_RESOLUTION,
    Comparison,
    Inputs,
    add_inputs,
    inputs_from,
    long_row,
    long_table,
)
from analysis.tables.measured import (
    CHANNEL_MEANS,
    CORRECT,
    correct_cells,
    estimate_facts,
    read_evaluation,
    same_cells,
)
from analysis.tables.settings import Settings
from rls.command import Parser, run
from rls.io import write_table

LOW_RESOLUTION_MEANS = "low_resolution_channel_means"
NO_FEATURES = "not measurable: LR images have no feature to measure"

Rows = list[dict[str, Any]]


def rows_of(inputs: Inputs, settings: Settings) -> Rows:
    """Return every row: LR, LR channel means, the methods in order, HR."""
    rows: Rows = []
    for at in inputs.comparisons():
        if len(at.assay.treatments) < 2:
            reason = "the assay names no negative and positive control"
            methods = (LOW_RESOLUTION, *inputs.methods, HIGH_RESOLUTION)
            rows += [long_row(at, m, metric, reason=reason) for m in methods for metric in CORRECT]
            continue
        rows += comparison_rows(at, inputs.methods, settings)
    return rows


def comparison_rows(at: Comparison, methods: Sequence[str], settings: Settings) -> Rows:
    """Return the rows of one assay, factor and degradation."""
    low = read_controls(at, LOW_RESOLUTION)
    baseline = correct_cells(low, "accuracy_cnn")
    rows: Rows = []
    for facts in accuracy_facts(low, "accuracy_cnn", settings):
        rows.append(long_row(at, LOW_RESOLUTION, **facts))
    rows.append(long_row(at, LOW_RESOLUTION, "accuracy_features", reason=NO_FEATURES))
    for facts in accuracy_facts(low, "accuracy_cnn", settings, column=CHANNEL_MEANS):
        rows.append(long_row(at, LOW_RESOLUTION_MEANS, **facts))
    ordered = [m for m in methods if m not in (HIGH_RESOLUTION, LOW_RESOLUTION)]
    for method in (*ordered, HIGH_RESOLUTION):
        table = same_cells(low, read_controls(at, method), at.classification(method))
        for metric in CORRECT:
            for facts in accuracy_facts(table, metric, settings):
                rows.append(long_row(at, method, **facts))
        rows.append(long_row(at, method, **against_low(table, baseline)))
    return rows


def read_controls(at: Comparison, method: str) -> pd.DataFrame:
    """Return the classified evaluation cells of the two controls."""
    table = read_evaluation(at.classification(method))
    return table[table["treatment"].isin(at.assay.treatments)].reset_index(drop=True)


def accuracy_facts(
    table: pd.DataFrame, metric: str, settings: Settings, column: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield an accuracy with its interval over wells, then with Wilson's over cells."""
    correct = correct_cells(table, metric, column)
    if correct is None or not np.isfinite(correct).any():
        reason = f"classify wrote no column {column or CORRECT[metric]}"
        if correct is not None:
            reason = "no cell could be measured"
        yield {"metric": metric, "reason": reason}
        return
    finite = np.isfinite(correct)
    kept, values = table[finite].reset_index(drop=True), correct[finite]

    def share(chosen: np.ndarray) -> float:
        return float(values[chosen].mean())

    found = bootstrap(
        share, kept, n_resamples=settings.n_bootstrap, confidence=settings.confidence_level,
        seed=settings.seed,
    )  # fmt: skip
    yield {"metric": metric, **estimate_facts(found)}
    interval = wilson(int(values.sum()), len(values), confidence=settings.confidence_level)
    yield {"metric": f"{metric}_cells_as_units", **estimate_facts(interval)}


def against_low(table: pd.DataFrame, baseline: np.ndarray | None) -> dict[str, Any]:
    """Return McNemar's exact p of a method's CNN against LR's best classifier, cells as units."""
    metric = "mcnemar_p_against_low_resolution_cells_as_units"
    correct = correct_cells(table, "accuracy_cnn")
    if correct is None or baseline is None:
        return {"metric": metric, "reason": "one of the two was not classified"}
    both = np.isfinite(correct) & np.isfinite(baseline)
    found = mcnemar_exact(correct[both] > 0, baseline[both] > 0)
    return {"metric": metric, **estimate_facts(found)}


def main(argv: Sequence[str] | None = None) -> None:
    """Write Table 2."""
    parser = Parser(__doc__, Settings, "tables")
    add_inputs(parser)
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    args, settings = parser.parse(argv)
    table = long_table(rows_of(inputs_from(args), settings))
    write_table(args.output_csv, table, written_by="table2")
    print(f"table2: {len(table)} numbers, {args.output_csv}")


if __name__ == "__main__":
    run(main)
