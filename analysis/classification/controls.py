"""The cells of the two controls, split by split, with their images, labels and features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rls.io import Intensity, Stack
from rls.io.splits import CHOOSE, CLASSIFY, REPORT, Use, check, rows_for
from rls.runtime.errors import InputError

KEPT = ("image_id", "plate", "well", "site", "treatment", "split")


@dataclass(frozen=True)
class Cells:
    """Cells of the two controls.

    Attributes:
        table: n rows with the columns ``KEPT``.
        unit: (n, c, y, x) in unit intensity.
        labels: (n,), 0 for the negative and 1 for the positive control.
        features: (n, d), NaN where not measured.
    """

    table: pd.DataFrame
    unit: np.ndarray
    labels: np.ndarray
    features: np.ndarray

    def of(self, use: Use) -> Cells:
        """Return the cells that may serve ``use``.

        Raises:
            InputError: There is none.
        """
        rows = rows_for(use, self.table, "The table of the controls")
        table = self.table.iloc[rows].reset_index(drop=True)
        return Cells(table, self.unit[rows], self.labels[rows], self.features[rows])


@dataclass(frozen=True)
class Parts:
    """The cells that classifiers are fitted on, chosen on and judged on.

    Attributes:
        use: What the training cells serve.

    Raises:
        InputError: Cells are of a split that must not serve so.
    """

    training: Cells
    tune: Cells
    evaluation: Cells
    use: Use = CLASSIFY

    def __post_init__(self) -> None:
        for use, cells in zip((self.use, CHOOSE, REPORT), self.in_order, strict=True):
            check(use, cells.table["split"])

    @property
    def in_order(self) -> tuple[Cells, Cells, Cells]:
        """Return training, tune and evaluation."""
        return self.training, self.tune, self.evaluation


def cells_of(
    stack: Stack,
    intensity: Intensity,
    controls: tuple[str, str],
    features: pd.DataFrame | None,
    columns: Sequence[str],
) -> Cells:
    """Return the cells of the two controls in ``stack``.

    Arguments:
        controls: The treatments of class 0 and of class 1.
        features: A table of features of these images; None leaves the features NaN.
        columns: The columns of ``features`` that the classifiers use.

    Raises:
        InputError: A column is missing, or the features are of other images.
    """
    missing = [name for name in KEPT if name not in stack.table]
    if missing:
        raise InputError(
            f"The table of the stack lacks the column{'s' * (len(missing) > 1)} "
            f"{', '.join(missing)}. Run the rule that writes the stack again."
        )
    here = stack.table["treatment"].isin(controls).to_numpy()
    table = stack.table.loc[here, list(KEPT)].reset_index(drop=True)
    values = np.full((len(table), len(columns)), np.nan)
    if features is not None:
        rows = pd.Index(features["image_id"]).get_indexer(pd.Index(table["image_id"]))
        lost = table["image_id"].to_numpy()[rows < 0]
        if len(lost):
            raise InputError(
                f"{len(lost)} images have no row in the table of features (first: {lost[0]}): it "
                f"was measured on other cells. Run the rule measure again."
            )
        values = features[list(columns)].to_numpy(dtype=float)[rows]
    labels = (table["treatment"] == controls[1]).to_numpy().astype(int)
    return Cells(table, intensity.to_unit(stack.images[here]), labels, values)


def check_splits(
    cells: Cells, path: Path, uses: Sequence[Use] = (CLASSIFY, CHOOSE, REPORT)
) -> None:
    """Raise InputError unless both controls have cells for every one of ``uses``."""
    for use in uses:
        counts = np.bincount(cells.of(use).labels, minlength=2)
        if counts.min() == 0:
            raise InputError(
                f"The split '{use}' of {path} has {counts[0]} cells of the negative and "
                f"{counts[1]} of the positive control; both are needed. Give cells to the split "
                f"in the section select_cells."
            )


def check_same_cells(
    own: pd.DataFrame, reference: pd.DataFrame, paths: tuple[Path, Path], stage: str
) -> None:
    """Check that two tables hold the same evaluation cells.

    Arguments:
        paths: The stacks of ``own`` and of ``reference``.
        stage: The rule from which the workflow must run again if the cells differ.

    Raises:
        InputError: The cells differ.
    """
    different = set(own["image_id"]) ^ set(reference["image_id"])
    if different:
        raise InputError(
            f"{paths[0]} and {paths[1]} differ in {len(different)} evaluation cells "
            f"(first: {sorted(different)[0]}). Run the stages from {stage} on again."
        )
