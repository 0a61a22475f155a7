from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from rls import train_classifier
from rls.io import Intensity, read_stack, read_weights, write_intensity, write_stack
from rls.io.splits import CHOOSE, CLASSIFY
from rls.networks.classifier import load_classifier
from rls.networks.classifier_cells import Batches, Cells, cells_for, read_assay
from rls.networks.classifier_settings import Settings
from rls.networks.classifier_training import train
from rls.runtime import graphs
from rls.runtime.checkpoint import StateFolder
from rls.runtime.errors import InputError
from tests.rls.recorded_on_cpu import RecordedOnCpu

CHANNELS = ("dna", "nfkb")
SETTINGS = {
    "epochs": 8, "batch_size": 32, "learning_rate": 0.003, "weight_decay": 0.01, "width": 8,
    "dropout": 0.1, "patience_epochs": 4, "cuda_graphs": "auto", "seed": 1, "device": "cpu",
    "threads": 1,
}  # fmt: skip


def cells(n=320, size=8, seed=0):
    """Return images that differ in the marker's place, centre or rim, at equal channel means."""
    random = np.random.default_rng(seed)
    grid = np.hypot(*(np.indices((size, size)) - (size - 1) / 2))
    inside = grid < size / 3.5
    labels = np.arange(n) % 2
    images = np.empty((n, 2, size, size))
    for i, label in enumerate(labels):
        pattern = np.where(inside == bool(label), 1.0, 0.4)
        images[i, 1] = pattern / pattern.mean()
        images[i, 0] = inside
    images += random.normal(0, 0.35, images.shape) + 2
    table = pd.DataFrame(
        {
            "image_id": [f"P_{i}" for i in range(n)],
            "treatment": np.array(["DMSO", "TNF"])[labels],
            "split": np.array(["classifier", "classifier", "tune", "evaluation"])[
                np.arange(n) // 2 % 4
            ],
        }
    )
    return (images * 500).clip(0).astype(np.uint16), table


def write(folder, images, table):
    write_stack(
        folder / "cells.ome.tif", images, table,
        channels=CHANNELS, pixel_size_um=1.0, written_by="high_resolution",
    )  # fmt: skip
    intensity = Intensity(CHANNELS, (0.0, 0.0), (2000.0, 2000.0))
    write_intensity(folder / "intensity.json", intensity, written_by="select_cells")


def command(
    folder, output="classifier.safetensors", state="state", controls=("DMSO", "TNF"), **new
):
    flags = [
        "--stack", folder / "cells.ome.tif", "--intensity", folder / "intensity.json",
        "--negative-control", controls[0], "--positive-control", controls[1],
        "--output", folder / output, "--state", folder / state,
    ]  # fmt: skip
    for name, value in {**SETTINGS, **new}.items():
        flags += ["--" + name.replace("_", "-"), value]
    train_classifier.main([str(flag) for flag in flags])
    return read_weights(folder / output, kind="classifier")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    write(folder, *cells())
    return folder, *command(folder)


def test_it_finds_where_the_marker_is_from_cells_it_never_saw(trained):
    folder, _, header = trained
    assert header["classes"] == ["DMSO", "TNF"] and header["n_training"] == 160
    stack = read_stack(folder / "cells.ome.tif")
    here = (stack.table["split"] == "evaluation").to_numpy()
    classifier = load_classifier(folder / "classifier.safetensors")
    unit = Intensity(CHANNELS, (0.0, 0.0), (2000.0, 2000.0)).to_unit(stack.images[here])
    positive = classifier.probabilities(unit)[:, 1] > 0.5
    assert (positive == (stack.table["treatment"][here] == "TNF")).mean() > 0.9


def test_the_standardisation_is_that_of_the_training_cells_alone(trained):
    folder, tensors, _ = trained
    stack = read_stack(folder / "cells.ome.tif")
    here = (stack.table["split"] == "classifier").to_numpy()
    unit = stack.images[here] / 2000.0
    np.testing.assert_allclose(tensors["mean"][:, 0, 0], unit.mean(axis=(0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(tensors["sd"][:, 0, 0], unit.std(axis=(0, 2, 3)), rtol=1e-3)


def test_the_same_command_gives_the_same_weights(trained):
    folder, tensors, _ = trained
    again, _ = command(folder, output="again.safetensors", state="other_state")
    assert all(np.array_equal(tensors[name], again[name]) for name in tensors)


def test_stopped_and_resumed_is_equal_to_never_stopped(trained):
    folder, tensors, header = trained
    command(folder, output="part.safetensors", state="resumed", epochs=3)
    whole, found = command(folder, output="whole.safetensors", state="resumed")
    assert found["epochs"] == header["epochs"] > 3
    assert all(np.array_equal(tensors[name], whole[name]) for name in tensors)


def test_evaluation_cells_and_other_treatments_change_nothing(trained, tmp_path):
    _, tensors, _ = trained
    images, table = cells()
    images[(table["split"] == "evaluation").to_numpy()] = 7
    extra = table.iloc[:6].assign(
        image_id=[f"X_{i}" for i in range(6)], treatment="other", split="classifier"
    )
    write(tmp_path, np.concatenate([images, images[:6] * 0]), pd.concat([table, extra]))
    again, _ = command(tmp_path)
    assert all(np.array_equal(tensors[name], again[name]) for name in tensors)


def test_labels_without_meaning_are_not_learnt(tmp_path):
    images, table = cells()
    table["treatment"] = np.random.default_rng(0).permutation(table["treatment"])
    write(tmp_path, images, table)
    _, header = command(tmp_path)
    assert 0.3 < header["accuracy_tune"] < 0.7


def test_a_missing_split_or_treatment_is_named(tmp_path):
    images, table = cells(64)
    write(tmp_path, images, table.assign(split="classifier"))
    with pytest.raises(InputError, match="no cell of split 'tune' .*found: 64 of classifier"):
        command(tmp_path)
    write(tmp_path, images, table)
    with pytest.raises(InputError, match="0 cells of the treatment 'wortmannin'"):
        command(tmp_path, controls=("DMSO", "wortmannin"))
    write(tmp_path, images, table.drop(columns="split"))
    with pytest.raises(InputError, match="no column 'split'"):
        command(tmp_path)


@pytest.mark.parametrize("split", ["classifier", "tune"])
def test_a_split_of_one_class_alone_ends_in_one_sentence_and_writes_nothing(tmp_path, split):
    images, table = cells(64)
    one = (table["split"] != split) | (table["treatment"] == "DMSO")
    write(tmp_path, images[one.to_numpy()], table[one])
    with pytest.raises(InputError, match=f"The split '{split}' has 0 cells of .*'TNF'.*Give it"):
        command(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"cells.ome.tif", "cells.parquet", "intensity.json"}


def test_images_under_four_pixels_and_blank_channels_are_refused(tmp_path):
    images, table = cells(64)
    write(tmp_path, images[..., :2, :2], table)
    with pytest.raises(InputError, match="at least 4 px"):
        command(tmp_path)
    images[:, 0] = 100
    write(tmp_path, images, table)
    with pytest.raises(InputError, match="constant in the channel dna"):
        command(tmp_path)


def test_a_training_takes_cells_of_its_own_splits_alone(tmp_path):
    images, table = cells(64)
    write(tmp_path, images, table)
    stack, scale = read_assay(tmp_path / "cells.ome.tif", tmp_path / "intensity.json")
    fit, choose = (cells_for(use, stack, scale, ("DMSO", "TNF")) for use in (CLASSIFY, CHOOSE))
    for wrong in ((choose, choose), (fit, fit)):
        with (
            StateFolder(tmp_path, "x", {}) as folder,
            pytest.raises(InputError, match="Found cell"),
        ):
            train(*wrong, Settings(**SETTINGS), torch.device("cpu"), folder)


# ---- on a GPU ---------------------------------------------------------------------------------


def test_counts_kept_on_the_device_give_the_same_images():
    images, _ = cells(12)
    images[0, 0, 0, :2] = 0, 65535
    scale = Intensity(CHANNELS, (3.0, 7.0), (900.0, 2000.0))
    few = Cells(images, np.zeros(12, np.int64), scale, ("classifier",))
    here, there = (Batches(few, torch.device("cpu"), store=store) for store in (True, False))
    rows = np.array([0, 5, 5, 11])
    assert here.stored is not None and torch.equal(here.images(rows), there.images(rows))


def test_a_recorded_training_is_equal_bit_for_bit(tmp_path, monkeypatch):
    images, table = cells()
    write(tmp_path, images, table)
    stack, scale = read_assay(tmp_path / "cells.ome.tif", tmp_path / "intensity.json")
    parts = [cells_for(use, stack, scale, ("DMSO", "TNF")) for use in (CLASSIFY, CHOOSE)]
    settings = Settings(**{**SETTINGS, "epochs": 3})

    def run(name):
        recorder = RecordedOnCpu()
        with StateFolder(tmp_path, name, {}) as folder:
            state = train(*parts, settings, torch.device("cpu"), folder, recorder)
        return state, recorder.n_operators

    recorded, n_operators = run("recorded")
    monkeypatch.setattr(graphs, "WARM_UP", 10**9)
    eager, none = run("eager")
    assert len(n_operators) == 1 and not none and recorded.curves == eager.curves
    pairs = zip(recorded.net.state_dict().values(), eager.net.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
