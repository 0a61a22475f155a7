"""The table of classifiers' verdicts, one row a cell and classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.classification.classifiers import NETWORK, Verdict
from analysis.classification.controls import Cells


def verdict_table(evaluation: Cells, verdicts: Sequence[Verdict], method: str) -> pd.DataFrame:
    """Return one row a cell and classifier; ``correct`` is empty where there is no prediction.

    ``chosen`` marks the candidate with the highest accuracy on tune, the first one among equals.
    """
    candidates = [v for v in verdicts if v.candidate and np.isfinite(v.accuracy_tune)]
    best = max(candidates, key=lambda verdict: verdict.accuracy_tune).name
    parts = []
    for verdict in verdicts:
        known = np.isfinite(verdict.probability)
        positive = verdict.probability > 0.5
        parts.append(
            evaluation.table.assign(
                method=method,
                classifier=verdict.name,
                probability_positive=verdict.probability,
                predicted_positive=_where_known(positive, known),
                correct=_where_known(positive == (evaluation.labels == 1), known),
                status=verdict.status,
                chosen=verdict.name == best,
                accuracy_tune=verdict.accuracy_tune,
                n_tune=verdict.n_tune,
            )
        )
    return pd.concat(parts, ignore_index=True)


def lent_network_table(
    evaluation: Cells, probability: np.ndarray | None, status: str, method: str, trained_on: str
) -> pd.DataFrame:
    """Return the rows of a network that was trained on the assay ``trained_on``.

    Arguments:
        probability: (n,); None leaves every row empty, with ``status``.
    """
    n = len(evaluation.labels)
    values = np.full(n, np.nan) if probability is None else probability
    # There is no tune to be accurate on; any finite accuracy makes verdict_table choose it.
    verdict = Verdict(NETWORK, values, np.full(n, status, dtype=object), 0.0, 0, True)
    table = verdict_table(evaluation, [verdict], method)
    return table.assign(accuracy_tune=np.nan, trained_on=trained_on)


def _where_known(values: np.ndarray, known: np.ndarray) -> pd.arrays.BooleanArray:
    """Return a nullable boolean array, empty where not ``known``."""
    return pd.arrays.BooleanArray(values, ~known)


def accuracies(table: pd.DataFrame) -> Iterator[str]:
    """Yield a line on each classifier: its accuracy, cells as units."""
    for name, rows in table.groupby("classifier", sort=False):
        mark = " (chosen)" if rows["chosen"].any() else ""
        yield f"{name} {accuracy_line(rows) or 'not measurable'}{mark}"


def accuracy_line(rows: pd.DataFrame) -> str:
    """Return the share of cells classified correctly and their number, '' if there is none."""
    known = rows["correct"].dropna()
    return f"{known.mean():.3f} on {len(known)} cells" if len(known) else ""
