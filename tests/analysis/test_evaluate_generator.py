"""The tests of a generator: known answers, and the command on a generator that comes along."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import evaluate_generator
from analysis.evaluation import distributions, evaluation, inversion, transfer
from analysis.evaluation.images import Images
from analysis.evaluation.settings import Settings
from rls.io import write_intensity, write_stack
from rls.pretrained.files import QUALITY
from rls.pretrained.quality import card_section
from rls.prior.styles import styles_and_mean
from rls.runtime.checkpoint import StateFolder
from rls.runtime.command import flags
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.search.problem import Styles, noise_maps
from rls.stylegan2.generator_io import load_generator
from tests.analysis.test_train_amortised import MODEL, measuring
from tests.rls.search_stand_ins import make_problem, tiny_generator

SMALL = {
    "n_images": 40, "n_cells": 40, "n_held_out": 20, "image_batch_size": 20, "width": 8,
    "hidden": 16, "epochs": 2, "pairs_per_step": 20, "learning_rate": 0.01, "weight_decay": 0.0,
    "n_inverted": 2, "inversion_choose": 2, "inversion_rates": [0.1, 0.3], "inversion_steps": 3,
    "inversion_batch_size": 2, "confidence_level": 0.95, "seed": 1, "device": "cpu", "threads": 1,
}  # fmt: skip
SETTINGS = Settings(**{**SMALL, "inversion_rates": (0.1, 0.3)})
CONTROLS = ("DMSO", "TNF-alpha")


# ---- the regression from generated pairs ------------------------------------------------------


def made_up(n: int, seed: int, sign: float) -> Images:
    """Return images of 8x8 px whose brightness, times ``sign``, tells h."""
    random = np.random.default_rng(seed)
    positive = np.arange(n) % 2 == 1
    level = random.normal(0.0, 0.3, n) + 1.5 * positive
    unit = np.tile(level[:, None, None, None], (1, 1, 8, 8)) + random.normal(0, 0.1, (n, 1, 8, 8))
    table = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(n)],
            "plate": "P1",
            "well": [f"W{i % 8}" for i in range(n)],
            "site": 1,
            "treatment": np.where(positive, CONTROLS[1], CONTROLS[0]),
        }
    )
    return Images(unit.astype(np.float32), (5.0 + sign * level)[:, None], table)


def shift_and_r(sign: float, tmp_path) -> tuple[float, float]:
    """Return what a regression keeps of cells that is fitted to pairs with another ``sign``."""
    assay = SimpleNamespace(
        columns=("h",),
        forward=SimpleNamespace(keeps_turns=False),
        low=lambda unit, ids, factor: unit.reshape(len(unit), 1, 4, 2, 4, 2).mean(axis=(3, 5)),
    )
    settings = dataclasses.replace(SETTINGS, epochs=20)
    pairs, tune = transfer.of_cells(made_up(200, 1, sign)), made_up(80, 2, 1.0)
    with StateFolder(tmp_path, "test", {"sign": sign}) as folder:
        found = transfer.predicted(pairs, tune, 2, assay, settings, folder, torch.device("cpu"))
    row = transfer.kept(found, tune, assay, CONTROLS, 0.95)["h"]
    assert row["n_cells"] == 80 and set(row["correlation_by_treatment"]) == set(CONTROLS)
    return row["shift_kept"]["value"], row["correlation"]["value"]


def test_a_generator_that_couples_as_cells_do_keeps_the_shift_and_another_turns_it(tmp_path):
    shift, r = shift_and_r(1.0, tmp_path)
    assert shift == pytest.approx(1.0, abs=0.15) and r > 0.9
    shift, r = shift_and_r(-1.0, tmp_path)
    assert shift == pytest.approx(-1.0, abs=0.15) and r < -0.9


def test_every_tenth_cell_is_held_out_and_no_cell_is_in_both():
    pairs = transfer.of_cells(made_up(40, 1, 1.0))
    assert len(pairs.shown) == 36 and pairs.held.ids == ["i9", "i19", "i29", "i39"]
    assert not set(pairs.shown.ids) & set(pairs.held.ids)


# ---- distributions and layouts ----------------------------------------------------------------


def test_the_percentiles_are_those_of_what_was_measured():
    values = np.array([*range(101), np.nan])
    assert distributions.percentiles(values) == [5, 25, 50, 75, 95]
    assert distributions.percentiles(np.full(3, np.nan)) is None
    found = distributions.feature_distributions(values[:, None], ("h",))
    assert found["n"] == 102 and found["share_measurable"] == pytest.approx(101 / 102)


def test_layouts_are_compared_channel_by_channel():
    random = np.random.default_rng(1)
    real = random.normal(size=(200, 2, 16, 16))
    other = real[::-1] * np.array([1.0, 0.25])[:, None, None]
    found = distributions.layouts(other, real, ("dna", "golgi"))
    assert found == pytest.approx({"dna": 1.0, "golgi": 0.25})


# ---- the search for HR itself -----------------------------------------------------------------


def test_the_noise_is_found_and_a_plane_has_none():
    random = np.random.default_rng(2)
    plane = np.add.outer(np.arange(64.0), 2 * np.arange(64.0))[None, None]
    noise = random.normal(0, 0.05, (1, 2, 64, 64))
    expected = 0.05 * np.sqrt(2 / np.pi)
    assert inversion.noise_l1(plane) == pytest.approx(0, abs=1e-9)
    assert inversion.noise_l1(plane + noise)[0] == pytest.approx(expected, rel=0.05)


def test_what_the_generator_draws_at_the_mean_style_is_found_at_once_and_other_images_are_not():
    generator = tiny_generator()
    size = generator.image_size
    w, mean = styles_and_mean(generator, 100, 100, seed=1, batch_size=50, label="test")
    problem = make_problem(torch.zeros(1, 2, size // 2, size // 2), 2, generator=generator)
    problem = dataclasses.replace(problem, seed=SETTINGS.seed, noise="shared")
    with torch.no_grad():
        ws = mean.expand(1, generator.num_ws, -1)
        image = (generator.synthesis(ws, noise_maps(problem)).float().numpy() + 1) / 2
    unit = np.concatenate([image, image + 0.5, image])
    settings = dataclasses.replace(SETTINGS, inversion_steps=1)
    with Progress(3, "test", "img") as bar:
        found = inversion.found(
            unit, ("a", "b", "c"), generator, Styles(w, mean), 1e-6, settings, bar
        )
    errors = np.abs(found - unit).mean(axis=(1, 2, 3))
    assert errors[0] < 1e-4 and errors[2] < 1e-4 and errors[1] > 0.1


def test_the_rate_of_least_error_is_chosen_on_other_cells(monkeypatch):
    """The stand-in is right at 0.3 alone."""
    seen = []

    def stand_in(unit, ids, generator, styles, rate, settings, bar):
        seen.append((rate, tuple(ids)))
        return unit + (0.0 if rate == 0.3 else 0.1)

    monkeypatch.setattr(inversion, "found", stand_in)
    unit = np.random.default_rng(3).random((5, 2, 16, 16)).astype(np.float32)
    record = inversion.invert(unit, "abcde", tiny_generator(), SETTINGS)
    assert seen == [(0.1, ("a", "b")), (0.3, ("a", "b")), (0.3, ("c", "d"))]
    assert record["learning_rate"] == 0.3 and record["n"] == 2 and record["l1"] == 0


# ---- the command ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Return a folder with cells of gan and tune, drawn from the generator that is tested."""
    folder = tmp_path_factory.mktemp("cells")
    generator = load_generator(MODEL)
    random = torch.Generator().manual_seed(4)
    with torch.no_grad():
        z = torch.randn(64, generator.z_dim, generator=random)
        unit = (generator(z, noise="const").numpy() + 1) / 2
    intensity = generator.intensity
    table = pd.DataFrame(
        {
            "image_id": [f"c{i}" for i in range(64)],
            "plate": "P1",
            "well": [f"W{i % 8}" for i in range(64)],
            "site": 1,
            "treatment": [CONTROLS[i % 2] for i in range(64)],
            "split": ["gan"] * 40 + ["tune"] * 24,
        }
    )
    write_stack(folder / "cells.ome.tif", intensity.to_counts(unit), table, written_by="test",
                channels=intensity.channels, pixel_size_um=1.0, compress=False)  # fmt: skip
    write_intensity(folder / "intensity.json", intensity, written_by="test")
    return folder


def evaluated(cells, into, *more, **changes):
    given = ("--cells", str(cells / "cells.ome.tif"), "--intensity", str(cells / "intensity.json"),
             "--factors", "4", "8", "--negative-control", CONTROLS[0],
             "--positive-control", CONTROLS[1], "--quantise", "8bit", "--nucleus-channel", "dna",
             "--marker-channel", "nfkb", "--features", "nucleocytoplasmic_ratio")  # fmt: skip
    of = more or ("--generator", str(MODEL))
    own = {name: value for name, value in {**SMALL, **changes}.items()}
    files = ("--output", str(into / QUALITY), "--state", str(into / "state"))
    evaluate_generator.main([*given, *of, *files, *measuring(), *flags(own)])
    return json.loads((into / QUALITY).read_text())


def test_a_generator_is_tested_and_its_card_says_how(cells, tmp_path, monkeypatch, capsys):
    record = evaluated(cells, tmp_path)
    assert record["held_out"]["n"] == 24 and 0.5 < record["layouts"]["dna"] < 2
    assert set(record["regression"]) == {"4x", "8x"} and record["inversion"]["n"] == 2
    for both in record["regression"].values():
        assert both["generated"]["n_pairs"] == 40 and both["cells"]["n_pairs"] == 36
    assert {"generated", "gan", "tune", "gan DMSO", "tune TNF-alpha"} <= set(record["features"])
    said = capsys.readouterr().out
    assert "4x nucleocytoplasmic_ratio" in said and "HR itself searched" in said

    text = card_section(tmp_path, record["generator_digest"])
    assert "nucleocytoplasmic_ratio at 8x" in text and f"{record['held_out']['kd']:.3f}" in text
    with pytest.raises(InputError, match="Run evaluate_generator again"):
        card_section(tmp_path, "another")
    assert card_section(cells, "another") == ""

    # The part of the cells is kept: only generated images are measured and fitted again.
    measured = []
    cells_for = evaluation.cells_for
    monkeypatch.setattr(
        evaluation, "cells_for", lambda *a: measured.append(a[-1] is None) or cells_for(*a)
    )
    again = evaluated(cells, tmp_path, n_inverted=0)
    assert measured == [False, False] and "inversion" not in again
    assert again["regression"] == record["regression"] and again["features"] == record["features"]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"n_images": 5}, "n_images"), ({"inversion_rates": [0.0]}, "inversion_rates"),
     ({"learning_rate": 0.0}, "learning_rate")],
)  # fmt: skip
def test_settings_without_sense_are_refused(change, named):
    with pytest.raises(InputError, match=named):
        Settings(**{**SMALL, "inversion_rates": (0.1,), **change})
