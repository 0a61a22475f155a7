"""The numbers of Table 1: image metrics as means over cells, and distances between sets of images.

Fidelity is the mean |D(SR) - LR| over pixels. The distances are the kernel distance (KD) and the
Frechet distance (FD) between sets of features; on Inception features they are KID and FID. On VGG16
there is KD alone, which is no FID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.comparison.image_metrics import (
    FIDELITY,
    FIDELITY_CLEAN,
    FLOOR,
    IMAGE_METRICS,
    KERNEL_DISTANCE,
    NO_NETWORK,
    PERCEPTUAL_METRICS,
    mean_fact,
)
from analysis.comparison.long_table import NO_HIGH_RESOLUTION, Row, Rows, estimate_facts, long_row
from analysis.comparison.measured import KEYS, read_evaluation, same_cells
from analysis.comparison.settings import BootstrapSettings
from analysis.measuring.columns import WEIGHTS
from analysis.numbers.metrics import frechet_distance, kernel_distance_interval
from analysis.numbers.statistics import replication_unit
from analysis.run.description import Comparison, Run
from rls.io import read_table
from rls.io.names import CLASSIFIER, EVALUATION, HIGH_RESOLUTION, LOW_RESOLUTION, TUNE
from rls.networks.kernel_distance import centre_and_scale, standardise
from rls.networks.weights_settings import as_text
from rls.runtime.errors import InputError
from rls.runtime.streams import stream

# Kind of features -> names of (KD x 1e3, FD or none). Their columns are {kind}_feature_{number}.
DISTANCES: Mapping[str, tuple[str, ...]] = {
    "classifier": ("kernel_distance_classifier_x1000", "frechet_distance_classifier"),
    "random": (KERNEL_DISTANCE, "frechet_distance_random"),
    "vgg16": ("kernel_distance_vgg16_x1000",),
    "inception": ("kid_x1000", "fid"),
}
KD_SCALE = 1000.0
# Splits whose HR cells may stand against evaluation; the classifier was fitted on its own split.
FLOOR_SPLITS = {
    "classifier": (TUNE,),
    "random": (CLASSIFIER, TUNE),
    "vgg16": (CLASSIFIER, TUNE),
    "inception": (CLASSIFIER, TUNE),
}
# Numbers of networks for colour images.
OF_COLOURS = (*DISTANCES["vgg16"], *DISTANCES["inception"], *PERCEPTUAL_METRICS)
EVERY_METRIC = (
    *IMAGE_METRICS,
    *(name for names in DISTANCES.values() for name in names),
    *PERCEPTUAL_METRICS,
)
OTHER_GRID = "LR lies on another pixel grid than HR; row Bicubic is LR enlarged"
SAME_CELL = "another cell has no pixel in common"


def quality_rows(run: Run, settings: BootstrapSettings) -> Rows:
    """Return every row of Table 1, methods in the order of the configuration."""
    rows: Rows = []
    for at in run.comparisons():
        if not at.assay.has_high_resolution:
            rows += unreferenced_rows(at, settings)
            continue
        check_weights(at, run.weights)
        reference = read_sets(at, HIGH_RESOLUTION)
        rows += floor_rows(at, reference, settings)
        rows += low_resolution_rows(at, settings)
        for method in at.methods:
            if method != HIGH_RESOLUTION:
                rows += method_rows(at, method, reference, settings)
    return rows


def check_weights(at: Comparison, weights: Mapping[str, str]) -> None:
    """Check that HR and all methods were measured with the weights that the run uses.

    Raises:
        InputError: A table was measured with other weights, or without.
    """
    expected = as_text(weights)
    for method in (HIGH_RESOLUTION, *at.methods):
        for kind in ("features", "metrics"):
            path = at.measured(method, kind)
            table = read_table(path)
            found = set(table[WEIGHTS]) if WEIGHTS in table else {""}
            if found != {expected}:
                raise InputError(
                    f"{path} was measured with the weights '{', '.join(sorted(found))}', and the "
                    f"run uses '{expected}'. All methods are measured with the same: run the "
                    "workflow again, which repeats measure."
                )


def unreferenced_rows(at: Comparison, settings: BootstrapSettings) -> Rows:
    """Return the rows of an assay without HR: only fidelity to the LR images has values."""
    rows: Rows = []
    for method in (FLOOR, LOW_RESOLUTION, *at.methods):
        for metric in EVERY_METRIC:
            fact: Row = {"metric": metric, "reason": NO_HIGH_RESOLUTION}
            if metric == FIDELITY and method in at.methods:
                fact = mean_fact(read_evaluation(at.measured(method, "metrics")), metric, settings)
            rows.append(long_row(at, method, **fact))
    return rows


def read_sets(at: Comparison, method: str) -> pd.DataFrame:
    """Return the evaluation rows of a method, its image metrics and its features side by side."""
    metrics = read_evaluation(at.measured(method, "metrics"))
    features = same_cells(
        metrics, read_evaluation(at.measured(method, "features")), at.measured(method, "features")
    )
    own = [name for name in features.columns if name not in metrics.columns]
    return pd.concat([metrics, features[own]], axis=1)


def low_resolution_rows(at: Comparison, settings: BootstrapSettings) -> Rows:
    """Return the rows of LR: empty with their reason, except its distance to the clean LR."""
    rows = [long_row(at, LOW_RESOLUTION, metric, reason=OTHER_GRID) for metric in EVERY_METRIC]
    if not at.clean:
        table = read_evaluation(at.measured(LOW_RESOLUTION, "metrics"), columns=[FIDELITY_CLEAN])
        rows.append(long_row(at, LOW_RESOLUTION, **mean_fact(table, FIDELITY_CLEAN, settings)))
    return rows


def method_rows(
    at: Comparison, method: str, reference: pd.DataFrame, settings: BootstrapSettings
) -> Rows:
    """Return the rows of one method."""
    table = same_cells(reference, read_sets(at, method), at.measured(method, "metrics"))
    facts = image_facts(at, table, settings)
    for kind in DISTANCES:
        facts += distance_facts(kind, table, reference, reference, settings)
    return [long_row(at, method, **with_colours(at, fact)) for fact in facts]


def with_colours(at: Comparison, fact: Row) -> Row:
    """Return a fact; where networks for colour images gave it, its note says what they saw."""
    if fact["metric"] not in OF_COLOURS or pd.isna(fact.get("value", np.nan)):
        return fact
    names = (at.assay.network_rgb_channels or at.assay.channels)[:3]
    colours = [*names, "empty"][:3] if len(names) > 1 else [*names] * 3
    note = f"red, green, blue are {', '.join(colours)}; images under 64 px are enlarged to 64 px"
    if fact["metric"] in DISTANCES["inception"]:
        note = f"red, green, blue are {', '.join(colours)}"
    return {**fact, "reason": "; ".join(filter(None, (fact.get("reason", ""), note)))}


def image_facts(at: Comparison, table: pd.DataFrame, settings: BootstrapSettings) -> Rows:
    """Return the mean of every image metric with its interval over wells."""
    names = [*IMAGE_METRICS, *PERCEPTUAL_METRICS, *([] if at.clean else [FIDELITY_CLEAN])]
    return [mean_fact(table, name, settings) for name in names]


def distance_facts(
    kind: str,
    table: pd.DataFrame,
    other: pd.DataFrame,
    reference: pd.DataFrame,
    settings: BootstrapSettings,
) -> Rows:
    """Return KD x 1e3 with its interval over wells, and FD where there are enough images.

    Arguments:
        kind: Key of :data:`DISTANCES`.
        table: One of the two sets, one row per image.
        other: The set that it is compared with.
        reference: The HR cells of evaluation, which set the scale: the kernel (x.y/d + 1)^3 has
            none of its own, and one large feature would decide it. Inception features keep their
            scale, because KID is defined on it.
    """
    kernel_name = DISTANCES[kind][0]
    here, there = (standardised(part, reference, kind) for part in (table, other))
    if here is None or there is None:
        reason = NO_NETWORK.get(kind, f"measure wrote no features of kind '{kind}'")
        return [{"metric": name, "reason": reason} for name in DISTANCES[kind]]
    unit, labels = replication_unit(table)
    other_unit, other_labels = replication_unit(other)
    kernel = kernel_distance_interval(
        here,
        there,
        units_x=labels,
        units_y=other_labels,
        unit=unit if unit == other_unit else f"{unit} and {other_unit}",
        **settings.draws,
    )
    facts = [{"metric": kernel_name, **estimate_facts(kernel, KD_SCALE)}]
    for name in DISTANCES[kind][1:]:
        facts.append({"metric": name, **estimate_facts(frechet_distance(here, there))})
    return facts


def standardised(table: pd.DataFrame, reference: pd.DataFrame, kind: str) -> np.ndarray | None:
    """Return the features (n, d) of a kind, in units of the sd of ``reference`` around its mean.

    Those of VGG16 share one unit, and those of Inception keep their scale.
    """
    found, scale = embedding(table, kind), embedding(reference, kind)
    if found is None or scale is None or kind == "inception":
        return found
    return (centre_and_scale if kind == "vgg16" else standardise)(found, scale)


def embedding(table: pd.DataFrame, kind: str) -> np.ndarray | None:
    """Return the features of a kind, (n, d) float64, or None where they were not measured."""
    found = table.filter(regex=rf"^{kind}_feature_\d+$")
    return found.to_numpy(dtype=np.float64) if len(found.columns) else None


# The floor: HR against other HR cells ------------------------------------------------------------


def floor_rows(at: Comparison, reference: pd.DataFrame, settings: BootstrapSettings) -> Rows:
    """Return HR against other HR cells: what a perfect method would reach."""
    all_cells = read_table(at.measured(HIGH_RESOLUTION, "features"), columns=[*KEYS])
    rows = []
    for kind, splits in FLOOR_SPLITS.items():
        here, there, note = floor_sets(all_cells, reference, splits, settings.seed)
        for fact in distance_facts(kind, here, there, reference, settings):
            reason = "; ".join(filter(None, (fact.get("reason", ""), note)))
            fact = with_colours(at, {**fact, "reason": reason})
            rows.append(long_row(at, FLOOR, **fact))
    for fact in image_facts(at, reference, settings):
        if fact["metric"] in (FIDELITY, FIDELITY_CLEAN):
            note = fact.get("reason") or "|D(HR) - LR| of the same cell: what degradation leaves"
            rows.append(long_row(at, FLOOR, **{**fact, "reason": note}))
        else:
            rows.append(long_row(at, FLOOR, fact["metric"], reason=SAME_CELL))
    return rows


def floor_sets(
    all_cells: pd.DataFrame, reference: pd.DataFrame, splits: Sequence[str], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return two disjoint sets of HR cells, and a note that says which they are.

    They are evaluation and the first of ``splits`` that has as many cells of every treatment; else
    the two halves of evaluation, divided by wells where every treatment has two, with half the
    cells each.
    """
    counts = reference["treatment"].value_counts()
    for split in splits if "split" in all_cells.columns else ():
        other = all_cells[all_cells["split"] == split]
        if (other["treatment"].value_counts().reindex(counts.index).fillna(0) >= counts).all():
            parts = [
                _draw(other[other["treatment"] == name], count, seed)
                for name, count in counts.items()
            ]
            there = pd.concat(parts).reset_index(drop=True)
            return reference, there, f"{EVALUATION} against as many HR cells of split {split}"
    first = _first_half(reference, seed)
    here, there = reference[first], reference[~first]
    note = f"two disjoint halves of {EVALUATION}, {len(here)} and {len(there)} cells"
    return here.reset_index(drop=True), there.reset_index(drop=True), note


def _draw(cells: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    cells = cells.sort_values("image_id")
    return cells.iloc[stream(seed, "floor", "table1").choice(len(cells), count, replace=False)]


def _first_half(reference: pd.DataFrame, seed: int) -> np.ndarray:
    """Return which rows are in the first half, (n,) bool."""
    wells = reference["plate"].astype(str) + "/" + reference["well"].astype(str)
    by_wells = (wells.groupby(reference["treatment"]).nunique() >= 2).all()
    labels = wells if by_wells else reference["image_id"]
    first = np.zeros(len(reference), dtype=bool)
    for name in sorted(set(reference["treatment"])):
        here = (reference["treatment"] == name).to_numpy()
        known = np.array(sorted(set(labels[here])))
        chosen = stream(seed, str(name), "table1 halves").permutation(known)[: len(known) // 2]
        first |= here & labels.isin(chosen).to_numpy()
    return first
