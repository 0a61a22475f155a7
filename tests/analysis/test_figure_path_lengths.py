"""The figure of path lengths: planted spreads come back, and faults are named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.drawing import path_lengths
from analysis.drawing.style import SMALLEST_FONT
from analysis.figures import path_lengths as command
from rls.io import write_table
from rls.runtime.errors import InputError
from tests.analysis.test_figures import SETTINGS, all_texts
from tests.flags import as_flags


def standard(values):
    return (values - values.mean()) / values.std(ddof=1)


def measured(path, cv=0.2, sd=7.0, flow=True, jacobians=True):
    """A table as rls.path_lengths writes it, of planted spreads over 1,000 styles."""
    random, n = np.random.default_rng(1), 1000
    by_style, by_draw = standard(random.normal(0, 1, (n, 1))), random.normal(0, 1, (n, 2))
    columns = {"step_length": 5 * (1 + cv * (by_style + by_draw))}
    columns["path_length"] = columns["step_length"] / 10
    if jacobians:
        columns["half_log_det"] = -100 + sd * by_style
    if flow:
        columns["log_p_flow"] = -60 - 3 * by_style
    rows = [
        {"quantity": name, "style": i, "draw": j, "value": value, "unit": "", "reason": ""}
        for name, values in columns.items()
        for (i, j), value in np.ndenumerate(values)
    ]
    write_table(path, pd.DataFrame(rows), written_by="path_lengths")
    return path


def drawn(tmp_path, tables, labels):
    command.main(
        [
            *("--tables", *map(str, tables), "--labels", *labels, *as_flags(SETTINGS)),
            *("--output-pdf", str(tmp_path / "f.pdf"), "--output-png", str(tmp_path / "f.png")),
            *("--output-csv", str(tmp_path / "f.csv")),
        ]
    )
    return (
        pd.read_csv(tmp_path / "f.csv").set_index(["generator", "quantity", "metric"]).sort_index()
    )


def test_planted_spreads_come_back_with_their_intervals(tmp_path):
    tables = [measured(tmp_path / "a.parquet"), measured(tmp_path / "b.parquet", 0.05, 1.0)]
    numbers = drawn(tmp_path, tables, ["without penalty", "with penalty"])
    for label, cv, sd in (("without penalty", 0.2, 7.0), ("with penalty", 0.05, 1.0)):
        for quantity in ("path_length", "step_length"):
            at = numbers.loc[label, quantity]
            assert at.loc["cv_over_styles", "value"] == pytest.approx(cv, rel=0.1)
            assert at.loc["cv_all_draws", "value"] == pytest.approx(2**0.5 * cv, rel=0.1)
        at = numbers.loc[label, "half_log_det"].loc["sd"]
        assert at["value"] == pytest.approx(sd, rel=0.05)
        assert at["low"] < at["value"] < at["high"] and at["n"] == 1000
        both = numbers.loc[label, "half_log_det and log_p_flow"].loc["correlation"]
        assert both["value"] == pytest.approx(-1)
    assert (tmp_path / "f.pdf").stat().st_size > 1000 < (tmp_path / "f.png").stat().st_size


def test_the_legends_tell_the_spreads_in_readable_letters(tmp_path):
    tables = path_lengths.read_lengths([measured(tmp_path / "a.parquet")], ["mine"])
    figure = path_lengths.draw(tables)
    texts = [text.get_text() for text in all_texts(figure)]
    assert any("mine" in text and "CV 0.2" in text and "alone" in text for text in texts)
    assert any("mine" in text and "sd 7.0" in text for text in texts)
    assert any("mine" in text and "sd 3.0" in text for text in texts)
    assert all(text.get_fontsize() >= SMALLEST_FONT for text in all_texts(figure))


def test_without_jacobians_the_figure_says_so(tmp_path):
    path = measured(tmp_path / "a.parquet", flow=False, jacobians=False)
    figure = path_lengths.draw(path_lengths.read_lengths([path], ["mine"]))
    assert "no Jacobian was computed" in [text.get_text() for text in all_texts(figure)]


def test_labels_that_do_not_fit_are_refused(tmp_path):
    path = measured(tmp_path / "a.parquet")
    for labels in (["one"], ["same", "same"]):
        with pytest.raises(InputError, match="one label a table"):
            path_lengths.read_lengths([path, path], labels)


def test_the_titles_of_assays_stay_inside_their_panels(tmp_path):
    names = [f"{name}, small at 64 px (simulated)" for name in ("A look-alike of a screen", "B")]
    tables = [measured(tmp_path / f"{i}.parquet") for i in range(2)]
    figure = path_lengths.draw(path_lengths.read_lengths(tables, names))
    figure.canvas.draw()
    for axes in figure.axes:
        box, legend = axes.get_window_extent(), axes.get_legend().get_window_extent()
        assert legend.x0 >= box.x0 and legend.x1 <= box.x1 and legend.y0 >= box.y0
