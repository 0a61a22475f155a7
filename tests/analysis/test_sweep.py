"""The sweep's numbers: planted optima, paired differences, and what measure_sweep compares."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import measure_sweep
from analysis.drawing import sweep
from analysis.drawing.style import SMALLEST_FONT
from analysis.figures import sweep as command
from rls import degrade
from rls.io import read_table, write_intensity, write_stack, write_table
from rls.networks.perceptual import RANDOM_FEATURES
from rls.runtime.errors import InputError
from tests.analysis import made_up
from tests.analysis.disc_cells import CHANNELS, stack_of_cells
from tests.analysis.test_figures import FEATURE, SETTINGS, all_texts
from tests.analysis.test_measure import FACTOR, INTENSITY, OPTIONS, call, flags
from tests.flags import as_flags

TRUTH = f"{FEATURE}_high_resolution"
OWN = (5.0e-5, 0.01)
POINTS = [OWN, (0.0, 0.01), (1.0e-6, 0.01), (5.0e-4, 0.01), (5.0e-5, 0.0), (5.0e-5, 0.05)]


def planted(root):
    """Write a sweep whose PSNR falls by 1 dB at lambda_w 0 and whose other numbers are noise."""
    table = made_up.cells_table(6, 10).assign(split="tune").rename(columns={"image_id": "cell_id"})
    random = np.random.default_rng(0)
    level = random.normal(20, 3, len(table))
    parts = []
    for lambda_w, lambda_c in POINTS:
        noise = random.normal(0, 0.1, len(table))
        psnr = level + noise - (lambda_w == 0)
        parts.append(table.assign(
            image_id=table["cell_id"] + f"_{lambda_w}_{lambda_c}", lambda_w=lambda_w,
            lambda_c=lambda_c, own=(lambda_w, lambda_c) == OWN, psnr_db=psnr, ms_ssim=0.8 + noise,
            fidelity_l1=0.01, log_prior=np.nan if lambda_c == 0.05 else -40.0,
            mean_pair_distance=lambda_c, **{FEATURE: 1.5, TRUTH: 1.0},
        ))  # fmt: skip
    path = root / "translocation" / "8x" / "sweep" / "rls.metrics.parquet"
    write_table(path, pd.concat(parts, ignore_index=True), written_by="measure_sweep")
    return made_up.run_of(root, ("rls",))


def test_a_paired_difference_is_told_where_cells_differ_more_than_weights_do(tmp_path):
    _, rows = sweep.draw(planted(tmp_path), "rls", SETTINGS)
    numbers = pd.DataFrame(rows).set_index(["swept", "weight", "metric"])
    level = numbers.loc[("lambda_w", 0.0, "psnr_db")]
    change = numbers.loc[("lambda_w", 0.0, "psnr_db_minus_own")]
    assert change["value"] == pytest.approx(-1.0, abs=0.1) and change["high"] < -0.9
    assert level["high"] - level["low"] > 5 * (change["high"] - change["low"])
    same = numbers.loc[("lambda_w", OWN[0], "psnr_db_minus_own")]
    assert same["value"] == 0 and same["own"]
    error = numbers.loc[("lambda_c", 0.05, sweep.ERROR + FEATURE)]
    assert error["value"] == pytest.approx(0.5) and error["n"] == 6


def test_each_weight_is_walked_with_the_other_at_the_methods_own(tmp_path):
    _, rows = sweep.draw(planted(tmp_path), "rls", SETTINGS)
    numbers = pd.DataFrame(rows)
    walked = numbers.groupby("swept")["weight"].agg(lambda values: sorted(set(values)))
    assert walked["lambda_w"] == [0.0, 1.0e-6, 5.0e-5, 5.0e-4]
    assert walked["lambda_c"] == [0.0, 0.01, 0.05]
    empty = numbers[(numbers["weight"] == 0.05) & (numbers["metric"] == "log_prior")]
    assert empty["value"].isna().all() and empty["reason"].str.len().gt(0).all()


def test_the_figure_has_a_panel_a_metric_and_weight_and_says_what_is_resampled(tmp_path):
    figure, _ = sweep.draw(planted(tmp_path), "rls", SETTINGS)
    assert len(figure.axes) == 2 * (len(sweep.METRICS) + 1)
    texts = all_texts(figure)
    assert min(text.get_fontsize() for text in texts) >= SMALLEST_FONT
    assert any("intervals over wells" in text.get_text() for text in texts)
    assert any("60 cells of tune" in text.get_text() for text in texts)


def test_no_weight_stands_left_of_all_others():
    places = sweep.positions(np.array([0.0, 1.0e-6, 1.0e-4]))
    assert places[0] < places[1] < places[2] and places[2] - places[1] == pytest.approx(2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """HR and LR of 24 discs, and a sweep of two points on the eight of tune."""
    path = tmp_path_factory.mktemp("measure_sweep")
    images, table, _ = stack_of_cells(24)
    facts = {"channels": CHANNELS, "pixel_size_um": 1.0}
    write_stack(path / "high.ome.tif", images, table, written_by="high_resolution", **facts)
    write_intensity(path / "intensity.json", INTENSITY, written_by="select_cells")
    call(
        degrade.main, "--high-resolution", path / "high.ome.tif", "--factor", FACTOR,
        "--intensity", path / "intensity.json", "--degradation", "clean", "--border",
        "renormalize", "--quantise", "none", "--seed", 0, "--threads", 1,
        "--output", path / "low.ome.tif",
    )  # fmt: skip
    tune = np.flatnonzero(table["split"] == "tune")[::-1]  # another order than HR's
    rows = table.iloc[tune].rename(columns={"image_id": "cell_id"})
    parts, stacks = [], []
    for name, gain in (("oracle", 1.0), ("dim", 0.8)):
        parts.append(rows.assign(image_id=rows["cell_id"] + name, own=gain == 1.0, lambda_w=gain))
        stacks.append(images[tune] * np.float32(gain))
    write_stack(path / "sweep.ome.tif", np.concatenate(stacks), pd.concat(parts),
                written_by="sweep_lambdas", **facts)  # fmt: skip
    return path


def run(folder, stack="sweep"):
    call(
        measure_sweep.main, "--stack", folder / f"{stack}.ome.tif", "--high-resolution",
        folder / "high.ome.tif", "--low-resolution", folder / "low.ome.tif", "--intensity",
        folder / "intensity.json", "--factor", FACTOR, "--nucleus-channel", "dna",
        "--marker-channel", "nfkb", "--features", FEATURE, "--output", folder / "m.parquet",
        *flags(OPTIONS),
    )  # fmt: skip
    return read_table(folder / "m.parquet")


def test_every_image_is_measured_against_its_own_cell(folder):
    table = run(folder)
    oracle, dim = (table[table["own"] == own].reset_index(drop=True) for own in (True, False))
    assert np.isinf(oracle["psnr_db"]).all() and (oracle["fidelity_l1"] < 1e-5).all()
    np.testing.assert_allclose(oracle[FEATURE], oracle[TRUTH], rtol=1e-5)
    assert (dim["psnr_db"] < 40).all() and (dim["fidelity_l1"] > 1e-3).all()
    assert list(dim["cell_id"]) == list(oracle["cell_id"])
    np.testing.assert_allclose(dim[TRUTH], oracle[TRUTH])
    embedded = [name for name in table if name.startswith("random_feature_")]
    high = [name for name in embedded if name.endswith("_high_resolution")]
    images = [name.removesuffix("_high_resolution") for name in high]
    assert len(high) == RANDOM_FEATURES and set(embedded) == {*high, *images}
    np.testing.assert_allclose(oracle[images], oracle[high], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(dim[high], oracle[high])
    assert not np.allclose(dim[images], dim[high], rtol=1e-2)


def test_a_stack_that_is_no_sweep_is_refused(folder):
    with pytest.raises(InputError, match="no sweep"):
        run(folder, stack="high")


def test_the_settings_of_figures_reach_the_sweep(tmp_path):
    planted(tmp_path)
    outputs = [
        f for k in ("pdf", "png", "csv") for f in (f"--output-{k}", str(tmp_path / f"s.{k}"))
    ]
    run = str(made_up.write_run(tmp_path, ("rls",)))
    command.main(["--run", run, "--method", "rls", *as_flags(SETTINGS), *outputs])
    table = pd.read_csv(tmp_path / "s.csv")
    assert {"swept", "weight", "own", "n_cells"} <= set(table.columns)
