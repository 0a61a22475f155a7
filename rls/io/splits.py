"""Say what the cells of each split may be used for, and refuse every other use.

No number of a table may rest on cells that something was fitted, chosen or calibrated on. So every
use of cells stands here with the splits that may serve it. A function that fits, chooses,
calibrates or reports either takes its rows from a table by :func:`rows_for`, or calls :func:`check`
on the splits of the cells that it was given. Cells of any other split end the command.

Source: the article holds out cells for Table 1 to 3 and names no split for choices (section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rls.io.names import CALIBRATION, CLASSIFIER, EVALUATION, GAN, TUNE
from rls.runtime.errors import InputError


@dataclass(frozen=True)
class Use:
    """A use of cells.

    Attributes:
        doing: What is done, as it follows "to", such as ``fit a classifier``.
        splits: The splits whose cells may serve it.
    """

    doing: str
    splits: tuple[str, ...]

    def __str__(self) -> str:
        return " or ".join(self.splits)


TRAIN = Use("train a generator or a network that super-resolves", (GAN,))
PREDICT = Use("fit a regression from low-resolution images to features", (GAN,))
# An assay that trains no generator has no cell of gan, and its scale comes from tune.
SCALE = Use("set the intensity scale", (GAN, TUNE))
CHOOSE = Use("choose a setting, an epoch or a classifier", (TUNE,))
CALIBRATE = Use("calibrate intervals", (CALIBRATION,))
CLASSIFY = Use("fit a classifier", (CLASSIFIER,))
# What LR alone can tell is asked of a classifier that has seen as many cells as super-resolution.
CLASSIFY_ALL = Use("fit a classifier of low-resolution images on all cells", (GAN, CLASSIFIER))
REPORT = Use("report or show results", (EVALUATION,))
# HR cells that results are compared with. The classifier knows its own, so KD on its features does
# not compare with these.
COMPARE = Use("stand for other high-resolution cells", (CLASSIFIER, TUNE))
COMPARE_BY_CLASSIFIER = Use("stand for other cells before a classifier", (TUNE,))
USES = (
    TRAIN,
    PREDICT,
    SCALE,
    CHOOSE,
    CALIBRATE,
    CLASSIFY,
    CLASSIFY_ALL,
    REPORT,
    COMPARE,
    COMPARE_BY_CLASSIFIER,
)


def serves(split: str) -> str:
    """Return what the cells of a split may serve, such as ``choose a setting; ...``."""
    return "; ".join(use.doing for use in USES if split in use.splits)


def check(use: Use, splits: Iterable[str]) -> None:
    """Raise InputError unless all of ``splits`` may serve ``use``; no cell is no error.

    Arguments:
        splits: The split of every cell, or their different splits.
    """
    wrong = sorted({str(split) for split in splits} - set(use.splits))
    if wrong:
        raise InputError(
            f"Found cells of split {' and '.join(wrong)} to {use.doing}, expected split {use} "
            f"alone: a number would rest on cells that it was fitted to. Give other cells."
        )


def rows_for(
    use: Use, table: pd.DataFrame, name: str, *, split: str | None = None, stage: str = ""
) -> np.ndarray:
    """Return the positions of the rows of ``table`` that may serve ``use``, in their order.

    Arguments:
        table: One row per cell, with the column ``split``.
        name: What the table is, such as its path, for messages.
        split: Only the rows of this split of the use.
        stage: The rule that writes the table, for messages.

    Raises:
        InputError: The table has no column ``split`` or no such row, or ``split`` may not serve.
    """
    if split is not None:
        check(use, [split])
    if "split" not in table.columns:
        rule = stage or "that writes it"
        raise InputError(f"The table of {name} has no column 'split'. Run the rule {rule} again.")
    rows = np.flatnonzero(table["split"].isin(use.splits if split is None else (split,)))
    if not len(rows):
        counts = table["split"].value_counts()
        found = ", ".join(f"{counts[one]} of {one}" for one in sorted(counts.index)) or "none"
        wanted = use.splits[0] if split is None else split
        raise InputError(
            f"{name} has no cell of split '{use if split is None else split}' to {use.doing} "
            f"(found: {found}). Give cells to it by select_cells.share_{wanted} and "
            f"cells_{wanted}."
        )
    return rows
