"""Fig. 5: a feature measured on HR and on every method, both controls, and whether it survived.

Boxes: negative control solid, positive control dotted. Beside them the triple: shift kept
(SR over HR difference of medians), within-treatment sd ratio, within-treatment correlation of SR
and HR; below, HR against SR per cell. An effect size alone can be large with no information
per cell, so the three stand together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.boxes import Block, draw_blocks
from analysis.figures.command import Rows, figure_main
from analysis.figures.settings import Settings
from analysis.statistics import (
    Agreement,
    Estimate,
    agreement,
    auc_interval,
    bootstrap,
    cohens_d,
    ssmd,
    well_values,
    z_prime,
)
from analysis.tables.layout import HIGH_RESOLUTION, Comparison, Inputs, long_row
from analysis.tables.measured import estimate_facts, feature_column, read_evaluation, same_cells
from rls.command import run
from rls.errors import InputError


@dataclass(frozen=True)
class Draws:
    """What every interval needs."""

    n_resamples: int
    confidence: float
    seed: int

    def keywords(self) -> dict[str, float]:
        """As the keyword arguments of :mod:`analysis.statistics`."""
        return {
            "n_resamples": self.n_resamples, "confidence": self.confidence, "seed": self.seed,
        }  # fmt: skip


def controls_of(at: Comparison) -> tuple[str, str]:
    """Return negative and positive control.

    Raises:
        InputError: The assay names only one.
    """
    if len(at.assay.treatments) != 2:
        raise InputError(
            f"Fig. 5 compares a negative with a positive control; assay '{at.assay.name}' names "
            f"{len(at.assay.treatments)}. Leave it out of --assay, or name both."
        )
    return at.assay.treatments[0], at.assay.treatments[1]


def read_block(at: Comparison, feature: str, methods: Sequence[str]) -> Block:
    """Return one feature of HR and every method, on the same evaluation cells of the controls."""
    controls = controls_of(at)
    path = at.features(HIGH_RESOLUTION)
    reference = read_evaluation(path)
    reference = reference[reference["treatment"].isin(controls)].reset_index(drop=True)
    column = feature_column(reference, feature, path)
    values = {HIGH_RESOLUTION: reference[column].to_numpy(dtype=float)}
    for method in methods:
        if method == HIGH_RESOLUTION:
            continue
        table = read_evaluation(at.features(method), columns=[column])
        table = table[table["treatment"].isin(controls)]
        table = same_cells(reference, table, at.features(method))
        values[method] = table[column].to_numpy(dtype=float)
    keys = reference[["image_id", "plate", "well", "site", "treatment"]]
    return Block(at, column, controls, keys, values)


def pairs_of(block: Block, method: str) -> pd.DataFrame:
    """Return one row a cell with its HR and its SR value."""
    return block.cells.assign(
        high_resolution=block.values[HIGH_RESOLUTION], super_resolution=block.values[method]
    )


def agreements(block: Block, draws: Draws) -> dict[str, Agreement]:
    """Return the triple of every method."""
    negative, positive = block.controls
    return {
        method: agreement(
            pairs_of(block, method),
            negative_control=negative,
            positive_control=positive,
            **draws.keywords(),
        )
        for method in block.values
        if method != HIGH_RESOLUTION
    }


def rows_of(block: Block, triples: dict[str, Agreement], draws: Draws) -> Rows:
    """Return every number of a block: distributions, separations, triples."""
    rows = []
    for method in block.values:
        for facts in (*_distribution(block, method, draws), *_separation(block, method, draws)):
            rows.append(long_row(block.at, method, **facts))
        if method in triples:
            for name in ("shift_kept", "sd_ratio", "correlation"):
                found: Estimate = getattr(triples[method], name)
                metric = "correlation_within_treatment" if name == "correlation" else name
                rows.append(long_row(block.at, method, metric, **estimate_facts(found)))
    return [{**row, "feature": block.column} for row in rows]


def _distribution(block: Block, method: str, draws: Draws) -> Rows:
    values = block.values[method]
    table = block.cells[np.isfinite(values)].reset_index(drop=True)
    finite = values[np.isfinite(values)]
    rows: Rows = []
    for treatment in block.controls:
        all_cells = int((block.cells["treatment"] == treatment).sum())
        here = (table["treatment"] == treatment).to_numpy()
        facts = {"treatment": treatment, "unit": "cell", "n": int(here.sum())}
        share = here.sum() / all_cells
        rows.append({**facts, "metric": "measured_share", "value": share, "n": all_cells})
        if not here.any():
            reason = "no cell of this treatment could be measured"
            rows.append({**facts, "metric": "median", "reason": reason})
            continue

        def median(chosen: np.ndarray, here: np.ndarray = here) -> float:
            return float(np.median(finite[chosen][here[chosen]]))

        found = bootstrap(median, table, **draws.keywords())
        rows.append({"metric": "median", "treatment": treatment, **estimate_facts(found)})
        wells = table[here].groupby(["plate", "well"]).ngroups
        rows.append({**facts, "metric": "n_wells", "value": wells, "unit": "well", "n": wells})
        for metric, quantile in (("quartile_1", 25), ("quartile_3", 75)):
            value = float(np.percentile(finite[here], quantile))
            rows.append({**facts, "metric": metric, "value": value})
        rows.append({**facts, "metric": "sd", "value": float(finite[here].std())})
    return rows


def _separation(block: Block, method: str, draws: Draws) -> Rows:
    negative, positive = block.controls
    table = block.cells.assign(value=block.values[method])
    table = table[np.isfinite(table["value"])].reset_index(drop=True)
    sides = [table[table["treatment"] == name] for name in block.controls]
    if min(map(len, sides)) == 0:
        return [{"metric": "auc", "reason": "a control has no measured cell", "unit": "cell"}]
    effect = cohens_d(*(side["value"].to_numpy() for side in sides))
    area = auc_interval(
        table, "value", negative_control=negative, positive_control=positive, **draws.keywords()
    )
    wells = [well_values(side, "value") for side in sides]
    return [
        {"metric": "cohens_d", "value": effect, "n": len(table), "unit": "cell"},
        {"metric": "auc", **estimate_facts(area)},
        {"metric": "ssmd", **estimate_facts(ssmd(*wells))},
        {"metric": "z_prime", **estimate_facts(z_prime(*wells))},
    ]


def draw(inputs: Inputs, settings: Settings) -> tuple[Figure, Rows]:
    """Return the figure and its numbers, one block an assay, factor, degradation and feature."""
    draws = Draws(settings.n_bootstrap, settings.confidence_level, settings.seed)
    blocks, rows = [], []
    for at in inputs.comparisons():
        for feature in at.assay.features:
            block = read_block(at, feature, at.methods)
            triples = agreements(block, draws)
            rows += rows_of(block, triples, draws)
            blocks.append((block, triples))
    if not blocks:
        raise InputError("None of the assays names a feature. Add 'features' to one of them.")
    return draw_blocks(blocks), rows


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 5."""
    figure_main(__doc__, draw, "figure5", argv)


if __name__ == "__main__":
    run(main)
