"""Tables for people: one row per method, 'value [low, high]' in each cell, from the long CSVs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from analysis.comparison.accuracy import CHOSEN, LOW_RESOLUTION_MEANS
from analysis.comparison.labels import method_label
from analysis.run.description import Run


@dataclass(frozen=True)
class Column:
    """A column for people.

    Attributes:
        digits: Digits after the point.
        scale: Factor on the value of the long table.
        smallest: Smaller values are written as '< smallest'.
    """

    heading: str
    digits: int
    scale: float = 1.0
    smallest: float = 0.0


# Metric -> how Table 1 shows it.
TABLE1: Mapping[str, Column] = {
    "kernel_distance_classifier_x1000": Column("KD classifier, x1e3 ↓", 2),
    "kernel_distance_random_x1000": Column("KD random conv., x1e3 ↓", 3),
    "kernel_distance_vgg16_x1000": Column("KD VGG16, x1e3 ↓", 2),
    "frechet_distance_classifier": Column("FD classifier ↓", 2),
    "frechet_distance_classifier_against_other_cells": Column("FD classifier, other cells ↓", 2),
    "frechet_distance_random": Column("FD random conv. ↓", 3),
    "frechet_distance_random_against_other_cells": Column("FD random conv., other cells ↓", 3),
    "ms_ssim": Column("MS-SSIM ↑", 3),
    "psnr_db": Column("PSNR, dB ↑", 2),
    "fidelity_l1": Column("|D(SR) − LR|, x1e3 ↓", 2, 1000.0),
    "fidelity_clean_l1": Column("|D(SR) − clean LR|, x1e3 ↓", 2, 1000.0),
    "fid": Column("FID ↓", 2),
    "fid_against_other_cells": Column("FID, other cells ↓", 2),
    "fid_extrapolated": Column("FID extrapolated to infinite n ↓", 2),
    "kid_x1000": Column("KID, x1e3 ↓", 2),
    "lpips_vgg16": Column("LPIPS (VGG16) ↓", 3),
    "lpips_alexnet": Column("LPIPS (AlexNet) ↓", 3),
}
# Metric -> how Table 2 shows it.
TABLE2: Mapping[str, Column] = {
    "accuracy_chosen": Column("best on tune, % ↑", 1, 100.0),
    "accuracy_cnn": Column("CNN, % ↑", 1, 100.0),
    "accuracy_features": Column("scikit-learn on features, % ↑", 1, 100.0),
    "accuracy_minus_low_resolution_all_cells": Column("minus LR, all cells, points ↑", 1, 100.0),
    "accuracy_chosen_cells_as_units": Column("best on tune, Wilson, cells as units", 1, 100.0),
    "mcnemar_p_against_low_resolution_cells_as_units": Column(
        "McNemar p against LR, cells as units", 3, smallest=0.001
    ),
}


def format_number(value: float, digits: int) -> str:
    """Write a number for people, with fewer digits from 100 on; '' where there is none."""
    if pd.isna(value):
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{min(digits, 1) if abs(value) >= 100 else digits}f}"


def format_interval(low: float, high: float, digits: int) -> str:
    """Write '[low, high]'; '' where there is no interval."""
    if pd.isna(low) or pd.isna(high):
        return ""
    return f"[{format_number(low, digits)}, {format_number(high, digits)}]"


def format_estimate(value: float, low: float, high: float, digits: int) -> str:
    """Write 'value [low, high]', the interval only where there is one."""
    if pd.isna(value):
        return ""
    return f"{format_number(value, digits)} {format_interval(low, high, digits)}".strip()


def wide_table(
    part: pd.DataFrame, columns: Mapping[str, Column], labels: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of one comparison as strings, and the notes that explain empty cells.

    A column that is empty in every row is left out, and a note gives its reason. Any other empty
    cell is a dash with the number of its note.

    Arguments:
        part: Rows of a long table of one assay, factor and degradation.
        columns: The columns shown, in order, by metric.
        labels: The name of every method for people.
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
            # LR has a reason of its own; the last row tells why the methods are empty.
            left_out.append(f"{column.heading} is empty: {rows['reason'].iloc[-1]}.")
            continue
        filled[column.heading] = [
            _cell(rows.loc[method], column, notes) if method in rows.index else ""
            for method in methods
        ]
    numbered = [f"({number}) {reason}." for reason, number in notes.items()]
    return pd.DataFrame(filled), numbered + left_out


def _cell(row: pd.Series, column: Column, notes: dict[str, int]) -> str:
    if pd.isna(row["value"]):
        return f"– ({notes.setdefault(str(row['reason']), len(notes) + 1)})"
    value, low, high = (row[name] * column.scale for name in ("value", "low", "high"))
    text = format_number(value, column.digits)
    if value < column.smallest and column.smallest > 0:
        text = f"< {column.smallest:g}"
    if isinstance(row["reason"], str) and row["reason"]:
        text = f"{text} ({notes.setdefault(row['reason'], len(notes) + 1)})"
    return f"{text} {format_interval(low, high, column.digits)}".strip()


def parts(table: pd.DataFrame) -> Iterator[tuple[str, int, str, pd.DataFrame]]:
    """Yield a long table in its comparisons, in order: (assay, factor, degradation, rows)."""
    keys = ["assay", "factor", "degradation"]
    for _, part in table.groupby(keys, sort=False):
        assay, factor, degradation = part[keys].iloc[0]
        yield str(assay), int(factor), str(degradation), part


def article_form(table: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Return the article's Table 2 as strings: the best on tune, accuracies in percent.

    It has one line per assay, factor and degradation, and as columns LR, the methods in their order
    and HR.

    Arguments:
        table: The long Table 2.
    """
    lines = []
    for name, factor, degradation, part in parts(table):
        assay = run.assay(name)
        found = part[part["metric"] == CHOSEN].set_index("method")
        line = {
            "": f"{' vs '.join(assay.treatments)} ({factor}x)",
            "assay": assay.label,
            "degradation": degradation,
        }
        for method, row in found.drop(LOW_RESOLUTION_MEANS, errors="ignore").iterrows():
            value, low, high = (100 * row[k] for k in ("value", "low", "high"))
            line[method_label(str(method))] = format_estimate(value, low, high, digits=1)
        lines.append(line)
    return pd.DataFrame(lines).fillna("")
