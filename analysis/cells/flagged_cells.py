"""Count the quality flags of an assay, and draw examples of each for the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.cells.quality import FLAGS
from rls.runtime.streams import stream_seed

EXAMPLES = 10  # of each flag, and of cells without one
UNFLAGGED = "none"


def count_flags(cells: pd.DataFrame, excluded: Sequence[str]) -> pd.DataFrame:
    """Return one row a treatment and flag: ``n_flagged`` of ``n_cells``, and whether it excludes.

    A cell with several flags counts in each; ``none`` counts cells without any.
    """
    rows = []
    for treatment, part in cells.groupby("treatment", sort=True):
        for name in (*FLAGS, UNFLAGGED):
            hit = ~part[list(FLAGS)].any(axis=1) if name == UNFLAGGED else part[name]
            rows.append((treatment, name, int(hit.sum()), len(part), name in excluded))
    return pd.DataFrame(rows, columns=["treatment", "flag", "n_flagged", "n_cells", "excludes"])


def draw_examples(cells: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return rows of ``cells``, at most :data:`EXAMPLES` a flag, with ``shown_for``: the flag.

    The rarest flag chooses first, and no cell is shown twice. Drawn by a hash of the id.
    """
    order = [stream_seed(seed, key, "flagged_cells") for key in cells["image_id"]]
    left = cells.iloc[np.argsort(order)]
    taken = []
    for name in sorted(FLAGS, key=lambda flag: int(cells[flag].sum())):
        some = left[left[name]].head(EXAMPLES)
        taken.append(some.assign(shown_for=name))
        left = left.drop(some.index)
    clean = left[~left[list(FLAGS)].any(axis=1)].head(EXAMPLES)
    taken.append(clean.assign(shown_for=UNFLAGGED))
    return pd.concat(taken, ignore_index=True)
