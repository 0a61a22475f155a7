"""Table 1 in the article's form: a line for each method, marks, and the article's own numbers.

The best and the second best method of a column are marked, as in the article, by ** and *. The rows
of HR and LR are no methods and bear no marks.
"""

from __future__ import annotations

import pandas as pd

from analysis.comparison.image_metrics import FLOOR
from analysis.comparison.labels import method_label
from analysis.comparison.wide_table import TABLE1, Column, format_interval, format_number, parts
from analysis.run.description import Run
from rls.io.names import RESERVED_METHODS

# Article, Table 1 (BBBC021, without noise or blur): (factor, method) -> FID, KID x 1e3, MS-SSIM,
# LPIPS, PSNR in dB. It names neither the network of LPIPS nor an interval.
ARTICLE_COLUMNS = ("FID", "KID, x1e3", "MS-SSIM", "LPIPS", "PSNR, dB")
ARTICLE = {
    (32, "pix2pix"): (67.141, 66.515, 0.507, 0.420, 15.846),
    (32, "pulse"): (13.629, 9.056, 0.526, 0.378, 16.469),
    (32, "brgm"): (15.862, 13.293, 0.400, 0.475, 14.207),
    (32, "rls"): (7.571, 3.209, 0.528, 0.343, 16.536),
    (16, "pix2pix"): (45.503, 41.700, 0.708, 0.274, 19.983),
    (16, "pulse"): (17.354, 14.937, 0.723, 0.244, 20.806),
    (16, "brgm"): (19.862, 17.254, 0.608, 0.301, 17.914),
    (16, "rls"): (6.983, 3.347, 0.660, 0.262, 19.177),
}
CAUTION = (
    "** is the best and * the second best method of a column by its value alone: the marks know no "
    "intervals, and two methods whose intervals overlap may not differ. HR and LR are not ranked. "
    "table1.csv says why a cell is empty."
)
NO_METHODS = (FLOOR, *RESERVED_METHODS)


def article_quality(table: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Return one line per assay, factor, degradation and method, as strings.

    Arguments:
        table: The long Table 1.
    """
    labels = {FLOOR: "HR against other HR"}
    clean = {at.degradation for at in run.comparisons(clean_only=True)}
    lines = []
    for name, factor, degradation, part in parts(table):
        columns = {column.heading: _marked(part, metric) for metric, column in TABLE1.items()}
        for method in dict.fromkeys(part["method"]):
            line = {
                "assay": run.assay(name).label,
                "factor": f"{factor}x",
                "degradation": degradation,
                "method": labels.get(method, method_label(method)),
            }
            line |= {heading: cells.get(method, "") for heading, cells in columns.items()}
            printed = ARTICLE.get((factor, method)) if degradation in clean else None
            own = printed or ("",) * len(ARTICLE_COLUMNS)
            said = (f"{column} in the article, BBBC021" for column in ARTICLE_COLUMNS)
            line |= dict(zip(said, map(str, own), strict=True))
            lines.append({**line, "caution": CAUTION})
    return pd.DataFrame(lines)


def _marked(part: pd.DataFrame, metric: str) -> dict[str, str]:
    """Return the numbers of a metric as text by method, the two best of at least two marked."""
    column = TABLE1[metric]
    rows = part[(part["metric"] == metric) & part["value"].notna()].set_index("method")
    values = {str(method): float(row["value"]) for method, row in rows.iterrows()}
    marks = best_two(values, higher=column.heading.endswith("↑"))
    return {str(m): _cell(row, column, marks.get(str(m), "")) for m, row in rows.iterrows()}


def best_two(values: dict[str, float], *, higher: bool) -> dict[str, str]:
    """Return the mark of every method that has one: ``**`` best, ``*`` second best.

    Equal values share a mark. A method that is alone has none, since nothing was compared.

    Arguments:
        values: A number for each method; those of HR and LR are left out.
        higher: Whether a higher value is better.
    """
    ranked = {method: value for method, value in values.items() if method not in NO_METHODS}
    if len(ranked) < 2:
        return {}
    order = sorted(set(ranked.values()), reverse=higher)
    marks = dict(zip(order, ("**", "*"), strict=False))
    return {method: marks[value] for method, value in ranked.items() if value in marks}


def _cell(row: pd.Series, column: Column, mark: str) -> str:
    value, low, high = (row[name] * column.scale for name in ("value", "low", "high"))
    number = f"{mark}{format_number(value, column.digits)}{mark}"
    return f"{number} {format_interval(low, high, column.digits)}".strip()
