"""Every mark of a figure stands at the number of its own method, treatment and condition.

The artists that were drawn are read back and compared with the numbers that were planted.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex, to_rgba

from analysis.comparison.labels import method_label
from analysis.drawing import ablations, boxes, degradations, style_norms
from analysis.drawing.dots import draw_dots, draw_groups
from analysis.drawing.style import COLOURS, NEGATIVE, new_figure
from analysis.numbers.agreement import Agreement
from analysis.numbers.statistics import Estimate
from rls.io import read_table, write_table
from rls.prior.flows import StyleFlow, write_flow
from rls.prior.styles import styles_and_mean, write_styles
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.generator_io import load_generator, write_generator
from rls.stylegan2.networks import Generator
from tests.analysis import made_up
from tests.analysis.test_figures import METHODS, SETTINGS, features_of, ratios
from tests.analysis.test_figures_conditions import ABLATIONS, CLEAN, NOISE, drawn, write
from tests.analysis.test_figures_scatter import drawn as drawn_scatter
from tests.analysis.test_figures_scatter import planted

NONE = Estimate.empty("not asked for")


# ---- figure 1 ----------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    """Return styles, flow and generator; the styles of the file lie 100 beyond the generator's."""
    torch.manual_seed(1)
    names = ("styles", "flow", "generator")
    files = {name: tmp_path / f"{name}.safetensors" for name in names}
    write_generator(files["generator"], Generator(Architecture(8, 1, 6, 5, 2, 32, 4)), {})
    generator = load_generator(files["generator"])
    numbers = {"seed": SETTINGS.seed, "batch_size": 400, "label": "test"}
    styles, mean = styles_and_mean(generator, SETTINGS.norms_shown, 10, **numbers)
    write_styles(files["styles"], styles + 100.0, mean, generator, {"seed": 0})
    flow = StyleFlow("maf", 5, 8, 1)
    flow.set_scale(styles)
    flow.recompute_batch_norm(styles)
    write_flow(files["flow"], flow, {})
    return files, styles


def test_fig_1_fits_on_the_styles_of_the_file_and_shows_others_of_the_generator(model):
    files, styles = model
    norms, dimensions, n_fit = style_norms.read_norms(**files, settings=SETTINGS)
    assert (dimensions, n_fit) == (5, len(styles))
    assert {len(values) for values in norms.values()} == {SETTINGS.norms_shown}
    own = styles.double().square().sum(1).numpy()
    # Of the same distribution as the generator's styles, and yet none of those that were drawn
    # with the same seed to be fitted.
    assert np.median(norms["w"]) == pytest.approx(np.median(own), rel=0.3)
    assert np.abs(norms["w"][:, None] / own - 1).min() > 1e-7
    # The file's styles lie far away: what they standardise is far from 0.
    assert norms["w_standardised"].min() > 1000
    assert norms["leaky_relu_whitened"].min() > 1000
    assert norms["flow"].mean() < 100  # the flow was fitted near the generator's


def test_z_of_fig_1_are_standard_normal_and_make_the_shown_styles(model, monkeypatch):
    files, _ = model
    seen = {}

    def keep(fit, shown, flow, z):
        seen.update(shown=shown, z=z)
        return {}

    monkeypatch.setattr(style_norms, "squared_norms", keep)
    style_norms.read_norms(**files, settings=SETTINGS)
    with torch.no_grad():
        made = load_generator(files["generator"]).mapping(torch.as_tensor(seen["z"]))[:, 0]
    np.testing.assert_allclose(seen["shown"], made.numpy(), rtol=1e-5)
    assert seen["z"].std() == pytest.approx(1.0, abs=0.05)


def test_curves_and_spreads_of_fig_1_are_those_of_their_names(tmp_path):
    random = np.random.default_rng(0)
    names = list(style_norms.TRANSFORMS)
    norms = {n: 4.0**k * random.chisquare(32, 2000) for k, n in enumerate(names)}
    (assay,) = made_up.run_of(tmp_path, ("rls",)).assays
    density, spread = style_norms.draw(norms, 32, assay).axes
    curves = {line.get_label(): line for line in density.lines}
    for name, values in norms.items():
        label, colour, _ = style_norms.TRANSFORMS[name]
        x, y = curves[label].get_data()
        assert x[np.argmax(y)] == pytest.approx(np.median(values), rel=0.1)
        assert curves[label].get_color() == colour
    x, y = curves["chi-squared, d"].get_data()
    assert np.trapezoid(y, np.log(x)) == pytest.approx(1.0, abs=0.01)
    dots = {line.get_ydata()[0]: line for line in spread.lines if line.get_marker() == "o"}
    labels = dict(zip(spread.get_yticks(), spread.get_yticklabels(), strict=True))
    for place, dot in dots.items():
        name = next(n for n in names if style_norms.TRANSFORMS[n][0] == labels[place].get_text())
        assert dot.get_xdata()[0] == pytest.approx(norms[name].std())
        assert dot.get_color() == style_norms.TRANSFORMS[name][1]
    assert len(dots) == len(names)
    (line,) = [x for x in spread.lines if x.get_linestyle() == "--"]
    assert line.get_xdata()[0] == pytest.approx(8.0)


def test_the_intervals_of_fig_1_hold_the_numbers_of_their_transforms(tmp_path):
    random = np.random.default_rng(0)
    norms = {n: 4.0**k * random.chisquare(32, 500) for k, n in enumerate(style_norms.TRANSFORMS)}
    (assay,) = made_up.run_of(tmp_path, ("rls",)).assays
    rows = pd.DataFrame(style_norms.numbers_of(assay, norms, 32, 1000, SETTINGS))
    for name, values in norms.items():
        for metric, function in (("squared_norm_mean", np.mean), ("squared_norm_sd", np.std)):
            (row,) = rows[(rows["method"] == name) & (rows["metric"] == metric)].to_dict("records")
            assert row["value"] == pytest.approx(function(values))
            assert row["low"] < row["value"] < row["high"]
            assert row["high"] - row["low"] < 0.3 * row["value"]


# ---- figure 5 ----------------------------------------------------------------------------------


def drawn_boxes(root, values, methods):
    made_up.write_features(root, values)
    run = made_up.run_of(root, methods)
    return boxes.draw(run, SETTINGS, features_of(run))[0]


def test_every_box_of_fig_5_is_that_of_its_method_and_control(tmp_path):
    high, positive = ratios()
    values = {"high_resolution": high, "rls": high * 1.5 + 0.2, "pulse": 3 - high}
    axes = drawn_boxes(tmp_path, values, METHODS).axes[0]
    names = [label.get_text().replace("\n", " ") for label in axes.get_xticklabels()]
    assert names == [method_label(m) for m in values]
    medians = [line for line in axes.lines if line.get_color() == "black"]
    assert len(medians) == len(axes.patches) == 6
    for index, (method, numbers) in enumerate(values.items()):
        for side, here in enumerate((~positive, positive)):
            at = 2 * index + side
            place = medians[at].get_xdata().mean()
            assert medians[at].get_ydata()[0] == pytest.approx(np.median(numbers[here]))
            assert round(place) == index and (place > index) == bool(side)
            box = axes.patches[at]
            assert to_hex(box.get_edgecolor()) == COLOURS[method].lower()
            assert bool(box.get_hatch()) == bool(side)  # the positive control is dotted
            low, high_end = np.percentile(numbers[here], [25, 75])
            drawn_at = box.get_path().vertices[:, 1]
            assert (drawn_at.min(), drawn_at.max()) == pytest.approx((low, high_end))
    legend = {t.get_text(): bool(p.get_hatch()) for t, p in zip(
        axes.get_legend().get_texts(), axes.get_legend().get_patches(), strict=True)}  # fmt: skip
    negative, treated = made_up.CONTROLS
    assert legend == {f"{negative} (negative)": False, f"{treated} (positive)": True}
    dotted = [x.get_ydata()[0] for x in axes.lines if x.get_linestyle() == ":"]
    assert sorted(dotted) == pytest.approx(
        sorted(np.median(high[s]) for s in (~positive, positive))
    )


def test_every_number_of_the_triple_stands_in_its_panel_and_row(tmp_path):
    numbers = iter(np.arange(0.30, 0.90, 0.05))

    def one():
        value = float(next(numbers))
        return Estimate(value, value - 0.02, value + 0.03, 6, "well")

    triples = {
        method: Agreement(one(), one(), one(), NONE, NONE, NONE, Estimate(0.5, 0.4, 0.6), 10)
        for method in METHODS
    }
    for name, title in boxes.TRIPLE:
        axes = new_figure(3, 3).subplots()
        boxes.draw_triple(axes, triples, name, title, COLOURS, named=True)
        rows = [t.get_text() for t in axes.get_yticklabels()]
        for place, (method, triple) in enumerate(triples.items()):
            found = getattr(triple, name)
            here = [x for x in axes.lines if set(x.get_ydata()) == {place}]
            (dot,) = [x for x in here if x.get_marker() == "o"]
            (interval,) = [x for x in here if len(x.get_xdata()) == 2]
            assert dot.get_xdata()[0] == found.value and dot.get_color() == COLOURS[method]
            assert list(interval.get_xdata()) == [found.low, found.high]
            assert rows[place] == method_label(method)
            assert f"{found.value:.2f}" in {t.get_text() for t in axes.texts}
    assert dict(boxes.TRIPLE) == {
        "shift_kept": "shift kept", "sd_ratio": "sd ratio", "correlation": "r within",
    }  # fmt: skip


# ---- dots of figures 6 and 7 -------------------------------------------------------------------


def test_dots_stand_at_their_method_value_and_interval():
    numbers = {"rls": Estimate(2.0, 1.5, 2.5), "pulse": Estimate(3.0, 2.8, 3.6), "brgm": NONE}
    axes = new_figure(3, 3).subplots()
    draw_dots(axes, numbers, COLOURS, "title", scale=10.0, digits=1, right=5.0)
    labels = [t.get_text() for t in axes.get_yticklabels()]
    dots = [x for x in axes.lines if x.get_marker() == "o"]
    for place, (method, dot) in enumerate(zip(("rls", "pulse"), dots, strict=True)):
        assert labels[place] == method_label(method) and dot.get_color() == COLOURS[method]
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (10 * numbers[method].value, place)
        (interval,) = [x for x in axes.lines if x.get_color() == COLOURS[method] and x is not dot]
        assert list(interval.get_xdata()) == [10 * numbers[method].low, 10 * numbers[method].high]
    (right,) = [x for x in axes.lines if x.get_linestyle() == "--"]
    assert right.get_xdata()[0] == 5.0
    written = {t.get_text(): t.xy for t in axes.texts}
    assert written["20.0"] == (20.0, 0) and written["30.0"] == (30.0, 1)
    assert written["n/a"][1] == 2


def test_groups_stand_at_their_condition_and_their_methods_in_order():
    numbers = {
        "bicubic": {"rls": Estimate(1.0, 0.9, 1.1), "pulse": Estimate(2.0, 1.9, 2.1)},
        "gaussian_noise": {"rls": Estimate(3.0, 2.9, 3.1), "pulse": Estimate(4.0, 3.9, 4.1)},
    }
    axes = new_figure(3, 3).subplots()
    draw_groups(axes, numbers, COLOURS, "title", scale=2.0)
    assert [t.get_text() for t in axes.get_xticklabels()] == ["bicubic", "gaussian noise"]
    found = {
        (round(x.get_xdata()[0]), x.get_color()): x.get_ydata()[0]
        for x in axes.lines
        if x.get_marker() == "o"
    }
    assert found == {
        (place, COLOURS[method]): 2 * one.value
        for place, group in enumerate(numbers.values())
        for method, one in group.items()
    }
    ends = {tuple(x.get_ydata()) for x in axes.lines if len(set(x.get_xdata())) == 1}
    assert {(2 * e.low, 2 * e.high) for g in numbers.values() for e in g.values()} <= ends


def panels_by_title(figure):
    found = [axes for axes in figure.axes if axes.get_title(loc="left")]
    return {axes.get_title(loc="left"): axes for axes in found}


def dots_of(axes):
    return [x for x in axes.lines if x.get_marker() == "o"]


def test_fig_6_draws_each_number_at_its_degradation_in_its_panel(tmp_path):
    write(tmp_path, CLEAN, METHODS, {"rls": 0.9, "pulse": 0.2})
    write(tmp_path, NOISE, METHODS, {"rls": 0.4, "pulse": 0.6})
    run = made_up.run_of(tmp_path, METHODS, degradations=(CLEAN, NOISE))
    figure, rows = drawn(degradations, run)
    table = pd.DataFrame(rows).set_index(["degradation", "method", "metric"])["value"]
    panels = panels_by_title(figure)
    metrics = {
        "fidelity_clean_l1": ("clean LR", 1000.0),
        "kernel_distance_random_x1000": ("KD", 1.0),
        "shift_kept": ("shift kept", 1.0),
    }
    for metric, (word, scale) in metrics.items():
        (axes,) = [a for title, a in panels.items() if word in title]
        found = {(round(x.get_xdata()[0]), x.get_color()): x.get_ydata()[0] for x in dots_of(axes)}
        for place, degradation in enumerate((CLEAN, NOISE)):
            for method in METHODS:
                value = table[degradation, method, metric] * scale
                assert found[place, COLOURS[method]] == pytest.approx(value), (metric, method)


def test_fig_7_draws_each_number_in_the_row_of_its_ablation_and_its_panel(tmp_path):
    write(tmp_path, CLEAN, ABLATIONS, {"rls": 0.9, "rls_unregularized": 0.2})
    path = tmp_path / "translocation" / "8x" / CLEAN
    for number, method in enumerate(ABLATIONS):  # every number of every method is another
        metrics = read_table(path / f"{method}.metrics.parquet")
        metrics = metrics.assign(
            psnr_db=20.0 + number, ms_ssim=0.5 + 0.1 * number, fidelity_l1=0.01 + 0.01 * number
        )
        write_table(path / f"{method}.metrics.parquet", metrics, written_by="test")
    run = made_up.run_of(tmp_path, ABLATIONS, degradations=(CLEAN,))
    figure, rows = drawn(ablations, run)
    table = pd.DataFrame(rows).set_index(["method", "metric"])["value"]
    panels, named = panels_by_title(figure), 0
    for panel in ablations.panels_of(pd.DataFrame(rows)):
        axes = panels[panel.title]
        labels = [t.get_text() for t in axes.get_yticklabels()]
        assert labels in ([], [method_label(m) for m in ABLATIONS])
        named += bool(labels)
        for place, (method, dot) in enumerate(zip(ABLATIONS, dots_of(axes), strict=True)):
            value = table[method, panel.metric] * panel.scale
            assert dot.get_xdata()[0] == pytest.approx(value), panel
            assert dot.get_ydata()[0] == place and dot.get_color() == COLOURS[method]
    assert named == 4  # the left one of every two panels
    assert table["rls_unregularized", "psnr_db"] == 21.0


# ---- HR against SR per cell ----------------------------------------------------------------------


def in_order(points):
    return points[np.lexsort(points.T)]


def test_the_scatter_has_hr_across_and_sr_up_and_the_difference_over_their_mean(tmp_path):
    high, positive, _ = planted()
    values = {"high_resolution": high, "rls": 0.8 * high + 0.5, "pulse": 1.2 * high - 0.3}
    _, panels, _ = drawn_scatter(tmp_path, values, METHODS)
    for method, upper, lower in zip(METHODS, panels[::2], panels[1::2], strict=True):
        super_ = values[method]
        for side, here in enumerate((~positive, positive)):
            colour = COLOURS[method] if side else NEGATIVE
            face = upper.collections[side].get_facecolor()[0][:3]
            assert to_rgba(colour)[:3] == tuple(face)
            mean = (high + super_) / 2
            for axes, x, y in ((upper, high, super_), (lower, mean, super_ - high)):
                limits = axes.get_xlim(), axes.get_ylim()
                pairs = zip((x, y), limits, strict=True)
                expected = np.stack([np.clip(v[here], *ends) for v, ends in pairs], axis=1)
                found = np.asarray(axes.collections[side].get_offsets())
                np.testing.assert_allclose(in_order(found), in_order(expected))
        assert upper.get_xlabel() == "HR" and lower.get_xlabel() == "mean"
    assert panels[0].get_ylabel() == "SR" and panels[1].get_ylabel().split() == ["SR", "−", "HR"]


def test_the_limits_of_a_difference_panel_are_those_of_its_method(tmp_path):
    high, _, _ = planted()
    values = {"high_resolution": high, "rls": high + 0.3, "pulse": high - 0.4 + 0.1 * high}
    _, panels, numbers = drawn_scatter(tmp_path, values, METHODS)
    for method, lower in zip(METHODS, panels[1::2], strict=True):
        (bias,) = [x.get_ydata()[0] for x in lower.lines
                   if x.get_color() == "black" and x.get_linestyle() == "-"]  # fmt: skip
        assert bias == pytest.approx(numbers.loc[(method, "bland_altman_bias", ""), "value"])
        assert bias == pytest.approx((values[method] - high).mean())


def test_a_method_keeps_its_own_numbers_whatever_the_order_of_the_methods(tmp_path):
    high, _, _ = planted()
    values = {"high_resolution": high, "rls": high + 0.3, "pulse": high - 0.4}
    for order in (METHODS, METHODS[::-1]):
        _, panels, _ = drawn_scatter(tmp_path, values, order)
        for method, upper in zip(order, panels[::2], strict=True):
            (caption,) = [t for t in upper.texts if t.get_text() == method_label(method)]
            assert caption.get_color() == COLOURS[method]
            points = np.concatenate([np.asarray(c.get_offsets()) for c in upper.collections])
            shift = np.median(points[:, 1] - points[:, 0])
            assert shift == pytest.approx(0.3 if method == "rls" else -0.4, abs=0.02)


def test_fig_7_names_each_panel_by_its_metric():
    titles = {panel.metric: panel.title for panel in ablations.PANELS}
    words = {
        "psnr_db": "PSNR", "ms_ssim": "MS-SSIM", "kernel_distance_random_x1000": "KD random",
        "fidelity_l1": "|D(SR)", "log_prior": "log p_F", "mean_pair_distance": "pair distance",
    }  # fmt: skip
    assert set(titles) == set(words)
    assert all(word in titles[metric] for metric, word in words.items())
