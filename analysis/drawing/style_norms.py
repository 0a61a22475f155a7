"""Fig. 1: densities and spreads of the squared norms of style vectors, beside chi-squared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy import stats

from analysis.comparison.long_table import Row, Rows, long_row
from analysis.drawing.settings import Settings
from analysis.drawing.style import DOUBLE_COLUMN, MM, in_style, label_panel, new_figure
from analysis.run.description import Assay, Comparison
from rls.io import read_weights
from rls.prior.flows import read_flow
from rls.prior.gaussianize import squared_norms
from rls.runtime.errors import InputError
from rls.runtime.streams import stream, torch_stream
from rls.stylegan2.generator_io import load_generator

# Name in the CSV -> (name in the legend, colour, line).
TRANSFORMS: Mapping[str, tuple[str, str, str]] = {
    "z": ("Z", "#56B4E9", "-"),
    "w": ("W", "#E69F00", "-"),
    "w_standardised": ("W, standardised", "#8C6D31", ":"),
    "leaky_relu": ("LeakyReLU(5) alone", "#999999", "-"),
    "pulse_per_dimension": ("PULSE, per dimension", "#009E73", "-"),
    "leaky_relu_whitened": ("LeakyReLU(5), fully whitened", "#CC79A7", "-."),
    "flow": ("Flow F(w)", "#0072B2", "-"),
}


def read_norms(
    styles: Path, flow: Path, generator: Path, settings: Settings
) -> tuple[dict[str, np.ndarray], int, int]:
    """Return squared norms by transform, d, and the number of styles that the fit used.

    Raises:
        InputError: The styles are not of the generator.
    """
    fit = read_weights(styles, kind="styles")[0]["w"].float().numpy()
    network = load_generator(generator)
    if fit.shape[1] != network.w_dim:
        raise InputError(
            f"{styles} holds styles of {fit.shape[1]} dimensions and {generator} makes "
            f"{network.w_dim}. Run sample_styles again for this generator."
        )
    random = torch_stream(settings.seed, "styles", "figure1")
    z = torch.randn(settings.norms_shown, network.z_dim, generator=random)
    with torch.no_grad():
        shown = torch.cat([network.mapping(part)[:, 0] for part in z.split(1024)])
    norms = squared_norms(fit, shown.numpy(), read_flow(flow)[0], z.numpy())
    return norms, fit.shape[1], len(fit)


def numbers_of(
    assay: Assay, norms: Mapping[str, np.ndarray], dimensions: int, n_fit: int, settings: Settings
) -> Rows:
    """Return mean and standard deviation of every transform, beside those of chi-squared."""
    # The generator has no factor and no degradation.
    at = Comparison(0, "", (), clean=True, assay=assay, folder=Path())
    expected = {"squared_norm_mean": dimensions, "squared_norm_sd": math.sqrt(2 * dimensions)}
    rows: Rows = []
    for metric, value in expected.items():
        rows.append(long_row(at, "chi_squared", metric, value=float(value), unit="exact"))
    tail = 50 * (1 - settings.confidence_level)
    for name, values in norms.items():
        random = stream(settings.seed, name, "figure1 bootstrap")
        drawn = random.choice(values, (settings.n_bootstrap, len(values)))
        for metric, function in (("squared_norm_mean", np.mean), ("squared_norm_sd", np.std)):
            low, high = np.percentile(function(drawn, axis=1), [tail, 100 - tail])
            facts: Row = {"value": float(function(values)), "low": float(low), "high": float(high)}
            row = long_row(at, name, metric, **facts, n=len(values), unit="style vector")
            rows.append(row)
    return [{**row, "factor": None, "dimensions": dimensions, "n_fitted": n_fit} for row in rows]


def draw(norms: Mapping[str, np.ndarray], dimensions: int, assay: Assay) -> Figure:
    """Return the figure: densities of the norms and their standard deviations."""
    with in_style():
        figure = new_figure(DOUBLE_COLUMN, 68 * MM)
        density, spread = figure.subplots(1, 2, width_ratios=(1.55, 1))
        figure.subplots_adjust(left=0.07, right=0.985, top=0.84, bottom=0.16, wspace=0.72)
        figure.suptitle(
            f"{assay.label}: squared norms of style vectors, d = {dimensions}",
            x=0.07,
            y=0.975,
            ha="left",
            fontsize=8,
            fontweight="bold",
        )
        draw_densities(density, norms, dimensions)
        draw_spreads(spread, norms, dimensions)
        label_panel(density, "a")
        label_panel(spread, "b")
    return figure


def draw_densities(axes: Axes, norms: Mapping[str, np.ndarray], dimensions: int) -> None:
    """Draw densities of ln |x|^2, on an axis where a given factor always has the same length."""
    low = min(np.quantile(values, 0.001) for values in norms.values())
    high = max(np.quantile(values, 0.999) for values in norms.values())
    grid = np.geomspace(low / 1.2, high * 1.2, 600)
    for name, values in norms.items():
        label, colour, line = TRANSFORMS[name]
        curve = stats.gaussian_kde(np.log(values))(np.log(grid))
        axes.plot(grid, curve, color=colour, linestyle=line, label=label)
    exact = stats.chi2(dimensions).pdf(grid) * grid
    axes.plot(grid, exact, color="black", linestyle="--", linewidth=0.8, label="chi-squared, d")
    axes.set_xscale("log")
    label_log_axis(axes)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("squared norm (log axis)")
    axes.set_ylabel("density per unit of ln")
    axes.set_yticks([])


def label_log_axis(axes: Axes) -> None:
    """Write 1, 2 and 5 of every power of ten, as plain numbers."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw_spreads(axes: Axes, norms: Mapping[str, np.ndarray], dimensions: int) -> None:
    """Draw the standard deviation of every transform beside that of chi-squared."""
    names = list(norms)
    expected = math.sqrt(2 * dimensions)
    for place, name in enumerate(names):
        label, colour, _ = TRANSFORMS[name]
        value = float(np.std(norms[name]))
        axes.plot(value, place, "o", color=colour, markersize=4.5)
        axes.annotate(
            f"{value:.3g}", (value, place), xytext=(4, 3), textcoords="offset points", fontsize=6
        )
    axes.axvline(expected, color="black", linestyle="--", linewidth=0.8, zorder=0)
    axes.set_title(f"dashed: chi-squared, {expected:.3g}", fontsize=6.5, loc="left")
    axes.set_xscale("log")
    values = [float(np.std(norms[name])) for name in names] + [expected]
    axes.set_xlim(min(values) / 1.5, max(values) * 2.2)
    label_log_axis(axes)
    axes.set_yticks(range(len(names)), [TRANSFORMS[name][0] for name in names])
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        # Z's own light blue would be hard to read as text.
        tick.set_color(TRANSFORMS[name][1] if name != "z" else "#2A86BA")
        tick.set_fontweight("bold")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("standard deviation of the squared norm")
