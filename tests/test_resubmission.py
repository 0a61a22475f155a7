"""Long training in short allocations: the real rule, out of time after each step, and retried."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from rls.io import Intensity, read_weights, write_intensity, write_stack
from tests.program import Program

pytestmark = pytest.mark.workflow
GENERATOR = "results/translocation/generator.safetensors"
OVERLAY = {"train_gan": {"total_kimg": 0.024, "checkpoint_kimg": 10, "tick_kimg": 0.016}}


def cells(folder):
    """What select_cells would leave: 20 cells of two channels."""
    folder.mkdir(parents=True)
    draws = np.random.default_rng(1)
    images = draws.integers(100, 3000, (20, 2, 24, 24)).astype(np.uint16)
    splits = ["gan"] * 16 + ["tune"] * 4
    table = pd.DataFrame({"image_id": [f"P1_A01_s1_y{i}_x0" for i in range(20)], "split": splits})
    write_stack(
        folder / "cells.ome.tif", images, table, channels=("dna", "nfkb"), pixel_size_um=2.0,
        written_by="select_cells", compress=False,
    )  # fmt: skip
    scale = Intensity(("dna", "nfkb"), (100.0, 100.0), (3000.0, 3000.0))
    write_intensity(folder / "intensity.json", scale, written_by="select_cells")


def test_training_in_allocations_of_one_step_is_resubmitted_until_done(tmp_path):
    program = Program(tmp_path)
    short, whole = tmp_path / "short", tmp_path / "whole"
    cells(short / "results" / "translocation")
    shutil.copytree(short, whole)
    program.overlay("length.yaml", OVERLAY)
    program.overlay("hurry.yaml", {"stop_after_minutes": 0.0001})
    configs = ("config/smoke.yaml", "length.yaml")
    once = program.snakemake(GENERATOR, configs=configs, run_folder=whole)
    assert once.returncode == 0, once.stderr[-4000:]

    done = program.snakemake(
        "--retries=5", GENERATOR, configs=(*configs, "hurry.yaml"), run_folder=short
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-4000:]
    assert text.count("stopped: train_gan stopped before the limit stop_after_minutes") >= 2
    assert not list((short / "state").glob("*/lock.json"))
    (a, _), (b, _) = (read_weights(run / GENERATOR, kind="generator") for run in (short, whole))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
