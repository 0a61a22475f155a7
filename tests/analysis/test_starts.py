"""The figure of traces: planted shifts and times come back, on axes of steps and of seconds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.image_metrics import KERNEL_DISTANCE
from analysis.comparison.traced import PROCESSOR, SECONDS
from analysis.drawing import starts
from analysis.drawing.style import SMALLEST_FONT, method_colours, new_figure
from analysis.figures import starts as command
from rls.io import read_table, write_table
from rls.runtime.errors import InputError
from tests.analysis import made_up
from tests.analysis.test_figures import FEATURE, SETTINGS, all_texts
from tests.flags import as_flags

METHODS = ("rls", "rls_encoder")
KEPT = {0: 0.0, 10: 0.5, 40: 1.0}  # steps -> share of each cell's deviation that rls keeps


def planted(root, *, timed=(SECONDS, PROCESSOR), split="tune"):
    """Write two traces: rls keeps ever more of HR; the other everything, with a quarter in W."""
    cells = made_up.cells_table(6, 10).assign(split=split).rename(columns={"image_id": "cell_id"})
    random = np.random.default_rng(0)
    high = 1.0 + (cells["treatment"] == made_up.CONTROLS[1]) + random.normal(0, 0.1, len(cells))
    for method in METHODS:
        parts = []
        for steps, share in KEPT.items():
            kept, in_w = (share, 0) if method == "rls" else (1.0, steps // 4)
            table = cells.assign(
                image_id=cells["cell_id"] + f"_{steps}", steps=steps - in_w, own=steps == 40,
                fidelity_l1=0.1 / (1 + steps), psnr_db=20.0, log_prior=np.nan,
                random_feature_0=random.normal(0, 1, len(cells)),
                random_feature_0_high_resolution=random.normal(0, 1, len(cells)),
                **{FEATURE: 1.5 + kept * (high - 1.5), f"{FEATURE}_high_resolution": high},
            )  # fmt: skip
            if method != "rls":
                table["steps_w"] = in_w
            warm = np.arange(len(cells)) >= 20
            for name in (SECONDS, PROCESSOR):
                here = warm & (name in timed)
                table[name] = np.where(here, 0.01 * (1 + steps), np.nan)
            parts.append(table)
        path = root / "translocation" / "8x" / "trace" / f"{method}.metrics.parquet"
        write_table(path, pd.concat(parts, ignore_index=True), written_by="measure_sweep")
    return made_up.run_of(root, METHODS)


def test_what_was_planted_comes_back_at_every_checkpoint(tmp_path):
    _, rows = starts.draw(planted(tmp_path), METHODS, SETTINGS)
    numbers = pd.DataFrame(rows).set_index(["method", "steps", "metric"]).sort_index()
    for steps, kept in KEPT.items():
        here = numbers.loc[("rls", steps)]
        assert here.loc["shift_kept", "value"] == pytest.approx(kept)
        assert here.loc["sd_ratio", "value"] == pytest.approx(kept)
        assert here.loc[SECONDS, "value"] == pytest.approx(0.01 * (1 + steps))
        assert here.loc[SECONDS, "n"] == 40  # the first batch is not timed
        assert here.loc["fidelity_l1", "value"] == pytest.approx(0.1 / (1 + steps))
        assert np.isfinite(here.loc[KERNEL_DISTANCE, "value"])
        # Steps in W count, so that both methods have the same checkpoints.
        other = numbers.loc[("rls_encoder", steps)]
        assert other.loc["correlation_within_treatment", "value"] == pytest.approx(1.0)
    start = numbers.loc[("rls", 0, "correlation_within_treatment")]
    assert np.isnan(start["value"]) and "constant" in start["reason"]
    assert set(numbers.loc[numbers["own"]].index.get_level_values("steps")) == {40}
    assert set(numbers["n_cells"]) == {60}


def test_lines_stand_at_their_steps_and_at_their_seconds(tmp_path):
    figure, _ = starts.draw(planted(tmp_path), METHODS, SETTINGS)
    assert len(figure.axes) == 2 * len(starts.PANELS)
    by_steps, by_time = figure.axes[:2]  # the panels of the loss
    loss = [100 / (1 + steps) for steps in KEPT]
    for axes in (by_steps, by_time):
        lines = [line for line in axes.lines if len(line.get_xdata()) == 3]
        assert len(lines) == 2
        np.testing.assert_allclose(lines[0].get_ydata(), loss)
    np.testing.assert_allclose(lines[0].get_xdata(), [0.01, 0.11, 0.41])
    places = by_steps.get_xticks()
    assert places[0] < places[1] and places[2] - places[1] == pytest.approx(np.log10(4))
    texts = all_texts(figure)
    assert min(text.get_fontsize() for text in texts) >= SMALLEST_FONT
    words = [text.get_text() for text in texts]
    assert "RLS" in words and "processor seconds a cell" in words
    assert any("60 cells of tune" in word for word in words)
    assert any("intervals over wells" in word for word in words)


def test_wall_time_is_drawn_where_no_processor_was_timed_and_said_to_lack_without(tmp_path):
    figure, _ = starts.draw(planted(tmp_path, timed=(SECONDS,)), METHODS, SETTINGS)
    assert "seconds a cell" in [text.get_text() for text in all_texts(figure)]
    figure, rows = starts.draw(planted(tmp_path, timed=()), METHODS, SETTINGS)
    said = " ".join(text.get_text().replace("\n", " ") for text in all_texts(figure))
    assert "no batch was timed" in said
    reasons = {row["reason"] for row in rows if row["metric"] == SECONDS}
    assert all("n_cells above batch_size" in reason for reason in reasons)


def test_another_column_of_a_feature_can_be_drawn_and_must_have_been_measured(tmp_path):
    run = planted(tmp_path)
    for method in METHODS:
        path = tmp_path / "translocation" / "8x" / "trace" / f"{method}.metrics.parquet"
        table = read_table(path)
        table["area"] = table["area_high_resolution"] = table[f"{FEATURE}_high_resolution"]
        write_table(path, table, written_by="measure_sweep")
    figure, rows = starts.draw(run, METHODS, SETTINGS, {"translocation": "area"})
    assert any(text.get_text().startswith("area;") for text in all_texts(figure))
    shift = figure.axes[4].lines[1]  # line 0 is where it is kept whole
    np.testing.assert_allclose(shift.get_ydata(), 1.0)
    assert {row["feature"] for row in rows} == {"", FEATURE, "area"}
    with pytest.raises(InputError, match="no column perimeter"):
        starts.draw(run, METHODS, SETTINGS, {"translocation": "perimeter"})


def test_evaluation_cells_are_refused(tmp_path):
    with pytest.raises(InputError, match="evaluation"):
        starts.draw(planted(tmp_path, split="evaluation"), METHODS, SETTINGS)


def test_names_are_moved_apart_and_no_further_than_needed():
    places = {"a": 0.5, "b": 0.51, "c": 0.9, "d": 0.49}
    found = starts.spread(places, 0.1)
    assert sorted(found, key=lambda name: found[name]) == ["d", "a", "b", "c"]
    ordered = sorted(found.values())
    assert min(np.diff(ordered)) == pytest.approx(0.1)
    assert found["c"] == 0.9 and found["a"] == pytest.approx(0.5)
    # A group that grows meets its neighbour and takes it in.
    chained = starts.spread({"a": 0.0, "b": 0.0, "c": 0.06}, 0.1)
    np.testing.assert_allclose(np.diff(sorted(chained.values())), 0.1)
    assert np.mean(list(chained.values())) == pytest.approx(0.02)


def test_the_command_writes_the_numbers(tmp_path):
    planted(tmp_path)
    outputs = [f for k in ("pdf", "png", "csv") for f in (f"--output-{k}", tmp_path / f"s.{k}")]
    run = str(made_up.write_run(tmp_path, METHODS))
    command.main(["--run", run, "--methods", *METHODS, *as_flags(SETTINGS), *map(str, outputs)])
    table = pd.read_csv(tmp_path / "s.csv")
    assert {"steps", "own", "n_cells", "feature"} <= set(table.columns)
    assert set(table["method"]) == set(METHODS)


def test_a_line_without_an_end_has_its_name_too_and_times_are_plain_numbers():
    axes = new_figure(3, 2).add_subplot()
    axes.set_ylim(0, 2)
    lines = {"rls": pd.DataFrame({"value": [1.0, np.nan]}), "pulse": pd.DataFrame({"value": [1.5]})}
    starts.name_lines(axes, lines, starts.PANELS[-1], method_colours(list(lines)))
    named = {text.get_text(): text for text in axes.texts}
    assert set(named) == {"RLS", "PULSE"}
    assert named["RLS"].arrow_patch is None and named["PULSE"].arrow_patch is not None
    for high, ticks in ((1.0, {"0.1", "0.2", "0.5", "1"}), (100.0, {"0.1", "1", "10", "100"})):
        axes = new_figure(3, 2).add_subplot()
        axes.set_xscale("log")
        axes.set_xlim(0.1, high)
        starts._plain_ticks(axes.xaxis)
        inside = {
            label.get_text()
            for label, place in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
            if 0.1 <= place <= high
        }
        assert inside == ticks
