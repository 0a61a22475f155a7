"""The trade-off figure: planted distances come back, in both panels, beside those of HR itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.comparison import swept
from analysis.comparison.image_metrics import KERNEL_DISTANCE
from analysis.drawing import tradeoff
from analysis.drawing.style import SMALLEST_FONT
from analysis.figures import tradeoff as command
from rls.io import read_table, write_table
from rls.runtime.errors import InputError
from tests.analysis.made_up import write_run
from tests.analysis.test_figures import SETTINGS, all_texts
from tests.analysis.test_sweep import OWN, planted
from tests.flags import as_flags

DIMENSIONS = 4
AWAY = {0.0: 3.0, 1.0e-6: 1.0, 5.0e-5: 0.0, 5.0e-4: 0.5}  # lambda_w -> shift of SR's features


def with_features(root):
    """Add random features to the planted sweep: SR is HR, shifted by lambda_w, plus noise."""
    run = planted(root)
    path = root / "translocation" / "8x" / "sweep" / "rls.metrics.parquet"
    table = read_table(path)
    random = np.random.default_rng(1)
    cells = {name: random.normal(5, 2, DIMENSIONS) for name in sorted(set(table["cell_id"]))}
    high = np.stack([cells[name] for name in table["cell_id"]])
    shift = table["lambda_w"].map(AWAY).to_numpy()[:, None]
    found = high + 2 * shift + random.normal(0, 0.1, high.shape)
    for i in range(DIMENSIONS):
        table[f"random_feature_{i:02d}"] = found[:, i]
        table[f"random_feature_{i:02d}_high_resolution"] = high[:, i]
    table["log_prior"] = -10000.0 * (table["lambda_w"] == 0) - 40.0
    table["fidelity_l1"] = 0.01 + table["lambda_w"]
    write_table(path, table, written_by="measure_sweep")
    return run


@pytest.fixture
def drawn(tmp_path):
    return tradeoff.draw(with_features(tmp_path), "rls", SETTINGS)


def test_the_distance_of_each_point_is_that_of_its_images_to_their_own_hr(drawn):
    numbers = pd.DataFrame(drawn[1])
    kernel = numbers[(numbers["metric"] == KERNEL_DISTANCE) & (numbers["swept"] == "lambda_w")]
    values = kernel.set_index("weight")["value"]
    assert values[0.0] > values[1.0e-6] > values[5.0e-4] > values[5.0e-5]
    # HR is compared with the same cells, so that a perfect method lies below 0.
    perfect = numbers[numbers["method"] == "high_resolution"].iloc[0]
    assert perfect["value"] < values[OWN[0]] < 0 and perfect["metric"] == KERNEL_DISTANCE
    assert (kernel["low"] < kernel["high"]).all() and set(kernel["n"]) == {6}
    assert set(numbers.loc[numbers["own"], "weight"]) == set(OWN)


def test_a_point_stands_at_its_fidelity_and_its_realism(drawn):
    figure, rows = drawn
    numbers = pd.DataFrame(rows).set_index(["swept", "weight", "metric"])
    assert len(figure.axes) == len(tradeoff.PANELS)
    for axes, metric in zip(figure.axes, tradeoff.PANELS, strict=True):
        dots = [line for line in axes.lines if line.get_marker() in ("o", "s")]
        marks = {tuple(line.get_xydata()[0]) for line in dots}
        for weights in (("lambda_w", 0.0), ("lambda_c", 0.05)):
            x = 1000 * numbers.loc[(*weights, "fidelity_l1"), "value"]
            assert (x, numbers.loc[(*weights, metric), "value"]) in marks
    texts = all_texts(figure)
    assert min(text.get_fontsize() for text in texts) >= SMALLEST_FONT
    assert any("60 cells of tune" in text.get_text() for text in texts)


def test_a_distance_over_few_wells_says_what_its_interval_leaves_out(tmp_path):
    with_features(tmp_path)
    path = tmp_path / "translocation" / "8x" / "sweep" / "rls.metrics.parquet"
    table = read_table(path)
    few = table[table["well"].isin(sorted(set(table["well"]))[:4])]
    high = swept.high_resolution_of(few[few["own"]].reset_index(drop=True))
    fact = swept.kernel_fact(few[few["own"]].reset_index(drop=True), high, SETTINGS)
    assert fact["low"] < fact["value"] < fact["high"] and fact["unit"] == "field"
    assert "leaves out how wells differ" in fact["reason"]


def test_a_sweep_without_random_features_is_refused(tmp_path):
    with pytest.raises(InputError, match="measured it again"):
        tradeoff.draw(planted(tmp_path), "rls", SETTINGS)


def test_the_command_writes_the_numbers(tmp_path):
    with_features(tmp_path)
    outputs = [f for k in ("pdf", "png", "csv") for f in (f"--output-{k}", tmp_path / f"t.{k}")]
    run = write_run(tmp_path, ("rls",))
    command.main(["--run", str(run), "--method", "rls", *as_flags(SETTINGS), *map(str, outputs)])
    assert set(pd.read_csv(tmp_path / "t.csv")["metric"]) == {
        "fidelity_l1", "log_prior", KERNEL_DISTANCE,
    }  # fmt: skip
