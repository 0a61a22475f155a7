"""Count the quality flags of an assay, and draw examples of each for the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.cells.quality_settings import FLAGS
from rls.runtime.streams import stream_seed

EXAMPLES = 10  # Cells shown for each flag, and for cells without a flag.
UNFLAGGED = "none"


def count_flags(cells: pd.DataFrame, excluded: Sequence[str]) -> pd.DataFrame:
    """Return one row per treatment and flag: ``n_flagged`` of ``n_cells``, and ``excludes``."""
    # A cell with several flags counts in each; the row ``none`` counts cells without any.
    # A cell with several flags counts in each; the row ``none`` counts cells without any.
    rows = []
    for treatment, part in cells.groupby("treatment", sort=True):
        for name in (*FLAGS, UNFLAGGED):
            hit = ~part[list(FLAGS)].any(axis=1) if name == UNFLAGGED else part[name]
            rows.append((treatment, name, int(hit.sum()), len(part), name in excluded))
    return pd.DataFrame(rows, columns=["treatment", "flag", "n_flagged", "n_cells", "excludes"])


def draw_examples(cells: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return at most :data:`EXAMPLES` rows of ``cells`` a flag, with the flag as ``shown_for``.

    The draw is by a hash of the id. The rarest flag chooses first, and no cell is shown twice.
    """
    order = [stream_seed(seed, key, "flagged_cells") for key in cells["image_id"]]
    left = cells.iloc[np.argsort(order)]
    taken = []
    counts = cells[list(FLAGS)].sum()
    for name in sorted(FLAGS, key=counts.__getitem__):
        some = left[left[name]].head(EXAMPLES)
        taken.append(some.assign(shown_for=name))
        left = left.drop(some.index)
    clean = left[~left[list(FLAGS)].any(axis=1)].head(EXAMPLES)
    taken.append(clean.assign(shown_for=UNFLAGGED))
    return pd.concat(taken, ignore_index=True)
