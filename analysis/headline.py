"""Print three lines at the end of a run: what was made, where the report is, the numbers."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rls.io import read_table
from rls.runtime.command import run
from rls.runtime.errors import InputError

NOT_SHOWN = ("high_resolution", "low_resolution")


def read_long(path: Path) -> pd.DataFrame:
    """Read a long CSV; empty texts are empty, not NaN."""
    table = read_table(path, columns=["assay", "factor", "method", "metric", "value"])
    texts = [name for name in ("treatment", "reason", "feature") if name in table.columns]
    return table.fillna(dict.fromkeys(texts, ""))


def main_method(methods: Sequence[str]) -> str:
    """Return the method that the headline speaks of: rls, else the first that is a search, else
    bicubic.

    Raises:
        InputError: There is none.
    """
    found = [name for name in dict.fromkeys(methods) if name not in NOT_SHOWN]
    if not found:
        raise InputError("The tables name no method but HR and LR. Run one more.")
    searches = [name for name in found if name != "bicubic"]
    return "rls" if "rls" in searches else (searches or found)[0]


def value_of(table: pd.DataFrame, method: str, metric: str, treatment: str = "") -> float:
    """Return one number of a long table, NaN where it is empty or absent."""
    rows = table[(table["method"] == method) & (table["metric"] == metric)]
    if "treatment" in rows.columns:
        rows = rows[rows["treatment"] == treatment]
    return float(rows["value"].iloc[0]) if len(rows) else math.nan


def estimate_of(table: pd.DataFrame, method: str, metric: str) -> tuple[float, float, float]:
    """Return value, low and high of one number; NaN where empty or absent."""
    rows = table[(table["method"] == method) & (table["metric"] == metric)]
    if rows.empty:
        return math.nan, math.nan, math.nan
    value, low, high = (float(rows[name].iloc[0]) for name in ("value", "low", "high"))
    return value, low, high


def facts_of(figure5: pd.DataFrame, table2: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the headline numbers of every assay, factor, degradation and feature."""
    facts = []
    keys = ["assay", "factor", "degradation", "feature"]
    for (assay, factor, degradation, feature), part in figure5.groupby(keys, sort=False):
        method = main_method(part["method"])
        treatments = [t for t in dict.fromkeys(part["treatment"]) if t]
        here = (table2["assay"] == assay) & (table2["factor"] == factor)
        classes = table2[here & (table2["degradation"] == degradation)]
        facts.append(
            {
                "assay": assay,
                "simulated": bool(part["simulated"].iloc[0]),
                "factor": int(factor),
                "degradation": degradation,
                "feature": feature,
                "method": method,
                "medians": {
                    name: tuple(
                        value_of(part, row, "median", name) for row in ("high_resolution", method)
                    )
                    for name in treatments
                },
                "shift_kept": estimate_of(part, method, "shift_kept"),
                "sd_ratio": estimate_of(part, method, "sd_ratio"),
                "correlation": estimate_of(part, method, "correlation_within_treatment"),
                "accuracy": {
                    row: value_of(classes, row, "accuracy_chosen")
                    for row in ("low_resolution", method, "high_resolution")
                },
            }
        )
    return facts


def sentence(fact: dict[str, Any]) -> str:
    """Return the numbers of one assay in one clause."""
    from analysis.drawing.style import method_label

    name = method_label(fact["method"])
    medians = ", ".join(
        f"{treatment} {number(high)} -> {number(super_)}"
        for treatment, (high, super_) in fact["medians"].items()
    )
    accuracy = ", ".join(
        f"{method_label(row)} {number(100 * value, 1)} %" for row, value in fact["accuracy"].items()
    )
    simulated = " (simulated)" if fact["simulated"] else ""
    return (
        f"{fact['assay']}{simulated} {fact['factor']}x: median {fact['feature'].replace('_', ' ')} "
        f"HR -> {name}: {medians}; shift kept {number(fact['shift_kept'][0])}; accuracy {accuracy}"
    )


def number(value: float, digits: int = 2) -> str:
    """Return a number for people, 'n/a' where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "n/a"


def lines(results: Path, report: Path) -> tuple[str, str, str]:
    """Return the three lines.

    Raises:
        InputError: A table or the report is missing.
    """
    figure5 = read_long(results / "figures" / "figure5.csv")
    table2 = read_long(results / "tables" / "table2.csv")
    if not report.is_file():
        raise InputError(f"The report {report} does not exist. Run the rule report first.")
    methods = [m for m in dict.fromkeys(figure5["method"]) if m != "high_resolution"]
    assays = dict.fromkeys(
        f"{assay} (simulated)" if simulated else str(assay)
        for assay, simulated in zip(figure5["assay"], figure5["simulated"], strict=True)
    )
    factors = ", ".join(f"{factor}x" for factor in dict.fromkeys(figure5["factor"]))
    made = f"made: {', '.join(assays)} at {factors} with {', '.join(methods)}"
    where = f"report: {report.resolve()}"
    return made, where, "; ".join(map(sentence, facts_of(figure5, table2)))


def main(argv: Sequence[str] | None = None) -> None:
    """Print the three lines."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--results", type=Path, required=True, help="folder of results")
    parser.add_argument("--report", type=Path, required=True, help="the report")
    args = parser.parse_args(argv)
    for line in lines(args.results, args.report):
        print(line)


if __name__ == "__main__":
    run(main)
