"""The command train_pix2pix: what it learns, what it reads, how it resumes, what it refuses."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.run.values import read_config, section_values
from rls import train_pix2pix
from rls.io import Intensity, read_stack, read_weights, write_intensity, write_stack, write_weights
from rls.io.splits import CHOOSE, TRAIN
from rls.networks import pix2pix_training
from rls.networks.pix2pix import Pairing, load_unet
from rls.networks.pix2pix_settings import Settings
from rls.networks.pix2pix_training import adversarial_loss, held_out_l1, start, step, train
from rls.runtime import graphs
from rls.runtime.checkpoint import StateFolder
from rls.runtime.command import flags
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.stopping import Stopped
from rls.runtime.streams import torch_stream
from rls.search import pix2pix
from rls.search.forward import downscale
from rls.stylegan2.training_images import TrainingImages
from tests.conftest import ROOT
from tests.flags import as_flags
from tests.rls.recorded_on_cpu import RecordedOnCpu
from tests.rls.search_stand_ins import make_problem, quiet

CHANNELS = ("dna", "nfkb")
INTENSITY = Intensity(CHANNELS, (100.0, 200.0), (3000.0, 2000.0))
SPLITS = ("gan",) * 8 + ("tune", "tune", "classifier", "evaluation")
SETTINGS = Settings(
    image_size=16, epochs=2, decay_epochs=2, batch_size=8, learning_rate=0.001, beta1=0.5,
    l1_weight=100.0, generator_width=4, discriminator_width=4, keep="last", checkpoint_epochs=1,
    cuda_graphs="auto", seed=1, device="cpu", threads=1,
)  # fmt: skip
CPU = torch.device("cpu")
GIVEN = {"--border": "reflect", "--quantise": "none"}  # The required flags that have choices.


def cells(n=36, size=24, seed=0):
    """Return (smooth blobs in counts, a table with all splits)."""
    random = np.random.default_rng(seed)
    y, x = np.indices((size, size)) - (size - 1) / 2
    images = np.empty((n, 2, size, size))
    for i in range(n):
        for c in range(2):
            a, b = random.uniform(2, 6, 2)
            images[i, c] = 300 + random.uniform(500, 2000) * np.exp(-((y / a) ** 2 + (x / b) ** 2))
    images += random.normal(0, 20, images.shape)
    splits = [SPLITS[i % len(SPLITS)] for i in range(n)]
    ids = [f"P_A01_s1_y{i}_x0" for i in range(n)]
    return images.clip(0).astype(np.uint16), pd.DataFrame({"image_id": ids, "split": splits})


def write(folder, images, table):
    folder.mkdir(exist_ok=True)
    write_stack(
        folder / "cells.ome.tif", images, table,
        channels=CHANNELS, pixel_size_um=0.5, written_by="select_cells", compress=False,
    )  # fmt: skip
    write_intensity(folder / "intensity.json", INTENSITY, written_by="select_cells")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("cells"), *cells())


def arguments(folder, output, weight=1.0, factor=4, **changes):
    flags = [
        "--cells", folder / "cells.ome.tif", "--intensity", folder / "intensity.json",
        "--factor", factor, "--adversarial-weight", weight, "--border", "renormalize",
        "--quantise", "8bit", "--output", output, "--state", output.parent / "state",
    ]  # fmt: skip
    return [*map(str, flags), *as_flags(dataclasses.replace(SETTINGS, **changes))]


def trained(folder, into, weight=1.0, **changes):
    output = into / "pix2pix.network.safetensors"
    train_pix2pix.main(arguments(folder, output, weight, **changes))
    return read_weights(output, kind="pix2pix")


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """Return the result of a training that was never stopped."""
    return trained(folder, tmp_path_factory.mktemp("whole"))


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def data_of(folder, use=TRAIN):
    return TrainingImages(read_stack(folder / "cells.ome.tif"), INTENSITY, 16, 1, use=use)


# ---- what a step computes ---------------------------------------------------------------------


def losses(weight, folder):
    """Take a first step; return (networks after it, before it, its losses, its tensors)."""
    state, before = (start(2, weight, SETTINGS, CPU) for _ in range(2))
    high = data_of(folder).batch(0, 8, CPU)
    source = Pairing(downscale(16, 4, "renormalize"), "8bit")(high)
    masks = state.unet.masks(8, torch_stream(1, "masks", "test"))
    told = step(state, source, high, masks, 100.0)
    return state, before, told, (source, high, before.unet(source, masks))


def test_a_step_is_that_of_the_published_losses(folder):
    state, before, told, (source, high, fake) = losses(0.7, folder)
    l1 = (fake - high).abs().mean().detach()
    assert float(told[0]) == pytest.approx(float(l1) / 2, rel=1e-4)
    before.patch.requires_grad_(False)
    fake = fake.detach()
    real, made = before.patch(source, high), before.patch(source, fake)
    adversary = -(torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(made)).log().mean()) / 2
    assert float(told[2]) == pytest.approx(float(adversary), rel=1e-4)
    # The discriminator has taken its step before it judges for the U-Net.
    seen = -torch.sigmoid(state.patch(source, fake)).log().mean()
    assert float(told[1]) == pytest.approx(float(100 * l1 + 0.7 * seen), rel=1e-3)


def test_each_network_is_moved_by_its_own_loss_alone(folder):
    state, before, _, (source, high, fake) = losses(1.0, folder)
    told = adversarial_loss(before.patch(source, high), True)
    told = (told + adversarial_loss(before.patch(source, fake.detach()), False)) / 2
    wanted = torch.autograd.grad(told, list(before.patch.parameters()))
    for parameter, gradient in zip(state.patch.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_the_twin_on_l1_has_no_discriminator(folder, tmp_path, monkeypatch):
    def refuse(*sizes):
        raise AssertionError("a discriminator was made")

    monkeypatch.setattr(pix2pix_training, "PatchGAN", refuse)
    state, before, told, (source, high, fake) = losses(0.0, folder)
    assert state.patch is None and float(told[2]) == 0.0
    wanted = torch.autograd.grad(
        100 * (fake - high).abs().mean(), list(before.unet.parameters()), allow_unused=True
    )
    for parameter, gradient in zip(state.unet.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)
    _, header = trained(folder, tmp_path, 0.0, epochs=1, decay_epochs=0)
    assert header["adversarial_weight"] == 0 and "loss_discriminator" not in header["curves"][0]


def test_both_twins_start_from_the_same_u_net():
    one, other = (start(2, weight, SETTINGS, CPU).unet.state_dict() for weight in (0.0, 1.0))
    assert_equal(one, other)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_four_cells_can_be_learnt_by_heart(weight, folder):
    settings = dataclasses.replace(SETTINGS, generator_width=8)
    state = start(2, weight, settings, CPU)
    for optimiser in filter(None, (state.optimiser, state.patch_optimiser)):
        optimiser.param_groups[0]["lr"] = 0.003
    high = data_of(folder).batch(0, 4, CPU)
    source = Pairing(downscale(16, 4, "renormalize"), "8bit")(high)
    mask = {level: torch.ones(4, *shape) for level, shape in state.unet.dropout_shapes.items()}
    l1 = [float(step(state, source, high, mask, 100.0)[0]) for _ in range(100)]
    enlarged = float((source - high).abs().mean()) / 2
    assert l1[-1] < 0.75 * enlarged and l1[-1] < l1[0] / 10


def test_the_learning_rate_is_constant_and_then_falls_linearly():
    settings = dataclasses.replace(SETTINGS, epochs=3, decay_epochs=4, learning_rate=1.0)
    rates = [settings.rate(epoch) for epoch in range(settings.total_epochs)]
    np.testing.assert_allclose(rates, [1, 1, 1, 0.8, 0.6, 0.4, 0.2])


# ---- what it reads ----------------------------------------------------------------------------


def test_other_splits_change_no_weight_and_tune_only_the_curves(folder, whole, tmp_path):
    images, table = cells()
    images[table["split"].isin(["classifier", "evaluation"])] = 7
    tensors, header = trained(write(tmp_path / "a", images, table), tmp_path)
    assert_equal(tensors, whole[0])
    assert header["curves"] == whole[1]["curves"]
    images[table["split"] == "tune"] += 500
    tensors, header = trained(write(tmp_path / "b", images, table), tmp_path)
    assert_equal(tensors, whole[0])
    assert header["curves"][-1]["l1_tune"] != whole[1]["curves"][-1]["l1_tune"]
    assert header["curves"][-1]["l1"] == whole[1]["curves"][-1]["l1"]


@pytest.mark.parametrize(("keep", "epoch"), [("best_on_tune", 2), ("last", 4)])
def test_the_weights_kept_are_the_last_or_those_with_the_least_l1_on_tune(
    folder, tmp_path, monkeypatch, keep, epoch
):
    seen = []

    def tell(unet, *others):
        seen.append({name: value.clone() for name, value in unet.state_dict().items()})
        return [0.3, 0.1, 0.2, 0.2][len(seen) - 1]

    monkeypatch.setattr(pix2pix_training, "held_out_l1", tell)
    assert_equal(trained(folder, tmp_path, keep=keep)[0], seen[epoch - 1])


def test_the_l1_on_tune_is_that_of_what_the_method_will_show(folder, whole, tmp_path):
    write_weights(tmp_path / "net.safetensors", *whole)
    net, _ = load_unet(tmp_path / "net.safetensors")
    tune = data_of(folder, CHOOSE)
    unit = torch.from_numpy(INTENSITY.to_unit(tune.stack.images[tune.rows]))[..., 4:20, 4:20]
    low = Pairing(downscale(16, 4, "renormalize"), "8bit").low_resolution(unit)
    problem = make_problem(low, 4, network=tmp_path / "net.safetensors")
    shown = pix2pix.super_resolve(problem, pix2pix.Settings(1.0, False), quiet()).images
    told = whole[1]["curves"][-1]["l1_tune"]
    assert float((shown - unit).abs().mean()) == pytest.approx(told, rel=1e-4)
    pairing = Pairing(downscale(16, 4, "renormalize"), "8bit")
    assert held_out_l1(net, tune, pairing, 4) == pytest.approx(told)


def test_the_header_says_what_the_network_is_for(whole, folder):
    header = whole[1]
    assert header["channels"] == list(CHANNELS) and header["factor"] == 4
    assert header["image_size"] == 16 and header["intensity"] == INTENSITY.as_dict()
    assert header["data_digest"] == data_of(folder).digest and header["n_training_images"] == 24
    assert [row["epoch"] for row in header["curves"]] == [1, 2, 3, 4]


def test_the_workflow_hands_over_the_section_the_block_and_every_argument():
    config = read_config()
    values = section_values(config, "train_pix2pix", "translocation")
    rule = (ROOT / "workflow" / "rules" / "rivals.smk").read_text()
    shell = rule.split("shell:")[1]
    parser = train_pix2pix.make_parser()
    required = [a.option_strings[0] for a in parser._actions if a.required]
    by_params = ("--adversarial-weight", "--border", "--quantise")  # the block, and section degrade
    assert all(f"{flag} " in shell or flag in by_params for flag in required)
    assert "{params.method:q}" in shell and "{params.degrade:q}" in shell
    given = [item for flag in required for item in (flag, GIVEN.get(flag, "1"))]
    _, settings = parser.parse([*given, *flags(values)])
    assert settings.image_size == 128 and settings.generator_width == 64
    # The twins differ in the settings of their own blocks and in nothing else.
    blocks = [config["methods"][name] for name in ("pix2pix", "unet_l1")]
    assert {k for k in blocks[0] if blocks[0][k] != blocks[1][k]} == {"adversarial_weight"}


# ---- stopping and resuming --------------------------------------------------------------------


def test_stopped_by_an_error_and_resumed_is_equal_to_never_stopped(
    folder, whole, tmp_path, monkeypatch, capsys
):
    save = StateFolder.save

    def then_stop(self, step, payload):
        save(self, step, payload)
        if step == 9:  # The end of the third epoch of 3 steps.
            raise RuntimeError("the power went")

    monkeypatch.setattr(StateFolder, "save", then_stop)
    with pytest.raises(RuntimeError):
        trained(folder, tmp_path)
    monkeypatch.setattr(StateFolder, "save", save)
    tensors, header = trained(folder, tmp_path)
    assert "goes on after epoch 3" in capsys.readouterr().out
    assert_equal(tensors, whole[0])
    assert header["curves"] == whole[1]["curves"]
    curves = pd.read_csv(tmp_path / "pix2pix.network.training.csv")
    assert list(curves["epoch"]) == [1, 2, 3, 4]
    assert not list((tmp_path / "state").glob("*/checkpoint-*"))


def test_killed_and_resumed_is_equal_to_never_stopped(folder, tmp_path):
    changes = {"epochs": 12, "decay_epochs": 0}
    output = tmp_path / "killed" / "pix2pix.network.safetensors"
    output.parent.mkdir()
    command = [sys.executable, "-m", "rls.train_pix2pix", *arguments(folder, output, **changes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        while not list((output.parent / "state").glob("*/checkpoint-*.pt")):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not output.exists()
    again, _ = trained(folder, output.parent, **changes)
    assert_equal(again, trained(folder, tmp_path, **changes)[0])


@pytest.mark.parametrize("step", [2, 3, 7])
def test_asked_to_stop_within_an_epoch_or_at_its_end_it_ends_the_same(
    folder, whole, tmp_path, monkeypatch, capsys, step
):
    """An epoch has 3 steps; the work stops in the first, at its end, and in the third."""
    advance, count = Progress.advance, itertools.count(1)

    def then_ask(self, n, note=""):
        advance(self, n, note)
        if next(count) == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Progress, "advance", then_ask)
    with pytest.raises(Stopped, match="stopped on SIGTERM, after epoch"):
        trained(folder, tmp_path)
    (kept,) = (tmp_path / "state").glob("*/checkpoint-*.pt") if step < 4 else [None]
    assert kept is None or int(kept.stem[-12:]) == step
    tensors, header = trained(folder, tmp_path)
    begun = f" and {step % 3} steps of the next" if step % 3 else ""
    assert f"goes on after epoch {step // 3}{begun}\n" in capsys.readouterr().out
    assert_equal(tensors, whole[0])
    assert header["curves"] == whole[1]["curves"]


def test_another_weight_factor_or_length_starts_afresh(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(StateFolder, "clear", lambda self: None)
    short = {"epochs": 1, "decay_epochs": 0}
    trained(folder, tmp_path, **short)
    trained(folder, tmp_path, 0.5, **short)
    trained(folder, tmp_path, **{**short, "decay_epochs": 1})
    assert len(list((tmp_path / "state").iterdir())) == 3
    trained(folder, tmp_path, **short, checkpoint_epochs=2)
    assert len(list((tmp_path / "state").iterdir())) == 3


# ---- on a GPU ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_recorded_training_is_equal_bit_for_bit(folder, tmp_path, monkeypatch, weight):
    """The rate falls in the last two of the four epochs, and the recording follows it."""
    pairing = Pairing(downscale(16, 4, "renormalize"), "8bit")

    def run(name):
        recorder, state = RecordedOnCpu(), start(2, weight, SETTINGS, CPU)
        with StateFolder(tmp_path, name, {}) as into:
            data = data_of(folder), data_of(folder, CHOOSE)
            train(state, *data, pairing, SETTINGS, into, recorder)
        return state, recorder.n_operators

    recorded, n_operators = run("recorded")
    monkeypatch.setattr(graphs, "WARM_UP", 10**9)
    eager, none = run("eager")
    assert len(n_operators) == 1 and not none and recorded.curves == eager.curves
    assert_equal(recorded.unet.state_dict(), eager.unet.state_dict())


# ---- faults -----------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_with_advice_and_keeps_no_checkpoint(folder, tmp_path):
    with pytest.raises(InputError, match="not finite in epoch .*smaller learning_rate"):
        trained(folder, tmp_path, learning_rate=1e30)
    assert not (tmp_path / "pix2pix.network.safetensors").exists()


def test_without_cells_to_train_on_or_to_watch_it_stops(tmp_path):
    images, table = cells()
    for split in ("gan", "tune"):
        there = table.assign(split=table["split"].replace(split, "classifier"))
        with pytest.raises(InputError, match=f"no cell of split '{split}'"):
            trained(write(tmp_path / split, images, there), tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 0}, "batch_size 0"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"epochs": 0, "decay_epochs": 0}, "epochs 0 and decay_epochs 0"),
        ({"weight": -1.0}, "adversarial-weight -1"),
        ({"factor": 3}, "factor must divide"),
    ],
)
def test_impossible_settings_are_refused(folder, tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        output = tmp_path / "pix2pix.network.safetensors"
        train_pix2pix.main(arguments(folder, output, **change))
