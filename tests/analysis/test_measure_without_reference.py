"""Without HR images the thresholds of the features are still written, and still compared."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import measure_without_reference
from analysis.comparison.measured import check_same_settings
from analysis.features.settings import feature_digest, settings_class
from rls.io import read_table, write_intensity, write_stack
from rls.runtime.errors import InputError
from tests.analysis.disc_cells import CHANNELS, stack_of_cells
from tests.analysis.test_measure import FACTOR, INTENSITY, OPTIONS, call, flags


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """LR of 24 discs as a camera saw them, and the evaluation cells as a method made them."""
    path = tmp_path_factory.mktemp("acquired")
    images, table, _ = stack_of_cells(24)
    write_intensity(path / "intensity.json", INTENSITY, written_by="low_resolution")
    low = images.reshape(24, 2, 4, FACTOR, 4, FACTOR).mean(axis=(3, 5)).astype(np.float32)
    write_stack(
        path / "low_resolution.ome.tif",
        low,
        table.assign(border="renormalize"),
        channels=CHANNELS,
        pixel_size_um=8.0,
        written_by="low_resolution",
    )
    here = (table["split"] == "evaluation").to_numpy()
    write_stack(
        path / "rls.ome.tif",
        images[here].astype(np.float32),
        table[here],
        channels=CHANNELS,
        pixel_size_um=1.0,
        written_by="gather_shards",
    )
    return path


def run(folder, method, **changes):
    stack = () if method == "high_resolution" else ("--stack", folder / f"{method}.ome.tif")
    outputs = [folder / f"{method}.{kind}.parquet" for kind in ("features", "metrics")]
    call(
        measure_without_reference.main,
        *stack,
        *("--method", method, "--low-resolution", folder / "low_resolution.ome.tif"),
        *("--intensity", folder / "intensity.json", "--factor", FACTOR),
        *("--nucleus-channel", "dna", "--marker-channel", "nfkb"),
        *("--features", "nucleocytoplasmic_ratio"),
        *("--output-features", outputs[0], "--output-metrics", outputs[1]),
        *flags({**OPTIONS, **changes}),
    )
    return [read_table(path) for path in outputs]


@pytest.mark.parametrize("method", ["high_resolution", "low_resolution", "rls"])
def test_both_tables_bear_the_thresholds_as_those_of_measure_do(folder, method):
    digest = feature_digest(settings_class()(**OPTIONS))
    for table in run(folder, method):
        assert set(table["feature_settings"]) == {digest}
        place = list(table.columns).index("method")
        assert table.columns[place + 1] == "feature_settings"


def test_a_method_measured_with_other_thresholds_than_hr_is_refused(folder):
    high, path = run(folder, "high_resolution")[0], folder / "rls.features.parquet"
    check_same_settings(high, run(folder, "rls")[0], path)
    with pytest.raises(InputError, match="measured with other settings than those of HR"):
        check_same_settings(high, run(folder, "rls", ring_width_um=2.6)[0], path)


def test_what_needs_hr_says_so_and_what_does_not_is_measured(folder):
    features, metrics = run(folder, "rls")
    assert len(features) == 6 and features["nucleocytoplasmic_ratio"].notna().all()
    assert features.filter(like="random_feature_").notna().all(axis=None)
    assert not features.columns.str.startswith("classifier_feature_").any()
    assert metrics[["psnr_db", "ms_ssim"]].isna().all(axis=None)
    assert (metrics["fidelity_l1"] > 0).all()
    assert (metrics["status"] == "not_measurable:no_high_resolution").all()


def test_sr_of_another_factor_is_refused(folder):
    low = read_table(folder / "low_resolution.parquet")
    images = np.zeros((6, 2, 16, 16), np.float32)
    write_stack(
        folder / "small.ome.tif",
        images,
        low[low["split"] == "evaluation"].drop(columns="image_digest"),
        channels=CHANNELS,
        pixel_size_um=2.0,
        written_by="gather_shards",
    )
    with pytest.raises(InputError, match="Found images of 16 px from low resolution of 4 px"):
        run(folder, "small")
