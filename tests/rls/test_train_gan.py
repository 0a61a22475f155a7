"""The command train_gan: what it writes, how it resumes, what it refuses."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from rls import train_gan
from rls.io import Intensity, read_table, read_weights, write_intensity, write_stack
from rls.runtime import stopping
from rls.runtime.errors import InputError
from rls.stylegan2.generator_io import load_generator
from rls.stylegan2.settings import Settings, fill_auto
from tests.flags import as_flags

SETTINGS = Settings(
    image_size=16, total_kimg=0.032, batch_size=4, learning_rate=0.002, r1_gamma=0.1,
    r1_interval=3, path_length_weight=2.0, path_length_interval=2, path_length_batch_shrink=2,
    ema_kimg=0.02, ema_rampup=0.5, z_dim=8, w_dim=8, mapping_layers=2,
    channel_base=64, channel_max=8, clamp=None, mbstd_group_size=2, style_mixing_probability=0.9,
    augmentations="bgc", augment_p=None, augment_target=0.6, augment_kimg=0.02, augment_interval=2,
    freeze_discriminator=0, precision="float32", checkpoint_kimg=0.008, tick_kimg=0.016,
    evaluate_kimg=0.016, evaluate_images=4, cuda_graphs="auto", compile="auto", seed=3,
    device="cpu", threads=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    """Return a folder with 20 cells of two channels and their intensity scale."""
    folder = tmp_path_factory.mktemp("cells")
    draws = np.random.default_rng(1)
    images = draws.integers(100, 3000, (20, 2, 24, 24)).astype(np.uint16)
    splits = ["gan"] * 16 + ["tune"] * 4
    table = pd.DataFrame({"image_id": [f"p_A01_s1_y{i}_x0" for i in range(20)], "split": splits})
    write_stack(
        folder / "cells.ome.tif", images, table, channels=("dna", "nfkb"), pixel_size_um=0.5,
        written_by="select_cells", compress=False,
    )  # fmt: skip
    scale = Intensity(("dna", "nfkb"), (100.0, 100.0), (3000.0, 3000.0))
    write_intensity(folder / "intensity.json", scale, written_by="select_cells")
    return folder


def arguments(cells: Path, folder: Path, state: str = "state", **changes) -> list[str]:
    settings = dataclasses.replace(SETTINGS, **changes)
    files = {
        "--cells": cells / "cells.ome.tif",
        "--intensity": cells / "intensity.json",
        "--output": folder / "generator.safetensors",
        "--output-training": folder / "training.safetensors",
        "--state": folder / state,
    }
    return [*(str(x) for pair in files.items() for x in pair), *as_flags(settings)]


def trained(cells: Path, folder: Path, *extra: str, **changes) -> dict[str, torch.Tensor]:
    """Train in this process and return all weights."""
    folder.mkdir(exist_ok=True)
    train_gan.main([*arguments(cells, folder, **changes), *extra])
    return weights_in(folder)


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    average, _ = read_weights(folder / "generator.safetensors", kind="generator")
    both, _ = read_weights(folder / "training.safetensors", kind="discriminator")
    return {**both, **{f"average.{k}": v for k, v in average.items()}}


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []


@pytest.fixture(scope="module")
def finished(cells, tmp_path_factory) -> Path:
    """Return the folder of a training with SETTINGS."""
    folder = tmp_path_factory.mktemp("finished")
    trained(cells, folder)
    return folder


def test_a_training_writes_generator_grid_and_curve(finished):
    generator = load_generator(finished / "generator.safetensors", image_size=16, channels=2)
    header = generator.header
    assert header["channels"] == ["dna", "nfkb"]
    assert header["images_seen"] == 32
    assert header["pixel_size_um"] == 0.5
    assert header["intensity"]["white"] == [3000.0, 3000.0]
    assert not any(p.requires_grad for p in generator.parameters())
    assert generator(torch.randn(2, 8)).shape == (2, 2, 16, 16)
    columns = ["kimg", "r_t", "r1", "path_length", "augment_p", "kd", "kd_floor", "spread"]
    curve = read_table(finished / "generator.training.csv", columns=columns)
    assert np.isfinite(curve).all(axis=None)
    assert curve["kimg"].tolist() == [0.016, 0.032]
    assert np.isfinite(curve["loss_discriminator"]).all()
    assert Image.open(finished / "generator.png").size == (8 * 64, 8 * 64)
    sheet = Image.open(finished / "generator.progress.png")
    assert sheet.size[1] == 2 * 64, "a row an evaluation"
    (state,) = (finished / "state").iterdir()
    assert len(list((state / "grids").glob("*.png"))) == 2
    assert list((state / "tensorboard").iterdir())


def test_a_dry_run_says_what_it_would_be_and_writes_nothing(cells, tmp_path, capsys):
    train_gan.main([*arguments(cells, tmp_path), "--dry-run"])
    text = capsys.readouterr().out
    for words in ("r1_gamma", "GFLOP", "MiB", "a checkpoint", "images/s"):
        assert words in text, words
    assert not list(tmp_path.iterdir())


def test_numbers_left_open_follow_the_rule_of_auto():
    """StyleGAN2-ADA has R1 0.0002 * 128^2 / 32, 10 kimg and base 16384 at 128 px and batch 32."""
    open_numbers = {"learning_rate": None, "r1_gamma": None, "ema_kimg": None, "channel_base": None}
    settings = fill_auto(
        dataclasses.replace(SETTINGS, image_size=128, batch_size=32, **open_numbers)
    )
    assert settings.r1_gamma == pytest.approx(0.1024)
    assert settings.ema_kimg == pytest.approx(10)
    assert (settings.learning_rate, settings.channel_base) == (0.0025, 16384)
    large = fill_auto(dataclasses.replace(SETTINGS, image_size=1024, **open_numbers))
    assert (large.learning_rate, large.channel_base) == (0.002, 32768)
    assert fill_auto(SETTINGS) == SETTINGS


def test_a_training_killed_at_a_random_moment_ends_bit_equal(cells, tmp_path):
    """A long training is killed and its rest is short: the state's name leaves out the length."""
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    folder.mkdir()
    program = [sys.executable, "-m", "rls.train_gan"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    endless = [*program, *arguments(cells, folder, total_kimg=1e6)]
    delay = random.SystemRandom().uniform(0, 0.5)
    with subprocess.Popen(endless, stdout=subprocess.DEVNULL, env=environment) as process:
        while not list((folder / "state").glob("*/checkpoint-*.pt")):
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    assert not (folder / "generator.safetensors").exists()
    reached = max(int(p.stem[-12:]) for p in (folder / "state").glob("*/checkpoint-*.pt"))
    total = {"total_kimg": (reached + 3) * SETTINGS.batch_size / 1000}
    rest = [*program, *arguments(cells, folder, **total)]
    again = subprocess.run(rest, env=environment, capture_output=True, text=True, check=True)
    assert f"goes on at {reached * SETTINGS.batch_size / 1000:.2f}" in again.stdout
    assert_equal(weights_in(folder), trained(cells, whole, **total))
    curves = [pd.read_csv(f / "generator.training.csv") for f in (folder, whole)]
    for name in ("kimg", "loss_generator", "loss_discriminator", "r_t", "r1"):
        assert curves[0][name].equals(curves[1][name]), f"{name}, killed after {delay:.3f} s"


def test_a_training_that_is_asked_to_stop_keeps_all_and_ends_bit_equal(cells, tmp_path):
    """SIGTERM comes between two checkpoints within a tick; then the time limit is over at once."""
    folder, whole = tmp_path / "stopped", tmp_path / "whole"
    folder.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    total = {"total_kimg": 0.24, "checkpoint_kimg": 100.0, "evaluate_kimg": 100.0}
    program = [sys.executable, "-m", "rls.train_gan", *arguments(cells, folder, **total)]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert any("of 0.24 kimg" in line for line in process.stdout), "a tick"
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        said = process.stderr.read()
    assert process.returncode == stopping.STATUS, said
    assert re.search(r"^stopped: train_gan stopped on SIGTERM, at 0\.\d+ kimg; all of", said)
    assert not (folder / "generator.safetensors").exists()
    assert not list((folder / "state").glob("*/lock.json"))
    (first,) = (folder / "state").glob("*/checkpoint-*.pt")

    hurried = {**environment, stopping.MINUTES: "0.0001"}
    again = subprocess.run(program, env=hurried, capture_output=True, text=True)
    assert again.returncode == stopping.STATUS
    assert "before the limit stop_after_minutes" in again.stderr
    steps = [int(p.stem[-12:]) for p in sorted((folder / "state").glob("*/checkpoint-*.pt"))]
    assert steps == [int(first.stem[-12:]), int(first.stem[-12:]) + 1], "one step, and no more"

    trained(cells, folder, **total)
    assert_equal(weights_in(folder), trained(cells, whole, **total))
    curves = [pd.read_csv(f / "generator.training.csv") for f in (folder, whole)]
    for name in ("kimg", "loss_generator", "loss_discriminator", "r_t", "r1"):
        assert curves[0][name].equals(curves[1][name]), name


def test_a_finished_training_goes_on_with_a_larger_total(cells, tmp_path, capsys):
    trained(cells, tmp_path / "a", total_kimg=0.02)
    longer = trained(cells, tmp_path / "a", total_kimg=0.036)
    assert "goes on at 0.02 kimg" in capsys.readouterr().out
    assert_equal(longer, trained(cells, tmp_path / "b", total_kimg=0.036))
    with pytest.raises(InputError, match="total_kimg"):
        trained(cells, tmp_path / "a", total_kimg=0.02)


def test_a_changed_setting_does_not_take_the_old_checkpoint(cells, tmp_path):
    first = trained(cells, tmp_path, total_kimg=0.008)
    second = trained(cells, tmp_path, total_kimg=0.008, seed=4)
    assert not torch.equal(
        first["average.mapping.fc0.weight"], second["average.mapping.fc0.weight"]
    )
    assert len(list((tmp_path / "state").iterdir())) == 2


def test_a_training_starts_from_given_weights(cells, finished, tmp_path):
    settings = {"total_kimg": 0.004, "learning_rate": 1e-12, "ema_kimg": 1e6, "ema_rampup": 0.05}
    second = trained(cells, tmp_path / "second", "--init-from", str(finished), **settings)
    first = weights_in(finished)
    for name, value in first.items():
        if not name.endswith("w_avg"):
            torch.testing.assert_close(second[name], value, atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match="channel_max"):
        trained(cells, tmp_path / "third", "--init-from", str(finished), channel_max=4)


def test_layers_that_start_from_noise_cannot_be_frozen(cells, tmp_path):
    with pytest.raises(InputError, match="--init-from"):
        trained(cells, tmp_path, freeze_discriminator=2)


def test_a_loss_that_is_not_finite_stops_with_advice(cells, tmp_path):
    with pytest.raises(InputError, match="r1_gamma"):
        trained(cells, tmp_path, learning_rate=1e30)
    assert not (tmp_path / "generator.safetensors").exists()


def test_a_generator_of_other_sizes_or_channels_is_refused(finished):
    path = finished / "generator.safetensors"
    with pytest.raises(InputError, match="16 px"):
        load_generator(path, image_size=32)
    with pytest.raises(InputError, match="2 channels"):
        load_generator(path, channels=3)
    with pytest.raises(InputError, match="dna, nfkb"):
        load_generator(path, channels=("nfkb", "dna"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 5}, "mbstd_group_size"),
        ({"augment_p": 1.5}, "augment_p"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_impossible_settings_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        dataclasses.replace(SETTINGS, **change)


def test_bfloat16_trains(cells, tmp_path):
    found = trained(cells, tmp_path, precision="bfloat16", total_kimg=0.008)
    assert all(torch.isfinite(v).all() for v in found.values())
