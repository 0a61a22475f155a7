"""Where a feature is lost: the strips, what they are compared with, and the drawing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparison import where_lost
from analysis.comparison.kept_features import kept_rows
from analysis.comparison.long_table import long_table
from analysis.comparison.settings import Settings
from analysis.drawing import where_lost as drawing
from analysis.figures import where_lost as figure
from analysis.measuring.columns import N_SOLUTIONS, OF_IMAGE
from rls.io import read_table, write_table
from tests.analysis import made_up
from tests.analysis.test_figures import SETTINGS as FIGURES
from tests.flags import as_flags

COLUMN = "nucleocytoplasmic_ratio"
WELLS, CELLS, K = 6, 40, 3
METHODS = ("bicubic", "rls_mean", "amortised", "regression")


def planted(root, *, beside=True):
    """A generator without one of two humps, and a method whose mean is narrower than its image."""
    random = np.random.default_rng(2)
    table = made_up.cells_table(WELLS, CELLS)
    positive = (table["treatment"] == made_up.CONTROLS[1]).to_numpy()
    n = len(table)
    high = np.where(positive, 2.3, 0.9) + random.normal(0, 0.2, n)
    image = np.where(positive, 1.9, 1.1) + random.normal(0, 0.2, n)
    values = {
        "high_resolution": high, "bicubic": np.full(n, 1.4) + random.normal(0, 0.05, n),
        "rls_mean": np.where(positive, 1.9, 1.1) + random.normal(0, 0.1, n),
        "amortised": high, "regression": high + random.normal(0, 0.1, n),
    }  # fmt: skip
    made_up.write_features(root, values, wells=WELLS, cells=CELLS)
    run = made_up.run_of(root, METHODS)
    path = next(run.comparisons()).measured("rls_mean", "features")
    several = read_table(path).assign(**{N_SOLUTIONS: K, COLUMN + OF_IMAGE: image})
    write_table(path, several, written_by="measure")
    if beside:
        for name, found in (("gan", high), ("drawn", random.normal(1.6, 0.3, 200))):
            path = root / "translocation" / f"{name}.features.parquet"
            write_table(path, pd.DataFrame({COLUMN: found}), written_by="measure_gan")
    return run


def blocks(run):
    settings = Settings(confidence_level=0.95, seed=0)
    table = long_table(kept_rows(run, settings))
    return where_lost.blocks_of(next(run.comparisons()), table)


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    (found,) = blocks(planted(tmp_path_factory.mktemp("lost")))
    return found


def test_the_strips_are_real_generated_and_reconstructed_cells(block):
    unconditional = [strip.label for strip in block.strips if not strip.treatment]
    assert unconditional == ["HR, generator's cells", "HR, evaluation", "generated from nothing"]
    for treatment in made_up.CONTROLS:
        labels = [strip.label for strip in block.strips if strip.treatment == treatment]
        assert labels[:2] == ["HR", "Bicubic"] and len(labels) == 6
        assert labels[2].endswith("(one image)") and labels[3].endswith(f"(mean of {K})")


def test_a_generator_that_lacks_a_hump_lies_farther_from_its_cells_than_other_real_ones(block):
    apart = {strip.method: where_lost.distance(strip) for strip in block.strips[:3]}
    assert apart["gan"] == 0 and apart["high_resolution"] < 0.2 < apart["generated"]


def test_the_distance_of_a_shift_is_the_shift_in_sd():
    values = np.random.default_rng(1).normal(size=500)
    strip = where_lost.Strip("m", "m", "", values + 0.7, values)
    assert where_lost.distance(strip) == pytest.approx(0.7 / values.std())
    assert np.isnan(where_lost.distance(strip._replace(values=np.array([]))))
    assert np.isnan(where_lost.distance(strip._replace(reference=np.ones(5))))


def test_of_several_solutions_image_and_mean_have_their_own_numbers(block):
    rows = pd.DataFrame(where_lost.numbers_of(block))
    own = rows[(rows["method"] == "rls_mean") & (rows["treatment"] == made_up.CONTROLS[1])]
    by = own.set_index(["strip", "metric"])["value"].unstack()
    (image,), (mean,) = (by.index[by.index.str.contains(end)] for end in ("image", "mean of"))
    assert by.loc[image, "sd"] > 1.6 * by.loc[mean, "sd"]
    for strip in (image, mean):
        assert by.loc[strip, "shift_kept"] == pytest.approx(0.8 / 1.4, abs=0.08)
        assert by.loc[strip, "quantile_0.05"] < by.loc[strip, "quantile_0.5"] < 2.1
    assert by.loc[image, "shift_kept"] != by.loc[mean, "shift_kept"]


def test_without_generator_or_gan_the_strips_of_both_are_left_out(tmp_path):
    (found,) = blocks(planted(tmp_path, beside=False))
    assert [strip.method for strip in found.strips if not strip.treatment] == ["high_resolution"]


def test_the_command_draws_and_writes_the_numbers(tmp_path):
    run = planted(tmp_path)
    settings = Settings(confidence_level=0.95, seed=0)
    write_table(tmp_path / "features.csv", long_table(kept_rows(run, settings)), written_by="t")
    path = made_up.write_run(tmp_path, METHODS)
    outputs = [x for kind in ("pdf", "png", "csv")
               for x in (f"--output-{kind}", str(tmp_path / f"lost.{kind}"))]  # fmt: skip
    figure.main(
        ["--run", str(path), "--features", str(tmp_path / "features.csv"), *outputs,
         *as_flags(FIGURES)]
    )  # fmt: skip
    assert (tmp_path / "lost.png").stat().st_size > 10_000
    table = pd.read_csv(tmp_path / "lost.csv")
    assert {"wasserstein_over_sd", "quantile_0.5", "sd", "shift_kept"} <= set(table["metric"])
    assert set(table["strip"]) >= {"generated from nothing", "HR", "Bicubic"}


def test_where_no_assay_has_hr_a_sentence_stands_in_place_of_the_figure(tmp_path):
    run = planted(tmp_path)
    run = replace(run, assays=tuple(replace(a, has_high_resolution=False) for a in run.assays))
    drawn, rows = drawing.draw(run, pd.DataFrame())
    assert rows == [] and drawn.texts[0].get_text().startswith("No assay")
