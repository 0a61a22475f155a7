"""Fig. 6 and 7: numbers that were planted, the same cells everywhere, and why a panel is empty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.image_quality import quality_rows
from analysis.comparison.long_table import LONG_COLUMNS, long_table, read_long
from analysis.drawing import ablations, degradations
from analysis.drawing.style import SMALLEST_FONT, save
from analysis.figures import figure6, figure7
from rls.io import read_table, write_table
from rls.runtime.errors import InputError
from tests.analysis import made_up
from tests.analysis.test_figures import FEATURE, SETTINGS, all_texts, features_of, ratios
from tests.flags import as_flags

CLEAN, NOISE = "clean", "gaussian_noise"
METHODS = ("bicubic", "rls")
ABLATIONS = ("rls", "rls_unregularized")


def drawn(module, run, settings=SETTINGS):
    """The figure and its numbers, from the tables of the run."""
    table1 = long_table(quality_rows(run, settings))
    return module.draw(run, settings, table1, features_of(run))


def write(root, degradation, methods, kept):
    """Write stacks, features and metrics; ``kept[method]`` of the shift of HR is kept."""
    high, positive = ratios()
    shift = np.where(positive, 1.0, 0.0)
    features = {name: high + (share - 1) * shift for name, share in kept.items()}
    features["high_resolution"] = high
    quality = {name: 0.5 for name in methods} | {"high_resolution": 1.0}
    made_up.write_metrics(root, quality, features=features, degradation=degradation)
    made_up.write_results(root, methods, degradation=degradation)


@pytest.fixture
def degraded(tmp_path):
    write(tmp_path, CLEAN, METHODS, {"bicubic": 0.5, "rls": 0.9})
    write(tmp_path, NOISE, ("rls",), {"rls": 0.4})
    return made_up.run_of(tmp_path, METHODS, degradations=(CLEAN, NOISE), degraded=("rls",))


def table_of(rows):
    return pd.DataFrame(rows).set_index(["degradation", "method", "metric"])


def test_figure_6_shows_what_each_degradation_left_of_the_planted_shift(degraded):
    figure, rows = drawn(degradations, degraded)
    numbers = table_of(rows)
    for degradation, kept in ((CLEAN, 0.9), (NOISE, 0.4)):
        row = numbers.loc[(degradation, "rls", "shift_kept")]
        assert row["value"] == pytest.approx(kept, abs=0.07)
        assert row["low"] <= row["value"] <= row["high"] and row["unit_of_replication"] == "well"
        assert numbers.loc[(degradation, "rls", "fidelity_clean_l1"), "value"] == pytest.approx(
            0.05
        )
        given = numbers.loc[(degradation, "low_resolution", "fidelity_clean_l1"), "value"]
        assert given == pytest.approx(0.08)
    floor = numbers.xs(degradations.FLOOR, level="method")
    assert set(floor.index.get_level_values("degradation")) == {CLEAN}
    assert "bicubic" not in set(numbers.index.get_level_values("method"))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert sum("clean LR" in title or "KD" in title for title in titles) == 2


def test_figure_6_shows_the_same_cells_under_every_degradation(degraded):
    figure, _ = drawn(degradations, degraded)
    panels = [axes.images[0].get_array() for axes in figure.axes if axes.get_gid() == "panel"]
    a_row = 2 * len(("high_resolution", "low_resolution", "rls"))
    assert len(panels) == 2 * a_row
    np.testing.assert_array_equal(panels[0], panels[a_row])
    assert panels[1].shape[0] == made_up.SIZE // made_up.FACTOR


def test_a_method_of_one_degradation_is_drawn_there_and_white_elsewhere(tmp_path):
    write(tmp_path, CLEAN, METHODS, {"bicubic": 0.5, "rls": 0.9})
    write(tmp_path, NOISE, ("rls", "rls_l2"), {"rls": 0.4, "rls_l2": 0.8})
    few = ("rls", "rls_l2")
    run = made_up.run_of(tmp_path, METHODS, degradations=(CLEAN, NOISE), degraded=few)
    figure, rows = drawn(degradations, run)
    numbers = table_of(rows)
    assert numbers.loc[(NOISE, "rls_l2", "shift_kept"), "value"] == pytest.approx(0.8, abs=0.07)
    assert (CLEAN, "rls_l2") not in {key[:2] for key in numbers.index}
    panels = [axes.images[0].get_array() for axes in figure.axes if axes.get_gid() == "panel"]
    # Two cells a degradation, each HR, LR, rls and rls_l2.
    white = [bool((np.asarray(panel) == 1).all()) for panel in panels]
    assert white == [False, False, False, True] * 2 + [False] * 8


def test_a_panel_without_its_network_says_why(degraded):
    figure, rows = drawn(degradations, degraded)
    assert "VGG" in table_of(rows).loc[(NOISE, "rls", "lpips_vgg16"), "reason"]
    assert any("VGG" in text.get_text().replace("\n", " ") for text in all_texts(figure))


def test_a_run_of_one_degradation_has_a_figure_6_of_one_sentence(tmp_path):
    write(tmp_path, CLEAN, METHODS, {"bicubic": 0.5, "rls": 0.9})
    figure, rows = drawn(degradations, made_up.run_of(tmp_path, METHODS, degradations=(CLEAN,)))
    assert not figure.axes and "Fig. 6 is empty" in all_texts(figure)[0].get_text()
    assert len(rows) == 1 and rows[0]["reason"] == degradations.ONE_DEGRADATION


def test_figure_7_sets_the_ablations_that_ran_beside_the_full_search(tmp_path):
    write(tmp_path, CLEAN, ABLATIONS, {"rls": 0.9, "rls_unregularized": 0.2})
    figure, rows = drawn(
        ablations, made_up.run_of(tmp_path, ("rls_unregularized", "rls"), degradations=(CLEAN,))
    )
    numbers = table_of(rows).loc[CLEAN]
    order = list(dict.fromkeys(method for method, _ in numbers.index))
    assert order == list(ABLATIONS), "the order of figures.ablations"
    kept = numbers["value"]
    assert kept["rls_unregularized", "shift_kept"] == pytest.approx(0.2, abs=0.07)
    for number, method in enumerate(ABLATIONS):
        assert kept[method, "log_prior"] == -number
        assert kept[method, "mean_pair_distance"] == pytest.approx(number)
    assert set(numbers["n"]) == {6}
    images = [axes for axes in figure.axes if axes.get_gid() == "panel"]
    assert len(images) == 2 * SETTINGS.cells_per_treatment * (2 + len(ABLATIONS))
    assert len(ablations.panels_of(pd.DataFrame(rows))) == 8


def test_one_search_alone_is_no_ablation_and_figure_7_says_so(tmp_path):
    figure, rows = ablations.draw(
        made_up.run_of(tmp_path, METHODS), SETTINGS, pd.DataFrame(), pd.DataFrame()
    )
    assert not figure.axes and "Fig. 7 is empty" in all_texts(figure)[0].get_text()
    assert "rls" in rows[0]["reason"]


def test_a_method_without_styles_has_no_prior_and_says_so(tmp_path):
    write(tmp_path, CLEAN, ABLATIONS, {"rls": 0.9, "rls_unregularized": 0.2})
    path = tmp_path / "translocation" / "8x" / CLEAN / "rls.parquet"
    write_table(path, read_table(path).drop(columns="log_prior"), written_by="test")
    numbers = table_of(
        drawn(ablations, made_up.run_of(tmp_path, ABLATIONS, degradations=(CLEAN,)))[1]
    )
    row = numbers.loc[(CLEAN, "rls", "log_prior")]
    assert np.isnan(row["value"]) and "no styles" in row["reason"]


@pytest.mark.parametrize("module", [degradations, ablations])
def test_the_figures_are_written_with_readable_letters(tmp_path, degraded, module):
    figure, rows = drawn(module, degraded, replace(SETTINGS, ablations=METHODS))
    paths = {kind: tmp_path / f"f.{kind}" for kind in ("pdf", "png", "csv")}
    save(figure, long_table(rows), written_by="test", **paths)
    assert min(text.get_fontsize() for text in all_texts(figure)) >= SMALLEST_FONT
    assert list(pd.read_csv(paths["csv"]).columns)[: len(LONG_COLUMNS)] == list(LONG_COLUMNS)
    assert paths["png"].stat().st_size > 5_000


@pytest.mark.parametrize("command", [figure6, figure7])
def test_the_commands_write_what_the_tables_say(tmp_path, degraded, command):
    settings = replace(SETTINGS, ablations=METHODS)
    table1 = long_table(quality_rows(degraded, settings))
    table1.loc[table1["metric"] == "kernel_distance_random_x1000", "value"] = 1 / 3
    (tmp_path / "run.json").write_text(degraded.to_json())
    flags = ["--run", str(tmp_path / "run.json"), *as_flags(settings)]
    for name, table in (("table1", table1), ("features", features_of(degraded))):
        write_table(tmp_path / f"{name}.csv", table, written_by="test")
        flags += [f"--{name}", str(tmp_path / f"{name}.csv")]
    for kind in ("pdf", "png", "csv"):
        flags += [f"--output-{kind}", str(tmp_path / f"f.{kind}")]
    command.main(flags)
    numbers = read_long(tmp_path / "f.csv")
    distances = numbers[numbers["metric"] == "kernel_distance_random_x1000"]
    assert len(distances) >= 2 and (distances["value"] == 1 / 3).all()
    write_table(tmp_path / "table1.csv", table1[table1["metric"] != "psnr_db"], written_by="test")
    if command is figure7:
        with pytest.raises(InputError, match="tables have no psnr_db of the method bicubic"):
            command.main(flags)


def test_every_number_is_of_the_assays_feature(degraded):
    _, rows = drawn(degradations, degraded)
    assert {row["feature"] for row in rows if row["metric"] in ("shift_kept", "sd_ratio")} == {
        FEATURE
    }
