"""The numbers of one method under one condition, as Fig. 6 and 7 set them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.layout import HIGH_RESOLUTION, Comparison, long_row
from analysis.comparison.measured import KEYS, estimate_facts, read_evaluation, same_cells
from analysis.comparison.settings import Settings as TableSettings
from analysis.drawing.command import Rows
from analysis.drawing.settings import Settings
from analysis.figures.figure5 import Draws, agreements, read_block
from analysis.tables import table1
from rls.io import read_table, read_weights, table_path

KERNEL_DISTANCE = "kernel_distance_random_x1000"
PAIR_DISTANCE = "mean_pair_distance"
LOG_PRIOR = "log_prior"
TRIPLE = {
    "shift_kept": "shift_kept", "sd_ratio": "sd_ratio",
    "correlation": "correlation_within_treatment",
}  # fmt: skip
NO_STYLES = "the method has no styles"


@dataclass(frozen=True)
class Found:
    """A number of one method: ``value`` is NaN where ``reason`` says why."""

    value: float
    low: float
    high: float
    reason: str


def condition_rows(
    at: Comparison,
    methods: Sequence[str],
    columns: Sequence[str],
    settings: Settings,
    *,
    searched: bool = False,
) -> Rows:
    """Return KD, the means of ``columns`` and the features kept, one row a method and number.

    Arguments:
        columns: Image metrics, such as ``psnr_db``.
        searched: Whether the log prior and the pair distance of the styles are wanted, too.
    """
    drawn = TableSettings(settings.n_bootstrap, settings.confidence_level, settings.seed)
    reference = table1.read_sets(at, HIGH_RESOLUTION)
    rows: Rows = []
    for method in methods:
        table = same_cells(reference, table1.read_sets(at, method), at.metrics(method))
        facts = [table1.mean_fact(table, column, drawn) for column in columns]
        facts.append(table1.distance_facts("random", table, reference, reference, drawn)[0])
        if searched:
            styles = same_cells(reference, read_styles(at, method), at.stack(method))
            styles = pd.concat([reference[list(KEYS)], styles[[LOG_PRIOR, PAIR_DISTANCE]]], axis=1)
            for name in (LOG_PRIOR, PAIR_DISTANCE):
                fact = table1.mean_fact(styles, name, drawn)
                if np.isnan(fact.get("value", np.nan)):
                    fact["reason"] = NO_STYLES
                facts.append(fact)
        rows += [{**long_row(at, method, **fact), "feature": ""} for fact in facts]
    return rows + kept_rows(at, methods, settings)


def kept_rows(at: Comparison, methods: Sequence[str], settings: Settings) -> Rows:
    """Return shift kept, sd ratio and within-treatment correlation of every feature."""
    draws = Draws(settings.n_bootstrap, settings.confidence_level, settings.seed)
    rows: Rows = []
    for feature in at.assay.features if len(at.assay.treatments) == 2 else ():
        block = read_block(at, feature, methods)
        for method, triple in agreements(block, draws).items():
            for name, metric in TRIPLE.items():
                fact = estimate_facts(getattr(triple, name))
                rows.append({**long_row(at, method, metric, **fact), "feature": block.column})
    return rows


def read_styles(at: Comparison, method: str) -> pd.DataFrame:
    """Return per image the log prior and the mean distance of its styles, NaN without styles."""
    import torch  # takes seconds, and only this needs it

    from rls.search.objective import mean_distance
    from rls.search.results import latents_path

    table = read_table(table_path(at.stack(method)), columns=["image_id"])
    if LOG_PRIOR not in table.columns:
        table = table.assign(**{LOG_PRIOR: np.nan})
    tensors, header = read_weights(latents_path(at.stack(method)), kind="latents")
    styles = tensors["w"].float()
    found = np.full(len(styles), np.nan)
    if styles.ndim == 3 and styles.shape[1] > 1:
        with torch.no_grad():
            found = mean_distance(styles).numpy()
    distance = pd.Series(found, index=header["image_ids"])
    return table.assign(**{PAIR_DISTANCE: distance.loc[table["image_id"]].to_numpy()})


def floor_rows(at: Comparison, settings: Settings) -> Rows:
    """Return KD of HR against other HR cells: what a perfect method would reach."""
    drawn = TableSettings(settings.n_bootstrap, settings.confidence_level, settings.seed)
    reference = table1.read_sets(at, HIGH_RESOLUTION)
    everything = read_table(at.features(HIGH_RESOLUTION), columns=[*KEYS])
    splits = table1.FLOOR_SPLITS["random"]
    here, there, note = table1.floor_sets(everything, reference, splits, settings.seed)
    fact = table1.distance_facts("random", here, there, reference, drawn)[0]
    fact["reason"] = "; ".join(filter(None, (str(fact["reason"]), note)))
    return [{**long_row(at, table1.FLOOR, **fact), "feature": ""}]


def mean_row(at: Comparison, method: str, column: str, settings: Settings) -> Mapping[str, Any]:
    """Return the mean of one image metric of a method."""
    drawn = TableSettings(settings.n_bootstrap, settings.confidence_level, settings.seed)
    fact = table1.mean_fact(read_evaluation(at.metrics(method), columns=[column]), column, drawn)
    return {**long_row(at, method, **fact), "feature": ""}


def lookup(rows: Rows, degradation: str, method: str, metric: str, feature: str = "") -> Found:
    """Return one number of the rows of an assay and factor."""
    for row in rows:
        key = (row["degradation"], row["method"], row["metric"], row["feature"])
        if key == (degradation, method, metric, feature):
            return Found(*(float(row[name]) for name in ("value", "low", "high")), row["reason"])
    return Found(float("nan"), float("nan"), float("nan"), "not measured")
