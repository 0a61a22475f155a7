"""super_resolve with several solutions of each image: the same bits however the work is cut."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rls.gather_shards import main as gather_main
from rls.io import read_stack, read_weights, write_intensity, write_stack
from rls.runtime.errors import InputError
from rls.search.forward import downscale
from rls.search.results import latents_path
from rls.search.shards import solutions_path
from rls.search.solutions import best_rows, check_complete
from rls.super_resolve import main
from tests.conftest import ROOT
from tests.rls.test_super_resolve import INTENSITY, arguments, content, write_models

N, K = 6, 3  # images of evaluation, of which there are four of calibration, too; solutions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("run")
    write_intensity(path / "intensity.json", INTENSITY, written_by="test")
    low = np.random.default_rng(0).random((N + 5, 2, 2, 2), dtype=np.float32)
    ids = [f"p_B02_s1_y{i:02d}_x0" for i in np.random.default_rng(1).permutation(N + 5)]
    splits = ["evaluation"] * N + ["calibration"] * 4 + ["tune"]
    table = pd.DataFrame({"image_id": ids, "split": splits, "factor": 4, "border": "renormalize"})
    write_stack(path / "low.ome.tif", INTENSITY.to_counts(low), table, channels=INTENSITY.channels,
                pixel_size_um=2.0, written_by="degrade")  # fmt: skip
    write_models(path, 8, 2)
    return path


def several(folder: Path, output: Path, **other: object) -> list[str]:
    plain = {"steps": 4, "start": "random", "n_solutions": K, "lambda_w": 0.0}
    return arguments(folder, output, **{**plain, **other})


def gathered(folder: Path, root: Path, count: int = 1, **other: object) -> Path:
    """Search in ``count`` shards and gather them."""
    shards = [root / "shards" / f"rls.{i}-of-{count}.ome.tif" for i in range(1, count + 1)]
    for i, shard in enumerate(shards):
        main(several(folder, shard, shard=f"{i + 1}-of-{count}", **other))
    output = root / "rls.ome.tif"
    gather_main(["--shards", *map(str, reversed(shards)), "--output", str(output)])
    return output


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    return gathered(folder, folder / "whole")


def assert_equal_files(one: Path, other: Path) -> None:
    (images, table, w), (other_images, other_table, other_w) = content(one), content(other)
    assert np.array_equal(images, other_images) and torch.equal(w, other_w)
    pd.testing.assert_frame_equal(table, other_table)


def test_all_solutions_of_evaluation_and_calibration_are_rows(folder: Path, whole: Path) -> None:
    stack = read_stack(solutions_path(whole))
    assert solutions_path(whole) == whole.parent / "solutions" / "rls.searches.ome.tif"
    table, low = stack.table, read_stack(folder / "low.ome.tif")
    searched = low.table[low.table["split"] != "tune"]
    assert list(table["source_image_id"]) == list(np.repeat(sorted(searched["image_id"]), K))
    assert list(table["solution"]) == [1, 2, 3] * (N + 4) and set(table["n_solutions"]) == {K}
    assert list(table["image_id"]) == list(
        table["source_image_id"] + "_k" + table["solution"].astype(str)
    )
    assert set(table["kind"]) == {"searches"} and set(table["search_status"]) == {"ok"}
    # The loss of each row is that of its own image against its own source.
    order = pd.Index(low.table["image_id"]).get_indexer(table["source_image_id"])
    y = torch.as_tensor(INTENSITY.to_unit(low.images[order]))
    x = torch.as_tensor(INTENSITY.to_unit(stack.images))
    loss = (downscale(8, 4, "renormalize")(x) - y).abs().mean((1, 2, 3))
    assert np.allclose(loss.numpy(), table["loss_fidelity"], atol=1e-5)
    # Searches from different starts found different images.
    assert table.groupby("source_image_id")["loss_total"].nunique().eq(K).all()


def test_the_image_of_a_cell_is_its_solution_of_least_loss(folder: Path, whole: Path) -> None:
    every, best = read_stack(solutions_path(whole)), read_stack(whole)
    low = read_stack(folder / "low.ome.tif").table
    ids = sorted(low.loc[low["split"] == "evaluation", "image_id"])
    assert list(best.table["image_id"]) == ids and "source_image_id" not in best.table
    assert best.table["solution"].nunique() > 1  # else the test could not tell
    w, header = read_weights(latents_path(whole), kind="latents")
    of_all = read_weights(latents_path(solutions_path(whole)), kind="latents")[0]["w"]
    assert header["image_ids"] == ids
    for i, name in enumerate(ids):
        own = every.table[every.table["source_image_id"] == name]
        row = own["loss_total"].idxmin()
        assert best.table["loss_total"].iloc[i] == own["loss_total"].min()
        assert best.table["solution"].iloc[i] == own["solution"].loc[row]
        assert np.array_equal(best.images[i], every.images[row])
        assert torch.equal(w["w"][i], of_all[row])
    assert list(best.table["row"]) == list(range(N)) and set(best.table["n_rows"]) == {N}
    assert "3 solutions, that of least loss (searches), generator" in best.description


def test_shards_give_the_bits_of_the_whole(folder: Path, whole: Path, tmp_path: Path) -> None:
    output = gathered(folder, tmp_path, count=3)
    assert_equal_files(output, whole)
    assert_equal_files(solutions_path(output), solutions_path(whole))


def test_a_solution_is_the_same_whether_or_not_more_follow(
    folder: Path, whole: Path, tmp_path: Path
) -> None:
    many = read_stack(solutions_path(whole))
    for k, noise in ((2, "shared"), (2, "per_image"), (3, "per_image")):
        output = solutions_path(
            gathered(folder, tmp_path / f"{k}{noise}", n_solutions=k, noise=noise)
        )
        few = read_stack(output)
        rows = pd.Index(many.table["image_id"]).get_indexer(few.table["image_id"])
        assert np.array_equal(few.images, many.images[rows]) == (noise == "shared")
        if (k, noise) == (2, "per_image"):
            before = few
    rows = pd.Index(few.table["image_id"]).get_indexer(before.table["image_id"])
    assert np.array_equal(before.images, few.images[rows])


def test_with_noise_per_image_each_solution_has_its_own_maps(folder: Path, tmp_path: Path) -> None:
    """Searches of 0 steps from one start then differ by their noise alone."""
    output = gathered(folder, tmp_path, start="mean", steps=0, noise="per_image", n_solutions=2)
    stack = read_stack(solutions_path(output))
    first, second = (stack.images[stack.table["solution"] == k] for k in (1, 2))
    assert (np.abs(first - second).max(axis=(1, 2, 3)) > 0).all()
    w = read_weights(latents_path(solutions_path(output)), kind="latents")[0]["w"]
    assert torch.equal(w[0], w[1])


def test_searches_that_would_be_one_and_the_same_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one and the same"):
        main(several(folder, tmp_path / "x.ome.tif", start="mean"))
    with pytest.raises(InputError, match="start random, start_spread 0 and"):
        main(several(folder, tmp_path / "x.ome.tif", start_spread=0.0))
    with pytest.raises(InputError, match="n_solutions 0"):
        main(several(folder, tmp_path / "x.ome.tif", n_solutions=0))


def test_a_killed_search_goes_on_with_the_same_bits(
    folder: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "shards" / "rls.1-of-1.ome.tif"
    command = [sys.executable, "-m", "rls.super_resolve", *several(folder, output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    while not list((tmp_path / "shards" / "state").glob("*/batch-*")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not output.exists()
    kept = len(list((tmp_path / "shards" / "state").glob("*/batch-*.safetensors")))
    assert 1 <= kept < 8
    again = gathered(folder, tmp_path)
    assert f"{4 * kept} of 30 images were found" in capsys.readouterr().out
    assert_equal_files(again, whole)
    assert_equal_files(solutions_path(again), solutions_path(whole))


def rows_of(*losses: float, split: str = "evaluation") -> pd.DataFrame:
    """Two solutions of each image, by their losses."""
    n = len(losses) // 2
    return pd.DataFrame(
        {
            "source_image_id": np.repeat([f"cell {i}" for i in range(n)], 2),
            "solution": [1, 2] * n, "n_solutions": 2, "loss_total": losses, "split": split,
        }
    )  # fmt: skip


def test_the_best_row_is_the_first_of_least_loss_and_of_finite_ones() -> None:
    table = rows_of(2, 1, 1, 1, np.nan, 3, np.inf, np.nan, 5, -4)
    assert list(best_rows(table, "here")) == [1, 2, 5, 6, 9]
    table.loc[2:3, "split"] = "calibration"
    assert list(best_rows(table, "here")) == [1, 5, 6, 9]
    with pytest.raises(InputError, match="no cell of split 'evaluation'"):
        best_rows(rows_of(1, 2, split="calibration"), "here")


def test_a_table_with_a_missing_or_a_doubled_solution_is_refused(
    whole: Path, tmp_path: Path
) -> None:
    table = rows_of(1, 2, 3, 4)
    check_complete(table, "here")
    for wrong in (table.drop(index=3), table.assign(solution=[1, 2, 1, 1]),
                  table.assign(solution=[1, 2, 2, 3])):  # fmt: skip
        with pytest.raises(InputError, match=r"here has . solutions of cell 1, expected 2"):
            check_complete(wrong, "here")
    three = pd.DataFrame({"source_image_id": "cell 1", "solution": [1, 3, 3], "n_solutions": 3})
    with pytest.raises(InputError, match="here has 2 solutions of cell 1, expected 3"):
        check_complete(three, "here")
    # So it is where shards are gathered, whatever their rows say.
    stack, latents = read_stack(solutions_path(whole)), latents_path(solutions_path(whole))
    path = tmp_path / "rls.1-of-1.ome.tif"
    doubled = stack.table.assign(solution=stack.table["solution"].replace(3, 2))
    for one in (doubled, stack.table.iloc[:-1]):
        write_stack(path, stack.images[: len(one)], one, channels=stack.channels,
                    pixel_size_um=1.0, written_by="super_resolve")  # fmt: skip
        latents_path(path).write_bytes(latents.read_bytes())
        with pytest.raises(InputError, match="expected 3|in none of the 1 shards"):
            gather_main(["--shards", str(path), "--output", str(tmp_path / "rls.ome.tif")])
