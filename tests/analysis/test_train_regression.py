"""The commands train_regression, measure_predicted and measure_gan on small made-up cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import high_resolution, measure_gan, measure_predicted, train_regression
from analysis.features.registry import columns_of
from analysis.features.settings import feature_digest
from analysis.measuring import regression
from analysis.measuring.columns import PREDICTED_SD
from analysis.measuring.tables import features_of_stack
from analysis.run.values import read_config, section_values
from rls.io import (
    Stack,
    read_stack,
    read_table,
    read_weights,
    write_intensity,
    write_stack,
    write_table,
)
from rls.io.splits import CHOOSE, PREDICT
from rls.runtime.checkpoint import StateFolder
from rls.runtime.command import flags
from rls.runtime.errors import InputError
from rls.search.degradation import degrade
from rls.search.forward_model import ForwardModel
from rls.search.forward_model import columns_of as columns_of_d
from tests.analysis import made_up
from tests.analysis.test_train_amortised import measurement, measuring
from tests.conftest import ROOT

COLUMN = "nucleocytoplasmic_ratio"
COLUMNS = columns_of(COLUMN, made_up.CHANNELS)
SMALL = {
    "width": 4, "hidden": 8, "epochs": 3, "pairs_per_step": 20, "learning_rate": 0.01,
    "weight_decay": 0.0, "seed": 1, "device": "cpu", "threads": 1,
}  # fmt: skip
PIXEL = 1.25


def cells(splits, seed):
    """HR images of made-up cells, with a split for each."""
    n = len(splits)
    table = pd.concat([made_up.cells_table(2, n)]).iloc[:n].reset_index(drop=True)
    table = table.assign(split=list(splits), treatment=np.resize(made_up.CONTROLS, n))
    table = table.assign(image_id=[f"{seed}_{i}" for i in range(n)])
    return made_up.cell_images(table, seed), table


def write_cells(folder, name, splits, seed, forward=None):
    """Write HR and LR stacks, and the table of the features of HR."""
    images, table = cells(splits, seed)
    facts = {"channels": made_up.CHANNELS, "written_by": "test"}
    write_stack(folder / f"{name}.ome.tif", images, table, pixel_size_um=PIXEL, **facts)
    forward = forward or ForwardModel()
    unit = made_up.INTENSITY.to_unit(images)
    low = degrade(unit, list(table["image_id"]), 8, (), forward=forward, pixel_size_um=PIXEL,
                  quantise="8bit", seed=0)  # fmt: skip
    rows = table.assign(factor=8, degradation="clean", chain="", **columns_of_d(forward))
    write_stack(folder / f"{name}_low.ome.tif", made_up.INTENSITY.to_counts(low), rows,
                pixel_size_um=8 * PIXEL, **facts)  # fmt: skip
    stack = read_stack(folder / f"{name}.ome.tif")
    features = features_of_stack(stack, made_up.INTENSITY, measurement(), "test")
    keys = table.assign(feature_settings=feature_digest(measurement().settings))
    write_table(folder / f"{name}.features.parquet", pd.concat([keys, features], axis=1),
                written_by="measure")  # fmt: skip
    write_intensity(folder / "intensity.json", made_up.INTENSITY, written_by="test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cells")
    write_cells(path, "gan", ["gan"] * 80, 1)
    write_cells(path, "held", ["tune"] * 30 + ["calibration"] * 10 + ["evaluation"] * 30, 2)
    return path


def trained(folder, into, gan="gan", held="held", **changes):
    files = {
        "--gan": folder / f"{gan}_low.ome.tif",
        "--gan-measured": folder / f"{gan}.features.parquet",
        "--low-resolution": folder / f"{held}_low.ome.tif",
        "--measured": folder / f"{held}.features.parquet",
        "--intensity": folder / "intensity.json", "--output": into / "regression.safetensors",
        "--state": into / "state",
    }  # fmt: skip
    named = [str(item) for pair in files.items() for item in pair]
    train_regression.main([*named, "--features", COLUMN, *flags({**SMALL, **changes})])
    return read_weights(into / "regression.safetensors", kind="regression")


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole")
    return path, *trained(folder, path)


def test_the_header_says_what_was_learnt_from_which_cells(whole):
    _, _, header = whole
    assert header["features"] == list(COLUMNS) and (header["n_training"], header["n_tune"]) == (
        80,
        30,
    )
    assert set(header["chosen"].values()) <= {"ridge", "network"} and header["turned"]
    assert header["feature_settings"] == feature_digest(measurement().settings)
    assert header["r_tune"][COLUMN] > 0.7, "the planted treatments differ in LR"
    assert "generator_digest" not in header


def measured(network, folder, into, *more):
    output = into / "regression.features.parquet"
    measure_predicted.main(
        ["--network", str(network), "--low-resolution", str(folder / "held_low.ome.tif"),
         "--intensity", str(folder / "intensity.json"), "--factor", "8", "--nucleus-channel", "dna",
         "--marker-channel", "nfkb", "--features", COLUMN, "--output", str(output), *measuring(),
         *more]
    )  # fmt: skip
    return read_table(output)


def test_every_cell_has_a_prediction_with_a_spread_and_it_is_that_of_its_cell(
    whole, folder, tmp_path
):
    table = measured(whole[0] / "regression.safetensors", folder, tmp_path)
    high = read_table(folder / "held.features.parquet")
    assert list(table["image_id"]) == list(high["image_id"])
    assert set(table["method"]) == {"regression"} and set(table["status"]) == {"ok"}
    assert (table[COLUMN + PREDICTED_SD] > 0).all()
    known = high["split"].eq("evaluation") & high[COLUMN].notna()
    assert np.corrcoef(table[COLUMN][known], high[COLUMN][known])[0, 1] > 0.7


def test_images_made_or_measured_otherwise_are_refused(whole, folder, tmp_path):
    network = whole[0] / "regression.safetensors"
    with pytest.raises(InputError, match=r"another factor.*Run train_regression again"):
        measured(network, folder, tmp_path, "--factor", "4")
    with pytest.raises(InputError, match="settings of features"):
        measured(network, folder, tmp_path, "--ring-width-um", "3.0")
    with pytest.raises(InputError, match="'regression', which takes no --generator"):
        measured(network, folder, tmp_path, "--generator", "generator.safetensors")


def test_cells_of_other_splits_neither_train_nor_choose(folder, tmp_path):
    write_cells(tmp_path, "gan", ["gan"] * 40 + ["evaluation"] * 20, 3)
    known = regression.read_known(tmp_path / "gan_low.ome.tif", tmp_path / "gan.features.parquet",
                                  COLUMNS, PREDICT)  # fmt: skip
    assert len(known.low) == len(known.values) == 40
    held = regression.read_known(folder / "held_low.ome.tif", folder / "held.features.parquet",
                                 COLUMNS, CHOOSE)  # fmt: skip
    assert set(held.low.table["split"]) == {"tune"}
    with pytest.raises(InputError, match="no cell of split 'gan'"):
        trained(folder, tmp_path, gan="held")


def test_cells_degraded_by_another_d_or_not_measured_are_refused(folder, tmp_path):
    for name in ("held_low.ome.tif", "held_low.parquet", "held.features.parquet"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    write_cells(tmp_path, "gan", ["gan"] * 30, 4, ForwardModel("binning"))
    with pytest.raises(InputError, match="made differently"):
        trained(tmp_path, tmp_path)
    few = read_table(tmp_path / "gan.features.parquet").iloc[:-3]
    write_table(tmp_path / "gan.features.parquet", few, written_by="test")
    with pytest.raises(InputError, match="lacks 3 of 30 cells"):
        trained(tmp_path, tmp_path)


def test_stopped_between_epochs_and_resumed_is_equal_to_never_stopped(
    whole, folder, tmp_path, monkeypatch
):
    save = StateFolder.save

    def then_stop(self, step, payload):
        save(self, step, payload)
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StateFolder, "save", then_stop)
        trained(folder, tmp_path)
    tensors, header = trained(folder, tmp_path)
    assert header == whole[2] and tensors.keys() == whole[1].keys()
    assert all(torch.equal(tensors[name], whole[1][name]) for name in tensors)


def test_gan_cells_are_cut_and_measured_as_others_are(folder, tmp_path):
    stack = read_stack(folder / "gan.ome.tif")
    both = Stack(stack.images, stack.table.drop(columns="image_digest"), stack.channels, PIXEL)
    splits = ["gan"] * 50 + ["evaluation"] * 30
    write_stack(tmp_path / "cells.ome.tif", both.images, both.table.assign(split=splits),
                channels=both.channels, pixel_size_um=PIXEL, written_by="select_cells",
                compress=False)  # fmt: skip
    cut = tmp_path / "cut.ome.tif"
    high_resolution.main(["--cells", str(tmp_path / "cells.ome.tif"), "--output", str(cut),
                          "--splits", "gan", "--image-size", "32"])  # fmt: skip
    assert set(read_stack(cut).table["split"]) == {"gan"} and len(read_stack(cut)) == 50
    output = tmp_path / "gan.features.parquet"
    common = ("--intensity", str(folder / "intensity.json"), "--nucleus-channel", "dna",
              "--marker-channel", "nfkb", "--features", COLUMN,
              "--output", str(output))  # fmt: skip
    measure_gan.main(["--stack", str(cut), *common, *measuring()])
    found, known = read_table(output), read_table(folder / "gan.features.parquet").iloc[:50]
    np.testing.assert_array_equal(found[COLUMN], known[COLUMN])
    with pytest.raises(InputError, match="cells of split"):
        measure_gan.main(["--stack", str(folder / "held.ome.tif"), *common, *measuring()])


@pytest.mark.parametrize("command", [train_regression, measure_gan])
def test_the_rules_hand_over_every_argument(command):
    rules = (ROOT / "workflow" / "rules" / "ceiling.smk").read_text()
    rule = rules.split(f"rule {command.NAME}:")[1].split("\nrule ")[0]
    assert "{params.assay:q}" in rule and f'sources("analysis.{command.NAME}")' in rule
    assert f"python -m analysis.{command.NAME}" in rule and "--intensity " in rule


def test_the_section_of_the_configuration_fits():
    own = section_values(read_config(), "train_regression", "translocation")
    files = [x for f in ("--gan", "--gan-measured", "--low-resolution", "--measured", "--intensity",
                         "--output", "--state") for x in (f, "a")]  # fmt: skip
    _, settings = train_regression.make_parser().parse([*files, "--features", COLUMN, *flags(own)])
    assert settings.epochs == read_config()["train_regression"]["epochs"]
