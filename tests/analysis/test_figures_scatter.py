"""HR against SR per cell: what is drawn is what was measured, and its numbers say so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from analysis.comparison.kept_features import kept_rows
from analysis.comparison.long_table import long_table
from analysis.drawing import scatter
from analysis.drawing.settings import Settings
from analysis.drawing.style import (
    COLOURS,
    DOUBLE_COLUMN,
    LARGEST_HEIGHT,
    NEGATIVE,
    SMALLEST_FONT,
)
from rls.runtime.errors import InputError
from tests.analysis import made_up

SETTINGS = Settings(
    n_bootstrap=40, confidence_level=0.95, cells_per_treatment=2, treatments_shown=4,
    treatments_named=(),
    palette="article", super_resolution="rls", ablations=("rls",), norms_shown=400, seed=0,
    norms_assay=None, lettered_first=(),
)  # fmt: skip
WELLS, CELLS = 6, 40
COLUMN = "nucleocytoplasmic_ratio"


def planted():
    """HR values, whether each is positive, and the same values shuffled within treatments."""
    table = made_up.cells_table(WELLS, CELLS)
    random = np.random.default_rng(0)
    positive = (table["treatment"] == made_up.CONTROLS[1]).to_numpy()
    high = np.where(positive, 2.3, 0.9) + random.normal(0, 0.15, len(table))
    shuffled = high.copy()
    for side in (positive, ~positive):
        shuffled[side] = random.permutation(high[side])
    return high, positive, shuffled


def drawn(root, values, methods):
    made_up.write_features(root, values, wells=WELLS, cells=CELLS)
    run = made_up.run_of(root, methods)
    figure, rows = scatter.draw(run, SETTINGS, long_table(kept_rows(run, SETTINGS)))
    panels = [axes for axes in figure.findobj(lambda a: a.get_gid() == "scatter")]
    return figure, panels, pd.DataFrame(rows).set_index(["method", "metric", "treatment"])


def texts(figure):
    return [t for t in figure.findobj(Text) if t.get_text().strip()]


def test_an_oracle_lies_on_the_line_and_a_shuffle_has_its_clouds_and_no_r(tmp_path):
    high, _, shuffled = planted()
    values = {"high_resolution": high, "rls": high, "pulse": shuffled}
    figure, panels, numbers = drawn(tmp_path, values, ("rls", "pulse"))
    on_line = np.concatenate([points.get_offsets() for points in panels[0].collections])
    np.testing.assert_allclose(on_line[:, 0], on_line[:, 1])
    assert len(on_line) == len(high)
    differences = np.concatenate([points.get_offsets() for points in panels[1].collections])
    np.testing.assert_allclose(differences[:, 1], 0, atol=1e-12)
    assert numbers.loc[("rls", "shift_kept", ""), "value"] == pytest.approx(1)
    assert numbers.loc[("pulse", "shift_kept", ""), "value"] == pytest.approx(1)
    assert numbers.loc[("pulse", "triple_above_zero", ""), "value"] == 0
    said = [text.get_text() for text in texts(figure)]
    assert any(text.startswith("r 1.00 [1.00, 1.00]\n240 cells, 6 wells") for text in said)
    r = numbers.loc[("pulse", "correlation_within_treatment", ""), "value"]
    assert abs(r) < 0.15
    assert any(text.startswith(f"r {r:.2f}".replace("-", "−")) for text in said)


def test_r_of_each_treatment_is_that_of_its_cells_with_wells_as_units(tmp_path):
    high, positive, _ = planted()
    random = np.random.default_rng(1)
    noisy = high + np.where(positive, 0.05, 0.5) * random.normal(size=len(high))
    _, _, numbers = drawn(tmp_path, {"high_resolution": high, "rls": noisy}, ("rls",))
    for treatment, side in zip(made_up.CONTROLS, (~positive, positive), strict=True):
        row = numbers.loc[("rls", "correlation", treatment)]
        assert row["value"] == pytest.approx(np.corrcoef(high[side], noisy[side])[0, 1])
        assert row["low"] < row["value"] < row["high"]
        assert row["n"] == WELLS // 2 and row["unit_of_replication"] == "well"
    assert (numbers["feature"] == COLUMN).all()


def test_bias_and_limits_are_drawn_where_they_are(tmp_path):
    high, _, _ = planted()
    random = np.random.default_rng(2)
    values = {"high_resolution": high, "rls": high + 0.3 + random.normal(0, 0.1, len(high))}
    _, panels, numbers = drawn(tmp_path, values, ("rls",))
    lower = panels[1]
    lines = sorted(
        float(line.get_ydata()[0]) for line in lower.lines if line.get_color() == "black"
    )
    difference = values["rls"] - high
    half = 1.96 * difference.std(ddof=1)
    expected = [difference.mean() - half, difference.mean(), difference.mean() + half]
    np.testing.assert_allclose(lines, expected)
    assert numbers.loc[("rls", "bland_altman_bias", ""), "low"] > 0
    assert numbers.loc[("rls", "cells_in_both", ""), "value"] == len(high)


def test_treatments_differ_in_colour_and_mark_and_far_values_lie_at_the_edge(tmp_path):
    high, positive, _ = planted()
    values = {"high_resolution": high, "rls": high.copy()}
    values["rls"][np.flatnonzero(positive)[0]] = 500.0
    _, panels, _ = drawn(tmp_path, values, ("rls",))
    negative, treated = panels[0].collections
    assert to_rgba(NEGATIVE)[:3] == tuple(negative.get_facecolor()[0][:3])
    assert to_rgba(COLOURS["rls"])[:3] == tuple(treated.get_facecolor()[0][:3])
    assert len(negative.get_paths()[0]) != len(treated.get_paths()[0])
    assert len(treated.get_offsets()) == positive.sum()
    assert treated.get_offsets()[:, 1].max() == pytest.approx(panels[0].get_ylim()[1])


def test_cells_drawn_of_a_large_stack_come_from_every_well(tmp_path, monkeypatch):
    monkeypatch.setattr(scatter, "POINTS_SHOWN", 30)
    high, positive, _ = planted()
    _, panels, numbers = drawn(tmp_path, {"high_resolution": high, "rls": high}, ("rls",))
    shown = panels[0].collections[1].get_offsets()[:, 0]
    wells = np.repeat(np.arange(WELLS), CELLS)
    assert len(shown) == 30
    assert {int(wells[np.argmin(abs(high - x))]) for x in shown} == set(wells[positive])
    assert numbers.loc[("rls", "cells_in_both", ""), "value"] == len(high)


def test_what_was_measured_in_no_cell_has_an_empty_panel_and_a_reason(tmp_path):
    high, _, _ = planted()
    values = {"high_resolution": high, "rls": np.full(len(high), np.nan)}
    figure, panels, numbers = drawn(tmp_path, values, ("rls",))
    assert len(panels) == 2 and "r n/a\n0 cells" in [text.get_text() for text in texts(figure)]
    row = numbers.loc[("rls", "correlation_within_treatment", "")]
    assert np.isnan(row["value"]) and "0 cells of DMSO" in row["reason"]


def overlapping(figure):
    """Pairs of texts whose boxes overlap by more than a point in both directions.

    Numbers at ticks are left to matplotlib, which keeps some beyond the axes without drawing them.
    """
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    point = figure.dpi / 72
    ticks = {
        id(tick)
        for axes in figure.findobj(lambda a: a.get_gid() == "scatter")
        for tick in (*axes.get_xticklabels(), *axes.get_yticklabels())
    }
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts(figure)
             if id(t) not in ticks]  # fmt: skip
    return [
        (a, b)
        for i, (a, first) in enumerate(boxes)
        for b, other in boxes[i + 1 :]
        if min(first.x1, other.x1) - max(first.x0, other.x0) > point
        and min(first.y1, other.y1) - max(first.y0, other.y0) > point
    ]


@pytest.mark.parametrize("count", [1, 3, 10])
def test_it_can_be_read_at_the_width_of_a_journal(tmp_path, count):
    high, positive, _ = planted()
    methods = tuple(list(COLOURS)[2 : 2 + count])
    values = dict.fromkeys(("high_resolution", *methods), high)
    made_up.write_features(tmp_path, values, wells=WELLS, cells=CELLS)
    areas = {name: 40 - 12 * numbers for name, numbers in values.items()}
    made_up.write_features(
        tmp_path, areas, assay="golgi", column="golgi_mean_spot_area_um2", wells=WELLS, cells=CELLS
    )
    run = made_up.run_of(tmp_path, methods, "translocation", "golgi")
    few = replace(SETTINGS, n_bootstrap=5)
    figure, _ = scatter.draw(run, few, long_table(kept_rows(run, few)))
    width, height = figure.get_size_inches()
    assert width == pytest.approx(DOUBLE_COLUMN) and height <= LARGEST_HEIGHT
    assert min(text.get_fontsize() for text in texts(figure)) >= SMALLEST_FONT
    said = {text.get_text() for text in texts(figure)}
    assert {"a", "b", "HR (µm²)", "SR − HR\n(µm²)", "golgi mean spot area (µm²)"} <= said
    assert not overlapping(figure)


def test_no_assay_with_a_feature_is_refused(tmp_path):
    run = made_up.run_of(tmp_path, ("rls",))
    bare = replace(run, assays=(replace(run.assays[0], features=()),))
    with pytest.raises(InputError, match="names a feature"):
        scatter.draw(bare, SETTINGS, pd.DataFrame())
