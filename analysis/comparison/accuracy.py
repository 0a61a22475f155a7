"""The numbers of Table 2: how well classifiers tell the two controls apart, by method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.comparison.design import design_facts, read_cells
from analysis.comparison.image_metrics import mean_of_cells
from analysis.comparison.long_table import Row, Rows, estimate_facts, long_row
from analysis.comparison.measured import read_evaluation, same_cells
from analysis.comparison.settings import IntervalSettings
from analysis.numbers.statistics import mcnemar_exact, wilson
from analysis.run.description import Comparison, Run
from rls.io.names import (
    HIGH_RESOLUTION,
    LOW_RESOLUTION,
    LOW_RESOLUTION_ALL_CELLS,
    MAJORITY_CLASS,
    NOT_MEASURABLE,
)

LOW_RESOLUTION_MEANS = "low_resolution_channel_means"
CHOSEN, NETWORK, FEATURES = "accuracy_chosen", "accuracy_cnn", "accuracy_features"
BEYOND = "accuracy_minus_low_resolution_all_cells"
MCNEMAR = "mcnemar_p_against_low_resolution_cells_as_units"
# Names of classifiers. Of the two on the assay's features, the better on tune is shown.
CNN, CHANNEL_MEANS = "cnn", "channel_means"
ON_FEATURES = ("logistic_on_features", "forest_on_features")
REFERENCE = "the row that others are compared with"
MEANS_ONLY = "a logistic regression on the channel means, and nothing else"
NO_FEATURES = "not measurable: no feature can be measured on LR images"
NO_GAN = "no cell of split gan, which the generator and this classifier of LR would both see"
NO_TRAINING = "not measurable: no high resolution to train a classifier on"
NO_CLASSIFIER = "no cell is given to split classifier, so none is trained"


def accuracy_rows(run: Run, settings: IntervalSettings) -> Rows:
    """Return every row of Table 2, which compares the clean degradation alone."""
    found = (comparison_rows(at, settings) for at in run.comparisons(clean_only=True))
    return [row for rows in found for row in rows]


def comparison_rows(at: Comparison, settings: IntervalSettings) -> Rows:
    """Return the rows of LR, the methods in order and HR, then the facts of the design."""
    if not at.assay.has_classifier:
        methods = (LOW_RESOLUTION, *at.methods_with_images, HIGH_RESOLUTION)
        names = (CHOSEN, NETWORK, FEATURES)
        return [long_row(at, one, name, reason=NO_CLASSIFIER) for one in methods for name in names]
    low = verdicts(at.measured(LOW_RESOLUTION, "classification"), at.assay.treatments)
    baseline = low[chosen_verdict(low)]
    rows = [long_row(at, LOW_RESOLUTION, **fact) for fact in method_facts(low, settings)]
    rows.append(long_row(at, LOW_RESOLUTION, MCNEMAR, reason=REFERENCE))
    means = accuracy_facts(low[CHANNEL_MEANS], CHOSEN, settings, CHANNEL_MEANS)
    rows += [long_row(at, LOW_RESOLUTION_MEANS, **fact) for fact in means]
    for metric in (NETWORK, FEATURES, MCNEMAR):
        rows.append(long_row(at, LOW_RESOLUTION_MEANS, metric, reason=MEANS_ONLY))
    everything = all_cells(at)
    rows += all_cells_rows(at, everything, baseline, settings)
    ordered = [m for m in at.methods_with_images if m not in (HIGH_RESOLUTION, LOW_RESOLUTION)]
    for method in (*ordered, HIGH_RESOLUTION):
        path = at.measured(method, "classification")
        found = verdicts(path, at.assay.treatments)
        rows += [long_row(at, method, **fact) for fact in method_facts(found, settings)]
        chosen = same_cells(baseline, found[chosen_verdict(found)], path)
        rows.append(long_row(at, method, **against_low(chosen, baseline)))
        if everything is not None:
            rows.append(long_row(at, method, **beyond(chosen, everything[0], settings)))
    for fact in design_facts(read_cells(at), at.assay.treatments):
        rows.append(long_row(at, HIGH_RESOLUTION, **fact))
    return rows


def all_cells(at: Comparison) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]] | None:
    """Return what classifiers of LR say that saw the generator's cells too: the best, and all.

    None where the assay has no such cells.

    Raises:
        InputError: The file is missing.
    """
    if not at.assay.has_gan:
        return None
    path = at.measured(LOW_RESOLUTION_ALL_CELLS, "classification")
    found = verdicts(path, at.assay.treatments)
    return found[chosen_verdict(found)], found


def all_cells_rows(
    at: Comparison,
    everything: tuple[pd.DataFrame, dict[str, pd.DataFrame]] | None,
    baseline: pd.DataFrame,
    settings: IntervalSettings,
) -> Rows:
    """Return the row of LR whose classifiers have seen as many cells as the generator has."""
    name = LOW_RESOLUTION_ALL_CELLS
    if everything is None:
        return [long_row(at, name, CHOSEN, reason=NO_GAN)]
    rows = [long_row(at, name, **fact) for fact in method_facts(everything[1], settings)]
    path = at.measured(name, "classification")
    chosen = same_cells(baseline, everything[0], path)
    return [*rows, long_row(at, name, **against_low(chosen, baseline))]


def beyond(chosen: pd.DataFrame, everything: pd.DataFrame, settings: IntervalSettings) -> Row:
    """Return the accuracy above that of the best classifier of LR which saw all cells.

    Its interval is over wells; both are judged on the same cells.
    """
    known = everything.set_index("image_id")["correct"].reindex(chosen["image_id"]).to_numpy()
    gain = chosen["correct"].to_numpy(dtype=float) - known
    if not np.isfinite(gain).any():
        return {"metric": BEYOND, "reason": "no cell was judged by both"}
    return {"metric": BEYOND, **estimate_facts(mean_of_cells(gain, chosen, settings, "number"))}


# Verdicts ---------------------------------------------------------------------------------------


def verdicts(path: Path, treatments: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the verdicts of each classifier on the evaluation cells of both controls, by name.

    Every table is sorted by image_id and has ``correct``, float: 1 right, 0 wrong, NaN neither.
    """
    table = read_evaluation(path, columns=["classifier", "correct", "chosen", "accuracy_tune"])
    table = table[table["treatment"].isin(treatments)]
    table = table.assign(
        correct=table["correct"].astype("Float64").to_numpy(float, na_value=np.nan)
    )
    return {
        str(name): part.sort_values("image_id").reset_index(drop=True)
        for name, part in table.groupby("classifier", sort=False)
    }


def chosen_verdict(found: Mapping[str, pd.DataFrame]) -> str:
    """Return the classifier that classify chose on tune."""
    return next(name for name, part in found.items() if bool(part["chosen"].iloc[0]))


def features_verdict(found: Mapping[str, pd.DataFrame]) -> str | None:
    """Return the classifier on features with the higher accuracy on tune; None without one."""
    tune = {
        name: float(found[name]["accuracy_tune"].iloc[0])
        for name in ON_FEATURES
        if name in found and np.isfinite(found[name]["accuracy_tune"].iloc[0])
    }
    return max(tune, key=lambda name: tune[name]) if tune else None


# Numbers -----------------------------------------------------------------------------------------


def method_facts(found: Mapping[str, pd.DataFrame], settings: IntervalSettings) -> Iterator[Row]:
    """Yield the accuracies of the chosen classifier, of the network and of the one on features."""
    chosen, on_features = chosen_verdict(found), features_verdict(found)
    yield from accuracy_facts(found[chosen], CHOSEN, settings, chosen)
    yield from accuracy_facts(found[CNN], NETWORK, settings, CNN)
    if on_features is None:
        borrowed = "trained_on" in found[chosen].columns  # the assay has no HR
        yield {"metric": FEATURES, "reason": NO_TRAINING if borrowed else NO_FEATURES}
    else:
        yield from accuracy_facts(found[on_features], FEATURES, settings, on_features)


def accuracy_facts(
    table: pd.DataFrame, metric: str, settings: IntervalSettings, classifier: str
) -> Iterator[Row]:
    """Yield an accuracy with its interval over wells, then with Wilson's over cells."""
    correct = table["correct"].to_numpy(dtype=float)
    judged = correct[np.isfinite(correct)]
    if not len(judged):
        yield {"metric": metric, "reason": _why_none(table, classifier)}
        return
    found = mean_of_cells(correct, table, settings, "share")
    notes = [found.reason, _note(table, metric, classifier)]
    yield {"metric": metric, **estimate_facts(found), "reason": "; ".join(filter(None, notes))}
    interval = wilson(int(judged.sum()), len(judged), confidence=settings.confidence_level)
    yield {"metric": f"{metric}_cells_as_units", **estimate_facts(interval)}


def _why_none(table: pd.DataFrame, classifier: str) -> str:
    """Return why no cell was judged: the status that all rows share, if there is one."""
    status = set(table["status"].astype(str)) if "status" in table.columns else set()
    if len(status) == 1 and next(iter(status)).startswith(f"{NOT_MEASURABLE}:"):
        return "not measurable: " + next(iter(status)).split(":", 1)[1].replace("_", " ")
    return f"{classifier} could judge no cell"


def _note(table: pd.DataFrame, metric: str, classifier: str) -> str:
    """Return the name of a chosen or borrowed classifier, and the number of cells it cannot see."""
    notes = []
    other = str(table["trained_on"].iloc[0]) if "trained_on" in table.columns else ""
    if other:
        notes.append(f"{classifier} trained on the HR cells of assay {other}")
    elif metric in (CHOSEN, FEATURES) and classifier != CHANNEL_MEANS:
        notes.append(f"best on tune: {classifier.replace('_', ' ')}")
    blind = int((table["status"] == MAJORITY_CLASS).sum()) if "status" in table.columns else 0
    if blind:
        notes.append(
            f"{blind} of {len(table)} cells had no measurable feature and were given the majority"
        )
    return "; ".join(notes)


def against_low(chosen: pd.DataFrame, baseline: pd.DataFrame) -> Row:
    """Return McNemar's exact p of the best on tune against LR's best, cells as units."""
    correct, low = (part["correct"].to_numpy(dtype=float) for part in (chosen, baseline))
    both = np.isfinite(correct) & np.isfinite(low)
    if not both.any():
        return {"metric": MCNEMAR, "reason": "no cell was judged by both"}
    found = mcnemar_exact(correct[both] > 0, low[both] > 0)
    return {"metric": MCNEMAR, **estimate_facts(found)}
