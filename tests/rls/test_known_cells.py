"""Stacks of this program keep the ids and columns of their cells; files of others have none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tifffile

from rls.io import table_path, write_stack
from rls.pretrained.known_cells import known_table
from rls.pretrained.user_cells import read_cells
from rls.runtime.errors import InputError

CHANNELS = ("dna", "nfkb")


def write(path, n=3, **columns):
    table = pd.DataFrame({"image_id": [f"{path.stem[0]}{i}" for i in range(n)], **columns})
    images = np.arange(n * 2 * 16, dtype=np.uint16).reshape(n, 2, 4, 4)
    write_stack(path, images, table, channels=CHANNELS, pixel_size_um=8.0, written_by="test")
    return path


def test_a_stack_of_ours_gives_its_ids_and_what_its_table_says(tmp_path):
    path = write(tmp_path / "a.ome.tif", well=["B02", "B03", "B04"])
    cells = read_cells([path], CHANNELS)
    assert cells.image_ids == ("a0", "a1", "a2") and cells.numbers == (1, 2, 3)
    assert list(cells.about["well"]) == ["B02", "B03", "B04"]
    assert "image_digest" not in cells.about


def test_tables_of_several_stacks_are_put_together(tmp_path):
    paths = [write(tmp_path / "a.ome.tif", well="B02"), write(tmp_path / "b.ome.tif", dose=1.0)]
    cells = read_cells(paths, CHANNELS)
    assert cells.image_ids == ("a0", "a1", "a2", "b0", "b1", "b2")
    assert cells.about["well"].isna().tolist() == [False] * 3 + [True] * 3


def test_a_file_of_another_program_is_named_by_its_own_name(tmp_path):
    path = write(tmp_path / "a.ome.tif")
    foreign = tmp_path / "b.ome.tif"
    tifffile.imwrite(foreign, np.zeros((3, 2, 4, 4), np.uint16), photometric="minisblack",
                     metadata={"axes": "TCYX", "Channel": {"Name": list(CHANNELS)}})  # fmt: skip
    table_path(foreign).write_text("a table that has nothing to do with it")
    assert known_table(foreign) is None
    cells = read_cells([path, foreign], CHANNELS)
    assert cells.image_ids[3:] == ("b_0001", "b_0002", "b_0003") and cells.about is None
    table_path(path).unlink()
    assert known_table(path) is None


def test_a_table_of_another_stack_is_refused(tmp_path):
    path, other = write(tmp_path / "a.ome.tif"), write(tmp_path / "b.ome.tif")
    table_path(other).rename(table_path(path))
    with pytest.raises(InputError, match="differ in their ids"):
        read_cells([path], CHANNELS)
