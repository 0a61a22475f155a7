import math

import pandas as pd
import pytest
import torch

from rls import export_model
from rls.io import Intensity, read_weights, write_intensity, write_table, write_weights
from rls.pretrained.files import write_json
from rls.pretrained.model_folder import flow_generator
from rls.runtime.errors import InputError

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


def add_own_cells(folder, made_with):
    """Add a flow, its styles, and what measure_trust writes."""
    styles = {"kind": "styles", "generator_digest": made_with}
    write_weights(folder / "styles.safetensors", {"w": torch.ones(3)}, styles)
    digest = read_weights(folder / "styles.safetensors")[1]["digest"]
    flow = {"kind": "flow", "styles_digest": digest}
    write_weights(folder / "flow.safetensors", {"a": torch.ones(2)}, flow)
    entry = {"n": 321, "splits": ["tune", "classifier"]}
    write_json(folder / "trust.json", {"factors": {"4": {"rls": entry}}})
    block = {"search": "rls", "steps": 77, "super_resolve": {"batch_size": 3}}
    write_json(folder / "search.json", {"factors": {"4": {"rls": block}}})


def export(folder):
    output = folder / "model"
    export_model.main(["--results", str(folder), "--output", str(output), *ARGUMENTS])
    return output


def test_what_other_peoples_cells_need_goes_with_the_model(tmp_path):
    results(tmp_path)
    digest = read_weights(tmp_path / "generator.safetensors")[1]["digest"]
    add_own_cells(tmp_path, digest)
    output = export(tmp_path)
    tensors, header = read_weights(output / "flow.safetensors", kind="flow")
    # Without the styles beside it, the flow still names its generator.
    assert not (output / "styles.safetensors").exists()
    assert flow_generator(output, header) == digest and torch.equal(tensors["a"], torch.ones(2))
    for name in ("trust.json", "search.json"):
        assert (output / name).read_bytes() == (tmp_path / name).read_bytes()
    text = (output / "README.md").read_text()
    for fact in (
        "--factor 4",
        "--channels ",
        "4 x 4 px",
        "steps 77",
        "321 cells of split tune and classifier",
    ):
        assert fact in text, fact


def test_the_flow_of_another_generator_is_not_exported(tmp_path):
    results(tmp_path)
    add_own_cells(tmp_path, "another")
    with pytest.raises(InputError, match="fit_flow again"):
        export(tmp_path)


def test_what_belongs_to_the_generator_before_does_not_stay(tmp_path):
    results(tmp_path)
    add_own_cells(tmp_path, read_weights(tmp_path / "generator.safetensors")[1]["digest"])
    output = export(tmp_path)
    for name in ("flow.safetensors", "trust.json", "search.json"):
        assert (output / name).exists()
        (tmp_path / name).unlink()
    assert "For your own cells" not in (export(tmp_path) / "README.md").read_text()
    assert {path.name for path in output.iterdir()} == {
        "README.md", "generator.png", "generator.progress.png", "generator.safetensors",
        "generator.training.csv", "intensity.json", "training.safetensors",
    }  # fmt: skip
