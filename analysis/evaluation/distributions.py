"""Distributions of features, shapes and layouts, generated beside real."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rls.stylegan2.held_out import layout_spread

PERCENTILES = (5, 25, 50, 75, 95)


def percentiles(values: np.ndarray) -> list[float] | None:
    """Return the 5th, 25th, 50th, 75th and 95th percentile of the finite values; None of none."""
    known = values[np.isfinite(values)]
    return [float(x) for x in np.percentile(known, PERCENTILES)] if len(known) else None


def feature_distributions(values: np.ndarray, columns: tuple[str, ...]) -> dict[str, Any]:
    """Return n images, the share that can be measured, and percentiles of features (n, k)."""
    rows = {name: percentiles(values[:, j]) for j, name in enumerate(columns)}
    share = float(np.isfinite(values).any(axis=1).mean())
    return {"n": len(values), "share_measurable": share, "percentiles": rows}


def shape_distributions(shapes: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return by feature n parts, and percentiles over parts of every column but ``image``."""
    return {
        name: {
            "n": len(table),
            **{c: percentiles(table[c].to_numpy(float)) for c in table if c != "image"},
        }
        for name, table in shapes.items()
    }


def layouts(generated: np.ndarray, real: np.ndarray, channels: tuple[str, ...]) -> dict[str, float]:
    """Return by channel the spread of the layouts of generated images over that of real ones."""
    shares = layout_spread(generated) / layout_spread(real)
    return {name: float(share) for name, share in zip(channels, shares, strict=True)}
