"""The command measure_generated, with a generator that comes along."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import measure_generated
from rls.io import read_intensity, read_table, write_stack
from rls.stylegan2.generator_io import load_generator
from rls.stylegan2.sampling import draw_z
from tests.analysis.made_up import CONTROLS
from tests.analysis.test_train_amortised import COLUMN, MODEL, measuring

CELLS = 40  # of each control and split


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Return a stack of images of the generator; treated ones of evaluation are dim."""
    generator = load_generator(MODEL, torch.device("cpu"))
    intensity = read_intensity(MODEL / "intensity.json")
    rows = [
        {"image_id": f"{split}_{treatment}_{i:03d}", "split": split, "treatment": treatment}
        for split in ("gan", "classifier", "evaluation")
        for treatment in CONTROLS
        for i in range(CELLS)
    ]
    table = pd.DataFrame(rows).assign(plate="P1", well="B02", site=1)
    with torch.no_grad():
        z = draw_z(generator, 99, 0, len(table))
        unit = ((generator(z, noise="const").float() + 1) / 2).numpy()
    dim = (table["treatment"] == CONTROLS[1]) & (table["split"] == "evaluation")
    unit[dim.to_numpy()] *= 0.3
    counts = np.clip(intensity.to_counts(unit), 0, 65535).astype(np.uint16)
    path = tmp_path_factory.mktemp("cells") / "cells.ome.tif"
    facts = {"channels": intensity.channels, "pixel_size_um": generator.pixel_size_um}
    write_stack(path, counts, table, written_by="test", **facts)
    return path


def measured(cells, folder, n_images, seed=1):
    folder.mkdir()
    found = [folder / "generated.features.parquet", folder / "generated.csv"]
    measure_generated.main(
        ["--generator", str(MODEL / "generator.safetensors"), "--cells", str(cells),
         "--intensity", str(MODEL / "intensity.json"),
         "--negative-control", CONTROLS[0], "--positive-control", CONTROLS[1],
         "--nucleus-channel", "dna", "--marker-channel", "nfkb", "--features", COLUMN,
         "--output-features", str(found[0]), "--output-distances", str(found[1]),
         "--n-images", str(n_images), "--seed", str(seed), *measuring(batch_size=16)]
    )  # fmt: skip
    return [read_table(path) for path in found]


def test_distances_are_to_cells_of_evaluation_of_each_control(cells, tmp_path):
    _, kd = measured(cells, tmp_path / "a", 4)
    kd = kd.fillna({"treatment": ""}).set_index("treatment")
    assert list(kd.index) == ["", *CONTROLS]
    assert kd["n_cells"].tolist() == [2 * CELLS, CELLS, CELLS]
    # The generator's own images are within chance of it, the dimmed ones are not.
    assert kd.loc[CONTROLS[0], "kd"] < kd.loc[CONTROLS[0], "kd_floor"]
    assert kd.loc[CONTROLS[1], "kd"] > 3 * kd.loc[CONTROLS[0], "kd_floor"]


def test_an_image_does_not_depend_on_how_many_are_drawn(cells, tmp_path):
    few, _ = measured(cells, tmp_path / "few", 20)
    more, _ = measured(cells, tmp_path / "more", 35)
    assert few["number"].tolist() == list(range(20)) and len(more) == 35
    pd.testing.assert_frame_equal(few, more[:20])
    assert few[COLUMN].notna().sum() > 10
    other, _ = measured(cells, tmp_path / "other", 20, seed=2)
    assert not np.allclose(few[COLUMN], other[COLUMN], equal_nan=True)
