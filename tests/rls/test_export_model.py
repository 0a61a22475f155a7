import math

import pandas as pd
import pytest
import torch

from rls import export_model
from rls.errors import InputError
from rls.io import Intensity, read_weights, write_intensity, write_table, write_weights

ARGUMENTS = ["--title", "Tiny", "--about", "A test.", "--command", "make test"]
SCALE = Intensity(("dna", "nfkb"), (1.0, 2.0), (11.0, 12.0))
HEADER = {
    "image_size": 16,
    "channels": ["dna", "nfkb"],
    "pixel_size_um": 2.0,
    "n_training_images": 80,
    "data_digest": "feed",
    "images_seen": 12_345,
    "intensity": SCALE.as_dict(),
    "settings": {"r1_gamma": 0.05},
}


def results(folder, size=4):
    weights = {"w": torch.ones(size)}
    write_weights(folder / "generator.safetensors", weights, {**HEADER, "kind": "generator"})
    write_weights(folder / "training.safetensors", weights, {**HEADER, "kind": "discriminator"})
    write_intensity(folder / "intensity.json", SCALE, written_by="select_cells")
    curves = pd.DataFrame({"kimg": [1.0, 12.3], "r_t": [0.1, 0.6], "kd": [0.5, math.nan]})
    write_table(folder / "generator.training.csv", curves, written_by="train_gan")
    for name in ("generator.png", "generator.progress.png"):
        (folder / name).write_bytes(b"png")


def test_the_card_tells_what_the_header_knows(tmp_path):
    results(tmp_path)
    export_model.main(["--results", str(tmp_path), "--output", str(tmp_path / "model"), *ARGUMENTS])
    text = (tmp_path / "model" / "README.md").read_text()
    for fact in (
        "16 x 16 px",
        "12,345",
        "`feed`",
        "dna 1 to 11; nfkb 2 to 12",
        "r_t 0.6",
        "kd 0.5",
        "make test",
    ):
        assert fact in text, fact
    _, header = read_weights(tmp_path / "model" / "generator.safetensors", kind="generator")
    assert header["digest"] in text


def test_weights_that_are_too_large_to_come_with_the_program_are_refused(tmp_path):
    results(tmp_path, size=4_000_000)
    with pytest.raises(InputError, match="more than the 12 MB"):
        export_model.main(["--results", str(tmp_path), "--output", str(tmp_path / "m"), *ARGUMENTS])
    assert not (tmp_path / "m" / "README.md").exists()
