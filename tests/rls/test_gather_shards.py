"""gather_shards: all shards together are the whole, or the fault is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rls.gather_shards import main
from rls.io import read_stack, read_weights, write_stack, write_weights
from rls.runtime.errors import InputError
from rls.search.results import latents_path
from rls.search.shards import Shard

N = 7


def write_shards(folder: Path, count: int, **columns: object) -> list[str]:
    paths = []
    for i in range(count):
        rows = Shard(i + 1, count).rows(N)
        path = folder / f"m.{i + 1}-of-{count}.ome.tif"
        ids = [f"cell {row}" for row in rows]
        table = pd.DataFrame({"image_id": ids, "row": rows, "n_rows": N, "method": "m"})
        table = table.assign(result_digest="d", **columns)
        images = np.broadcast_to(rows[:, None, None, None], (len(rows), 1, 4, 4))
        write_stack(path, images.astype(np.float32), table, channels=["dna"], pixel_size_um=1.0,
                    written_by="super_resolve", description="synthesised by m")  # fmt: skip
        w = torch.as_tensor(rows, dtype=torch.float32)[:, None, None]
        write_weights(latents_path(path), {"w": w}, {"kind": "latents", "image_ids": ids})
        paths.append(str(path))
    return paths


@pytest.mark.parametrize("count", [1, 3, 7])
def test_shards_in_any_order_give_the_rows_in_order(tmp_path: Path, count: int) -> None:
    paths = write_shards(tmp_path, count)
    main(["--shards", *reversed(paths), "--output", str(tmp_path / "m.ome.tif")])
    stack = read_stack(tmp_path / "m.ome.tif")
    assert np.array_equal(stack.images[:, 0, 0, 0], np.arange(N))
    assert list(stack.table["image_id"]) == [f"cell {row}" for row in range(N)]
    assert stack.description == "synthesised by m"
    tensors, header = read_weights(tmp_path / "m.latents.safetensors", kind="latents")
    assert torch.equal(tensors["w"][:, 0, 0], torch.arange(float(N)))
    assert header["image_ids"] == list(stack.table["image_id"])


def test_a_missing_a_doubled_and_a_foreign_shard_are_named(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 3)
    output = ["--output", str(tmp_path / "m.ome.tif")]
    with pytest.raises(InputError, match="2 of 7 images are in none"):
        main(["--shards", paths[0], paths[2], *output])
    with pytest.raises(InputError, match="Image 3 occurs twice"):
        main(["--shards", *paths, paths[1], *output])
    foreign = tmp_path / "foreign"
    other = write_shards(foreign, 3)
    stack = read_stack(other[1])
    write_stack(other[1], stack.images, stack.table.assign(result_digest="e"), channels=["dna"],
                pixel_size_um=1.0, written_by="super_resolve")  # fmt: skip
    write_stack(other[2], read_stack(other[2]).images,
                read_stack(other[2]).table.assign(result_digest="e"), channels=["dna"],
                pixel_size_um=1.0, written_by="super_resolve")  # fmt: skip
    for shards in ([paths[0], other[1], paths[2]], [*paths[:2], other[2]]):
        with pytest.raises(InputError, match="The shard .*foreign"):
            main(["--shards", *shards, *output])
    assert not (tmp_path / "m.ome.tif").exists()


@pytest.mark.parametrize("text", ["0-of-2", "3-of-2", "1-of-x", "2"])
def test_a_shard_is_numbered_from_1(text: str) -> None:
    with pytest.raises(InputError, match=f"'{text}'"):
        Shard.parse(text)
    assert Shard.parse("2-of-2") == Shard(2, 2)


def test_latents_of_other_images_are_refused(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 2)
    Path(latents_path(Path(paths[0]))).unlink()
    w = torch.zeros(4, 1, 1)
    for ids in (["cell 1", "cell 0"], ["cell 0", "cell -1"]):  # behind, before in the alphabet
        header = {"kind": "latents", "image_ids": [*ids, "cell 2", "cell 3"]}
        write_weights(latents_path(Path(paths[0])), {"w": w}, header)
        with pytest.raises(InputError, match="latents"):
            main(["--shards", *paths, "--output", str(tmp_path / "m.ome.tif")])
        Path(latents_path(Path(paths[0]))).unlink()


def test_stacks_that_no_search_wrote_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.ome.tif"
    write_stack(path, np.zeros((2, 1, 4, 4), np.float32), pd.DataFrame({"image_id": ["a", "b"]}),
                channels=["dna"], pixel_size_um=1.0, written_by="degrade")  # fmt: skip
    with pytest.raises(InputError, match="written by super_resolve"):
        main(["--shards", str(path), "--output", str(tmp_path / "m.ome.tif")])
