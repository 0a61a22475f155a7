"""sample_solutions: the choice of images, one row a solution, the same bits when resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rls.io import read_stack, read_weights, write_intensity, write_stack
from rls.io.names import SOLUTION_KINDS
from rls.runtime.errors import InputError
from rls.sample_solutions import main
from rls.search.forward import downscale
from rls.search.forward_model import ForwardModel
from rls.search.results import latents_path
from rls.search.solutions import choose_rows
from tests.rls.test_super_resolve import INTENSITY, write_models

N = 3  # Solutions for each image.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of calibration and evaluation, one of another split, and models."""
    path = tmp_path_factory.mktemp("run")
    write_intensity(path / "intensity.json", INTENSITY, written_by="test")
    unit = np.random.default_rng(0).random((9, 2, 2, 2), dtype=np.float32)
    table = pd.DataFrame(
        {
            "image_id": [f"p_B02_s1_y{i}_x0" for i in range(9)],
            "split": ["calibration"] * 4 + ["evaluation"] * 4 + ["classifier"],
            "treatment": ["DMSO", "TNF-alpha"] * 4 + ["DMSO"],
            "plate": "p", "well": "B02", "site": 1, "factor": 4, "border": "renormalize",
        }
    )  # fmt: skip
    write_stack(path / "low.ome.tif", INTENSITY.to_counts(unit), table,
                channels=INTENSITY.channels, pixel_size_um=2.0, written_by="degrade")  # fmt: skip
    write_models(path, 8, 2)
    return path


def arguments(folder: Path, output: Path, **other: object) -> list[str]:
    values = {
        "low-resolution": folder / "low.ome.tif", "intensity": folder / "intensity.json",
        "generator": folder / "generator.safetensors", "flow": folder / "flow.safetensors",
        "styles": folder / "styles.safetensors", "factor": 4, "method": "rls", "search": "rls",
        "kind": "variational", "output": output, "state": output.parent / "state",
        "cells-per-split": 4, "n-solutions": N, "temperature": 0.01, "sigma-start": 0.3,
        "sigma-learning-rate": 0.1, "inverse-gamma-alpha": 0.1, "inverse-gamma-beta": 0.95,
        "restart-spread": 0.4, "batch-size": 10, "precision": "float32", "noise": "shared",
        "forward": "as_degraded", "seed": 1, "device": "cpu", "threads": 1, "steps": 4,
        "learning-rate": 0.5, "learning-rate-unit": "absolute", "schedule": "one_cycle_drop",
        "lambda-w": 5.0e-5, "lambda-c": 0.01, "cross": "mean_distance", "lambda-n": 0.0,
    }  # fmt: skip
    values |= {name.replace("_", "-"): value for name, value in other.items()}
    return [text for name, value in values.items() for text in (f"--{name}", str(value))]


@pytest.mark.parametrize("kind", SOLUTION_KINDS)
def test_there_is_one_row_a_solution_and_it_says_whose_it_is(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    output = tmp_path / "rls.ome.tif"
    main(arguments(folder, output, kind=kind))
    stack, low = read_stack(output), read_stack(folder / "low.ome.tif")
    table = stack.table
    assert len(stack) == 8 * N and stack.images.shape[1:] == (2, 8, 8)
    assert table["image_id"].is_unique and set(table["split"]) == {"calibration", "evaluation"}
    assert list(table["image_id"]) == [
        f"{source}_k{j}"
        for source, j in zip(table["source_image_id"], table["solution"], strict=True)
    ]
    assert (
        table.groupby("source_image_id")["solution"].apply(sorted).map(tuple) == (1, 2, 3)
    ).all()
    assert "synthesised by rls, 3 solutions an image" in stack.description
    assert ForwardModel.from_text(table["search_forward"].iloc[0]).describe() in stack.description
    assert set(table["likelihood"]) == {"laplace"}
    assert kind in stack.description and stack.pixel_size_um == 0.5
    tensors, header = read_weights(latents_path(output), kind="latents")
    assert tensors["w"].shape == (8 * N, 4, 16)
    assert header["image_ids"] == list(table["image_id"])
    # The loss of each row is that of its own image against its own source.
    order = pd.Index(low.table["image_id"]).get_indexer(table["source_image_id"])
    y = torch.as_tensor(INTENSITY.to_unit(low.images[order]))
    x = torch.as_tensor(INTENSITY.to_unit(stack.images))
    loss = (downscale(8, 4, "renormalize")(x) - y).abs().mean((1, 2, 3))
    assert np.allclose(loss.numpy(), table["loss_fidelity"], atol=1e-5)
    assert list(table["treatment"]) == list(low.table["treatment"].iloc[order])


def test_a_search_that_stopped_goes_on_with_the_same_bits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole, again = tmp_path / "a" / "rls.ome.tif", tmp_path / "b" / "rls.ome.tif"
    main(arguments(folder, whole))
    with monkeypatch.context() as patch:
        patch.setattr(
            "rls.search.solutions.write_solutions", lambda *a, **k: (_ for _ in ()).throw(OSError)
        )
        with pytest.raises(OSError):
            main(arguments(folder, again))
    kept = sorted((tmp_path / "b" / "state").glob("*/batch-*"))
    assert len(kept) == 3  # Each holds 3 images, and the last is filled up.
    kept[1].unlink()
    main(arguments(folder, again))
    assert "sample_solutions: 15 of 24" in capsys.readouterr().out
    assert np.array_equal(read_stack(whole).images, read_stack(again).images)
    pd.testing.assert_frame_equal(read_stack(whole).table, read_stack(again).table)


def test_batches_of_another_number_of_solutions_are_not_taken_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    output, block = (
        tmp_path / "rls.ome.tif",
        "sample_solutions: {}\nmethods:\n  rls: {search: rls, n_solutions: 4}\n",
    )
    (tmp_path / "config.yaml").write_text(block)
    with monkeypatch.context() as patch:
        patch.setattr(
            "rls.search.solutions.write_solutions", lambda *a, **k: (_ for _ in ()).throw(OSError)
        )
        with pytest.raises(OSError):
            main(arguments(folder, output))
    # The number of the command counts, whatever the method's block says of its own search.
    main(arguments(folder, output, n_solutions=2, config=tmp_path / "config.yaml"))
    assert "were found" not in capsys.readouterr().out
    assert len(read_stack(output)) == 8 * 2


def test_images_are_drawn_by_seed_in_equal_parts_of_the_treatments() -> None:
    table = pd.DataFrame(
        {
            "image_id": [f"cell {i}" for i in range(60)],
            "split": ["calibration", "evaluation"] * 30,
            "treatment": ["a"] * 40 + ["b"] * 16 + ["c"] * 4,
        }
    )
    rows = choose_rows(table, 15, 1)
    counts = table.iloc[rows].groupby(["split", "treatment"]).size().unstack()
    # Treatment c has two images a split; the others share what it leaves.
    assert counts["c"].tolist() == [2, 2] and (counts.sum(axis=1) == 15).all()
    assert (counts["a"] - counts["b"]).abs().max() <= 1
    assert not np.array_equal(rows, choose_rows(table, 15, 2))
    # The choice depends on ids, not on places.
    mixed = table.sample(frac=1, random_state=0)
    again = choose_rows(mixed, 15, 1)
    assert set(mixed["image_id"].iloc[again]) == set(table["image_id"].iloc[rows])
    assert len(choose_rows(table, 100, 1)) == 60


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_solutions": 1}, "n_solutions 1"),
        ({"temperature": 0}, "temperature 0"),
        ({"kind": "guess"}, "invalid choice|Invalid choice"),
        ({"factor": 8}, "reduced by 4"),
    ],
)
def test_wrong_arguments_are_refused(
    folder: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        main(arguments(folder, tmp_path / "x.ome.tif", **change))


def test_only_a_row_of_rls_has_solutions(folder: Path, tmp_path: Path) -> None:
    plain = arguments(folder, tmp_path / "x.ome.tif", search="bicubic", method="bicubic")
    own = ("steps", "learning-rate", "learning-rate-unit", "schedule", "lambda-w", "lambda-c",
           "cross", "lambda-n")  # fmt: skip
    pairs = zip(plain[::2], plain[1::2], strict=True)
    kept = [text for pair in pairs if pair[0].removeprefix("--") not in own for text in pair]
    with pytest.raises(InputError, match="search: rls"):
        main(kept)
