"""The features of a method with several solutions are means over them; all else is the image's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import measure_solutions
from analysis.features.registry import columns_of
from analysis.features.settings import Measurement, settings_class
from analysis.measuring.solutions import with_means
from rls.io import read_stack, read_table, write_stack, write_table
from rls.runtime.errors import InputError
from tests.analysis.disc_cells import CHANNELS
from tests.analysis.test_measure import (
    OPTIONS,
    call,
    evaluation_images,
    flags,
    run,
    small_run,
    write_method,
)

RATIO, STATUS = "nucleocytoplasmic_ratio", "not_measurable:no_nucleus"
MEASUREMENT = Measurement((RATIO,), "dna", "nfkb", settings_class()(**OPTIONS))
K = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The best solution of a cell is its own image; the others are those of the next cells."""
    path = small_run(tmp_path_factory.getbasetemp())
    images = evaluation_images(path).astype(np.float32)
    write_method(path, "several", images)
    cells = read_stack(path / "several.ome.tif").table.drop(columns="image_digest")
    table = cells.loc[cells.index.repeat(K)].reset_index(drop=True)
    table = table.rename(columns={"image_id": "source_image_id"}).assign(
        solution=np.tile(np.arange(1, K + 1), len(cells)), n_solutions=K, method="several",
        kind="searches", loss_total=np.tile([0.1, 0.2, 0.3], len(cells)),
    )  # fmt: skip
    table.insert(0, "image_id", table["source_image_id"] + "_k" + table["solution"].astype(str))
    others = np.stack([np.roll(images, -j, axis=0) for j in range(K)], axis=1)
    write_stack(
        path / "several.searches.ome.tif", others.reshape(-1, *images.shape[1:]), table,
        channels=CHANNELS, pixel_size_um=1.0, written_by="gather_shards",
    )  # fmt: skip
    call(
        measure_solutions.main, "--stack", path / "several.searches.ome.tif",
        "--intensity", path / "intensity.json", "--nucleus-channel", "dna",
        "--marker-channel", "nfkb", "--features", RATIO,
        "--output", path / "several.searches.features.parquet", *flags(OPTIONS),
    )  # fmt: skip
    return path


def test_features_are_means_over_the_solutions_and_the_rest_is_the_image_s(folder):
    solutions = folder / "several.searches.features.parquet"
    plain, plain_metrics = run(folder, "several")
    means, metrics = run(folder, "several", solutions=solutions)
    pd.testing.assert_frame_equal(metrics, plain_metrics)
    embedding = [n for n in plain if n.startswith(("classifier_feature", "random_feature"))]
    pd.testing.assert_frame_equal(means[embedding], plain[embedding])
    each = np.stack([np.roll(plain[RATIO].to_numpy(), -j) for j in range(K)])
    assert means[RATIO].to_numpy() == pytest.approx(each.mean(axis=0))
    assert means[f"{RATIO}_sd_of_solutions"].to_numpy() == pytest.approx(each.std(axis=0, ddof=1))
    assert set(means[f"{RATIO}_n_of_solutions"]) == set(means["n_solutions"]) == {K}
    assert np.abs(means[RATIO] - plain[RATIO]).max() > 0.1 and "n_solutions" not in plain


def test_solutions_of_another_method_of_other_cells_or_with_one_missing_are_refused(
    folder, tmp_path
):
    path = tmp_path / "solutions.parquet"
    table = read_table(folder / "several.searches.features.parquet")
    for wrong, said in (
        (table.assign(method="other"), "solutions of other, expected those of several"),
        (table.assign(feature_settings="0"), "with other thresholds"),
        (table.drop(index=4), r"2 solutions of .*, expected 3"),
        (table.iloc[K:], r"lacks 1 of 24 images"),
    ):
        write_table(path, wrong.reset_index(drop=True), written_by="measure_solutions")
        with pytest.raises(InputError, match=said):
            run(folder, "several", solutions=path)


def test_a_mean_is_over_the_solutions_that_can_be_measured() -> None:
    others = {name: 1.0 for name in columns_of(RATIO, CHANNELS) if name != RATIO}
    features = pd.DataFrame(
        {RATIO: [1.0, np.nan, np.nan], "status": ["ok", STATUS, STATUS], "random_feature_00": 7.0}
    ).assign(**others)
    ids = ["b", "a", "c"]
    values = {"a": (np.nan, 3.0, 5.0), "b": (1.0, 1.0, 4.0), "c": (np.nan, np.nan, np.nan)}
    solutions = pd.DataFrame(
        [
            {"source_image_id": name, "solution": j + 1, "n_solutions": K, RATIO: value,
             "status": STATUS if np.isnan(value) else "ok"}
            for name in sorted(values) for j, value in enumerate(values[name])
        ]
    )  # fmt: skip
    solutions = solutions.assign(**others)
    found = with_means(features, ids, solutions, MEASUREMENT, CHANNELS)
    assert found[RATIO].tolist()[:2] == [2.0, 4.0] and np.isnan(found[RATIO].iloc[2])
    assert list(found["status"]) == ["ok", "ok", STATUS]
    one = found[f"{RATIO}_of_image"]  # the image's own number stands beside the mean
    assert one.iloc[0] == 1.0 and one.iloc[1:].isna().all()
    assert list(found[f"{RATIO}_n_of_solutions"]) == [3, 2, 0]
    assert found[f"{RATIO}_sd_of_solutions"].iloc[0] == pytest.approx(np.sqrt(3))
    assert (found["random_feature_00"] == 7.0).all()
