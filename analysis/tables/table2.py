"""Table 2: accuracy of telling the two controls apart on LR, on every method and on HR.

Classifiers were fitted on HR (for HR and every method) or on LR (rows LR), on cells of another
split; which one is best was decided on the split tune. Intervals resample wells; Wilson's interval
and McNemar's exact test against LR take cells as units and are named so. SR holds no more class
information than LR plus the prior (data processing): a row above LR has a better classifier or a
helpful prior, not more information. The last rows of an assay say how many wells of each control
were evaluated, and what its design confounds with the treatment. Beside the long table, the
accuracies in the article's form: a line an assay, a column a method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.design import WARNINGS, design_facts, read_cells
from analysis.comparison.layout import (
    HIGH_RESOLUTION,
    LOW_RESOLUTION,
    Assay,
    Comparison,
    Inputs,
    add_inputs,
    format_estimate,
    inputs_from,
    long_row,
    long_table,
)
from analysis.comparison.measured import (
    CHANNEL_MEANS,
    CNN,
    MAJORITY,
    chosen_verdict,
    estimate_facts,
    features_verdict,
    same_cells,
    verdicts,
)
from analysis.comparison.settings import Settings
from analysis.comparison.wide import parts
from analysis.numbers.statistics import bootstrap, mcnemar_exact, wilson
from rls.io import write_table
from rls.runtime.command import Parser, run

LOW_RESOLUTION_MEANS = "low_resolution_channel_means"
CHOSEN, NETWORK, FEATURES = "accuracy_chosen", "accuracy_cnn", "accuracy_features"
MCNEMAR = "mcnemar_p_against_low_resolution_cells_as_units"
REFERENCE = "the row that others are compared with"
MEANS_ONLY = "a logistic regression on the channel means, and nothing else"
NO_FEATURES = "not measurable: no feature can be measured on LR images"
NO_TRAINING = "not measurable: no high resolution to train a classifier on"

Rows = list[dict[str, Any]]


def rows_of(inputs: Inputs, settings: Settings) -> Rows:
    """Return every row: LR, LR channel means, the methods in order, HR."""
    rows: Rows = []
    for at in inputs.comparisons():
        if len(at.assay.treatments) < 2:
            reason = "the assay names no negative and positive control"
            methods = (LOW_RESOLUTION, *at.methods, HIGH_RESOLUTION)
            metrics = (CHOSEN, NETWORK, FEATURES)
            rows += [long_row(at, m, metric, reason=reason) for m in methods for metric in metrics]
            continue
        rows += comparison_rows(at, at.methods, settings)
    return rows


def comparison_rows(at: Comparison, methods: Sequence[str], settings: Settings) -> Rows:
    """Return the rows of one assay, factor and degradation, at last those of its design."""
    low = verdicts(at.classification(LOW_RESOLUTION), at.assay.treatments)
    baseline = low[chosen_verdict(low)]
    rows = [long_row(at, LOW_RESOLUTION, **fact) for fact in method_facts(low, settings)]
    rows.append(long_row(at, LOW_RESOLUTION, MCNEMAR, reason=REFERENCE))
    means = accuracy_facts(low[CHANNEL_MEANS], CHOSEN, settings, CHANNEL_MEANS)
    rows += [long_row(at, LOW_RESOLUTION_MEANS, **fact) for fact in means]
    for metric in (NETWORK, FEATURES, MCNEMAR):
        rows.append(long_row(at, LOW_RESOLUTION_MEANS, metric, reason=MEANS_ONLY))
    ordered = [m for m in methods if m not in (HIGH_RESOLUTION, LOW_RESOLUTION)]
    for method in (*ordered, HIGH_RESOLUTION):
        path = at.classification(method)
        found = verdicts(path, at.assay.treatments)
        rows += [long_row(at, method, **fact) for fact in method_facts(found, settings)]
        chosen = same_cells(baseline, found[chosen_verdict(found)], path)
        rows.append(long_row(at, method, **against_low(chosen, baseline)))
    for fact in design_facts(read_cells(at), at.assay.treatments):
        rows.append(long_row(at, HIGH_RESOLUTION, **fact))
    return rows


def method_facts(found: Mapping[str, pd.DataFrame], settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the accuracies of the classifier chosen on tune, the network, the one on features."""
    chosen, on_features = chosen_verdict(found), features_verdict(found)
    yield from accuracy_facts(found[chosen], CHOSEN, settings, chosen)
    yield from accuracy_facts(found[CNN], NETWORK, settings, CNN)
    if on_features is None:
        borrowed = "trained_on" in found[chosen].columns  # of an assay without HR
        reason = NO_TRAINING if borrowed else NO_FEATURES
        yield {"metric": FEATURES, "reason": reason}
    else:
        yield from accuracy_facts(found[on_features], FEATURES, settings, on_features)


def accuracy_facts(
    table: pd.DataFrame, metric: str, settings: Settings, classifier: str
) -> Iterator[dict[str, Any]]:
    """Yield an accuracy with its interval over wells, then with Wilson's over cells."""
    correct = table["correct"].to_numpy(dtype=float)
    finite = np.isfinite(correct)
    if not finite.any():
        yield {"metric": metric, "reason": _why_none(table, classifier)}
        return
    kept, values = table[finite].reset_index(drop=True), correct[finite]

    def share(chosen: np.ndarray) -> float:
        return float(values[chosen].mean())

    found = bootstrap(
        share, kept, n_resamples=settings.n_bootstrap, confidence=settings.confidence_level,
        seed=settings.seed,
    )  # fmt: skip
    facts = estimate_facts(found)
    notes = [str(facts["reason"]), _note(table, metric, classifier)]
    yield {"metric": metric, **facts, "reason": "; ".join(filter(None, notes))}
    interval = wilson(int(values.sum()), len(values), confidence=settings.confidence_level)
    yield {"metric": f"{metric}_cells_as_units", **estimate_facts(interval)}


def _why_none(table: pd.DataFrame, classifier: str) -> str:
    """Say why no cell was judged: the status that all rows share, if there is one."""
    status = set(table["status"].astype(str)) if "status" in table.columns else set()
    if len(status) == 1 and next(iter(status)).startswith("not_measurable:"):
        return "not measurable: " + next(iter(status)).split(":", 1)[1].replace("_", " ")
    return f"{classifier} could judge no cell"


def _note(table: pd.DataFrame, metric: str, classifier: str) -> str:
    """Say which classifier it is where that was a choice, and how many cells it could not see."""
    notes = []
    other = str(table["trained_on"].iloc[0]) if "trained_on" in table.columns else ""
    if other:
        notes.append(f"{classifier} trained on the HR cells of assay {other}")
    elif metric in (CHOSEN, FEATURES) and classifier != CHANNEL_MEANS:
        notes.append(f"best on tune: {classifier.replace('_', ' ')}")
    blind = int((table["status"] == MAJORITY).sum()) if "status" in table.columns else 0
    if blind:
        notes.append(
            f"{blind} of {len(table)} cells had no measurable feature and were given the majority"
        )
    return "; ".join(notes)


def against_low(chosen: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, Any]:
    """Return McNemar's exact p of the best on tune against LR's best, cells as units."""
    correct, low = (part["correct"].to_numpy(dtype=float) for part in (chosen, baseline))
    both = np.isfinite(correct) & np.isfinite(low)
    if not both.any():
        return {"metric": MCNEMAR, "reason": "no cell was judged by both"}
    found = mcnemar_exact(correct[both] > 0, low[both] > 0)
    return {"metric": MCNEMAR, **estimate_facts(found)}


def main(argv: Sequence[str] | None = None) -> None:
    """Write Table 2."""
    parser = Parser(__doc__, Settings, "tables")
    add_inputs(parser)
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    parser.add_argument("--output-article", type=Path, required=True, help="the article's form")
    args, settings = parser.parse(argv)
    inputs = inputs_from(args)
    table = long_table(rows_of(inputs, settings))
    write_table(args.output_csv, table, written_by="table2")
    write_table(args.output_article, article_form(table, inputs.assays), written_by="table2")
    print(f"table2: {len(table)} numbers, {args.output_csv}, {args.output_article}")
    warnings = table[table["metric"].isin(WARNINGS) & (table["value"] == 1)]
    for assay, reason in warnings[["assay", "reason"]].drop_duplicates().to_numpy():
        print(f"table2: {assay}: {reason}.")


def article_form(table: pd.DataFrame, assays: Sequence[Assay]) -> pd.DataFrame:
    """Return the article's Table 2 as strings: accuracies in percent of the best on tune.

    One line an assay, factor and degradation; LR, the methods in their order, HR as columns.
    """
    from analysis.drawing.style import method_label  # imports matplotlib

    described = {assay.name: assay for assay in assays}
    lines = []
    for (name, factor, degradation), part in parts(table):
        assay = described[str(name)]
        found = part[part["metric"] == CHOSEN].set_index("method")
        line = {
            "": f"{' vs '.join(assay.treatments)} ({factor}x)",
            "assay": assay.label,
            "degradation": degradation,
        }
        for method in found.index:
            if method != LOW_RESOLUTION_MEANS:
                low, high, value = (100 * found.loc[method, k] for k in ("low", "high", "value"))
                line[method_label(method)] = format_estimate(value, low, high, digits=1)
        lines.append(line)
    return pd.DataFrame(lines).fillna("")


if __name__ == "__main__":
    run(main)
