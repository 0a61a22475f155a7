"""The numbers of Table 1: image metrics as means over cells, and distances between sets of images.

Fidelity is the mean |D(SR) - LR| over pixels. The distances are the kernel distance (KD) and the
Frechet distance (FD) between sets of features; on Inception features they are KID and FID. On VGG16
there is KD alone, which is no FID.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

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
from analysis.comparison.settings import IntervalSettings
from analysis.measuring.columns import WEIGHTS
from analysis.numbers.metrics import (
    frechet_distance,
    frechet_extrapolated,
    kernel_distance_interval,
)
from analysis.numbers.statistics import Estimate, replication
from analysis.run.description import Comparison, Run
from rls.io import read_table
from rls.io.names import EVALUATION, HIGH_RESOLUTION, LOW_RESOLUTION
from rls.io.splits import COMPARE, COMPARE_BY_CLASSIFIER, REPORT, Use, check
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
# FD beside its bias: extrapolated to infinite n, and to the floor's other HR cells, at one n in all
# rows.
EXTRAPOLATED, OTHER_CELLS = "_extrapolated", "_against_other_cells"
KD_SCALE = 1000.0
FLOOR_USES = {"classifier": COMPARE_BY_CLASSIFIER} | dict.fromkeys(
    ("random", "vgg16", "inception"), COMPARE
)
FURTHER = {  # kind of features -> the further FD of their kind
    kind: [name + suffix for name in names[1:] for suffix in (EXTRAPOLATED, OTHER_CELLS)]
    for kind, names in DISTANCES.items()
}
EVERY_METRIC = (
    *IMAGE_METRICS,
    *(name for names in DISTANCES.values() for name in names),
    *(name for names in FURTHER.values() for name in names),
    *PERCEPTUAL_METRICS,
)
# Numbers of networks for colour images; Inception enlarges them by itself.
OF_INCEPTION = (*DISTANCES["inception"], *FURTHER["inception"])
OF_COLOURS = (*DISTANCES["vgg16"], *OF_INCEPTION, *PERCEPTUAL_METRICS)
OTHER_GRID = "LR lies on another pixel grid than HR; row Bicubic is LR enlarged"
SAME_CELL = "not defined between different cells, whose pixels do not correspond"


class Floor(NamedTuple):
    """Two disjoint sets of HR cells.

    Attributes:
        here, there: Cells of evaluation, and the others, one row per image.
        note: Which cells they are.
    """

    here: pd.DataFrame
    there: pd.DataFrame
    note: str

    def like(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of ``table`` that are the cells ``here``."""
        return table[table["image_id"].isin(self.here["image_id"])].reset_index(drop=True)


def quality_rows(run: Run, settings: IntervalSettings) -> Rows:
    """Return every row of Table 1, methods in the order of the configuration."""
    rows: Rows = []
    for at in run.comparisons():
        if not at.assay.has_high_resolution:
            rows += unreferenced_rows(at, settings)
            continue
        check_weights(at, run.weights)
        reference = read_sets(at, HIGH_RESOLUTION)
        floors = read_floors(at, reference, settings.seed)
        rows += floor_rows(at, reference, floors, settings)
        rows += low_resolution_rows(at, settings)
        for method in at.methods_with_images:
            if method != HIGH_RESOLUTION:
                rows += method_rows(at, method, reference, floors, settings)
    return rows


def check_weights(at: Comparison, weights: Mapping[str, str]) -> None:
    """Check that HR and all methods were measured with the weights that the run uses.

    Raises:
        InputError: A table was measured with other weights, or without.
    """
    expected = as_text(weights)
    for method in (HIGH_RESOLUTION, *at.methods_with_images):
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


def unreferenced_rows(at: Comparison, settings: IntervalSettings) -> Rows:
    """Return the rows of an assay without HR: only fidelity to the LR images has values."""
    rows: Rows = []
    for method in (FLOOR, LOW_RESOLUTION, *at.methods_with_images):
        for metric in EVERY_METRIC:
            fact: Row = {"metric": metric, "reason": NO_HIGH_RESOLUTION}
            if metric == FIDELITY and method in at.methods_with_images:
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


def low_resolution_rows(at: Comparison, settings: IntervalSettings) -> Rows:
    """Return the rows of LR: empty with their reason, except its distance to the clean LR."""
    rows = [long_row(at, LOW_RESOLUTION, metric, reason=OTHER_GRID) for metric in EVERY_METRIC]
    if not at.clean:
        table = read_evaluation(at.measured(LOW_RESOLUTION, "metrics"), columns=[FIDELITY_CLEAN])
        rows.append(long_row(at, LOW_RESOLUTION, **mean_fact(table, FIDELITY_CLEAN, settings)))
    return rows


def method_rows(
    at: Comparison,
    method: str,
    reference: pd.DataFrame,
    floors: Mapping[str, Floor],
    settings: IntervalSettings,
) -> Rows:
    """Return the rows of one method."""
    table = same_cells(reference, read_sets(at, method), at.measured(method, "metrics"))
    facts = image_facts(at, table, settings)
    for kind, floor in floors.items():
        facts += distance_facts(kind, table, reference, reference, settings)
        facts += frechet_facts(kind, table, reference, floor, settings.seed)
    return [long_row(at, method, **with_colours(at, fact)) for fact in facts]


def with_colours(at: Comparison, fact: Row) -> Row:
    """Return a fact; where networks for colour images gave it, its note says what they saw."""
    if fact["metric"] not in OF_COLOURS or pd.isna(fact.get("value", np.nan)):
        return fact
    names = (at.assay.network_rgb_channels or at.assay.channels)[:3]
    colours = [*names, "empty"][:3] if len(names) > 1 else [*names] * 3
    note = f"red, green, blue are {', '.join(colours)}; images under 64 px are enlarged to 64 px"
    if fact["metric"] in OF_INCEPTION:
        note = f"red, green, blue are {', '.join(colours)}"
    return {**fact, "reason": "; ".join(filter(None, (fact.get("reason", ""), note)))}


def image_facts(at: Comparison, table: pd.DataFrame, settings: IntervalSettings) -> Rows:
    """Return the mean of every image metric with its interval over wells."""
    names = [*IMAGE_METRICS, *PERCEPTUAL_METRICS, *([] if at.clean else [FIDELITY_CLEAN])]
    return [mean_fact(table, name, settings) for name in names]


def distance_facts(
    kind: str,
    table: pd.DataFrame,
    other: pd.DataFrame,
    reference: pd.DataFrame,
    settings: IntervalSettings,
) -> Rows:
    """Return KD x 1e3 with its interval over wells.

    Arguments:
        kind: Key of :data:`DISTANCES`.
        table: One of the two sets, one row per image.
        other: The set that it is compared with.
        reference: The HR cells of evaluation, which set the scale: the kernel (x.y/d + 1)^3 has
            none of its own, and one large feature would decide it. Inception features keep their
            scale, because KID is defined on it.
    """
    name = DISTANCES[kind][0]
    here, there = (standardised(part, reference, kind) for part in (table, other))
    if here is None or there is None:
        return [{"metric": name, "reason": _not_measured(kind)}]
    kernel = kernel_distance_interval(
        here,
        there,
        units_x=replication(table),
        units_y=replication(other),
        confidence=settings.confidence_level,
    )
    return [{"metric": name, **estimate_facts(kernel, KD_SCALE)}]


def frechet_facts(
    kind: str, table: pd.DataFrame, reference: pd.DataFrame, floor: Floor, seed: int
) -> Rows:
    """Return FD to the HR images of the same cells, extrapolated, and FD to the floor's others.

    FD is biased upwards, so each value names n and the distance of two disjoint HR sets. FD to the
    floor's other cells has the same n and design in every row, the floor's included.

    Arguments:
        table: The images of a method, one row per image; the HR cells of evaluation for the floor.
    """
    if len(DISTANCES[kind]) < 2:
        return []
    name = DISTANCES[kind][1]
    parts = (table, reference, floor.like(table), floor.here, floor.there)
    images, high, here, first, there = (standardised(part, reference, kind) for part in parts)
    if images is None or high is None or here is None or first is None or there is None:
        names = (name, name + EXTRAPOLATED, name + OTHER_CELLS)
        return [{"metric": metric, "reason": _not_measured(kind)} for metric in names]
    apart = frechet_distance(first, there)
    bias = f"; two disjoint sets of {apart.n} HR images are {apart.value:.3g} apart"
    same = (here, there) if table is reference else (images, high)
    plain, other = (frechet_distance(*sets) for sets in (same, (here, there)))
    plain, other = (replace(found, reason=found.reason + bias) for found in (plain, other))
    if table is reference and apart.n < len(reference):
        reason = f"HR has no two disjoint sets of {len(reference)} images"
        plain = Estimate.empty(reason, n=apart.n)
    far = frechet_extrapolated(*same, seed=seed)
    if not far.reason:
        far = replace(far, reason=f"extrapolated in 1/n, from {far.n // 2} and {far.n} images")
    return [
        {"metric": name + suffix, **estimate_facts(found)}
        for suffix, found in (("", plain), (EXTRAPOLATED, far), (OTHER_CELLS, other))
    ]


def _not_measured(kind: str) -> str:
    return NO_NETWORK.get(kind, f"measure wrote no features of kind '{kind}'")


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


def read_floors(at: Comparison, reference: pd.DataFrame, seed: int) -> dict[str, Floor]:
    """Return the floor's sets of HR cells for every kind of features."""
    all_cells = read_table(at.measured(HIGH_RESOLUTION, "features"), columns=[*KEYS, "split"])
    return {
        kind: Floor(*floor_sets(all_cells, reference, use, seed))
        for kind, use in FLOOR_USES.items()
    }


def floor_rows(
    at: Comparison,
    reference: pd.DataFrame,
    floors: Mapping[str, Floor],
    settings: IntervalSettings,
) -> Rows:
    """Return HR against other HR cells: what a perfect method would reach."""
    rows = []
    for kind, floor in floors.items():
        facts = distance_facts(kind, floor.here, floor.there, reference, settings)
        for fact in facts + frechet_facts(kind, reference, reference, floor, settings.seed):
            reason = "; ".join(dict.fromkeys(filter(None, (fact.get("reason", ""), floor.note))))
            rows.append(long_row(at, FLOOR, **with_colours(at, {**fact, "reason": reason})))
    for fact in image_facts(at, reference, settings):
        if fact["metric"] in (FIDELITY, FIDELITY_CLEAN):
            note = fact.get("reason") or "|D(HR) - LR| of the same cell: rounding and degradation"
            rows.append(long_row(at, FLOOR, **{**fact, "reason": note}))
        else:
            rows.append(long_row(at, FLOOR, fact["metric"], reason=SAME_CELL))
    return rows


def floor_sets(
    all_cells: pd.DataFrame, reference: pd.DataFrame, use: Use, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return two disjoint sets of HR cells, and a note that says which they are.

    They are evaluation and the first split of ``use`` that has as many cells of every treatment;
    else the two halves of evaluation, divided by wells where every treatment has two, with half the
    cells each.
    """
    counts = reference["treatment"].value_counts()
    check(REPORT, reference["split"])
    for split in use.splits:
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
