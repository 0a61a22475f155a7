"""Measure the assay's features on a stack of solutions, several for each image."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.features.settings import Measurement
from analysis.measuring.columns import KEPT
from analysis.measuring.tables import features_of_stack
from rls.io import Intensity, Stack
from rls.runtime.errors import InputError

OF_SOLUTIONS = ("source_image_id", "solution", "n_solutions", "method", "kind")
LOSSES = ("loss_total", "loss_fidelity", "sigma_mean", "search_status")


def check_solutions(stack: Stack, path: Path) -> None:
    """Check that a stack is one of solutions, and that every image has all of them.

    Raises:
        InputError: A column is missing, or an image has too few or too many solutions.
    """
    missing = [name for name in (*OF_SOLUTIONS, "split") if name not in stack.table]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}: it holds no solutions. Give a stack written by "
            f"sample_solutions."
        )
    counts = stack.table.groupby("source_image_id").size()
    wanted = int(stack.table["n_solutions"].iloc[0])
    if (counts != wanted).any():
        raise InputError(
            f"{path} has {counts[counts != wanted].iloc[0]} solutions of "
            f"{counts.index[counts != wanted][0]}, expected {wanted}. Run sample_solutions again."
        )


def solution_table(
    stack: Stack, intensity: Intensity, measurement: Measurement, label: str
) -> pd.DataFrame:
    """Return the features of every solution, beside its keys and losses."""
    features = features_of_stack(stack, intensity, measurement, label)
    kept = [name for name in (*KEPT, *OF_SOLUTIONS, *LOSSES) if name in stack.table]
    return pd.concat([stack.table[kept], features], axis=1)
