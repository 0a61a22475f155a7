"""A flipped bit is found when a file is read, and a full disk leaves the old file."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from rls.io import (
    Intensity,
    read_intensity,
    read_stack,
    read_table,
    read_weights,
    write_intensity,
    write_stack,
    write_table,
    write_weights,
)
from rls.io.digests import digest_path
from rls.io.files import DIGEST_BYTES
from rls.runtime.checkpoint import StateFolder
from rls.runtime.errors import InputError
from tests.conftest import ROOT

DRAWS = np.random.default_rng(1)
IDS = [f"P_A01_s1_y{i}_x0" for i in range(4)]
TABLE = pd.DataFrame(
    {"image_id": IDS, "split": ["gan", "tune"] * 2, "x": DRAWS.normal(size=4), "seen": range(4)}
)
IMAGES = DRAWS.integers(0, 4000, (4, 2, 8, 8)).astype(np.uint16)
TENSORS = {"w": torch.arange(6.0).reshape(2, 3), "block.b": torch.arange(3)}


def write(path):
    """Write a file of the kind that its name tells."""
    if path.suffix in (".parquet", ".csv"):
        write_table(path, TABLE, written_by="measure")
    elif path.suffix == ".json":
        scale = Intensity(("dna", "nfkb"), (1.5, 2.0), (100.0, 200.25))
        write_intensity(path, scale, written_by="select_cells")
    elif path.suffix == ".tif":
        write_stack(path, IMAGES, TABLE, channels=("dna", "nfkb"), pixel_size_um=0.5,
                    written_by="degrade", compress="plain" not in path.name)  # fmt: skip
    else:
        header = {"kind": path.stem, "image_ids": IDS, "settings": {"beta": 0.5, "gamma": None}}
        write_weights(path, TENSORS, header)


def read(path):
    """Return the content of a file as text that can be compared."""
    if path.suffix in (".parquet", ".csv"):
        table = read_table(path)
        return table.to_json() + str(table.dtypes.to_dict())
    if path.suffix == ".json":
        return repr((read_intensity(path), json.loads(path.read_text())))  # With its rule.
    if path.suffix == ".tif":
        stack = read_stack(path)
        return f"{stack.images.tobytes()!r} {stack.table.to_json()} {stack.channels}" + repr(
            (stack.images.shape, stack.images.dtype, stack.pixel_size_um, stack.description)
        )
    tensors, header = read_weights(path)
    return repr(({k: v.tolist() for k, v in tensors.items()}, header))


# Files, and the rule that the error must name. The rule of a CSV lies in the file beside it.
KINDS = [
    ("features.parquet", "rule measure"),
    ("solutions.csv", "rule measure"),
    ("intensity.json", "rule select_cells"),
    ("cells.ome.tif", "rule degrade"),
    ("plain.ome.tif", "rule degrade"),
    ("latents.safetensors", ""),
    ("generator.safetensors", ""),
]


@pytest.mark.parametrize(("name", "rule"), KINDS)
def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(tmp_path, name, rule):
    """Flips a bit at a few hundred places all over the file."""
    path = tmp_path / name
    write(path)
    content, good, found = path.read_bytes(), read(path), 0
    places = np.linspace(0, len(content) - 1, min(len(content), 250)).astype(int)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(DRAWS.integers(8))
        path.write_bytes(damaged)
        try:
            assert read(path) == good, f"byte {place} of {len(content)}"
        except InputError as error:
            found += 1
            assert name.split(".")[0] in str(error)
            at_name = content.find(b"written_by") <= place < content.find(b"written_by") + 20
            assert rule in str(error) or (at_name and path.suffix == ".parquet")
    assert found > len(places) / 2


@pytest.mark.parametrize(
    ("kind", "rule"),
    [("generator", "train_gan"), ("flow", "fit_flow"), ("latents", "super_resolve"),
     ("styles", "sample_styles"), ("classifier", "train_classifier"), ("pix2pix", "train_pix2pix")],
)  # fmt: skip
def test_damaged_weights_name_the_rule_that_makes_them(tmp_path, kind, rule):
    path = tmp_path / f"{kind}.safetensors"
    write(path)
    content = path.read_bytes()
    for place in (len(content) // 2, len(content) - 5):
        path.write_bytes(content[:place] + bytes([content[place] ^ 2]) + content[place + 1 :])
        with pytest.raises(InputError, match=f"rule {rule}"):
            read_weights(path, kind=kind)


def test_files_from_before_the_digests_are_still_read(tmp_path):
    (tmp_path / "intensity.json").write_text(
        '{"written_by": "select_cells", "channels": ["dna"], "black": [1], "white": [2]}'
    )
    assert read_intensity(tmp_path / "intensity.json").white == (2,)
    levels = {"channels": ["dna"], "black": [1.0], "white": [2.0]}
    text = json.dumps(levels, sort_keys=True).encode()
    alone = hashlib.blake2b(text, digest_size=DIGEST_BYTES).hexdigest()  # Without the rule.
    content = {"written_by": "select_cells", **levels, "digest": alone}
    (tmp_path / "intensity.json").write_text(json.dumps(content))
    assert read_intensity(tmp_path / "intensity.json").white == (2,)
    (tmp_path / "intensity.json").write_text(json.dumps({**content, "white": [3.0]}))
    with pytest.raises(InputError, match="does not say what was written"):
        read_intensity(tmp_path / "intensity.json")
    write(tmp_path / "t.csv")
    digest_path(tmp_path / "t.csv").unlink()
    assert read_table(tmp_path / "t.csv").equals(pd.read_csv(tmp_path / "t.csv"))


def test_a_damaged_checkpoint_is_not_used(tmp_path):
    with StateFolder(tmp_path, "train", {}) as state:
        state.save(1, {"step": 1})
        state.save(2, {"step": 2})
        path = sorted(state.folder.glob("checkpoint-*.pt"))[-1]
        content = bytearray(path.read_bytes())
        content[int(DRAWS.integers(len(content)))] ^= 8
        path.write_bytes(content)
        assert state.load() == {"step": 1}


# ---- a full disk ------------------------------------------------------------------------------

# Python ignores the signal of a limit on file sizes, so that writing fails as on a full disk.
FULL = """
import json, pathlib, resource, sys
import matplotlib; matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np, pandas as pd, torch
from analysis.drawing import style
from rls.runtime.checkpoint import StateFolder
from rls.runtime.errors import InputError
from rls.io import *
from rls.stylegan2.grid import write_grid

folder = pathlib.Path(sys.argv[1])
random = np.random.default_rng(1)
images = random.integers(0, 60000, (20, 2, 32, 32)).astype(np.uint16)
table = pd.DataFrame({"image_id": [f"a{i}" for i in range(2000)], "x": random.normal(size=2000)})
names = tuple(f"c{i:04}" for i in range(2000))
scale = Intensity(names, tuple(range(2000)), tuple(range(1, 2001)))
facts = {"channels": ("a", "b"), "pixel_size_um": 1.0, "written_by": "x"}
figure, axes = plt.subplots()
axes.imshow(random.normal(size=(300, 300)))
state = StateFolder(folder / "state", "train", {}).__enter__()
writers = {
    "a.ome.tif": lambda p: write_stack(p, images, table[:20], **facts),
    "b.ome.tif": lambda p: write_stack(p, images, table[:20], compress=False, **facts),
    "c.parquet": lambda p: write_table(p, table, written_by="x"),
    "d.csv": lambda p: write_table(p, table, written_by="x"),
    "e.safetensors": lambda p: write_weights(p, {"w": torch.randn(20000)}, {"kind": "flow"}),
    "f.json": lambda p: write_intensity(p, scale, written_by="x"),
    "g.txt": lambda p: write_text(p, "x" * 30000),
    "h.png": lambda p: write_grid(p, random.random((64, 2, 32, 32)), 8),
    "i.pdf": lambda p: style.save(figure, table, pdf=p, png=p, csv=p, written_by="x"),
    "checkpoint": lambda p: state.save(2, {"w": torch.randn(20000)}),
}
state.save(1, {"step": 1})
for name in writers:
    (folder / name).write_text("before")
before = sorted(p.name for p in folder.rglob("*"))
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
said = {}
for name, writer in writers.items():
    try:
        writer(folder / name)
        said[name] = "written"
    except InputError as error:
        said[name] = str(error)
    except Exception as error:
        said[name] = "TRACEBACK " + repr(error)
after = sorted(p.name for p in folder.rglob("*"))
kept = all((folder / name).read_text() == "before" for name in writers)
print(json.dumps([said, before, after, kept, state.load()]))
"""


def test_a_full_disk_is_one_sentence_in_every_writer_and_nothing_is_half_written(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    said, before, after, kept, checkpoint = json.loads(done.stdout.splitlines()[-1])
    for name, sentence in said.items():
        assert sentence.startswith("The disk is full while writing"), f"{name}: {sentence}"
        assert name.split(".")[0] in sentence and sentence.count("\n") == 0
    assert kept and checkpoint == {"step": 1}
    assert after == before, "no temporary file stays, and no new one appears"
