"""Fig. 1: squared norms of Gaussianised style vectors against chi-squared of d degrees (3.2).

Every transform is fitted on the given styles and shown on fresh ones, w = G_m(z). Whatever
standardises has mean d by construction, so the spread (sqrt(2 d) if Gaussian) is the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy import stats

from analysis.comparison.layout import Assay, Comparison, long_row, read_assays
from analysis.drawing.command import Rows, figure_parser, save_outputs
from analysis.drawing.settings import Settings
from analysis.drawing.style import DOUBLE_COLUMN, MM, RC, label_panel, new_figure
from rls.runtime.command import run
from rls.runtime.errors import InputError
from rls.runtime.streams import stream

# Name in the numbers -> (name in the legend, colour, line).
TRANSFORMS: Mapping[str, tuple[str, str, str]] = {
    "z": ("Z", "#56B4E9", "-"),
    "w": ("W", "#E69F00", "-"),
    "w_standardised": ("W, standardised", "#8C6D31", ":"),
    "leaky_relu": ("LeakyReLU(5) alone", "#999999", "-"),
    "pulse_per_dimension": ("PULSE, per dimension", "#009E73", "-"),
    "leaky_relu_whitened": ("LeakyReLU(5), fully whitened", "#CC79A7", "-."),
    "flow": ("Flow F(w)", "#0072B2", "-"),
}


def norms_of_files(
    styles: Path, flow: Path, generator: Path, settings: Settings
) -> tuple[dict[str, np.ndarray], int, int]:
    """Return squared norms by transform, d, and the number of styles that they were fitted on."""
    import torch  # 2.7 s, and only this figure needs it

    from rls.io import read_weights
    from rls.prior.flows import read_flow
    from rls.prior.gaussianize import squared_norms
    from rls.runtime.streams import torch_stream
    from rls.stylegan2.generator_io import load_generator

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


def rows_of(
    assay: Assay, norms: Mapping[str, np.ndarray], dimensions: int, n_fit: int, settings: Settings
) -> Rows:
    """Return mean and standard deviation of every transform, beside those of chi-squared."""
    at = Comparison(assay, 0, "", Path())
    expected = {"squared_norm_mean": dimensions, "squared_norm_sd": math.sqrt(2 * dimensions)}
    rows = []
    for metric, value in expected.items():
        rows.append(long_row(at, "chi_squared", metric, value=float(value), unit="exact"))
    tail = 50 * (1 - settings.confidence_level)
    for name, values in norms.items():
        random = stream(settings.seed, name, "figure1 bootstrap")
        drawn = random.choice(values, (settings.n_bootstrap, len(values)))
        for metric, function in (("squared_norm_mean", np.mean), ("squared_norm_sd", np.std)):
            low, high = np.percentile(function(drawn, axis=1), [tail, 100 - tail])
            rows.append(
                long_row(
                    at, name, metric, value=float(function(values)), low=float(low),
                    high=float(high), n=len(values), unit="style vector",
                )
            )  # fmt: skip
    return [{**row, "factor": None, "dimensions": dimensions, "n_fitted": n_fit} for row in rows]


def draw(norms: Mapping[str, np.ndarray], dimensions: int, assay: Assay) -> Figure:
    """Return the figure: densities on a logarithmic axis, and the spreads."""
    with matplotlib.rc_context(dict(RC)):
        figure = new_figure(DOUBLE_COLUMN, 68 * MM)
        density, spread = figure.subplots(1, 2, width_ratios=(1.55, 1))
        figure.subplots_adjust(left=0.07, right=0.985, top=0.84, bottom=0.16, wspace=0.72)
        figure.suptitle(
            f"{assay.label}: squared norms of style vectors, d = {dimensions}",
            x=0.07, y=0.975, ha="left", fontsize=8, fontweight="bold",
        )  # fmt: skip
        draw_densities(density, norms, dimensions)
        draw_spreads(spread, norms, dimensions)
        label_panel(density, "a")
        label_panel(spread, "b")
    return figure


def draw_densities(axes: Axes, norms: Mapping[str, np.ndarray], dimensions: int) -> None:
    """Draw densities of ln |x|^2: an axis on which a factor has one length everywhere."""
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
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(TRANSFORMS[name][1] if name != "z" else "#2A86BA")
        label.set_fontweight("bold")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("standard deviation of the squared norm")


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 1."""
    parser = figure_parser(__doc__)
    parser.add_argument("--assay", required=True, help="the assay of the generator")
    parser.add_argument("--assays-config", type=Path, required=True, help="one block an assay")
    parser.add_argument("--styles", type=Path, required=True, help="on which transforms are fitted")
    parser.add_argument("--flow", type=Path, required=True, help="the fitted flow")
    parser.add_argument("--generator", type=Path, required=True, help="whose styles are shown")
    args, settings = parser.parse(argv)
    assays = read_assays(args.assays_config)
    if args.assay not in assays:
        raise InputError(f"{args.assays_config} does not describe assay '{args.assay}'. Add it.")
    norms, dimensions, n_fit = norms_of_files(args.styles, args.flow, args.generator, settings)
    assay = assays[args.assay]
    rows = rows_of(assay, norms, dimensions, n_fit, settings)
    save_outputs(draw(norms, dimensions, assay), rows, args, "figure1")


if __name__ == "__main__":
    run(main)
