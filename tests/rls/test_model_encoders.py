"""Encoders of model folders: which one a search gets, what is refused, and what the card says."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rls import export_model, gather_trust
from rls.encoder.network import Encoder, Shape, write_encoder
from rls.io import read_stack, read_weights, write_table, write_weights
from rls.pretrained.encoders import by_factor, find_encoders
from rls.pretrained.files import read_json, write_json
from rls.pretrained.gathering import gather
from rls.pretrained.model_folder import read_model
from rls.pretrained.reference import write_default, write_entry
from rls.prior.whitening import Whitening
from rls.runtime.errors import InputError
from rls.search.forward_model import BINNING, ForwardModel
from tests.rls.search_stand_ins import tiny_generator, tiny_styles
from tests.rls.test_super_resolve_files import (
    FACTOR,
    SCALE,
    SIZE,
    draw,
    lowered,
    make_model,
    measure,
    run,
    write,
)

CPU = torch.device("cpu")
BICUBIC = ForwardModel()
STARTED = ("--start", "encoder")


def add_encoder(path: Path, generator: str, hidden: int = 8, **changes: object) -> Path:
    """Write an encoder of the tiny generator with random weights."""
    torch.manual_seed(3)
    w = tiny_styles(tiny_generator(SIZE, 2)).w
    side = SIZE // FACTOR
    encoder = Encoder(Shape(2, side, w.shape[1], hidden, 1), Whitening.of(w, leaky=True))
    torch.nn.init.normal_(encoder.leave.weight, std=0.3)
    header = {
        "generator_digest": generator,
        "factor": FACTOR,
        "forward": BICUBIC.to_text(with_file=False),
        "channels": list(SCALE.channels),
        "image_size": SIZE,
        "explained_variance": 0.364,
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_encoder(path, encoder, header)
    return path


def copied(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    return folder


def digest_of(path: Path) -> str:
    return str(read_weights(path)[1]["digest"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with an encoder and the trust of two searches, one of which starts from it."""
    folder = make_model(tmp_path_factory.mktemp("tiny"))
    digest = digest_of(folder / "generator.safetensors")
    add_encoder(folder / f"encoder_{FACTOR}x.safetensors", digest)
    measure(folder, "rls")
    measure(folder, "rls_encoder", *STARTED, "--default")
    return folder


@pytest.fixture(scope="module")
def low() -> np.ndarray:
    """Counts of low-resolution cells, (7, 2, 4, 4)."""
    return lowered(draw(tiny_generator(SIZE, 2), 7, 1))


def test_users_get_the_models_default_and_the_article_by_one_flag(model, low, tmp_path, capsys):
    path = write(tmp_path / "low.ome.tif", low)
    tables = {}
    for name, flags in (("default", []), ("article", ["--method", "rls"])):
        run(model, path, "--out", tmp_path / f"{name}.ome.tif", *flags)
        tables[name] = read_stack(tmp_path / f"{name}.ome.tif").table
    assert set(tables["default"]["method"]) == {"rls_encoder"}
    assert set(tables["article"]["method"]) == {"rls"}
    assert (tables["default"]["start_distance"] > 0).all()
    assert "start_distance" not in tables["article"]
    # Both are judged by the facts of their own search.
    assert "judged by the images alone" not in capsys.readouterr().out
    assert all(table["trust"].between(0, 1).all() for table in tables.values())


def test_a_folder_without_a_default_gives_the_articles_search(model, low, tmp_path):
    folder = copied(model, tmp_path / "model")
    content = read_json(folder / "search.json")
    del content["default"]
    write_json(folder / "search.json", content)
    run(folder, write(tmp_path / "low.ome.tif", low), "--out", tmp_path / "high.ome.tif")
    assert set(read_stack(tmp_path / "high.ome.tif").table["method"]) == {"rls"}


def test_trust_knows_how_far_the_search_went_from_the_encoders_start(model):
    methods = read_json(model / "trust.json")["factors"][str(FACTOR)]
    assert "start_distance" not in methods["rls"]["facts"]
    fact = methods["rls_encoder"]["facts"]["start_distance"]
    assert fact["side"] == "high" and fact["quantiles"][0] > 0
    encoder = digest_of(model / f"encoder_{FACTOR}x.safetensors")
    assert methods["rls_encoder"]["encoder_digest"] == encoder
    assert methods["rls"]["encoder_digest"] == ""


def test_another_encoder_is_no_search_of_the_reference(model, low, tmp_path, capsys):
    folder = copied(model, tmp_path / "model")
    digest = digest_of(folder / "generator.safetensors")
    other = add_encoder(tmp_path / "other.safetensors", digest, hidden=9)
    path = write(tmp_path / "low.ome.tif", low)
    run(folder, path, "--out", tmp_path / "a.ome.tif", "--encoder", other)
    assert "judged by the images alone" in capsys.readouterr().out
    run(folder, path, "--out", tmp_path / "b.ome.tif")
    a, b = (read_stack(tmp_path / f"{name}.ome.tif").images for name in "ab")
    assert not np.allclose(a, b)


def test_a_search_of_no_steps_gives_the_image_of_the_encoders_style(model, low, tmp_path):
    path = write(tmp_path / "low.ome.tif", low)
    run(model, path, "--out", tmp_path / "high.ome.tif", "--steps", 0)
    found = read_model(model, CPU).with_encoder(FACTOR, BICUBIC)
    y = torch.as_tensor(SCALE.to_unit(low), dtype=torch.float32)
    table = read_stack(tmp_path / "high.ome.tif").table
    assert (table["start_distance"] < 1e-3).all()
    latents, _ = read_weights(tmp_path / "high.latents.safetensors")
    w = found.encoder.mean_style(found.encoder(y))
    for i in range(latents["w"].shape[1]):
        torch.testing.assert_close(latents["w"][:, i], w, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generator_digest": "another generator"}, "trained with the generator another"),
        ({"factor": 8}, "trained for 8x"),
        ({"channels": ["nfkb", "dna"]}, "channels nfkb, dna"),
        (
            {"forward": ForwardModel(BINNING).to_text()},
            "made by binning.*this search is bicubic",
        ),
    ],
)
def test_an_encoder_of_something_else_is_refused(model, low, tmp_path, changes, said):
    folder = copied(model, tmp_path / "model")
    digest = digest_of(folder / "generator.safetensors")
    file = folder / f"encoder_{FACTOR}x.safetensors"
    add_encoder(file, **{"generator": digest, **changes})
    path = write(tmp_path / "low.ome.tif", low)
    with pytest.raises(InputError, match=said):
        run(folder, path, "--out", tmp_path / "high.ome.tif")
    # The article's search does not read it.
    run(folder, path, "--out", tmp_path / "high.ome.tif", "--method", "rls")


def test_a_users_own_d_needs_an_encoder_of_it_or_the_articles_search(model, low, tmp_path):
    path = write(tmp_path / "low.ome.tif", low)
    own = ["--operator", "binning"]
    with pytest.raises(InputError, match="--method rls.*train an encoder for this D"):
        run(model, path, "--out", tmp_path / "a.ome.tif", *own)
    digest = digest_of(model / "generator.safetensors")
    other = {"forward": ForwardModel(BINNING).to_text()}
    file = add_encoder(tmp_path / "own.safetensors", digest, **other)
    run(model, path, "--out", tmp_path / "a.ome.tif", *own, "--encoder", file)
    run(model, path, "--out", tmp_path / "b.ome.tif", *own, "--method", "rls")


def test_a_folder_without_the_encoder_says_which_it_has(model, low, tmp_path):
    folder = copied(model, tmp_path / "model")
    (folder / f"encoder_{FACTOR}x.safetensors").rename(folder / "encoder_16x.safetensors")
    with pytest.raises(InputError, match=f"no encoder for factor {FACTOR}.* it has 16x"):
        run(folder, write(tmp_path / "low.ome.tif", low), "--out", tmp_path / "high.ome.tif")


def test_the_results_of_an_assay_have_the_encoder_that_trust_was_measured_with(tmp_path):
    one = add_encoder(tmp_path / f"{FACTOR}x/clean/encoder.safetensors", "g")
    assert find_encoders(tmp_path) == {FACTOR: one}
    add_encoder(tmp_path / f"{FACTOR}x/noise/encoder.safetensors", "g", hidden=9)
    with pytest.raises(InputError, match=r"2 encoders for factor 4 \(clean, noise\).*names 0"):
        find_encoders(tmp_path)
    entry = {"rls_encoder": {"encoder_digest": digest_of(one)}}
    write_json(tmp_path / "trust.json", {"factors": {str(FACTOR): entry}})
    assert find_encoders(tmp_path) == {FACTOR: one}
    own = add_encoder(tmp_path / f"encoder_{FACTOR}x.safetensors", "g")
    assert find_encoders(tmp_path) == {FACTOR: own}


def test_encoders_that_are_handed_over_are_told_apart_by_their_factor(tmp_path):
    a = add_encoder(tmp_path / "a.safetensors", "g")
    b = add_encoder(tmp_path / "b.safetensors", "g", factor=8)
    assert by_factor([b, a]) == {8: b, FACTOR: a}
    with pytest.raises(InputError, match="both of factor 4"):
        by_factor([a, a])


def export(folder: Path, output: Path) -> str:
    arguments = ["--title", "Tiny", "--about", "A test.", "--command", "make test"]
    export_model.main(["--results", str(folder), "--output", str(output), *arguments])
    return (output / "README.md").read_text()


@pytest.fixture
def results(model: Path, tmp_path: Path) -> Path:
    """The results of an assay with the files that a card needs, the encoder where rules put it."""
    folder = copied(model, tmp_path / "results")
    place = folder / f"{FACTOR}x/clean/encoder.safetensors"
    place.parent.mkdir(parents=True)
    (folder / f"encoder_{FACTOR}x.safetensors").rename(place)
    tensors, header = read_weights(folder / "generator.safetensors")
    write_weights(folder / "training.safetensors", tensors, {**header, "kind": "discriminator"})
    curves = pd.DataFrame({"kimg": [1.0]})
    write_table(folder / "generator.training.csv", curves, written_by="train_gan")
    for name in ("generator.png", "generator.progress.png"):
        (folder / name).write_bytes(b"png")
    return folder


def test_encoders_go_with_a_model_and_its_card_names_them(results, tmp_path):
    output = tmp_path / "model"
    output.mkdir()
    stale = add_encoder(output / "encoder_32x.safetensors", "of the generator before")
    text = export(results, output)
    copy = output / f"encoder_{FACTOR}x.safetensors"
    assert copy.read_bytes() == (results / f"{FACTOR}x/clean/encoder.safetensors").read_bytes()
    assert not stale.exists()
    for fact in (copy.name, "4 x 4 px by bicubic (renormalize)", "explains 36%", " MB."):
        assert fact in text, fact
    assert "`rls_encoder`, which is used if no method is named" in text
    assert "`rls`, the article's method, with `--method rls`" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden": 1000}, "more than the 2 MB"),
        ({"generator": "another generator"}, "another gene.*Run train_encoder again"),
    ],
)
def test_an_encoder_that_is_large_or_of_another_generator_is_not_exported(
    results, tmp_path, changes, said
):
    digest = digest_of(results / "generator.safetensors")
    place = results / f"{FACTOR}x/clean/encoder.safetensors"
    add_encoder(place, **{"generator": digest, **changes})
    with pytest.raises(InputError, match=said):
        export(results, tmp_path / "model")
    assert not list(tmp_path.glob("model/*"))


def part(folder: Path, method: str, factors: tuple[int, ...], generator: str = "g") -> Path:
    """Write what measure_trust writes of one method into a folder of its own."""
    head = {"written_by": "measure_trust", "program_version": "1", "generator_digest": generator}
    entries = {str(factor): {method: {"n": factor}} for factor in factors}
    for name in ("trust", "search"):
        write_json(folder / method / f"{name}.json", {**head, "factors": entries})
    return folder / method


def test_the_trust_of_several_methods_becomes_that_of_one_model(tmp_path):
    parts = [part(tmp_path, "rls", (16, 8)), part(tmp_path, "rls_encoder", (8, 16))]
    gather(parts, "rls_encoder", tmp_path)
    search, trust = (read_json(tmp_path / f"{name}.json") for name in ("search", "trust"))
    both = {f: {"rls": {"n": int(f)}, "rls_encoder": {"n": int(f)}} for f in ("8", "16")}
    assert search["factors"] == trust["factors"] == both and list(trust["factors"]) == ["8", "16"]
    assert search["default"] == {"8": "rls_encoder", "16": "rls_encoder"}
    assert search["generator_digest"] == trust["generator_digest"] == "g"


def test_trust_that_does_not_belong_together_is_refused(tmp_path):
    rls = part(tmp_path, "rls", (8, 16))
    with pytest.raises(InputError, match="measured with another generator"):
        gather([rls, part(tmp_path, "rls_encoder", (8,), "h")], "rls", tmp_path)
    with pytest.raises(InputError, match="default method is rls_encoder, and at factor 16"):
        gather([rls, part(tmp_path, "rls_encoder", (8,))], "rls_encoder", tmp_path)
    with pytest.raises(InputError, match="does not exist. Run measure_trust"):
        gather([rls, tmp_path / "none"], "rls", tmp_path)
    with pytest.raises(InputError, match="default pulse, expected one of the methods rls"):
        gather_trust.main(
            ["--parts", str(tmp_path), "--output", str(tmp_path), "--methods", "rls",
             "--default", "pulse"]
        )  # fmt: skip


def test_a_new_entry_keeps_the_default_and_that_of_another_generator_does_not(model, tmp_path):
    found = read_model(model, CPU)
    path = tmp_path / "search.json"
    write_entry(path, found, FACTOR, "rls_encoder", {})
    write_default(path, FACTOR, "rls_encoder")
    write_entry(path, found, FACTOR, "rls", {})
    assert read_json(path)["default"] == {str(FACTOR): "rls_encoder"}
    write_json(path, {**read_json(path), "generator_digest": "another"})
    write_entry(path, found, FACTOR, "rls", {})
    assert "default" not in read_json(path)
    assert list(read_json(path)["factors"][str(FACTOR)]) == ["rls"]
