"""What the encoders and regressions of a run learnt from generated pairs, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.comparison.labels import feature_label
from analysis.report import html
from rls.io import read_weights
from rls.io.names import AMORTISED
from rls.search.forward_model import ForwardModel

FEATURES_SHOWN = 3
NOTE = (
    "An encoder gives searches their start, and a regression predicts features from LR. Both are "
    "trained on images of the generator alone. The last column is measured on held-out generated "
    "pairs: it says how much LR tells about a style or a feature, and nothing about real cells."
)


def section(paths: Sequence[Path]) -> str:
    """Return a table of the networks, one row each, with what it says; empty without a network."""
    if not paths:
        return ""
    title = html.heading("Networks trained on generated pairs", "generated-pairs", 3)
    rows = [row(path, read_weights(path)[1]) for path in paths]
    return (
        title
        + html.table(pd.DataFrame(rows), numbers=["pairs", "epoch kept"])
        + html.paragraph(NOTE, "note")
    )


def row(path: Path, header: Mapping[str, Any]) -> dict[str, str]:
    """Return a row of the table."""
    regression = header["kind"] == AMORTISED
    chain = [one if isinstance(one, str) else f"{one[0]}:{one[1]:g}" for one in header["chain"]]
    made = [ForwardModel.from_text(str(header["forward"])).describe(), *chain]
    settings = header["settings"]
    return {
        "network": "regression" if regression else "encoder",
        "file": str(path),
        "LR made by": ", ".join(made),
        "pairs": f"{settings['n_pairs']:,}",
        "epoch kept": f"{header['best_epoch']} of {settings['epochs']}",
        "on held-out pairs": f"{_learnt(header)} (n = {settings['n_held_out']:,})",
    }


def _learnt(header: Mapping[str, Any]) -> str:
    if header["kind"] != AMORTISED:
        share = 100 * header["explained_variance"]
        return f"the mean explains {share:.0f} % of the variance of styles"
    named = [(feature_label(k), v) for k, v in header["r_held_out"].items() if v is not None]
    said = ", ".join(f"{name} r {r:.2f}" for name, r in named[:FEATURES_SHOWN])
    more = len(named) - FEATURES_SHOWN
    return f"{said} and {more} more" if more > 0 else said or "no feature varies"
