"""High-resolution images: the centres of the cells that the generator never saw."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score

from analysis import high_resolution
from analysis.cells.geometry import centre_crop, cut
from rls.io import read_stack, write_stack
from rls.runtime.errors import InputError
from tests.analysis.small_plate import CHANNELS, TREATMENTS, field, made_up_cells


def test_the_nucleus_stays_in_the_middle():
    images = np.zeros((1, 1, 46, 46), np.uint16)
    images[0, 0, 23, 23] = 1
    for size in (32, 16, 15):
        centre = centre_crop(images, size)
        assert centre.shape == (1, 1, size, size)
        assert centre[0, 0, size // 2, size // 2] == 1
    with pytest.raises(InputError, match="crops of 46 px.*image_size 64"):
        centre_crop(images, 64)


def test_the_splits_but_gan_are_cut(tmp_path):
    table = made_up_cells(plates=1, cells=2)[["image_id", "treatment"]]
    names = ("gan", "tune", "calibration", "classifier", "evaluation")
    table["split"] = [names[i % 5] for i in range(len(table))]
    images = np.random.default_rng(0).integers(0, 4000, (len(table), 2, 24, 24)).astype(np.uint16)
    write_stack(tmp_path / "cells.ome.tif", images, table, channels=CHANNELS, pixel_size_um=0.5,
                written_by="select_cells", compress=False)  # fmt: skip
    high_resolution.main(
        ["--cells", str(tmp_path / "cells.ome.tif"), "--output", str(tmp_path / "hr.ome.tif"),
         "--image-size", "16"]
    )  # fmt: skip
    stack = read_stack(tmp_path / "hr.ome.tif")
    kept = (table["split"] != "gan").to_numpy()
    assert list(stack.table["image_id"]) == list(table["image_id"][kept])
    assert set(stack.table["split"]) == {"tune", "calibration", "classifier", "evaluation"}
    np.testing.assert_array_equal(stack.images, images[kept][:, :, 4:20, 4:20])
    assert stack.pixel_size_um == 0.5 and stack.channels == CHANNELS


def test_channel_means_alone_do_not_tell_the_treatments():
    """n = at least 250 cells a treatment: for pure chance 99 % of accuracies are below 0.55."""
    means, labels = [], []
    for label, treatment in enumerate(TREATMENTS):
        for seed in range(4):
            result = field(treatment, seed=10 * label + seed, field_height_px=190,
                           field_width_px=190)  # fmt: skip
            cells = result.truth[result.truth["in_focus"]][["y_px", "x_px"]].round().astype(int)
            cells = cells[cells["y_px"].between(11, 178) & cells["x_px"].between(11, 178)]
            images = cut(result.counts, cells, 22)
            means.append(images.mean(axis=(2, 3)))
            labels += [label] * len(cells)
    assert min(labels.count(0), labels.count(1)) >= 250
    accuracy = cross_val_score(
        LinearDiscriminantAnalysis(), np.log(np.concatenate(means)), labels, cv=5
    )
    assert accuracy.mean() <= 0.60
