"""Cellpose, the real one: trained from scratch on simulated fields, then used; never a download."""

from __future__ import annotations

import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from analysis import train_segmenter
from analysis.cells.crop_settings import Settings as CropSettings
from analysis.cells.segment import _new_cellpose, load_cellpose, make_segmenter
from analysis.cells.segmentation_accuracy import f1_by_gap
from analysis.cells.segmenter_settings import Settings
from analysis.cells.segmenter_training import draw_field
from rls.io import read_stack, read_table
from rls.runtime.errors import InputError
from tests.analysis.small_plate import CROP, SETTINGS, crop, field, simulate
from tests.flags import as_flags

TRAINING = Settings(
    fields=16, held_out_fields=2, field_px=128, neighbours=(2.0, 9.0),
    nearest_centres_nd=(0.95, 1.6), epochs=60, fields_per_epoch=4, batch_size=4, patch_px=48,
    learning_rate=0.01, weight_decay=1e-4, flow_threshold=0.8, seed=1, device="cpu", threads=1,
)  # fmt: skip
CELLPOSE = {"segmenter": "cellpose", "device": "cpu"}


def flags_of_simulation():
    return as_flags(replace(SETTINGS, out_of_focus_share=0.05))


@pytest.fixture(scope="module")
def no_network():
    """Whatever opens a connection fails."""

    def refuse(*_):
        raise AssertionError("a connection was opened")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(scope="module")
def weights(no_network, tmp_path_factory):
    """Weights of a very short training, by the command."""
    folder = tmp_path_factory.mktemp("cellpose")
    path = folder / "nuclei.cellpose"
    train_segmenter.main(
        ["--output", str(path), "--scores", str(folder / "scores.csv"), *as_flags(TRAINING),
         "--simulation", *flags_of_simulation()]
    )  # fmt: skip
    return path


def separate_fields():
    return [
        field(seed=seed, nucleus_diameter_px=17.0, field_height_px=150, field_width_px=150,
              nearest_centres_nd=1.5, neighbours=6.0, out_of_focus_share=0.0)
        for seed in range(500, 504)
    ]  # fmt: skip


def score(segment, fields):
    pairs = [(one.nuclei, segment(one.counts[0], 17.0)) for one in fields]
    return f1_by_gap(pairs, 17.0, 0.5).loc["all", "f1"]


def test_cellpose_learns_nuclei_from_simulated_fields(weights):
    fields = separate_fields()
    assert sum(one.nuclei.max() for one in fields) > 40
    assert score(load_cellpose(weights, 0.8), fields) > 0.8
    scores = read_table(weights.with_name("scores.csv"))
    assert set(scores["segmenter"]) == {"cellpose", "threshold"}
    assert (scores["tp"] + scores["fn"] == scores["n_nuclei"]).all()
    assert scores.loc[scores["gap"] == "all", "n_nuclei"].min() >= 4


def test_the_weights_that_were_read_do_it(no_network, tmp_path):
    torch.manual_seed(0)
    torch.save(_new_cellpose(None).net.state_dict(), tmp_path / "random")
    assert score(load_cellpose(tmp_path / "random", 0.8), separate_fields()[:2]) < 0.1


def test_an_empty_field_has_no_nucleus_for_cellpose(weights):
    segment = load_cellpose(weights, 0.8)
    assert segment(field(seed=3, empty=True).counts[0], 17.0).max() == 0


def test_cells_are_cropped_by_cellpose_when_the_configuration_says_so(weights, tmp_path):
    sheet = simulate(tmp_path, wells_per_treatment=1, nucleus_diameter_px=17.0, pixel_size_um=1.0,
                     out_of_focus_share=0.0)  # fmt: skip
    nuclei = ["--segmenter", "cellpose", "--flow-threshold", "0.8", "--device", "cpu"]
    nuclei += ["--nucleus-diameter-um", "17"]
    with pytest.raises(InputError, match="cellpose without weights, expected a file"):
        crop(tmp_path, sheet, *nuclei)
    with pytest.raises(InputError, match="gone of Cellpose do not exist.*nothing is downloaded"):
        crop(tmp_path, sheet, *nuclei, "--segmenter-weights", str(tmp_path / "gone"))
    assert not (tmp_path / "P1.ome.tif").exists()
    cells = read_stack(crop(tmp_path, sheet, *nuclei, "--segmenter-weights", str(weights))).table
    truth = read_table(tmp_path / "P1.truth.parquet")
    distances = []
    for well, found in cells.groupby("well"):
        known = cKDTree(truth.loc[truth["well"] == well, ["y_px", "x_px"]])
        distances += list(known.query(found[["y_px", "x_px"]])[0])
    assert len(distances) > 8
    # So short a training finds a nucleus too many now and then; which, depends on the processor
    assert np.mean(np.array(distances) < 3.0) > 0.7


@pytest.mark.parametrize(
    ("content", "message"),
    [({"a": torch.zeros(2)}, "other weights than those of Cellpose 3"), (None, "can be read")],
)
def test_a_file_of_other_weights_is_refused(tmp_path, content, message):
    path = tmp_path / "file"
    if content is None:
        path.write_bytes(b"no weights")
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=message):
        make_segmenter(CropSettings(**CROP | CELLPOSE | {"segmenter_weights": str(path)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"neighbours": (9.0, 2.0)}, "neighbours"), ({"patch_px": 50}, "multiple of 8"),
     ({"field_px": 20}, "Raise train_segmenter.field_px")],
)  # fmt: skip
def test_settings_that_cannot_train_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        draw_field(SETTINGS, replace(TRAINING, **change), "train", 0)
