"""Which features survive, by method: the triple, effect sizes and agreement, one row a number.

For every column of the assay's features, on the same evaluation cells of both controls:

* the triple: shift kept (SR over HR difference of medians), within-treatment sd ratio,
  within-treatment correlation of SR and HR; 1 is right in all three. ``triple_above_zero`` is 0,
  with the reason, where one of them cannot be told from 0: the least that can be asked, no more;
* how far the controls are apart: Cohen's d and AUC over cells (AUC with wells resampled), SSMD, Z'
  and robust Z' over well medians, empty under three wells a side;
* agreement in the feature's own unit: Bland-Altman bias SR - HR and its limits over cells, wells
  resampled;
* the cells that could be measured, and why others could not.

Each is compared with the row of HR, and none alone says that biology survived. A row of LR stands
beside the methods to say that nothing can be measured there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from analysis.comparison.layout import (
    HIGH_RESOLUTION,
    LOW_RESOLUTION,
    NO_HIGH_RESOLUTION,
    Comparison,
    Inputs,
    add_inputs,
    inputs_from,
    long_row,
    long_table,
)
from analysis.comparison.measured import (
    estimate_facts,
    feature_column,
    read_evaluation,
    same_cells,
    same_settings,
)
from analysis.comparison.settings import Settings
from analysis.features.registry import columns_of
from analysis.numbers.agreement import Agreement, agreement
from analysis.numbers.statistics import (
    auc_interval,
    cohens_d,
    ssmd,
    well_values,
    z_prime,
)
from rls.io import write_table
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress

TRIPLE = {
    "shift_kept": "shift_kept",
    "sd_ratio": "sd_ratio",
    "correlation": "correlation_within_treatment",
}
SEPARATION = ("cohens_d", "auc", "ssmd", "z_prime", "robust_z_prime")
AGREEMENT = {
    "bias": "bland_altman_bias",
    "lower_limit": "bland_altman_lower_limit",
    "upper_limit": "bland_altman_upper_limit",
}
OF_CELLS = "correlation_within_treatment_cells_as_units"
ABOVE_ZERO, IN_BOTH = "triple_above_zero", "cells_in_both"
MEASURED, NOT_MEASURABLE = "cells_measured", "cells_not_measurable"
NO_CONTROLS = "the assay names no negative and positive control"
OK = "ok"

Rows = list[dict[str, Any]]


class Draw(TypedDict):
    """The keyword arguments of every interval of :mod:`analysis.numbers.statistics`."""

    n_resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Draws:
    """What every interval needs."""

    n_resamples: int
    confidence: float
    seed: int

    def keywords(self) -> Draw:
        """As the keyword arguments of :mod:`analysis.numbers.statistics`."""
        return {
            "n_resamples": self.n_resamples, "confidence": self.confidence, "seed": self.seed,
        }  # fmt: skip


@dataclass(frozen=True)
class Block:
    """One feature of one comparison: ``values[method]`` are those of the rows of ``cells``.

    ``status[method]`` says of each row ``ok`` or why it has no value; empty where nothing says so.
    """

    at: Comparison
    column: str
    controls: tuple[str, str]
    cells: pd.DataFrame
    values: Mapping[str, np.ndarray]
    status: Mapping[str, np.ndarray]

    def of(self, method: str, treatment: str) -> np.ndarray:
        """The finite values of one method and treatment."""
        values = self.values[method][(self.cells["treatment"] == treatment).to_numpy()]
        return values[np.isfinite(values)]

    def wells(self, method: str, treatment: str) -> int:
        """How many wells those values come from."""
        measured = np.isfinite(self.values[method])
        here = self.cells[measured & (self.cells["treatment"] == treatment).to_numpy()]
        return int(here.groupby(["plate", "well"]).ngroups)


# ---- reading ------------------------------------------------------------------------------------


def controls_of(at: Comparison) -> tuple[str, str]:
    """Return negative and positive control.

    Raises:
        InputError: The assay names only one.
    """
    if len(at.assay.treatments) != 2:
        raise InputError(
            f"Fig. 5 compares a negative with a positive control; assay '{at.assay.name}' names "
            f"{len(at.assay.treatments)}. Leave it out of --assay, or name both."
        )
    return at.assay.treatments[0], at.assay.treatments[1]


def read_block(at: Comparison, feature: str, methods: Sequence[str]) -> Block:
    """Return one feature of HR and every method, on the same evaluation cells of the controls."""
    path = at.features(HIGH_RESOLUTION)
    return read_blocks(at, [feature_column(read_evaluation(path), feature, path)], methods)[0]


def read_blocks(at: Comparison, columns: Sequence[str], methods: Sequence[str]) -> list[Block]:
    """Return a block a column, every file read once.

    Raises:
        InputError: A method was measured on other cells, or lacks a column.
    """
    controls = controls_of(at)
    tables: dict[str, pd.DataFrame] = {}
    for method in dict.fromkeys((HIGH_RESOLUTION, *methods)):
        path = at.features(method)
        table = read_evaluation(path, columns=list(columns))
        table = table[table["treatment"].isin(controls)].reset_index(drop=True)
        reference = tables.get(HIGH_RESOLUTION, table)
        same_settings(reference, table, path)
        tables[method] = same_cells(reference, table, path)
    keys = tables[HIGH_RESOLUTION][["image_id", "plate", "well", "site", "treatment"]]
    status = {
        method: table["status"].to_numpy(dtype=object) if "status" in table else np.array([])
        for method, table in tables.items()
    }
    return [
        Block(
            at, column, controls, keys,
            {method: table[column].to_numpy(dtype=float) for method, table in tables.items()},
            status,
        )
        for column in columns
    ]  # fmt: skip


def pairs_of(block: Block, method: str) -> pd.DataFrame:
    """Return one row a cell with its HR and its SR value."""
    return block.cells.assign(
        high_resolution=block.values[HIGH_RESOLUTION], super_resolution=block.values[method]
    )


# ---- numbers ------------------------------------------------------------------------------------


def triple_of(block: Block, method: str, draws: Draws) -> Agreement:
    """Return the triple and the limits of agreement of one method."""
    negative, positive = block.controls
    return agreement(
        pairs_of(block, method),
        negative_control=negative,
        positive_control=positive,
        **draws.keywords(),
    )


def agreements(block: Block, draws: Draws) -> dict[str, Agreement]:
    """Return triple and limits of every method."""
    return {m: triple_of(block, m, draws) for m in block.values if m != HIGH_RESOLUTION}


def triple_facts(found: Agreement) -> Rows:
    """Return the triple as the arguments of ``long_row``, and whether it is above 0."""
    facts: Rows = [
        {"metric": metric, **estimate_facts(getattr(found, name))}
        for name, metric in TRIPLE.items()
    ]
    facts.append({"metric": OF_CELLS, **estimate_facts(found.correlation_of_cells)})
    weak = [TRIPLE[name] for name in found.not_above_zero]
    reason = f"not told from 0: {', '.join(weak)}" if weak else ""
    unit, n = found.shift_kept.unit, found.shift_kept.n
    facts.append(
        {"metric": ABOVE_ZERO, "value": float(not weak), "reason": reason, "unit": unit, "n": n}
    )
    return facts


def agreement_facts(found: Agreement) -> Rows:
    """Return Bland-Altman bias and limits, in the feature's unit, and the cells behind them."""
    facts: Rows = [
        {"metric": metric, **estimate_facts(getattr(found, name))}
        for name, metric in AGREEMENT.items()
    ]
    cells = {"value": found.n_cells, "n": found.n_cells, "unit": "cell"}
    return [*facts, {"metric": IN_BOTH, **cells}]


def separation_facts(block: Block, method: str, draws: Draws) -> Rows:
    """Return how far the controls are apart on one method, cells and wells as units."""
    negative, positive = block.controls
    table = block.cells.assign(value=block.values[method])
    table = table[np.isfinite(table["value"])].reset_index(drop=True)
    sides = [table[table["treatment"] == name] for name in block.controls]
    if min(map(len, sides)) == 0:
        reason = "a control has no measured cell"
        return [{"metric": metric, "reason": reason, "unit": "cell"} for metric in SEPARATION]
    effect = cohens_d(*(side["value"].to_numpy() for side in sides))
    reason = "" if np.isfinite(effect) else "fewer than two cells of a control, or all alike"
    area = auc_interval(
        table, "value", negative_control=negative, positive_control=positive, **draws.keywords()
    )
    wells = [well_values(side, "value") for side in sides]
    return [
        {"metric": "cohens_d", "value": effect, "n": len(table), "unit": "cell", "reason": reason},
        {"metric": "auc", **estimate_facts(area)},
        {"metric": "ssmd", **estimate_facts(ssmd(*wells))},
        {"metric": "z_prime", **estimate_facts(z_prime(*wells))},
        {"metric": "robust_z_prime", **estimate_facts(z_prime(*wells, robust=True))},
    ]


def measured_facts(block: Block, method: str) -> Rows:
    """Return how many cells were measured and how many not; the reason counts why."""
    finite = np.isfinite(block.values[method])
    status = block.status.get(method, np.array([]))
    why = ""
    if len(status):
        counts = pd.Series(status[~finite]).value_counts()
        why = ", ".join(f"{n} {str(name).split(':', 1)[-1]}" for name, n in counts.items())
    common = {"n": len(finite), "unit": "cell"}
    return [
        {"metric": MEASURED, "value": int(finite.sum()), **common},
        {"metric": NOT_MEASURABLE, "value": int((~finite).sum()), "reason": why, **common},
    ]


def without_reference(fact: Mapping[str, Any]) -> dict[str, Any]:
    """Return a number that needs HR as an empty one: there is none."""
    return {"metric": fact["metric"], "unit": fact.get("unit", ""), "reason": NO_HIGH_RESOLUTION}


def block_rows(block: Block, method: str, draws: Draws) -> Rows:
    """Return every number of one method and feature; HR has no triple with itself."""
    facts = measured_facts(block, method)
    if method != HIGH_RESOLUTION:
        found = triple_of(block, method, draws)
        compared = [*triple_facts(found), *agreement_facts(found)]
        facts += (
            compared if block.at.assay.has_high_resolution else map(without_reference, compared)
        )
    facts += separation_facts(block, method, draws)
    if method == HIGH_RESOLUTION and not block.at.assay.has_high_resolution:
        facts = [without_reference(fact) for fact in facts]
    return [{**long_row(block.at, method, **fact), "feature": block.column} for fact in facts]


# ---- the table ----------------------------------------------------------------------------------


def columns_measured(at: Comparison) -> list[str]:
    """Return the columns of the assay's features, as far as HR has them.

    Raises:
        InputError: The primary column of a feature was not measured.
    """
    path = at.features(HIGH_RESOLUTION)
    table = read_evaluation(path)
    names: dict[str, None] = {}
    for feature in at.assay.features:
        names[feature_column(table, feature, path)] = None
        names |= dict.fromkeys(columns_of(feature, at.assay.channels))
    return [name for name in names if name in table.columns]


def methods_of(at: Comparison) -> list[str]:
    """Return LR where it was measured, the methods in order, HR last."""
    low = [LOW_RESOLUTION] if at.features(LOW_RESOLUTION).is_file() else []
    named = [m for m in at.methods if m not in (LOW_RESOLUTION, HIGH_RESOLUTION)]
    return [*low, *named, HIGH_RESOLUTION]


def comparison_rows(at: Comparison, draws: Draws) -> Rows:
    """Return every row of one assay, factor and degradation."""
    if len(at.assay.treatments) != 2:
        metrics = (*TRIPLE.values(), *AGREEMENT.values(), *SEPARATION)
        names = [c for f in at.assay.features for c in columns_of(f, at.assay.channels)]
        return [
            {**long_row(at, method, metric, reason=NO_CONTROLS), "feature": name}
            for name in names for method in (*at.methods, HIGH_RESOLUTION) for metric in metrics
        ]  # fmt: skip
    methods, rows = methods_of(at), []
    blocks = read_blocks(at, columns_measured(at), methods) if at.assay.features else []
    with Progress(len(blocks) * len(methods), f"features of {at.title}", "rows") as bar:
        for block in blocks:
            for method in methods:
                rows += block_rows(block, method, draws)
                bar.advance(1)
    return rows


def rows_of(inputs: Inputs, settings: Settings) -> Rows:
    """Return every row: features in the order of the assay, in each LR, the methods, HR."""
    draws = Draws(settings.n_bootstrap, settings.confidence_level, settings.seed)
    return [row for at in inputs.comparisons() for row in comparison_rows(at, draws)]


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of features."""
    parser = Parser(__doc__, Settings, "tables")
    add_inputs(parser)
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    args, settings = parser.parse(argv)
    table = long_table(rows_of(inputs_from(args), settings))
    write_table(args.output_csv, table, written_by="table_features")
    print(f"table_features: {len(table)} numbers, {args.output_csv}")


if __name__ == "__main__":
    run(main)
