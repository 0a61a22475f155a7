"""Intervals of a row that predicts a feature with a spread: what they hold, when there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparison import kept_features, predicted
from analysis.comparison.settings import Settings
from analysis.measuring.columns import PREDICTED_SD
from rls.io import write_table
from rls.io.names import AMORTISED, HIGH_RESOLUTION
from tests.analysis import made_up

COLUMN = "nucleocytoplasmic_ratio"
SETTINGS = Settings(confidence_level=0.9, seed=0)
WELLS, CELLS = 12, 80


def write(root, *, splits=("calibration", "evaluation"), too_small=1.0, seed=0):
    """Write HR and a row whose sd is ``too_small`` times the sd of HR about its mean."""
    table = made_up.cells_table(WELLS, CELLS)
    # Every third pair of wells calibrates, so that both controls are in every split.
    pair = np.arange(len(table)) // (2 * CELLS)
    table["split"] = np.where(pair % 3 == 0, splits[0], splits[-1])
    random = np.random.default_rng(seed)
    centre = 1.0 + (table["treatment"] == made_up.CONTROLS[1]) + random.normal(0, 0.2, len(table))
    sd = np.exp(random.normal(-2, 0.5, len(table)))
    high = centre + sd * random.normal(size=len(table))
    folder = root / "translocation" / f"{made_up.FACTOR}x" / made_up.DEGRADATION
    for method, values in ((HIGH_RESOLUTION, high), (AMORTISED, centre)):
        frame = table.assign(**{COLUMN: values, COLUMN + PREDICTED_SD: too_small * sd})
        frame = frame.assign(feature_settings="same", status="ok")
        write_table(folder / f"{method}.features.parquet", frame, written_by="test")
    return sd[table["split"] == "evaluation"]


def only(root):
    (at,) = made_up.run_of(root, (AMORTISED,)).comparisons()
    return at


def numbers(root, **changes):
    at = only(root)
    at = replace(at, assay=replace(at.assay, **changes))
    rows = pd.DataFrame(kept_features.comparison_rows(at, SETTINGS))
    return rows[rows["method"] == AMORTISED].set_index("metric")


@pytest.mark.parametrize("too_small", [1.0, 0.2])
def test_calibration_makes_up_for_a_wrong_spread(tmp_path, too_small):
    sd = write(tmp_path, too_small=too_small)
    found = numbers(tmp_path)
    coverage, width = (found.loc[name] for name in (predicted.COVERAGE, predicted.WIDTH))
    assert coverage["value"] == pytest.approx(0.9, abs=0.06)
    assert coverage["unit_of_replication"] == "well" and coverage["low"] < coverage["value"]
    # The central 90 % of a Gaussian are 3.29 sd wide.
    assert width["value"] == pytest.approx(3.29 * sd.mean(), rel=0.15)


def test_an_interval_is_as_wide_as_its_cell_asks_for(tmp_path):
    write(tmp_path)
    cells, found = predicted.cell_intervals(only(tmp_path), AMORTISED, COLUMN, 0.9)
    assert set(cells.table["split"]) == {"evaluation"}
    ratio = found.width / cells.summary.spread
    assert ratio == pytest.approx(np.full(len(ratio), ratio[0]))
    assert (found.low + found.high) / 2 == pytest.approx(cells.summary.centre)


def test_without_cells_of_calibration_there_is_no_interval(tmp_path):
    write(tmp_path, splits=("evaluation",))
    found = numbers(tmp_path)
    for name in (predicted.COVERAGE, predicted.WIDTH):
        assert np.isnan(found.loc[name, "value"])
        assert "select_cells.share_calibration" in found.loc[name, "reason"]
    assert np.isfinite(found.loc["shift_kept", "value"])


def test_without_hr_there_is_neither(tmp_path):
    write(tmp_path)
    found = numbers(tmp_path, has_high_resolution=False)
    assert predicted.COVERAGE not in found.index


def test_a_row_with_images_has_no_predicted_interval(tmp_path):
    write(tmp_path)
    folder = tmp_path / "translocation" / f"{made_up.FACTOR}x" / made_up.DEGRADATION
    (folder / "rls.features.parquet").write_bytes(
        (folder / "amortised.features.parquet").read_bytes()
    )
    (at,) = made_up.run_of(tmp_path, ("rls",)).comparisons()
    metrics = {row["metric"] for row in kept_features.comparison_rows(at, SETTINGS)}
    assert predicted.COVERAGE not in metrics and "shift_kept" in metrics
