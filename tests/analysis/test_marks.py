"""Where the figures put their marks: every dot, line and box stands where its number says."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.drawing import (
    ablations,
    boxes,
    degradations,
    dots,
    path_lengths,
    scatter,
    style_norms,
    sweep,
)
from analysis.drawing import solution_panels as panels
from analysis.drawing.grids import (
    PALETTES,
    channel_colours,
    choose_treatments,
    composite,
    draw_scale_bar,
)
from analysis.numbers.agreement import Agreement
from analysis.numbers.conformal import summarise
from analysis.numbers.statistics import Estimate
from rls.io import write_weights
from rls.prior.flows import write_flow
from rls.runtime.errors import InputError
from rls.stylegan2.generator_io import write_generator
from tests.rls.search_stand_ins import tiny_flow, tiny_generator, tiny_styles

COLOURS = {"bicubic": "#112233", "rls": "#445566"}
NOTHING = Estimate.empty("not measured")


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def points(axes: Axes, *marks: str) -> dict[tuple[float, float], str]:
    """Return {(x, y): colour of the face} of all markers drawn one by one."""
    marks = marks or ("o",)
    found = [line for line in axes.lines if line.get_marker() in marks]
    return {
        tuple(np.round(line.get_xydata()[0], 6)): to_hex(line.get_markerfacecolor())
        for line in found
    }


def segments(axes: Axes) -> set[tuple[float, ...]]:
    """Return (x, y, x, y) of all straight lines between two points of the data."""
    found = [line for line in axes.lines if line.get_marker() == "None"]
    found = [line for line in found if line.get_transform() == axes.transData]
    return {tuple(np.round(line.get_xydata().ravel(), 6)) for line in found}


def lines_across(axes: Axes) -> set[float]:
    """Return the heights of the lines that cross the whole axes."""
    crossing = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    return {float(line.get_ydata()[0]) for line in crossing}


# ---- dots ------------------------------------------------------------------------------------


def test_groups_of_dots_stand_at_their_condition_side_by_side(axes):
    numbers = {
        "clean": {"bicubic": Estimate(0.3, 0.2, 0.5), "rls": Estimate(0.1)},
        "noise": {"bicubic": Estimate(0.7, 0.6, 0.9), "rls": NOTHING},
    }
    dots.draw_groups(axes, numbers, COLOURS, "", scale=10.0)
    assert points(axes) == {
        (-0.19, 3.0): COLOURS["bicubic"],
        (0.19, 1.0): COLOURS["rls"],
        (0.81, 7.0): COLOURS["bicubic"],
    }
    assert segments(axes) == {(-0.19, 2.0, -0.19, 5.0), (0.81, 6.0, 0.81, 9.0)}
    between = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
    assert between == [0.5] and axes.get_xlim() == (-0.5, 1.5)


def test_numbers_are_shown_as_they_are_unless_scaled(axes):
    dots.draw_groups(axes, {"clean": {"rls": Estimate(0.3, 0.2, 0.5)}}, COLOURS, "")
    assert set(points(axes)) == {(0, 0.3)} and segments(axes) == {(0, 0.2, 0, 0.5)}


def test_dots_of_one_metric_have_a_row_each(axes):
    numbers = {"bicubic": Estimate(0.35, 0.25, 0.55), "rls": Estimate(0.9)}
    dots.draw_dots(axes, numbers, COLOURS, "", scale=10.0, right=4.0)
    assert points(axes) == {(3.5, 0): COLOURS["bicubic"], (9.0, 1): COLOURS["rls"]}
    assert (2.5, 0, 5.5, 0) in segments(axes)
    assert {text.get_text() for text in axes.texts} == {"3.50", "9.00"}


# ---- Fig. 5: boxes and the triple --------------------------------------------------------------


def feature_of(**values: list[float]) -> SimpleNamespace:
    """Return a stand-in for the values of a feature, the first half of each on the negative."""
    half = len(values["high_resolution"]) // 2
    treatment = np.repeat(["DMSO", "TNF"], half)
    arrays = {name: np.array(each, dtype=float) for name, each in values.items()}
    return SimpleNamespace(
        values=arrays, controls=("DMSO", "TNF"), column="nucleocytoplasmic_ratio",
        cells=pd.DataFrame({"treatment": treatment}), wells=lambda method, treatment: 3,
        n_solutions={},
        of=lambda method, side: arrays[method][treatment == side],
        at=SimpleNamespace(assay=SimpleNamespace(has_high_resolution=True)),
    )  # fmt: skip


def test_boxes_stand_in_pairs_and_hold_their_values(axes):
    feature = feature_of(high_resolution=[1, 2, 3, 5, 6, 9], rls=[2, 3, 4, 4, 5, 6])
    colours = {"high_resolution": "#000000", "rls": COLOURS["rls"]}
    boxes.draw_boxes(axes, feature, colours)
    medians = {
        (round(float(line.get_xdata().mean()), 6), float(line.get_ydata()[0]))
        for line in axes.lines
        if line.get_linewidth() == 1.2
    }
    assert medians == {(-0.21, 2.0), (0.21, 6.0), (0.79, 3.0), (1.21, 5.0)}
    hatched = {round(p.get_path().vertices[:4, 0].mean(), 6) for p in axes.patches if p.get_hatch()}
    assert hatched == {0.21, 1.21}
    assert lines_across(axes) == {2.0, 6.0}


def triple(value: Estimate) -> Agreement:
    return Agreement(value, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, n_cells=4)


def test_a_number_of_the_triple_is_hollow_where_it_may_be_0_and_an_arrow_beyond_the_edge(axes):
    found = {
        "bicubic": triple(Estimate(0.4, 0.2, 0.6)),
        "rls": triple(Estimate(0.1, -0.3, 0.5)),
        "high_resolution": triple(Estimate(99.0, 98.0, 100.0)),
    }
    colours = {**COLOURS, "high_resolution": "#000000"}
    boxes.draw_triple(axes, found, "shift_kept", "", colours, named=True)
    assert points(axes) == {(0.4, 0): COLOURS["bicubic"], (0.1, 1): "#ffffff"}
    edge = boxes.SHOWN[1]
    assert set(points(axes, ">")) == {(edge, 2)}
    assert {(0.2, 0, 0.6, 0), (-0.3, 1, 0.5, 1)} <= segments(axes)
    upright = {line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]}
    assert upright == {0, 1}
    margin = 0.18 * (edge + 0.3)
    assert axes.get_xlim() == pytest.approx((-0.3 - margin, edge + margin))
    assert axes.get_ylim() == (2.5, -0.7) and list(axes.get_xticks()) == [0, 1]


# ---- Fig. 1 ------------------------------------------------------------------------------------


def test_norms_are_of_as_many_styles_as_asked_for_and_other_styles_are_refused(tmp_path):
    generator = tiny_generator()
    styles = tiny_styles(generator).w
    names = [tmp_path / f"{name}.safetensors" for name in ("styles", "flow", "generator")]
    write_weights(names[0], {"w": styles}, {"kind": "styles"})
    write_flow(names[1], tiny_flow(styles), {})
    write_generator(names[2], generator, {})
    settings = SimpleNamespace(seed=0, norms_shown=50)
    norms, dimensions, n_fit = style_norms.read_norms(*names, settings)
    assert {len(values) for values in norms.values()} == {50}
    assert (dimensions, n_fit) == (generator.w_dim, len(styles))
    write_weights(names[0], {"w": styles[:, 1:]}, {"kind": "styles"})
    with pytest.raises(InputError, match="15 dimensions and .* makes 16"):
        style_norms.read_norms(*names, settings)


# ---- Fig. 6 and 7 ------------------------------------------------------------------------------


def test_the_axis_of_kd_is_linear_up_to_the_decade_above_the_floor(axes):
    axes.set_ylim(-5.0, 700.0)
    degradations._symmetric_scale(axes, 20.0)
    assert axes.get_yscale() == "symlog" and axes.yaxis.get_transform().linthresh == 100.0
    assert axes.get_ylim() == pytest.approx((-20.0, 1400.0))
    assert list(axes.yaxis.get_major_locator().locs) == [-100.0, 0.0, 100.0, 1000.0]


@pytest.mark.parametrize(
    ("metric", "heights"),
    [(degradations.KERNEL_DISTANCE, {2.5}), ("shift_kept", {0, 1}), ("lpips", set())],
)
def test_a_panel_has_the_reference_of_its_metric(axes, metric, heights):
    facts = {"low": np.nan, "high": np.nan, "n": 1, "unit_of_replication": "well", "reason": ""}
    row = {"method": degradations.FLOOR, "metric": degradations.KERNEL_DISTANCE, "value": 2.5}
    facts |= {"treatment": "", "feature": ""}
    block = SimpleNamespace(numbers=pd.DataFrame([{**row, **facts}]), conditions=[])
    degradations._draw_references(axes, block, metric, "red")
    assert lines_across(axes) == heights


def test_the_lr_given_is_a_line_across_its_own_condition(axes):
    rows = [
        {"method": "low_resolution", "metric": degradations.FIDELITY_CLEAN, "value": value,
         "degradation": name, "low": np.nan, "high": np.nan, "n": 1, "treatment": "",
         "unit_of_replication": "well", "reason": ""}
        for name, value in (("clean", 0.001), ("blur", 0.004), ("noise", 0.008))
    ]  # fmt: skip
    conditions = [SimpleNamespace(degradation=row["degradation"]) for row in rows]
    block = SimpleNamespace(numbers=pd.DataFrame(rows), conditions=conditions)
    degradations._draw_references(axes, block, degradations.FIDELITY_CLEAN, "red")
    assert segments(axes) == {(-0.45, 1, 0.45, 1), (0.55, 4, 1.45, 4), (1.55, 8, 2.45, 8)}


def test_two_panels_a_feature_stand_behind_those_of_all_runs():
    found = ablations.panels_of(pd.DataFrame({"feature": ["", "golgi_spots", "", "golgi_spots"]}))
    own = found[len(ablations.PANELS) :]
    assert [panel.metric for panel in own] == ["shift_kept", "correlation_within_treatment"]
    assert {panel[2:] for panel in own} == {(1.0, 2, 1.0, "golgi_spots")}


# ---- the sweep ---------------------------------------------------------------------------------


def sweep_table() -> pd.DataFrame:
    weights = [(0.1, 0.5), (0.0, 0.5), (1.0, 0.5), (0.1, 0.0), (0.1, 0.9)]
    rows = [
        {"cell_id": cell, "lambda_w": w, "lambda_c": c, "own": (w, c) == (0.1, 0.5)}
        for w, c in weights
        for cell in ("b", "a")
    ]
    return pd.DataFrame(rows)


def test_along_one_weight_the_other_is_the_methods_own():
    for swept, other, weights in (("lambda_w", "lambda_c", [0.0, 0.1, 1.0]),
                                  ("lambda_c", "lambda_w", [0.0, 0.5, 0.9])):  # fmt: skip
        found = sweep.points_along(sweep_table(), swept)
        assert [weight for weight, _ in found] == weights
        for weight, part in found:
            assert list(part["cell_id"]) == ["a", "b"] and set(part[swept]) == {weight}
            assert part[other].nunique() == 1 and list(part.index) == [0, 1]


def test_a_walk_has_its_means_over_the_logarithm_of_the_weight(axes):
    facts = {"n": 4, "reason": "", "swept": "lambda_w"}
    rows = [
        {"weight": weight, "own": weight == 0.1, "metric": metric, **facts,
         "value": value, "low": value - 1, "high": value + 1}
        for metric, values in (("psnr_db", (20, 24, 22)), ("psnr_db" + sweep.CHANGE, (-4, 0, 0.5)),
                               ("a_metric", (5, 5, 5)))
        for weight, value in zip((0.0, 0.1, 1.0), values, strict=True)
    ]  # fmt: skip
    sweep.draw_walk(axes, pd.DataFrame(rows), "psnr_db", "lambda_w", COLOURS["rls"])
    # The change at a weight of 0 is told from nothing; the others' intervals hold 0.
    assert points(axes) == {(-1.7, 20): COLOURS["rls"], (-1, 24): "#ffffff", (0, 22): "#ffffff"}
    assert {(-1.7, 19, -1.7, 21), (-1, 23, -1, 25), (0, 21, 0, 23)} <= segments(axes)
    own = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
    assert own == [-1.0]


# ---- path lengths ------------------------------------------------------------------------------


@pytest.fixture
def histograms(monkeypatch) -> list[tuple[np.ndarray, str]]:
    """Return a list of (values, text) that every histogram drawn is added to."""
    drawn: list[tuple[np.ndarray, str]] = []
    changes = {
        "by_style": lambda table, quantity: pd.DataFrame({0: table[quantity]}),
        "_histogram": lambda axes, values, edges, colour, text, *line: drawn.append((values, text)),
        "_finish": lambda axes: None,
    }
    for name, stand_in in changes.items():
        monkeypatch.setattr(path_lengths, name, stand_in)
    return drawn


def test_terms_are_shown_less_their_mean_and_with_their_spread(axes, histograms):
    tables = {"one": {"half_log_det": [1.0, 3.0], "log_p_flow": [10.0, 16.0]},
              "other": {"half_log_det": [5.0], "log_p_flow": []}}  # fmt: skip
    path_lengths.draw_terms(axes, tables)
    assert [(list(values), text) for values, text in histograms] == [
        ([-1.0, 1.0], "one: ½ log det JᵀJ, sd 1.4, n 2"),
        ([-3.0, 3.0], "one: log p_F(w), sd 4.2, n 2"),
    ]


def test_steps_are_shown_over_their_mean(axes, histograms):
    tables = {name: {"step_length": np.array([1.0, 3.0]) * k} for name, k in (("a", 1), ("b", 7))}
    path_lengths.draw_steps(axes, tables)
    assert [list(values) for values, _ in histograms] == [[0.5, 1.5], [0.5, 1.5]]


# ---- HR against SR -----------------------------------------------------------------------------


def offsets(axes: Axes) -> list[list[list[float]]]:
    return [np.asarray(cloud.get_offsets()).tolist() for cloud in axes.collections]


def test_differences_stand_over_the_mean_of_both_with_their_limits(axes):
    feature = feature_of(high_resolution=[1, 2, 3, 4], rls=[2, 2, 5, 3])
    limits = Agreement(NOTHING, NOTHING, NOTHING, Estimate(0.5), Estimate(-1.25), Estimate(2.25),
                       NOTHING, n_cells=4)  # fmt: skip
    scatter.draw_differences(axes, feature, "rls", "red", ((0.0, 5.0), (-3.0, 3.0)), limits)
    assert offsets(axes) == [[[1.5, 1.0], [2.0, 0.0]], [[4.0, 2.0], [3.5, -1.0]]]
    assert lines_across(axes) == {0.0, 0.5, -1.25, 2.25}
    assert "0.50" in axes.get_title() and "−1.25, 2.25" in axes.get_title()
    scatter.draw_differences(axes, feature, "rls", "red", ((0.0, 5.0), (-10.0, 3.0)), limits)
    assert "2.2)" in axes.get_title() and "2.25" not in axes.get_title()


def test_many_cells_are_thinned_in_even_steps_and_few_are_all_shown():
    n = 3 * scatter.POINTS_SHOWN
    feature = feature_of(high_resolution=list(range(2 * n)), rls=list(range(2 * n)))
    high, super_, look = next(scatter._controls(feature, "rls", "red"))
    assert len(high) == scatter.POINTS_SHOWN and (high == super_).all()
    assert (high[0], high[-1]) == (0, n - 1) and set(np.diff(high)) <= {2, 3, 4}
    few = feature_of(high_resolution=[1, 2, 3, 4], rls=[1, math.nan, 3, 4])
    assert [list(high) for high, _, _ in scatter._controls(few, "rls", "red")] == [[1], [3, 4]]
    assert look["marker"] == "o"


def test_the_span_of_the_differences_is_of_all_methods_whatever_their_names():
    feature = feature_of(high_resolution=[0, 0], bicubic=[-40, 0], rls=[0, 40])
    low, high = scatter._span(feature)
    assert low < -39 and high > 39


# ---- several solutions -------------------------------------------------------------------------

FIGURE8 = SimpleNamespace(kinds=("variational", "restarts"), interval_shown="normalised", level=0.9)


def solution_numbers() -> pd.DataFrame:
    rows = []
    for kind, shift in (("variational", 0.0), ("restarts", 0.1)):
        for metric in ("coverage_raw", "coverage_normalised", "width_raw", "width_normalised"):
            value = 0.5 + shift + 0.2 * metric.endswith("normalised")
            low = value - 0.05 if metric.endswith("normalised") else np.nan
            rows.append({"kind": kind, "metric": metric, "treatment": None, "value": value,
                         "low": low, "high": value + 0.05, "expected_low": 0.85 - shift,
                         "expected_high": 0.95})  # fmt: skip
    return pd.DataFrame(rows)


def test_coverage_stands_before_and_after_calibration_over_its_expected_range(axes):
    panels.draw_coverage(axes, solution_numbers(), FIGURE8)
    assert set(points(axes)) == {(-0.13, 0.5), (0.13, 0.7), (0.87, 0.6), (1.13, 0.8)}
    assert segments(axes) == {(0.13, 0.65, 0.13, 0.75), (1.13, 0.75, 1.13, 0.85)}
    (span,) = axes.patches
    assert (span.get_y(), span.get_y() + span.get_height()) == pytest.approx((0.85, 0.95))
    assert lines_across(axes) == {0.9} and axes.get_ylim() == (0, 1.04)


def test_widths_begin_at_0(axes):
    panels.draw_widths(axes, solution_numbers(), FIGURE8)
    assert axes.get_ylim()[0] == 0 and lines_across(axes) == {1.0}
    assert set(points(axes)) == {(-0.13, 0.5), (0.13, 0.7), (0.87, 0.6), (1.13, 0.8)}


def test_an_interval_stands_at_the_hr_value_in_the_colour_of_whether_it_holds(axes):
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    table = pd.DataFrame({"image_id": list("abcd"), "treatment": "DMSO"})
    solutions = np.stack([truth, truth + 2], axis=1)
    cells = SimpleNamespace(
        truth=truth, table=table, column="spots",
        summary=lambda level: summarise(solutions, level, np.full(4, "evaluation")),
    )  # fmt: skip
    half = np.array([2.0, 0.5, 2.0, math.nan])
    held = np.array([1.0, 0.0, 1.0, math.nan])
    intervals = SimpleNamespace(
        low=truth + 1 - half, high=truth + 1 + half, width=2 * half, contain=lambda truth: held
    )
    raw = SimpleNamespace(low=truth + 0.9, high=truth + 1.1)
    settings = SimpleNamespace(level=0.9, seed=0, kind_shown="variational")
    panels.draw_cells(axes, cells, intervals, raw, settings)
    drawn = {
        to_hex(lines.get_color()[0]): np.round(lines.get_segments(), 6).tolist()
        for lines in axes.collections
    }
    assert drawn[to_hex(panels.HELD)] == [[[1, 0], [1, 4]], [[3, 2], [3, 6]]]
    assert drawn[to_hex(panels.MISSED)] == [[[2, 2.5], [2, 3.5]]]
    assert [segment[0][0] for segment in drawn[to_hex(panels.GREY)]] == [1, 2, 3]
    assert segments(axes) == {(1, 1, 3, 3)}
    assert "67 % of 3 cells held (level 90 %)" in axes.get_title(loc="right")


# ---- grids of cells ----------------------------------------------------------------------------


def test_a_composite_adds_the_clipped_channels_in_their_colours():
    unit = np.array([[[0.25, 1.5]], [[0.5, -1.0]]])
    colours = {"dna": (1.0, 0.0, 0.5), "actin": (0.0, 1.0, 1.0)}
    expected = [[[0.25, 0.5, 0.625], [1.0, 0.0, 0.5]]]
    np.testing.assert_allclose(composite(unit, ["dna", "actin"], colours), expected)


def test_a_role_without_a_channel_has_no_colour():
    for roles in (("x", "actin"), ("dna", "x")):
        with pytest.raises(InputError, match="channel 'x' is not among the channels dna, actin"):
            channel_colours(("dna", "actin"), *roles, next(iter(PALETTES)))


def test_the_scale_bar_lies_within_the_lower_right_corner(axes):
    draw_scale_bar(axes, 30.0)
    assert axes.lines[0].get_xydata().ravel() == pytest.approx([0.94 - 1 / 3, 0.07, 0.94, 0.07])
    assert axes.texts[0].get_text() == "10 µm"


def test_treatments_shown_are_the_controls_and_others_from_first_to_last():
    table = pd.DataFrame({"treatment": [*"abcdefg", "DMSO", "TNF"]})
    controls = ("DMSO", "TNF")
    assert choose_treatments(table, controls, 5) == ["DMSO", "TNF", "a", "d", "g"]
    assert choose_treatments(table, controls, 2) == ["DMSO", "TNF"]
    assert choose_treatments(table, controls, 1) == ["DMSO", "TNF"]
    named = ("g", "none", "DMSO", "b", "a")
    assert choose_treatments(table, controls, 4, named) == ["DMSO", "TNF", "g", "b"]
