"""The commands train_amortised and measure_predicted, with a generator that comes along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import measure_predicted, train_amortised
from analysis.features.settings import Measurement, feature_digest, settings_class
from analysis.measuring import amortised
from analysis.measuring.columns import PREDICTED_SD
from analysis.measuring.tables import features_of_stack
from analysis.run.values import read_config, section_values
from rls.encoder.pairs import PairSource
from rls.encoder.pool import PATTERN
from rls.io import read_intensity, read_stack, read_table, read_weights, write_stack, write_weights
from rls.runtime.checkpoint import StateFolder
from rls.runtime.command import Parser, flags
from rls.runtime.errors import InputError
from rls.search.degradation import degrade_low
from rls.search.forward import forward_operator
from rls.search.forward_model import ForwardModel, columns_of
from rls.stylegan2.generator_io import load_generator
from tests.conftest import ROOT

MODEL = ROOT / "models" / "translocation_32px"
COLUMN = "nucleocytoplasmic_ratio"
SMALL = {
    "n_pairs": 60, "n_held_out": 20, "pair_batch_size": 20, "mixing_probability": 0.0, "width": 4,
    "hidden": 8, "epochs": 3, "pairs_per_step": 20, "learning_rate": 0.01, "weight_decay": 0.0,
    "seed": 1, "device": "cpu", "threads": 1,
}  # fmt: skip
OF_WEIGHTS = ("path", "sha256")
ASSAY = ("--nucleus-channel", "dna", "--marker-channel", "nfkb", "--features", COLUMN)
GIVEN = ("--generator", str(MODEL / "generator.safetensors"),
         "--intensity", str(MODEL / "intensity.json"), "--factor", "8", *ASSAY)  # fmt: skip


def measuring(**changes):
    """Return the flags of section measure that need no network."""
    config = read_config([ROOT / "config" / "demo.yaml"])
    values = section_values(config, "measure", "translocation")
    kept = {k: v for k, v in values.items() if not k.endswith(OF_WEIGHTS)}
    return flags({**kept, "device": "cpu", "threads": 1, **changes})


def measurement():
    _, settings = Parser("", settings_class(), "measure").parse(measuring())
    return Measurement((COLUMN,), "dna", "nfkb", settings)


def arguments(into, *more, **changes):
    own = flags({**SMALL, **changes})
    files = ("--output", str(into / "amortised.safetensors"), "--state", str(into / "state"))
    return [*GIVEN, "--quantise", "8bit", *files, *measuring(), *own, *more]


def trained(into, *more, **changes):
    into.mkdir(exist_ok=True)
    train_amortised.main(arguments(into, *more, **changes))
    return read_weights(into / "amortised.safetensors", kind="amortised")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a training that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    trained(folder)
    return folder


def generated(n=30, batch=0):
    """Return generated pairs that the training has not seen."""
    generator = load_generator(MODEL)
    down = forward_operator(ForwardModel(), 32, 8, generator.pixel_size_um)
    return PairSource(generator, down, (), "8bit", n, 0.0, 7, "other").draw(batch)


@pytest.fixture(scope="module")
def low(tmp_path_factory):
    """Return the path of LR images as degrade leaves them, of generated cells."""
    pairs, intensity = generated(), read_intensity(MODEL / "intensity.json")
    n = len(pairs)
    table = pd.DataFrame(
        {
            "image_id": [f"P1_B02_s1_y{i}_x0" for i in range(n)],
            "plate": "P1", "well": "B02", "site": 1, "treatment": "DMSO",
            "split": ["tune", "calibration", "evaluation"] * (n // 3),
            "factor": 8, "degradation": "clean", "chain": "", **columns_of(ForwardModel()),
        }
    )  # fmt: skip
    path = tmp_path_factory.mktemp("low") / "low_resolution.ome.tif"
    counts = intensity.to_counts(pairs.y.numpy())
    write_stack(path, counts, table, channels=intensity.channels, pixel_size_um=8.0,
                written_by="degrade")  # fmt: skip
    return path


# ---- pairs ------------------------------------------------------------------------------------


def test_a_generated_image_is_measured_as_the_image_in_a_stack_is(tmp_path):
    generator, pairs = load_generator(MODEL), generated()
    intensity, how = read_intensity(MODEL / "intensity.json"), measurement()
    down = forward_operator(ForwardModel(), 32, 8, generator.pixel_size_um)
    source = PairSource(generator, down, (), "8bit", 30, 0.0, 7, "other")
    found = amortised.Study(source, ForwardModel(), 8, intensity, how).measured(pairs)
    table = pd.DataFrame({"image_id": [f"a{i}" for i in range(len(pairs))]})
    write_stack(tmp_path / "x.ome.tif", intensity.to_counts(pairs.x.numpy()), table,
                channels=intensity.channels, pixel_size_um=generator.pixel_size_um,
                written_by="test")  # fmt: skip
    stack = features_of_stack(read_stack(tmp_path / "x.ome.tif"), intensity, how, "test")
    expected = np.where(stack["status"] == "ok", stack[COLUMN], np.nan)
    assert np.isfinite(expected).sum() > 20
    np.testing.assert_array_equal(found[:, 0], expected)


def test_the_pairs_are_degraded_as_degrade_does_it(tmp_path, monkeypatch):
    seen = []
    draw = PairSource.draw
    monkeypatch.setattr(PairSource, "draw", lambda self, i: seen.append((self, i)) or draw(self, i))
    chain = ("--chain", "gaussian_noise:0.1", "--operator", "binning")
    trained(tmp_path, *chain, epochs=1)
    source, batch = seen[-1]
    pairs = draw(source, batch)
    assert source.forward.model == ForwardModel("binning")
    plain = source.forward(pairs.x).numpy()
    ids = [f"{source.purpose} {batch} {i}" for i in range(20)]
    made = degrade_low(plain, ids, (("gaussian_noise", 0.1),), quantise="8bit", seed=1)
    np.testing.assert_array_equal(pairs.y.numpy(), made)
    assert np.abs(made - plain).mean() > 0.03
    # Held-out pairs are others.
    assert {source.purpose for source, _ in seen} == {
        "train_amortised", "held-out train_amortised",
    }  # fmt: skip


# ---- the file ---------------------------------------------------------------------------------


def test_the_header_says_what_it_was_made_of(whole):
    _, header = read_weights(whole / "amortised.safetensors", kind="amortised")
    generator = load_generator(MODEL)
    assert header["features"][0] == COLUMN and len(header["transforms"]) == len(header["features"])
    assert header["generator_digest"] == generator.header["digest"]
    assert ForwardModel.from_text(header["forward"]) == ForwardModel() and header["factor"] == 8
    assert (header["n_pairs"], header["n_held_out"]) == (60, 20)
    assert header["feature_settings"] == feature_digest(measurement().settings)
    assert 40 < header["n_measured"][0] <= 60 and header["turned"]
    assert header["r_held_out"].keys() == set(header["features"])
    assert len(header["curves"]) == 3 and 1 <= header["best_epoch"] <= 3
    assert not list(whole.glob("state/*/*.safetensors")) and not list(whole.glob("state/*/*.pt"))


def test_a_shifted_d_has_no_turns(tmp_path):
    _, header = trained(tmp_path, "--shift-px", "1", "0", epochs=1, n_pairs=20)
    assert not header["turned"]


# ---- stopping and resuming --------------------------------------------------------------------


def assert_equal(folder, other):
    one, header = read_weights(folder / "amortised.safetensors")
    two, same = read_weights(other / "amortised.safetensors")
    assert one.keys() == two.keys() and header == same
    for name in one:
        assert torch.equal(one[name], two[name]), name


def test_killed_among_the_pairs_and_resumed_is_equal_to_never_stopped(
    whole, tmp_path, monkeypatch, capsys
):
    command = [sys.executable, "-m", "analysis.train_amortised", *arguments(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        while not list((tmp_path / "state").glob(f"*/{PATTERN}")):
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = list((tmp_path / "state").glob(f"*/{PATTERN}"))
    drawn, draw = [], PairSource.draw
    monkeypatch.setattr(PairSource, "draw", lambda self, i: drawn.append(i) or draw(self, i))
    trained(tmp_path)
    assert len(drawn) == 4 - len(kept) < 4
    assert "pairs were found in" in capsys.readouterr().out
    assert_equal(tmp_path, whole)


def test_stopped_between_epochs_and_resumed_is_equal_to_never_stopped(
    whole, tmp_path, monkeypatch, capsys
):
    save = StateFolder.save

    def then_stop(self, step, payload):
        save(self, step, payload)
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StateFolder, "save", then_stop)
        trained(tmp_path)
    trained(tmp_path)
    assert "goes on after epoch 2" in capsys.readouterr().out
    assert_equal(tmp_path, whole)


def interrupted(*given):
    raise KeyboardInterrupt


def test_a_damaged_file_of_pairs_is_drawn_again(whole, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(amortised, "fit", interrupted)
        trained(tmp_path)
    path = next((tmp_path / "state").glob(f"*/{PATTERN}"))
    path.write_bytes(path.read_bytes()[:-3])
    trained(tmp_path)
    assert "drawn again" in capsys.readouterr().out
    assert_equal(tmp_path, whole)


# ---- what it says of cells --------------------------------------------------------------------


def measured(network, low, into, *more, **changes):
    output = into / "amortised.features.parquet"
    files = ("--network", str(network), "--low-resolution", str(low), "--output", str(output))
    measure_predicted.main([*GIVEN, *files, *measuring(**changes), *more])
    return read_table(output)


def test_the_table_is_that_of_measure(whole, low, tmp_path):
    table = measured(whole / "amortised.safetensors", low, tmp_path)
    cells = read_stack(low).table
    for name in ("image_id", "plate", "well", "site", "treatment", "split"):
        assert list(table[name]) == list(cells[name])
    assert set(table["method"]) == {"amortised"} and set(table["status"]) == {"ok"}
    assert set(table["feature_settings"]) == {feature_digest(measurement().settings)}
    assert np.isfinite(table[COLUMN]).all() and (table[COLUMN + PREDICTED_SD] > 0).all()


def test_it_foretells_the_features_of_generated_cells(low, tmp_path):
    """A few hundred pairs are enough for most of what LR says of the ratio."""
    changes = {"n_pairs": 300, "pair_batch_size": 60, "epochs": 8, "width": 8, "hidden": 16}
    trained(tmp_path, **changes)
    table = measured(tmp_path / "amortised.safetensors", low, tmp_path)
    generator, pairs = load_generator(MODEL), generated()
    intensity = read_intensity(MODEL / "intensity.json")
    down = forward_operator(ForwardModel(), 32, 8, generator.pixel_size_um)
    source = PairSource(generator, down, (), "8bit", 30, 0.0, 7, "other")
    truth = amortised.Study(source, ForwardModel(), 8, intensity, measurement()).measured(pairs)
    known = np.isfinite(truth[:, 0])
    assert np.corrcoef(truth[known, 0], table[COLUMN][known])[0, 1] > 0.5


def altered(whole, into, **changes):
    """Return a copy of the network whose header differs."""
    tensors, header = read_weights(whole / "amortised.safetensors")
    path = into / "other.safetensors"
    write_weights(path, tensors, {**header, **changes})
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"generator_digest": "0" * 32}, "another generator"),
        ({"forward": ForwardModel("binning").to_text()}, r"another D \(binning"),
        ({"chain": [["gaussian_noise", 0.1]]}, "another chain of degradations"),
        ({"factor": 4}, "another factor"),
        ({"intensity": {"channels": [], "black": [], "white": []}}, "another intensity scale"),
    ],
)
def test_a_network_of_other_images_is_refused(whole, low, tmp_path, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        measured(altered(whole, tmp_path, **changes), low, tmp_path)
    assert not list(tmp_path.glob("*.parquet"))


def test_other_thresholds_and_features_are_refused(whole, low, tmp_path):
    network = whole / "amortised.safetensors"
    with pytest.raises(InputError, match="another settings of features|settings of features"):
        measured(network, low, tmp_path, ring_width_um=3.0)
    with pytest.raises(InputError, match="features"):
        measured(network, low, tmp_path, "--features", "golgi")


# ---- the workflow -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", [train_amortised, measure_predicted])
def test_the_rules_hand_over_every_argument(command):
    rules = (ROOT / "workflow" / "rules" / "encoder.smk").read_text()
    rule = rules.split(f"rule {command.NAME}:")[1].split("\nrule ")[0]
    shell = rule.split("shell:")[1]
    needed = ["intensity", "factor", "output"]
    needed += (
        ["generator", "state"] if command is train_amortised else ["network", "low-resolution"]
    )
    assert all(f"--{flag} " in shell for flag in needed)
    assert "{params.assay:q}" in shell and f'sources("analysis.{command.NAME}")' in rule


def test_the_section_of_the_configuration_fits():
    config = read_config()
    own = section_values(config, "train_amortised", "translocation")
    given = [*GIVEN, "--quantise", "8bit", "--output", "a", "--state", "b", *measuring()]
    _, settings = train_amortised.make_parser().parse([*given, *flags(own)])
    assert settings.own.n_pairs == config["train_amortised"]["n_pairs"]
    assert settings.own.threads == config["threads"]
