"""The names that people read in tables and figures: methods and the columns of features."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rls.io.names import (
    AMORTISED,
    BICUBIC,
    HIGH_RESOLUTION,
    LOW_RESOLUTION,
    LOW_RESOLUTION_ALL_CELLS,
    REGRESSION,
)

LABELS: Mapping[str, str] = MappingProxyType(
    {
        HIGH_RESOLUTION: "HR",
        LOW_RESOLUTION: "LR",
        LOW_RESOLUTION_ALL_CELLS: "LR, all cells",
        BICUBIC: "Bicubic",
        "rls": "RLS",
        "rls_encoder": "RLS, encoder",
        "encoder": "Encoder",
        "rls_mean": "RLS, draws",
        "rls_unregularized": "w/o Regu.",
        "rls_without_prior": "w/o P_w",
        "rls_without_cross": "w/o P_cross",
        "rls_released_code": "RLS (code)",
        "rls_true_forward": "RLS, true D",
        "rls_bicubic_forward": "RLS, bicubic D",
        "rls_l2": "RLS, L2",
        "rls_published": "RLS, published",
        "rls_tuned": "RLS, tuned",
        "pulse": "PULSE",
        "pulse_tuned": "PULSE, tuned",
        "brgm": "BRGM",
        "brgm_no_perceptual": "BRGM (L2)",
        "brgm_tuned": "BRGM (L2), tuned",
        "pix2pix": "Pix2Pix",
        "unet_l1": "U-Net L1",
        "robust_unsupervised": "Robust Uns.",
        "robust_tuned": "Robust Uns., tuned",
        AMORTISED: "Regression on G",
        REGRESSION: "Regression",
    }
)
# End of a column's name -> unit; a longer ending stands before one that it contains.
UNITS = {"_um2": "µm²", "_px2": "px²", "_um": "µm", "_px": "px", "_counts": "counts"}


def method_label(method: str, n_solutions: int = 1) -> str:
    """Return the name of a method in figures and tables; a new one keeps its configured name.

    Arguments:
        n_solutions: Solutions of a cell over which the numbers beside the name are means.
    """
    name = LABELS.get(method, method.replace("_", " "))
    return f"{name} (mean of {n_solutions})" if n_solutions > 1 else name


def feature_label(column: str) -> str:
    """Return a column's name as an axis label: 'mean_spot_area_um2' as 'mean spot area (µm²)'."""
    unit = unit_of(column)
    if not unit:
        return column.replace("_", " ")
    suffix = next(s for s, u in UNITS.items() if u == unit)
    return f"{column.removesuffix(suffix).replace('_', ' ')} ({unit})"


def unit_of(column: str) -> str:
    """Return the unit that a column's name ends in, such as 'µm²'; '' where it has none."""
    return next((unit for suffix, unit in UNITS.items() if column.endswith(suffix)), "")
