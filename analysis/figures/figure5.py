"""Fig. 5: a feature measured on HR and on every method, both controls, and whether it survived.

One block an assay, factor and feature, lettered: (a) translocation, (b) Golgi where both run.
Boxes: negative control solid, positive control dotted. Beside them the triple: shift kept
(SR over HR difference of medians), within-treatment sd ratio, within-treatment correlation of SR
and HR. An effect size alone can be large with no information per cell, so the three stand
together. The cells one by one are in the figure 'scatter'.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.comparison.layout import Inputs, long_row
from analysis.comparison.measured import estimate_facts
from analysis.drawing.boxes import draw_blocks
from analysis.drawing.command import Rows, figure_main
from analysis.drawing.settings import Settings
from analysis.numbers.agreement import Agreement
from analysis.numbers.statistics import bootstrap
from analysis.tables.features import (
    Block,
    Draws,
    agreements,
    read_block,
    separation_facts,
    triple_facts,
)
from rls.runtime.command import run
from rls.runtime.errors import InputError


def rows_of(block: Block, triples: dict[str, Agreement], draws: Draws) -> Rows:
    """Return every number of a block: distributions, separations, triples."""
    rows: Rows = []
    for method in block.values:
        facts = [*_distribution(block, method, draws), *separation_facts(block, method, draws)]
        if method in triples:
            facts += triple_facts(triples[method])
        rows += [long_row(block.at, method, **fact) for fact in facts]
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
