"""Generators that differ in what they were trained on: their table, and its two figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparison import trained
from analysis.comparison.long_table import long_table
from analysis.comparison.settings import IntervalSettings
from analysis.drawing.trained import BY_CELLS, BY_PREVALENCE, draw
from analysis.run.description import Run, Training
from rls.io import write_table
from tests.analysis import made_up
from tests.analysis.test_figures import FEATURE, all_texts

SETTINGS = IntervalSettings(confidence_level=0.95, seed=0)
KEPT = {0.0: 0.2, 0.1: 0.5, 0.5: 1.0}  # prevalence -> share of the treated cells' shift
METHODS = ("rls", "amortised")


def curves(*kd, floor=0.1):
    kimg = 8.0 * np.arange(1, len(kd) + 1)
    return pd.DataFrame({"kimg": kimg, "kd": kd, "kd_floor": floor})


def planted(root, trainings):
    """Write what the table reads: treated cells keep a share of their shift, untreated all."""
    names = [f"a{i}" for i in range(len(trainings))]
    run = made_up.run_of(root, METHODS, *names)
    assays = tuple(replace(a, training=t) for a, t in zip(run.assays, trainings, strict=True))
    cells = made_up.cells_table(6, 20)
    treated = (cells["treatment"] == made_up.CONTROLS[1]).to_numpy()
    high = 1.0 + treated + np.random.default_rng(0).normal(0, 0.1, len(cells))
    shift = np.median(high[treated]) - np.median(high[~treated])
    for name, training in zip(names, trainings, strict=True):
        kept = KEPT.get(training.prevalence, 1.0) if training else 0.0
        folder = root / name / f"{made_up.FACTOR}x" / made_up.DEGRADATION
        for method in ("high_resolution", *METHODS):
            lost = 0.0 if method == "high_resolution" else (1 - kept) * shift * treated
            facts = {"method": method, "feature_settings": "f", "status": "ok"}
            table = cells.assign(**facts, **{FEATURE: high - lost})
            write_table(folder / f"{method}.features.parquet", table, written_by="test")
        drawn = np.where(np.arange(1000) % 10 < 10 * kept, 2.0, 1.0)
        drawn[:10] = np.nan
        features = pd.DataFrame({"number": range(1000), FEATURE: drawn})
        write_table(root / name / "generated.features.parquet", features, written_by="test")
        kd = pd.DataFrame({"treatment": ["", *made_up.CONTROLS], "n_cells": [120, 60, 60]})
        kd = kd.assign(kd=[0.2, 0.3, 0.4], kd_floor=0.1)
        write_table(root / name / "generated.csv", kd, written_by="test")
        if training:
            found = curves(0.9, 0.8, 0.3, 0.2) if kept < 0.3 else curves(0.3, 0.3, 0.3, 0.3)
            write_table(root / name / "generator.training.csv", found, written_by="test")
    return replace(run, assays=assays)


BY_SHARE = [Training(1000, share, seed, "") for share in KEPT for seed in (1, 2)]


def test_a_planted_loss_of_the_treated_shift_comes_back_as_theirs_alone(tmp_path):
    table = long_table(trained.trained_rows(planted(tmp_path, BY_SHARE), SETTINGS))
    kept = table[(table["metric"] == "shift_kept") & (table["method"] == "rls")]
    for share, wanted in KEPT.items():
        here = kept[kept["prevalence"] == share]
        assert here["value"].to_numpy() == pytest.approx([wanted, wanted], abs=1e-6)
        assert set(here["training_seed"]) == {1, 2} and set(here["gan_cells"]) == {1000}
        assert set(here["n"]) == {6} and set(here["n_cells"]) == {120}
        own = table[(table["metric"] == trained.POSITION) & (table["prevalence"] == share)]
        own = own.groupby("treatment")["value"].mean()
        assert own[made_up.CONTROLS[0]] == pytest.approx(0.0, abs=1e-6)
        assert own[made_up.CONTROLS[1]] == pytest.approx(wanted, abs=1e-6)
        assert np.isfinite(kept[["low", "high"]].to_numpy()).all()
        drawn = table[(table["metric"] == trained.PREVALENCE) & (table["prevalence"] == share)]
        assert drawn["value"].to_numpy() == pytest.approx([wanted, wanted], abs=0.01)
        assert set(drawn["n"]) == {990}  # what cannot be measured is in no share
    distances = table[table["metric"] == trained.DISTANCE].groupby("treatment")["value"].mean()
    assert distances.to_dict() == pytest.approx({"": 0.2, "DMSO": 0.3, "TNF-alpha": 0.4})
    falls = table[table["metric"] == trained.FALLING].set_index("prevalence")["value"]
    assert falls[0.0].eq(1).all() and falls[[0.1, 0.5]].eq(0).all()


@pytest.mark.parametrize(
    ("kd", "falls"),
    [
        ((0.9, 0.5, 0.30, 0.28), 1.0),  # 0.29 after 0.70
        ((0.9, 0.30, 0.30, 0.28, 0.28), 0.0),  # 0.28 after 0.30: less than a tenth
        ((0.9, 0.30, 0.30, 0.26, 0.26), 1.0),
        ((0.9, 0.20, 0.20, 0.05, 0.05), 0.0),  # at the floor nothing is left to fall
        ((0.2, 0.2, 0.4, 0.4), 0.0),  # rising
        ((0.9, np.nan, 0.5, 0.2), None),  # three values say nothing
    ],
)
def test_a_curve_still_falls_by_the_stated_rule(kd, falls):
    found = trained.falling_fact(curves(*kd))
    assert found.get("value") == falls
    assert "4 are needed" in found["reason"] if falls is None else "kimg" in found["reason"]


def test_a_feature_that_falls_with_treatment_counts_images_below_the_midpoint(tmp_path):
    run = planted(tmp_path, BY_SHARE[:1])
    at = next(iter(run.comparisons()))
    (feature,) = trained.read_features(at, [FEATURE], at.methods)
    turned = replace(feature, values={name: -v for name, v in feature.values.items()})
    drawn = -np.array([0.9, 1.1, 1.4, 1.6, 2.2])
    assert trained.prevalence_fact(turned, drawn, SETTINGS)["value"] == pytest.approx(0.4)


def test_the_figure_by_prevalence_shows_every_training_and_names_those_that_were_not_over(tmp_path):
    run = planted(tmp_path, BY_SHARE)
    table = long_table(trained.trained_rows(run, SETTINGS))
    figure, rows = draw(run, table, BY_PREVALENCE)
    text = " ".join(" ".join(one.get_text() for one in all_texts(figure)).split())
    assert "2 of 6 trainings (a0, a1)" in text and "120 simulated cells" in text
    shift = figure.axes[0]
    points = [line for line in shift.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [len(line.get_xdata()) for line in points] == [6, 6]  # a method each
    assert points[0].get_ydata() == pytest.approx([0.2, 0.2, 0.5, 0.5, 1, 1], abs=1e-6)
    distances = figure.axes[2]
    triangles = [line for line in distances.lines if line.get_marker() == "v"]
    assert sum(len(line.get_xdata()) for line in triangles) == 6  # two generators, three references
    assert len(rows) == len(table)


def test_the_figure_of_transfer_parts_starts_and_draws_the_model_as_shipped_as_a_line(tmp_path):
    trainings = [Training(n, 0.5, 1, start) for n in (50, 200) for start in ("models/m", "")]
    run = planted(tmp_path, [*trainings, None])
    table = long_table(trained.trained_rows(run, SETTINGS))
    assert set(table.loc[table["assay"] == "a4", "init_from"]) == {trained.AS_SHIPPED}
    figure, _ = draw(run, table, BY_CELLS)
    shift = figure.axes[0]
    faces = [
        x.get_markerfacecolor() for x in shift.lines if x.get_marker() == "o" and len(x.get_xdata())
    ]
    assert faces.count("white") == len(METHODS) and len(faces) == 2 * len(METHODS)
    assert sum(line.get_linestyle() == ":" for line in shift.lines) == len(METHODS)


def test_generators_that_do_not_differ_make_no_figure(tmp_path):
    run = planted(tmp_path, BY_SHARE[:2])
    table = long_table(trained.trained_rows(run, SETTINGS))
    figure, rows = draw(run, table, BY_PREVALENCE)
    assert not rows and "do not differ in prevalence" in all_texts(figure)[0].get_text()


def test_what_was_trained_on_survives_the_description_of_a_run(tmp_path):
    run = planted(tmp_path, [*BY_SHARE[:1], None])
    again = Run.from_json(run.to_json(), tmp_path)
    assert again.assays == run.assays
