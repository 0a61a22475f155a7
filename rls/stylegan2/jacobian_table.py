"""Summarise a table of path lengths, step lengths and determinants, as ``path_lengths`` writes it.

This module needs no torch.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def by_style(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Return the values of a quantity, one row per style and one column per draw.

    Styles without a value are left out.
    """
    part = table[table["quantity"] == quantity]
    return part.pivot(index="style", columns="draw", values="value").dropna()


def variation(values: np.ndarray) -> tuple[float, float]:
    """Return the coefficients of variation of all draws and of the styles alone.

    The second leaves out the spread of y or u at one w (one-way analysis of variance): what remains
    is how J changes over w. It is 0 where styles differ by less than their draws explain.

    Arguments:
        values: (styles, draws).
    """
    n_draws = values.shape[1]
    within = values.var(axis=1, ddof=1).mean() / n_draws if n_draws > 1 else 0.0
    between = max(values.mean(axis=1).var(ddof=1) - within, 0.0)
    return float(values.std(ddof=1) / values.mean()), float(np.sqrt(between) / values.mean())


def summary(table: pd.DataFrame) -> str:
    """Return a summary of the table in a few lines."""
    lines = []
    for quantity in table["quantity"].unique():
        values = by_style(table, quantity).to_numpy()
        if not len(values):
            text = "no style has a value"
        elif quantity in ("path_length", "step_length"):
            every, styles = variation(values)
            text = f"mean {values.mean():.4g}, coefficient of variation {every:.3f}, "
            text += f"over styles alone {styles:.3f}"
        elif quantity == "condition_number":
            text = f"median {np.median(values):.4g}"
        else:
            sd = values.std(ddof=min(1, len(values) - 1))
            text = f"mean {values.mean():.1f}, sd {sd:.1f} nats"
        lines.append(f"path_lengths: {quantity}: {text} (n = {len(values)} styles)")
    return "\n".join(lines)
