"""Zips of PNG with bytes changed, cut out or put in: the cells that were packed, or one sentence.

The checksums of a zip cover the content of its files and not their names, so a name may change
unseen where nothing else tells it. Here a CSV does.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from analysis.plates.png_archive import read_images, read_labels
from tests.fuzz.outcomes import answer
from tests.rls.io.mutated import mutate

N, SIZE, CHANNELS = 6, 8, ("dna", "actin", "tubulin")
NAMES = [f"cells/img{i:03d}.png" for i in range(N)]
PIXELS = np.random.default_rng(2).integers(0, 255, (N, SIZE, SIZE, 3)).astype(np.uint8)


def packed() -> bytes:
    """A zip of cells, their classes, and a CSV that says where they are from."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, pixels in zip(NAMES, PIXELS, strict=True):
            png = io.BytesIO()
            Image.fromarray(pixels).save(png, "png")
            archive.writestr(name, png.getvalue())
        labels = [[name, i % 2] for i, name in enumerate(NAMES)]
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
        plan = pd.DataFrame(
            {
                "filename": NAMES,
                "plate": "P1",
                "well": [f"B{2 + i:02d}" for i in range(N)],
                "site": 1,
            }
        )
        archive.writestr("wells.csv", plan.to_csv(index=False))
    return file.getvalue()


def read(path: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """The cells and their table."""
    with contextlib.redirect_stdout(io.StringIO()):
        labels = read_labels(path, None, ("DMSO", "taxol"), ("P1",), "compound")
    blocks = [b for _, b in read_images(path, list(labels["filename"]), CHANNELS, (), SIZE)]
    return np.concatenate(blocks), labels


def attempt(seed: int, count: int, folder: Path) -> Counter[str]:
    """Try ``count`` damaged zips."""
    path, content = folder / "x.zip", packed()
    path.write_bytes(content)
    right = read(path)
    np.testing.assert_array_equal(right[0], np.moveaxis(PIXELS, -1, 1))
    found: Counter[str] = Counter()
    for number in range(count):
        path.write_bytes(mutate(content, np.random.default_rng([seed, number])))
        where = f"zip of PNG, seed {seed}, number {number}"
        back = answer(lambda: read(path), folder, where)
        if back is not None:
            assert np.array_equal(back[0], right[0]), where
            pd.testing.assert_frame_equal(back[1], right[1], obj=where)
        found["refused" if back is None else "right"] += 1
    return found
