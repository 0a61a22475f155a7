"""Thresholds on HR controls of tune: what decides is named, evaluation is not looked at."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import check_thresholds
from analysis.features.settings import feature_digest, settings_class
from analysis.measuring.thresholds import tried_values
from rls.io import write_stack
from rls.runtime.errors import InputError
from tests.analysis.disc_cells import CHANNELS, stack_of_cells
from tests.analysis.test_measure import INTENSITY, OPTIONS, flags


def write(folder, images, table):
    from rls.io import write_intensity

    write_intensity(folder / "intensity.json", INTENSITY, written_by="select_cells")
    write_stack(
        folder / "high_resolution.ome.tif", images, table,
        channels=CHANNELS, pixel_size_um=1.0, written_by="high_resolution",
    )  # fmt: skip


def check(folder, **changes):
    check_thresholds.main(
        [
            *("--high-resolution", str(folder / "high_resolution.ome.tif")),
            *("--intensity", str(folder / "intensity.json")),
            *("--nucleus-channel", "dna", "--marker-channel", "nfkb"),
            *("--negative-control", "DMSO", "--positive-control", "TNF"),
            *("--features", "nucleocytoplasmic_ratio"),
            *("--output-csv", str(folder / "thresholds.csv")),
            *map(str, flags({**OPTIONS, **changes})),
        ]
    )
    table = pd.read_csv(folder / "thresholds.csv", keep_default_na=True)
    return table.fillna({"setting": ""})


def test_the_first_row_is_what_the_constants_give_on_tune_alone(tmp_path):
    images, table, ratios = stack_of_cells(64)
    changed = images.copy()
    changed[(table["split"] != "tune").to_numpy()] = 0  # no other split is looked at
    write(tmp_path, changed, table)
    found = check(tmp_path)
    first = found.iloc[0]
    tune = (table["split"] == "tune").to_numpy()
    assert first["setting"] == "" and first["cells"] == first["measured"] == tune.sum()
    positive = (table["treatment"] == "TNF").to_numpy()
    for name, side in (("median_negative", ~positive), ("median_positive", positive)):
        assert first[name] == pytest.approx(np.median(ratios[tune & side]), rel=0.1)
    assert first["auc"] == 1.0 and first["median_change"] == 0
    assert first["rank_correlation"] == pytest.approx(1.0)
    digest = feature_digest(settings_class()(**OPTIONS))
    assert set(found["feature_settings"]) == {digest}


def test_every_constant_is_tried_a_quarter_up_and_down_and_what_decides_is_named(tmp_path, capsys):
    images, table, _ = stack_of_cells(64)
    write(tmp_path, images, table)
    found = check(tmp_path, nucleus_max_area_um2=190.0)  # nuclei have 177
    trials = found[found["setting"] == "ring_width_um"]
    assert list(trials["tried"]) == pytest.approx([2.0, 3.125])
    assert (trials["median_change"].abs() < 0.05).all()
    assert set(found.loc[1:, "setting"]) >= {"nucleus_diameter_um", "ring_gap_um"}
    assert "golgi_share" not in set(found["setting"])
    small = found[(found["setting"] == "nucleus_max_area_um2") & (found["tried"] < 190)].iloc[0]
    assert small["measured"] == 0 and "no measured cell" in small["reason"]
    said = capsys.readouterr().out
    assert "nucleus_max_area_um2" in said.split("for: ")[1]
    assert "ring_width_um" not in said.split("for: ")[1]


def test_of_a_high_percentile_the_tail_is_tried_and_whole_numbers_stay_whole():
    settings = settings_class()(**OPTIONS)
    of_golgi = [t for name, _, t in tried_values(settings, "golgi")
                if name == "golgi_percentile"]  # fmt: skip
    assert of_golgi == pytest.approx([98.4, 97.5])
    levels = [t for name, _, t in tried_values(settings, "morphology")
              if name == "morphology_grey_levels"]  # fmt: skip
    assert levels == [13, 20] and all(isinstance(level, int) for level in levels)


def test_a_control_without_a_cell_in_tune_is_named(tmp_path):
    images, table, _ = stack_of_cells(32)
    gone = table["split"].where(table["treatment"] == "DMSO", "classifier")
    write(tmp_path, images, table.assign(split=gone))
    with pytest.raises(InputError, match="Treatment TNF of .* has no cell of split 'tune'"):
        check(tmp_path)
