"""The figure of path lengths: histograms of step lengths and of the term that Eq. 2 drops."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.comparison.long_table import Row, Rows
from analysis.drawing.settings import Settings
from analysis.drawing.style import DOUBLE_COLUMN, MM, Look, in_style, label_panel, new_figure
from rls.io import read_table
from rls.runtime.errors import InputError
from rls.runtime.streams import stream
from rls.stylegan2.jacobian_table import by_style, variation

Statistic = Callable[[np.ndarray], Any]  # takes values (styles, draws), returns a number
OF_LENGTHS: Mapping[str, Statistic] = {
    "mean": np.mean,
    "cv_all_draws": lambda values: variation(values)[0],
    "cv_over_styles": lambda values: variation(values)[1],
}
OF_TERMS: Mapping[str, Statistic] = {"mean": np.mean, "sd": lambda values: values.std(ddof=1)}
STATISTICS: Mapping[str, Mapping[str, Statistic]] = {
    "path_length": OF_LENGTHS,
    "step_length": OF_LENGTHS,
    "half_log_det": OF_TERMS,
    "log_p_flow": OF_TERMS,
    "condition_number": {"median": np.median},
}
# Okabe and Ito's colours, the two strongest first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BINS = 40
LEGEND_WIDTH = 48  # characters of a line, so that the title of an assay stays inside its panel


def read_lengths(tables: Sequence[Path], labels: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the tables by label.

    Raises:
        InputError: There is not one label per table, or a table has no step length.
    """
    if len(labels) != len(tables) or len(set(labels)) != len(labels):
        raise InputError(
            f"Found {len(tables)} tables and the labels {', '.join(labels)}, expected one label a "
            "table, all different. Give --labels again."
        )
    if len(tables) > len(COLOURS):
        raise InputError(
            f"Found {len(tables)} tables, expected at most {len(COLOURS)}. Give fewer."
        )
    found = {}
    for label, path in zip(labels, tables, strict=True):
        table = read_table(path, columns=["quantity", "style", "draw", "value", "unit"])
        if "step_length" not in set(table["quantity"]):
            raise InputError(
                f"Found no step_length in {path}, expected one. Run path_lengths again."
            )
        found[label] = table
    return found


def numbers_of(tables: Mapping[str, pd.DataFrame], settings: Settings) -> Rows:
    """Return every number of the figure, with intervals by a bootstrap over styles."""
    rows: Rows = []
    for label, table in tables.items():
        for quantity in table["quantity"].unique():
            values = by_style(table, quantity).to_numpy()
            for metric, function in STATISTICS[quantity].items():
                found = _row(metric, function, values, settings)
                rows.append({"generator": label, "quantity": quantity, **found})
        terms = [by_style(table, name) for name in ("half_log_det", "log_p_flow")]
        if not any(term.empty for term in terms):
            both = pd.concat(terms, axis=1, join="inner").to_numpy()  # (styles, 2)
            at = {"generator": label, "quantity": "half_log_det and log_p_flow"}
            rows.append({**at, **_row("correlation", _correlation, both, settings)})
    return rows


def _correlation(values: np.ndarray) -> float:
    return float(np.corrcoef(values.T)[0, 1])


def _row(metric: str, function: Statistic, values: np.ndarray, settings: Settings) -> Row:
    facts = {"metric": metric, "n": len(values), "unit_of_replication": "style"}
    if len(values) < 2:
        reason = "fewer than two styles have a value"
        return {**facts, "value": np.nan, "low": np.nan, "high": np.nan, "reason": reason}
    random = stream(settings.seed, metric, "path_lengths bootstrap")
    chosen = random.integers(len(values), size=(settings.n_bootstrap, len(values)))
    drawn = [function(values[rows]) for rows in chosen]
    tail = 50 * (1 - settings.confidence_level)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    value = float(function(values))
    return {**facts, "value": value, "low": float(low), "high": float(high), "reason": ""}


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Return the figure: step lengths over their mean, and the centred determinant term."""
    with in_style():
        figure = new_figure(DOUBLE_COLUMN, 66 * MM)
        steps, terms = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.06, right=0.985, top=0.90, bottom=0.16, wspace=0.18)
        for axes, draw_panel, label in ((steps, draw_steps, "a"), (terms, draw_terms, "b")):
            draw_panel(axes, tables)
            label_panel(axes, label)
    return figure


def draw_steps(axes: Axes, tables: Mapping[str, pd.DataFrame]) -> None:
    """Draw histograms of |J u| over its mean."""
    relative = {}
    for label, table in tables.items():
        values = by_style(table, "step_length").to_numpy()
        every, styles = variation(values)
        text = f"{label}: CV {every:.2f}"
        text += f", over styles alone {styles:.2f}" if values.shape[1] > 1 else ""
        relative[text] = values.ravel() / values.mean()
    edges = np.linspace(0, max(np.quantile(v, 0.995) for v in relative.values()) * 1.05, BINS)
    for colour, (text, values) in zip(COLOURS, relative.items(), strict=False):
        _histogram(axes, values, edges, colour, text)
    axes.axvline(1.0, color="black", linestyle=":", linewidth=0.8, zorder=0)
    axes.set_xlabel("|J u| over its mean, u a random unit step in W")
    _finish(axes)


def draw_terms(axes: Axes, tables: Mapping[str, pd.DataFrame]) -> None:
    """Draw histograms of 1/2 log det J^T J and of log p_F(w), each less its mean."""
    curves = []
    for colour, (label, table) in zip(COLOURS, tables.items(), strict=False):
        for quantity, name, line in (
            ("half_log_det", "½ log det JᵀJ", "-"),
            ("log_p_flow", "log p_F(w)", "--"),
        ):
            values = by_style(table, quantity).to_numpy().ravel()
            if len(values) > 1:
                text = f"{label}: {name}, sd {values.std(ddof=1):.1f}, n {len(values)}"
                curves.append((values - values.mean(), colour, text, line))
    axes.set_xlabel("minus its mean (nats)")
    if not curves:
        axes.text(0.5, 0.5, "no Jacobian was computed", transform=axes.transAxes, ha="center")
        axes.set_yticks([])
        return
    reach = max(np.quantile(np.abs(values), 0.99) for values, *_ in curves) * 1.1
    edges = np.linspace(-reach, reach, BINS // 2)
    for values, colour, text, line in curves:
        _histogram(axes, values, edges, colour, text, line)
    _finish(axes)


def _histogram(
    axes: Axes, values: np.ndarray, edges: np.ndarray, colour: str, label: str, line: str = "-"
) -> None:
    """Draw the outline of a histogram, filled under a solid line; end bins hold all beyond."""
    clipped, bins = np.clip(values, edges[0], edges[-1]), list(edges)
    look: Look = {"bins": bins, "density": True, "color": colour}
    axes.hist(clipped, histtype="step", linestyle=line, label=label, **look)
    if line == "-":
        axes.hist(clipped, alpha=0.12, **look)


def _finish(axes: Axes) -> None:
    """Take the ticks from a density, and put the legend above the curves."""
    axes.set_yticks([])
    axes.set_ylabel("density")
    handles, labels = axes.get_legend_handles_labels()
    wrapped = ["\n".join(textwrap.wrap(label, LEGEND_WIDTH)) for label in labels]
    n_lines = sum(label.count("\n") + 1 for label in wrapped)
    axes.set_ylim(0, axes.get_ylim()[1] * (1 + 0.1 * n_lines))
    axes.legend(handles, wrapped, loc="upper right", handlelength=1.4)
