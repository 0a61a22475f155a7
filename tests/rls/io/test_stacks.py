import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile

from rls.io import read_stack, table_path, write_stack
from rls.runtime.errors import InputError


def make(path, n=5, channels=("dna", "nfkb"), dtype=np.uint16, **options):
    images = (np.random.default_rng(0).random((n, len(channels), 12, 12)) * 4000).astype(dtype)
    table = pd.DataFrame(
        {"image_id": [f"P_A01_s1_y{i}_x<&{i}" for i in range(n)], "value": range(n)}
    )
    write_stack(
        path,
        images,
        table,
        channels=channels,
        pixel_size_um=0.65,
        written_by="crop_cells",
        **options,
    )
    return images, table


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("channels", [("dna",), ("dna", "nfkb"), ("dna", "actin", "tubulin")])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("compress", [True, False])
def test_a_stack_comes_back_as_it_was_written(tmp_path, n, channels, dtype, compress):
    path = tmp_path / "s.ome.tif"
    images, table = make(path, n, channels, dtype, compress=compress, description="made <by> me")
    stack = read_stack(path, memory_map=not compress)
    np.testing.assert_array_equal(stack.images, images)
    assert stack.images.dtype == dtype
    assert stack.channels == channels
    assert stack.pixel_size_um == 0.65
    assert stack.description == "made <by> me"
    assert list(stack.table["image_id"]) == list(table["image_id"])


def test_other_readers_see_channels_and_pixel_size(tmp_path):
    make(tmp_path / "s.ome.tif")
    with tifffile.TiffFile(tmp_path / "s.ome.tif") as tiff:
        assert tiff.series[0].axes == "TCYX"
        assert 'PhysicalSizeX="0.65"' in tiff.ome_metadata
        assert 'Name="nfkb"' in tiff.ome_metadata


@pytest.mark.parametrize("compress", [True, False])
def test_a_flipped_bit_anywhere_in_the_pixels_is_found(tmp_path, compress):
    path = tmp_path / "s.ome.tif"
    make(path, compress=compress)
    content = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[3]
        position = page.dataoffsets[0] + page.databytecounts[0] // 2
    damaged = bytearray(content)
    damaged[position] ^= 0x10
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"s\.ome\.tif.*rule crop_cells"):
        read_stack(path)


@pytest.mark.parametrize("fact", [b"0.65</M>", b"crop_cells", b"nfkb", b"_s1_y3"])
def test_a_flipped_bit_in_what_a_stack_says_of_itself_is_found(tmp_path, fact):
    path = tmp_path / "s.ome.tif"
    make(path)
    content = bytearray(path.read_bytes())
    position = content.rindex(fact)
    content[position + 2] ^= 0x01
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"s\.ome\.tif"):
        read_stack(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.98])
def test_a_truncated_stack_is_refused(tmp_path, share):
    path = tmp_path / "s.ome.tif"
    make(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match="rule crop_cells"):
        read_stack(path)


def test_a_swapped_table_is_found_by_its_ids(tmp_path):
    make(tmp_path / "a.ome.tif")
    table = pd.read_parquet(tmp_path / "a.parquet")
    table.loc[[1, 2], "image_id"] = table.loc[[2, 1], "image_id"].to_numpy()
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="differ in their ids: image 1 is"):
        read_stack(tmp_path / "a.ome.tif")


def test_a_table_of_another_length_is_found(tmp_path):
    make(tmp_path / "a.ome.tif")
    pd.read_parquet(tmp_path / "a.parquet").iloc[:4].to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="5 images and its table 4 rows"):
        read_stack(tmp_path / "a.ome.tif")


def test_images_that_are_not_finite_are_not_written(tmp_path):
    images = np.zeros((2, 1, 8, 8), np.float32)
    images[1, 0, 3, 3] = np.nan
    table = pd.DataFrame({"image_id": ["a", "b"]})
    with pytest.raises(InputError, match="Image b .* not finite"):
        write_stack(
            tmp_path / "s.ome.tif",
            images,
            table,
            channels=["dna"],
            pixel_size_um=1.0,
            written_by="x",
        )
    assert list(tmp_path.iterdir()) == []


def test_repeated_ids_are_not_written(tmp_path):
    table = pd.DataFrame({"image_id": ["a", "a"]})
    with pytest.raises(InputError, match="more than once"):
        write_stack(
            tmp_path / "s.ome.tif", np.zeros((2, 1, 8, 8), np.uint16), table,
            channels=["dna"], pixel_size_um=1.0, written_by="x",
        )  # fmt: skip


def test_a_failed_write_leaves_the_old_stack(tmp_path, monkeypatch):
    path = tmp_path / "s.ome.tif"
    make(path)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        args[0].write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", fail)
    with pytest.raises(InputError, match="The disk is full"):
        make(path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.ome.tif", "s.parquet"]


def test_select_keeps_rows_and_images_together(tmp_path):
    make(tmp_path / "s.ome.tif")
    stack = read_stack(tmp_path / "s.ome.tif")
    part = stack.select(stack.table["value"].to_numpy() % 2 == 1)
    assert list(part.table["value"]) == [1, 3]
    np.testing.assert_array_equal(part.images, stack.images[[1, 3]])


def test_a_stack_has_its_suffix():
    with pytest.raises(InputError, match=r"\*\.ome\.tif"):
        table_path("cells.tif")


MAPPED = """
import sys, numpy as np, pandas as pd
from rls.io import write_stack

def file_mb():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["RssFile"].split()[0]) // 1024

before = file_mb()
shape = (2000, 2, 128, 128)  # 131 MB
images = np.memmap(sys.argv[1] + "/raw", np.uint16, "w+", shape=shape)
for i, image in enumerate(images):
    image[:] = i % 97
images.flush()
mapped = np.memmap(sys.argv[1] + "/raw", np.uint16, "r", shape=shape)
del images, image
table = pd.DataFrame({"image_id": [f"c{i}" for i in range(len(mapped))]})
write_stack(sys.argv[1] + "/a.ome.tif", mapped, table, channels=("a", "b"), pixel_size_um=1.0,
            written_by="test")
print(file_mb() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_a_mapped_stack_is_written_without_staying_in_memory(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MAPPED, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 65  # MB of mapped files in memory, out of 131
    stack = read_stack(tmp_path / "a.ome.tif")
    assert stack.images.shape == (2000, 2, 128, 128)
    assert (stack.images == (np.arange(2000) % 97)[:, None, None, None]).all()
