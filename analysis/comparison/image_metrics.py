"""The image metrics of Table 1 by their names, and their means over cells."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.comparison.long_table import Row, estimate_facts
from analysis.comparison.settings import IntervalSettings
from analysis.numbers.statistics import Estimate, jackknife

# Columns of {method}.metrics.parquet, one value a cell.
FIDELITY = "fidelity_l1"
IMAGE_METRICS = ("ms_ssim", "psnr_db", FIDELITY)
LPIPS = "lpips_vgg16"  # the one that figures show
PERCEPTUAL_METRICS = (LPIPS, "lpips_alexnet")
# Shown only where LR is degraded: on clean LR it equals FIDELITY.
FIDELITY_CLEAN = "fidelity_clean_l1"
# Scale of their intervals where a mean cannot leave a range; see SCALES of statistics.
KINDS = {"ms_ssim": "share"} | dict.fromkeys(
    (FIDELITY, FIDELITY_CLEAN, *PERCEPTUAL_METRICS), "size"
)
# Kernel distance on features that know nothing of treatments.
KERNEL_DISTANCE = "kernel_distance_random_x1000"
FLOOR = "high_resolution_floor"  # the row that compares HR with other HR cells
NO_NETWORK = {
    "classifier": "no cell is given to split classifier, so none is trained",
    "inception": "no file of Inception weights is named in the block weights",
    "vgg16": "no weights of VGG16 as safetensors: run make weights",
    LPIPS: "no weights of VGG16: run make weights, or name a file in the block weights",
    "lpips_alexnet": "no weights of AlexNet: run make weights",
}


def mean_of_cells(
    values: np.ndarray, cells: pd.DataFrame, settings: IntervalSettings, kind: str = "number"
) -> Estimate:
    """Return the mean of the finite values, (n,), with its interval over wells.

    Arguments:
        cells: One row per value, with plate, well, site and treatment.
        kind: Scale of the interval, see :data:`analysis.numbers.statistics.SCALES`.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return Estimate.empty("no cell has a finite value")
    kept = values[finite]
    return jackknife(
        lambda rows: float(kept[rows].mean()),
        cells[finite].reset_index(drop=True),
        confidence=settings.confidence_level,
        kind=kind,
    )


def mean_fact(table: pd.DataFrame, column: str, settings: IntervalSettings) -> Row:
    """Return the mean of a column with its interval over wells, or why there is none."""
    if column not in table.columns:
        reason = NO_NETWORK.get(column, f"measure wrote no column {column}")
        return {"metric": column, "reason": reason}
    values, kind = table[column].to_numpy(dtype=float), KINDS.get(column, "number")
    found = mean_of_cells(values, table, settings, kind)
    if np.isnan(found.value):
        return {"metric": column, "reason": NO_NETWORK.get(column, found.reason)}
    return {"metric": column, **estimate_facts(found)}
