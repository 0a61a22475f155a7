"""Tables for people: one row a method, 'value [low, high]' in each cell, from the long CSVs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.comparison.layout import format_interval, format_number


@dataclass(frozen=True)
class Column:
    """A column for people: its heading, the metric behind it, digits, a scale."""

    heading: str
    digits: int
    scale: float = 1.0
    smallest: float = 0.0  # values under it are written as '< smallest'


TABLE1: Mapping[str, Column] = {
    "kernel_distance_classifier_x1000": Column("KD classifier, x1e3 ↓", 2),
    "kernel_distance_random_x1000": Column("KD random conv., x1e3 ↓", 3),
    "frechet_distance_classifier": Column("FD classifier ↓", 2),
    "frechet_distance_random": Column("FD random conv. ↓", 3),
    "ms_ssim": Column("MS-SSIM ↑", 3),
    "psnr_db": Column("PSNR, dB ↑", 2),
    "fidelity_l1": Column("|D(SR) − LR|, x1e3 ↓", 2, 1000.0),
    "fidelity_clean_l1": Column("|D(SR) − clean LR|, x1e3 ↓", 2, 1000.0),
    "fid": Column("FID ↓", 2),
    "kid_x1000": Column("KID, x1e3 ↓", 2),
    "lpips": Column("LPIPS ↓", 3),
}
TABLE2: Mapping[str, Column] = {
    "accuracy_chosen": Column("best on tune, % ↑", 1, 100.0),
    "accuracy_cnn": Column("CNN, % ↑", 1, 100.0),
    "accuracy_features": Column("scikit-learn on features, % ↑", 1, 100.0),
    "accuracy_chosen_cells_as_units": Column("best on tune, Wilson, cells as units", 1, 100.0),
    "mcnemar_p_against_low_resolution_cells_as_units": Column(
        "McNemar p against LR, cells as units", 3, smallest=0.001
    ),
}


def wide_table(
    part: pd.DataFrame, columns: Mapping[str, Column], labels: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of one comparison as strings, and the notes behind empty cells.

    A column that is empty in every row is left out, its reason kept among the notes; another
    empty cell is a dash with a number that its note bears.

    Arguments:
        part: Rows of a long table of one assay, factor and degradation.
        columns: What is shown, in order, by metric.
        labels: Name of every method for people.
    """
    methods = list(dict.fromkeys(part["method"]))
    notes: dict[str, int] = {}
    filled = {"": [labels.get(method, method) for method in methods]}
    left_out: list[str] = []
    for metric, column in columns.items():
        rows = part[part["metric"] == metric].set_index("method")
        if rows.empty:
            continue
        if rows["value"].isna().all():
            left_out += _reasons(column.heading, rows)
            continue
        filled[column.heading] = [
            _cell(rows.loc[method], column, notes) if method in rows.index else ""
            for method in methods
        ]
    numbered = [f"({number}) {reason}." for reason, number in notes.items()]
    return pd.DataFrame(filled), numbered + left_out


def _cell(row: pd.Series, column: Column, notes: dict[str, int]) -> str:
    if pd.isna(row["value"]):
        number = notes.setdefault(str(row["reason"]), len(notes) + 1)
        return f"– ({number})"
    value, low, high = (row[name] * column.scale for name in ("value", "low", "high"))
    text = format_number(value, column.digits)
    if value < column.smallest and column.smallest > 0:
        text = f"< {column.smallest:g}"
    if isinstance(row["reason"], str) and row["reason"]:
        text = f"{text} ({notes.setdefault(row['reason'], len(notes) + 1)})"
    return f"{text} {format_interval(low, high, column.digits)}".strip()


def _reasons(heading: str, rows: pd.DataFrame) -> list[str]:
    # LR is empty for a reason of its own; what counts is why the others are.
    reasons = dict.fromkeys(str(reason) for reason in rows["reason"].iloc[::-1])
    return [f"{heading} is empty: {next(iter(reasons))}."]


def parts(table: pd.DataFrame) -> Sequence[tuple[tuple[str, int, str], pd.DataFrame]]:
    """Return a long table in its comparisons: ((assay, factor, degradation), rows), in order."""
    grouped = table.groupby(["assay", "factor", "degradation"], sort=False)
    return [(key, part) for key, part in grouped]
