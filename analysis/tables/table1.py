"""Table 1: how near reconstructions are to HR images, per image and as a set (section 4.2).

Per assay, factor, degradation and method: MS-SSIM, PSNR and fidelity |D(SR) - LR| as means over
cells, where LR is degraded also |D(SR) - clean LR|; kernel distance (KD) and, from 20 images a
dimension on, Frechet distance (FD) between the sets, on features of the treatment classifier and
on random convolutions that know nothing of treatments. The floor row is HR against other HR cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.layout import (
    HIGH_RESOLUTION,
    LOW_RESOLUTION,
    NO_HIGH_RESOLUTION,
    Comparison,
    Inputs,
    add_inputs,
    inputs_from,
    long_row,
    long_table,
)
from analysis.comparison.measured import (
    EMBEDDINGS,
    EVALUATION,
    FIDELITY_CLEAN,
    IMAGE_METRICS,
    KEYS,
    NO_NETWORK,
    PERCEPTUAL_METRICS,
    embedding,
    estimate_facts,
    read_evaluation,
    same_cells,
)
from analysis.comparison.settings import Settings
from analysis.numbers.metrics import frechet_distance, kernel_distance_interval
from analysis.numbers.statistics import bootstrap, replication_unit
from rls.io import read_table, write_table
from rls.networks.kernel_distance import standardise
from rls.runtime.command import Parser, run
from rls.runtime.streams import stream

FLOOR = "high_resolution_floor"
# Kind of features -> names of (KD x 1e3, FD); on Inception features they are KID and FID.
DISTANCES = {
    "classifier": ("kernel_distance_classifier_x1000", "frechet_distance_classifier"),
    "random": ("kernel_distance_random_x1000", "frechet_distance_random"),
    "inception": ("kid_x1000", "fid"),
}
FIDELITY = "fidelity_l1"
KD_SCALE = 1000.0
OTHER_GRID = "LR lies on another pixel grid than HR; row Bicubic is LR enlarged"
SAME_CELL = "another cell has no pixel in common"
# Splits whose HR cells may stand against evaluation; the classifier was fitted on its own split.
FLOOR_SPLITS = {
    "classifier": ("tune",),
    "random": ("classifier", "tune"),
    "inception": ("classifier", "tune"),
}

Rows = list[dict[str, Any]]


def rows_of(inputs: Inputs, settings: Settings) -> Rows:
    """Return every row of the table, methods in the order of the configuration."""
    rows: Rows = []
    for at in inputs.comparisons():
        if not at.assay.has_high_resolution:
            rows += unreferenced_rows(at, settings)
            continue
        reference = read_sets(at, HIGH_RESOLUTION)
        rows += floor_rows(at, reference, settings)
        rows += low_resolution_rows(at, settings)
        for method in at.methods:
            if method != HIGH_RESOLUTION:
                rows += method_rows(at, method, reference, settings)
    return rows


def unreferenced_rows(at: Comparison, settings: Settings) -> Rows:
    """Return the rows of an assay without HR: all are empty but fidelity to the LR images."""
    distances = [name for names in DISTANCES.values() for name in names]
    rows: Rows = []
    for method in (FLOOR, LOW_RESOLUTION, *at.methods):
        for metric in [*IMAGE_METRICS, *distances, *PERCEPTUAL_METRICS]:
            fact: dict[str, Any] = {"metric": metric, "reason": NO_HIGH_RESOLUTION}
            if metric == FIDELITY and method in at.methods:
                fact = mean_fact(read_evaluation(at.metrics(method)), metric, settings)
            rows.append(long_row(at, method, **fact))
    return rows


def read_sets(at: Comparison, method: str) -> pd.DataFrame:
    """Return the evaluation rows of a method: its image metrics and its features side by side."""
    path = at.metrics(method)
    metrics = read_evaluation(path)
    features = same_cells(metrics, read_evaluation(at.features(method)), at.features(method))
    own = [name for name in features.columns if name not in metrics.columns]
    return pd.concat([metrics, features[own]], axis=1)


def low_resolution_rows(at: Comparison, settings: Settings) -> Rows:
    """Return the rows of LR: empty, with their reason, but for its distance to the clean LR."""
    distances = [name for names in DISTANCES.values() for name in names]
    metrics = [*IMAGE_METRICS, *distances, *PERCEPTUAL_METRICS]
    rows = [long_row(at, LOW_RESOLUTION, metric, reason=OTHER_GRID) for metric in metrics]
    if not at.clean:
        table = read_evaluation(at.metrics(LOW_RESOLUTION), columns=[FIDELITY_CLEAN])
        fact = mean_fact(table, FIDELITY_CLEAN, settings)
        rows.append(long_row(at, LOW_RESOLUTION, **fact))
    return rows


def method_rows(at: Comparison, method: str, reference: pd.DataFrame, settings: Settings) -> Rows:
    """Return the rows of one method."""
    table = same_cells(reference, read_sets(at, method), at.metrics(method))
    facts = image_facts(at, table, settings)
    for kind in EMBEDDINGS:
        facts += distance_facts(kind, table, reference, reference, settings)
    return [long_row(at, method, **fact) for fact in facts]


def image_facts(at: Comparison, table: pd.DataFrame, settings: Settings) -> Rows:
    """Return the mean of every image metric with its interval over wells."""
    names = [*IMAGE_METRICS, *PERCEPTUAL_METRICS, *([] if at.clean else [FIDELITY_CLEAN])]
    return [mean_fact(table, name, settings) for name in names]


def mean_fact(table: pd.DataFrame, column: str, settings: Settings) -> dict[str, Any]:
    """Return the mean of a column over cells with its interval over wells, or why there is none."""
    if column not in table.columns:
        reason = NO_NETWORK.get(column, f"measure wrote no column {column}")
        return {"metric": column, "reason": reason}
    kept = table[np.isfinite(table[column].to_numpy(dtype=float))].reset_index(drop=True)
    if kept.empty:
        return {"metric": column, "reason": NO_NETWORK.get(column, "no cell has a finite value")}
    values = kept[column].to_numpy(dtype=float)
    found = bootstrap(
        lambda chosen: float(values[chosen].mean()), kept, n_resamples=settings.n_bootstrap,
        confidence=settings.confidence_level, seed=settings.seed,
    )  # fmt: skip
    return {"metric": column, **estimate_facts(found)}


def distance_facts(
    kind: str,
    table: pd.DataFrame,
    other: pd.DataFrame,
    reference: pd.DataFrame,
    settings: Settings,
) -> list[dict[str, Any]]:
    """Return KD x 1e3 with its interval over wells, and FD where there are images enough.

    The features are standardised per dimension by the HR cells of evaluation, ``reference``: the
    kernel (x.y/d + 1)^3 has no scale of its own, and one large feature would decide it. Those of
    Inception keep their scale, which is the one that KID is defined on.
    """
    kernel_name, frechet_name = DISTANCES[kind]
    here, there = (standardised(part, reference, kind) for part in (table, other))
    if here is None or there is None:
        reason = NO_NETWORK.get(kind, f"measure wrote no features of kind '{kind}'")
        return [{"metric": name, "reason": reason} for name in (kernel_name, frechet_name)]
    unit, labels = replication_unit(table)
    other_unit, other_labels = replication_unit(other)
    kernel = kernel_distance_interval(
        here, there, units_x=labels, units_y=other_labels,
        unit=unit if unit == other_unit else f"{unit} and {other_unit}",
        n_resamples=settings.n_bootstrap, confidence=settings.confidence_level,
        seed=settings.seed,
    )  # fmt: skip
    return [
        {"metric": kernel_name, **estimate_facts(kernel, KD_SCALE)},
        {"metric": frechet_name, **estimate_facts(frechet_distance(here, there))},
    ]


def standardised(table: pd.DataFrame, reference: pd.DataFrame, kind: str) -> np.ndarray | None:
    """Return the features (n, d) of a kind, in units of the sd of ``reference`` around its mean."""
    found, scale = embedding(table, kind), embedding(reference, kind)
    if found is None or scale is None or kind == "inception":
        return found
    return standardise(found, scale)


def floor_rows(at: Comparison, reference: pd.DataFrame, settings: Settings) -> Rows:
    """Return HR against other HR cells: what a perfect method would reach."""
    path = at.features(HIGH_RESOLUTION)
    all_cells = read_table(path, columns=[*KEYS])
    rows = []
    for kind in EMBEDDINGS:
        here, there, note = floor_sets(all_cells, reference, FLOOR_SPLITS[kind], settings.seed)
        for fact in distance_facts(kind, here, there, reference, settings):
            reason = "; ".join(filter(None, (fact.get("reason", ""), note)))
            rows.append(long_row(at, FLOOR, **{**fact, "reason": reason}))
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
    """Return two disjoint sets of HR cells and a note on what they are.

    Evaluation against the first of ``splits`` that has as many cells of every treatment; else the
    two halves of evaluation, by wells where every treatment has two, which are half as many.
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
    wells = reference["plate"].astype(str) + "/" + reference["well"].astype(str)
    units = wells if (wells.groupby(reference["treatment"]).nunique() >= 2).all() else None
    labels = reference["image_id"] if units is None else units
    first = np.zeros(len(reference), dtype=bool)
    for name in sorted(set(reference["treatment"])):
        here = (reference["treatment"] == name).to_numpy()
        known = np.array(sorted(set(labels[here])))
        chosen = stream(seed, str(name), "table1 halves").permutation(known)[: len(known) // 2]
        first |= here & labels.isin(chosen).to_numpy()
    return first


def main(argv: Sequence[str] | None = None) -> None:
    """Write Table 1."""
    parser = Parser(__doc__, Settings, "tables")
    add_inputs(parser)
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    args, settings = parser.parse(argv)
    table = long_table(rows_of(inputs_from(args), settings))
    write_table(args.output_csv, table, written_by="table1")
    print(f"table1: {len(table)} numbers, {args.output_csv}")


if __name__ == "__main__":
    run(main)
