"""The report's tables of what LR can know of a feature, and what every method has of it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.comparison.ceiling import CEILING, IN_TREATMENT, NO_GAN, NO_ROW, OWED, SHARE
from analysis.comparison.kept_features import OF_ONE_IMAGE, TRIPLE
from analysis.comparison.labels import feature_label, method_label
from analysis.comparison.long_table import estimate_of
from analysis.comparison.measured import primary_column
from analysis.comparison.wide_table import format_estimate
from analysis.report import html
from analysis.run.description import Comparison, Run
from rls.io.names import HIGH_RESOLUTION, REGRESSION, WITHOUT_IMAGES

R, C, OF_K, PART = "r within", "c: LR knows", "K solutions owe", "r / owed"
BOTH = "both"
NOTE = (
    "c is the correlation with HR, within treatments, of a regression from LR to the feature that "
    "was fitted to the generator's training cells. No method that sees LR alone can have a higher "
    "one, except by what a better regression would find. An image that is one honest draw from "
    "all cells that fit LR has a correlation of c squared, because it makes up what LR does not "
    "show; the mean over K such draws has c^2 / sqrt(c^2 + (1 - c^2) / K). These are the owed "
    "correlations, so r / owed is about 1 for honest draws. One image may have more, up to c, if "
    "it leaves variety out (its sd ratio is then below 1). Where c cannot be told from 0, these "
    "wells do not show that LR tells anything, and no share is given."
)


def section(run: Run, table: pd.DataFrame) -> str:
    """Return a table for each clean comparison and feature, or why there is none.

    Arguments:
        table: The table of features.
    """
    pieces = []
    for at in run.comparisons(clean_only=True):
        if not at.assay.has_high_resolution:
            continue
        for column in map(primary_column, at.assay.features):
            title = f"{at.title}: {feature_label(column)}"
            if REGRESSION not in at.methods:
                said = NO_ROW if at.assay.has_gan else NO_GAN
                text = f"{title}: what LR can know was not measured, because {said}."
                pieces.append(html.paragraph(text))
                continue
            here = (table["assay"] == at.assay.name) & (table["factor"] == at.factor)
            here &= (table["degradation"] == at.degradation) & (table["feature"] == column)
            frame = pd.DataFrame(_lines(at, table[here])).fillna("")
            pieces.append(html.table(frame, caption=title, numbers=list(frame.columns[2:])))
    return "".join(pieces) + html.paragraph(NOTE, "note") if pieces else ""


def _lines(at: Comparison, part: pd.DataFrame) -> list[dict[str, str]]:
    lines = []
    for method in (m for m in at.methods if m != HIGH_RESOLUTION):
        own = part[part["method"] == method]
        prefixes = [""]
        if own["metric"].str.startswith(OF_ONE_IMAGE).any():
            prefixes = [OF_ONE_IMAGE, ""]
        for prefix in prefixes:
            for treatment in ("", *at.assay.treatments):
                lines.append(_line(own, method, prefix, treatment))
    return lines


def _line(own: pd.DataFrame, method: str, prefix: str, treatment: str) -> dict[str, str]:
    """Return one row: a method's r and its ceiling, together or in one treatment."""
    metric = IN_TREATMENT if treatment else TRIPLE["correlation"]
    solutions = own.loc[own["metric"] == prefix + metric, "n_solutions"]
    k = int(solutions.iloc[0]) if len(solutions) else 1
    row = {"method": method_label(method, k), "treatment": treatment or BOTH}
    row["K"] = "" if method in WITHOUT_IMAGES else str(k)
    wanted: Sequence[tuple[str, str]] = ((R, metric), (C, CEILING), (OF_K, OWED), (PART, SHARE))
    for heading, name in wanted:
        found = estimate_of(own, method, prefix + name, treatment=treatment)
        row[heading] = format_estimate(found.value, found.low, found.high, digits=2) or "–"
        if heading == R:
            row["n"] = f"{found.n} {found.unit}{'s' * (found.n != 1)}"
    if not treatment:
        spread = estimate_of(own, method, prefix + TRIPLE["sd_ratio"])
        row["sd ratio"] = format_estimate(spread.value, spread.low, spread.high, digits=2) or "–"
    return row
