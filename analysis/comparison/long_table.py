"""The long CSV of tables and figures: one number per row, with its interval, unit and reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.numbers.statistics import Estimate
from analysis.run.description import Comparison
from rls.io import read_table
from rls.runtime.errors import InputError

NO_HIGH_RESOLUTION = "no high-resolution image of these cells exists: they were acquired in LR"
LONG_COLUMNS = (
    "assay",
    "simulated",
    "split_by",
    "factor",
    "degradation",
    "method",
    "treatment",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "unit_of_replication",
    "reason",
)
NUMBERS = ("value", "low", "high")
TEXTS = ("method", "treatment", "unit_of_replication", "reason", "feature", "caution")

Row = dict[str, Any]  # one row of a long CSV: texts, numbers and flags by column
Rows = list[Row]


def long_row(
    at: Comparison,
    method: str,
    metric: str,
    *,
    value: float = float("nan"),
    low: float = float("nan"),
    high: float = float("nan"),
    n: int = 0,
    unit: str = "",
    reason: str = "",
    treatment: str = "",
) -> Row:
    """Return one row of a long CSV; a row without a value always has a reason."""
    if pd.isna(value) and not reason:
        reason = "not measurable: no finite value"
    return {
        "assay": at.assay.name,
        "simulated": at.assay.simulated,
        "split_by": at.assay.split_by,
        "factor": at.factor,
        "degradation": at.degradation,
        "method": method,
        "treatment": treatment,
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "n": n,
        "unit_of_replication": unit,
        "reason": reason,
    }


def estimate_facts(found: Estimate, scale: float = 1.0) -> Row:
    """Return an estimate as the keyword arguments of :func:`long_row`."""
    return {
        "value": found.value * scale,
        "low": found.low * scale,
        "high": found.high * scale,
        "n": found.n,
        "unit": found.unit,
        "reason": found.reason,
    }


def long_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the rows as a table: :data:`LONG_COLUMNS`, then the columns that only some have."""
    extra = dict.fromkeys(name for row in rows for name in row if name not in LONG_COLUMNS)
    return pd.DataFrame(list(rows), columns=[*LONG_COLUMNS, *extra])


# Reading back ------------------------------------------------------------------------------------


def read_long(path: Path) -> pd.DataFrame:
    """Return a long CSV as it was written: floats to the last bit, empty texts as ''.

    Raises:
        InputError: The file is missing, damaged, or no long CSV.
    """
    table = read_table(path, columns=["assay", "factor", "method", "metric", *NUMBERS])
    # Before version 3.1 the parser of pandas may be wrong in the last bit; that of Python never is.
    parsers = dict.fromkeys(NUMBERS, lambda text: float(text or "nan"))
    exact = pd.read_csv(path, usecols=list(NUMBERS), converters=parsers)
    texts = {name: table[name].astype(object) for name in TEXTS if name in table}
    filled = {name: column.where(column.notna(), "") for name, column in texts.items()}
    return table.assign(**{name: exact[name] for name in NUMBERS}, **filled)


def rows_at(table: pd.DataFrame, at: Comparison, rule: str) -> pd.DataFrame:
    """Return the rows of one comparison.

    Arguments:
        rule: The rule that wrote the table.

    Raises:
        InputError: There is none.
    """
    here = (table["assay"] == at.assay.name) & (table["factor"] == at.factor)
    here &= table["degradation"] == at.degradation
    if not here.any():
        raise InputError(
            f"The table of rule {rule} has no row of {at.title}. Run the rule {rule} again."
        )
    return table[here]


def rows_of(part: pd.DataFrame, method: str, metrics: Sequence[str]) -> Rows:
    """Return the rows of some metrics of a method, in the order of ``metrics``.

    Raises:
        InputError: One is absent.
    """
    own = part[part["method"] == method].set_index("metric", drop=False)
    missing = [metric for metric in metrics if metric not in own.index]
    if missing:
        raise InputError(
            f"The tables have no {missing[0]} of the method {method}. Run the rules of the tables "
            "again."
        )
    return [{str(name): item for name, item in own.loc[metric].items()} for metric in metrics]


def estimate_of(
    table: pd.DataFrame, method: str, metric: str, *, treatment: str = "", feature: str = ""
) -> Estimate:
    """Return one number of a long table; NaN where the table does not have it.

    Arguments:
        table: Rows of one comparison, without NaN in place of empty texts.
        feature: Column of a feature; '' where the rows are of one feature, or of none.
    """
    here = (table["method"] == method) & (table["metric"] == metric)
    here &= table["treatment"] == treatment
    if feature:
        here &= table["feature"] == feature
    if not here.any():
        return Estimate.empty("not measured")
    row = table[here].iloc[0]
    value, low, high = (float(row[name]) for name in NUMBERS)
    unit, reason = str(row["unit_of_replication"]), str(row["reason"])
    return Estimate(value, low, high, int(row["n"]), unit, reason)
