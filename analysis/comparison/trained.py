"""The numbers of a run whose assays differ in what their generators were trained on.

Every assay has the same cells of split evaluation. Its rows say what its generator has seen, how
near it is to cells of evaluation, what it draws, whether its training was over, and what a
reconstruction by each method keeps of the features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.comparison.feature_values import FeatureValues, read_features
from analysis.comparison.kept_features import agreement_with_high, triple_facts
from analysis.comparison.long_table import Row, Rows, estimate_facts, long_row
from analysis.comparison.measured import primary_column
from analysis.comparison.settings import IntervalSettings
from analysis.numbers.statistics import jackknife, ratio, wilson
from analysis.run.description import Assay, Comparison, Run
from rls.io import read_table
from rls.io.names import HIGH_RESOLUTION

GENERATOR = "generator"  # the method of the rows that are about a generator, at its first factor
DISTANCE, FLOOR = "kernel_distance", "kernel_distance_floor"
PREVALENCE, POSITION, FALLING = "generated_prevalence", "median_position", "still_falling"
LAST = 2  # evaluations that are averaged at the end of a curve, and before
LEAST_FALL = 0.1  # a smaller relative fall between the two does not count
AS_SHIPPED = "as shipped, not trained on this assay"


def trained_rows(run: Run, settings: IntervalSettings) -> Rows:
    """Return every row of every assay, at the clean condition of each factor."""
    rows: Rows = []
    seen: set[str] = set()
    for at in run.comparisons(clean_only=True):
        features = read_features(at, [primary_column(f) for f in at.assay.features], at.methods)
        found = [row for one in features for row in _kept_rows(one, settings)]
        if at.assay.name not in seen:
            seen.add(at.assay.name)
            found = [*_generator_rows(run, at, features, settings), *found]
        rows += [{**row, **training_facts(at.assay)} for row in found]
    return rows


def training_facts(assay: Assay) -> Row:
    """Return what an assay's generator was trained on, as columns of its rows."""
    training = assay.training
    if training is None:
        nothing = {"gan_cells": 0, "prevalence": math.nan, "training_seed": 0}
        return {**nothing, "init_from": AS_SHIPPED}
    return {
        "gan_cells": training.n_cells,
        "prevalence": 0.5 if training.prevalence is None else training.prevalence,
        "training_seed": training.seed,
        "init_from": training.init_from,
    }


def _kept_rows(feature: FeatureValues, settings: IntervalSettings) -> Rows:
    """Return the triple of every method, and where its medians lie between those of HR."""
    rows: Rows = []
    for method in feature.methods:
        facts = triple_facts(agreement_with_high(feature, method, settings))
        facts += position_facts(feature, method, settings)
        n = {"feature": feature.column, "n_cells": len(feature.cells)}
        rows += [{**long_row(feature.at, method, **fact), **n} for fact in facts]
    return rows


def position_facts(feature: FeatureValues, method: str, settings: IntervalSettings) -> Rows:
    """Return for each control where the median of SR lies: 0 and 1 are HR's medians.

    position = (median SR of the control - median HR-) / (median HR+ - median HR-). The shift kept
    is the difference of the two positions, so they say which treatment moved.
    """
    pairs = feature.pairs(method)
    both = np.isfinite(pairs[["high_resolution", "super_resolution"]]).all(axis=1)
    pairs = pairs[both].reset_index(drop=True)
    high, super_ = (pairs[n].to_numpy(float) for n in ("high_resolution", "super_resolution"))
    sides = {name: (pairs["treatment"] == name).to_numpy() for name in feature.controls}
    negative, positive = feature.controls

    def median(values: np.ndarray, rows: np.ndarray, treatment: str) -> float:
        here = rows[sides[treatment][rows]]
        return float(np.median(values[here])) if len(here) else math.nan

    facts = []
    for treatment in feature.controls:

        def position(rows: np.ndarray, treatment: str = treatment) -> float:
            low = median(high, rows, negative)
            shift = median(high, rows, positive) - low
            return ratio(median(super_, rows, treatment) - low, shift)

        found = jackknife(position, pairs, confidence=settings.confidence_level)
        facts.append({"metric": POSITION, "treatment": treatment, **estimate_facts(found)})
    return facts


def _generator_rows(
    run: Run, at: Comparison, features: Sequence[FeatureValues], settings: IntervalSettings
) -> Rows:
    """Return the rows about the generator of an assay."""
    folder = run.results / at.assay.name
    facts: Rows = []
    for row in read_table(folder / "generated.csv").fillna({"treatment": ""}).to_dict("records"):
        common = {"treatment": row["treatment"], "n": row["n_cells"], "unit": "cell"}
        facts += [
            {"metric": DISTANCE, "value": row["kd"], **common},
            {"metric": FLOOR, "value": row["kd_floor"], **common},
        ]
    if at.assay.training is not None:
        facts.append(falling_fact(read_table(folder / "generator.training.csv")))
    rows = [{**long_row(at, GENERATOR, **fact), "feature": ""} for fact in facts]
    drawn = read_table(folder / "generated.features.parquet")
    for feature in features:
        found = prevalence_fact(feature, drawn[feature.column].to_numpy(float), settings)
        rows.append({**long_row(at, GENERATOR, **found), "feature": feature.column})
    return rows


def prevalence_fact(feature: FeatureValues, drawn: np.ndarray, settings: IntervalSettings) -> Row:
    """Return which share of generated images looks treated, with Wilson's interval over images.

    An image looks treated if its feature lies on the positive control's side of the midpoint of
    HR's two medians. Images whose feature cannot be measured are left out.
    """
    medians = [np.median(feature.of(HIGH_RESOLUTION, name)) for name in feature.controls]
    negative, positive = medians
    drawn = drawn[np.isfinite(drawn)]
    beyond = (drawn - (negative + positive) / 2) * np.sign(positive - negative) > 0
    found = wilson(int(beyond.sum()), len(drawn), confidence=settings.confidence_level)
    return {"metric": PREVALENCE, **estimate_facts(found), "unit": "image"}


def falling_fact(curves: pd.DataFrame) -> Row:
    """Return whether the kernel distance still fell when the training ended: 1, 0 or NaN.

    It still fell if the mean of the last two values lies above the floor, and more than a tenth
    below the mean of the two before. The reason gives the means and the images seen.
    """
    known = curves[np.isfinite(curves["kd"])].sort_values("kimg")
    if len(known) < 2 * LAST:
        reason = f"{len(known)} values of the kernel distance; {2 * LAST} are needed"
        return {"metric": FALLING, "reason": reason}
    last, before = known[-LAST:], known[-2 * LAST : -LAST]
    end, earlier = float(last["kd"].mean()), float(before["kd"].mean())
    falls = end > float(last["kd_floor"].mean()) and end < (1 - LEAST_FALL) * earlier
    text = (
        f"{earlier:.3f} at {_kimg(before)} kimg, {end:.3f} at {_kimg(last)}; "
        f"floor {last['kd_floor'].mean():.3f}"
    )
    return {"metric": FALLING, "value": float(falls), "n": len(known), "reason": text}


def _kimg(part: pd.DataFrame) -> str:
    return " and ".join(f"{value:g}" for value in part["kimg"])
