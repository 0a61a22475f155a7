"""super_resolve_files: users' files give images and a table, or an error in a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image

from rls import measure_trust, super_resolve, super_resolve_files
from rls.io import Intensity, read_stack, read_weights, write_intensity, write_stack, write_weights
from rls.pretrained.command_line import model_flags
from rls.pretrained.files import read_json, write_json
from rls.pretrained.side_by_side import choose_rows
from rls.pretrained.user_cells import read_cells
from rls.runtime.errors import InputError
from rls.search.forward import downscale, forward_operator
from rls.search.forward_model import ForwardModel
from rls.search.methods import load_method
from rls.stylegan2.generator_io import write_generator
from tests.conftest import ROOT
from tests.flags import as_flags
from tests.rls.search_stand_ins import add_method, tiny_generator, tiny_styles
from tests.rls.test_super_resolve import unfolded

SCALE = Intensity(("dna", "nfkb"), (100.0, 50.0), (1100.0, 2050.0))
SIZE, FACTOR, N = 16, 4, 7
GREY = {"photometric": "minisblack"}
SHARED = ["--batch-size", "16", "--precision", "float32", "--noise", "shared", "--border",
          "renormalize", "--seed", "1", "--device", "cpu", "--threads", "1"]  # fmt: skip
SEARCH = ["--steps", "4", "--learning-rate", "0.1", "--learning-rate-unit", "absolute",
          "--schedule", "one_cycle_drop", "--lambda-w", "5.0e-5", "--lambda-c", "0.01",
          "--lambda-n", "0", "--cross", "mean_distance"]  # fmt: skip


def draw(generator, n: int, seed: int) -> np.ndarray:
    """Return n images of the generator in counts, (n, 2, 16, 16): the cells that it knows."""
    z = torch.randn(n, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        images = generator.synthesis(generator.mapping(z), "const")
    return SCALE.to_counts((images.numpy() + 1) / 2)


def lowered(counts: np.ndarray) -> np.ndarray:
    return downscale(SIZE, FACTOR, "renormalize")(torch.as_tensor(counts)).numpy()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with its trust, measured on 120 cells."""
    folder = make_model(tmp_path_factory.mktemp("tiny"))
    measure(folder, "rls")
    return folder


def make_model(folder: Path) -> Path:
    """Write a model without trust, and ``hr.ome.tif``, its cells of splits tune and gan."""
    torch.set_num_threads(1)
    generator = tiny_generator(SIZE, 2)
    header = {"channels": SCALE.channels, "pixel_size_um": 0.5, "intensity": SCALE.as_dict()}
    header |= {"image_size": SIZE, "n_training_images": 5, "data_digest": "d", "images_seen": 7}
    header |= {"settings": {}}
    write_generator(folder / "generator.safetensors", generator, header)
    write_intensity(folder / "intensity.json", SCALE, written_by="test")
    digest = read_weights(folder / "generator.safetensors")[1]["digest"]
    styles = tiny_styles(generator)
    tensors, own = unfolded(styles.w).state_dict(), {"generator_digest": digest}
    flow = {k: v for k, v in tensors.items() if not k.endswith((".mask", ".degrees"))}
    own |= {"kind": "flow", "flow": "maf", "features": 16, "hidden": 32, "n_blocks": 2}
    write_weights(folder / "flow.safetensors", flow, own)
    table = pd.DataFrame({"image_id": [f"c{i}" for i in range(130)], "split": "tune"})
    table.loc[120:, "split"] = "gan"
    write_stack(folder / "hr.ome.tif", draw(generator, 130, 0), table, channels=SCALE.channels,
                pixel_size_um=0.5, written_by="test")  # fmt: skip
    return folder


def measure(folder: Path, method: str, *own: object) -> None:
    """Measure the trust of a search rls under the name ``method``."""
    arguments = ["--model", folder, "--high-resolution", folder / "hr.ome.tif", "--factors", FACTOR]
    arguments += ["--method", method, "--search", "rls", "--quantise", "none"]
    measure_trust.main([*map(str, arguments), *SHARED, *SEARCH, *map(str, own)])


@pytest.fixture(scope="module")
def low(model: Path) -> np.ndarray:
    """Counts of low-resolution cells, (N, 2, 4, 4)."""
    return lowered(draw(tiny_generator(SIZE, 2), N, 1))


def write(path: Path, images: np.ndarray, names=("dna", "nfkb")) -> Path:
    metadata = {"axes": "TCYX", "Channel": {"Name": list(names)}}
    tifffile.imwrite(path, images.astype(np.float32), metadata=metadata, **GREY)
    return path


def run(model: Path, *arguments: object, factor: int = FACTOR) -> None:
    files = [str(a) for a in arguments]
    flags = ["--model", str(model), "--factor", str(factor), "--threads", "1"]
    super_resolve_files.main([*files, *flags])


def test_a_file_gives_images_table_and_picture(model, low, tmp_path, capsys) -> None:
    out = tmp_path / "high.ome.tif"
    run(model, write(tmp_path / "low.ome.tif", low), "--out", out)
    stack = read_stack(out)
    assert stack.images.shape == (N, 2, SIZE, SIZE) and stack.images.dtype == np.float32
    assert stack.channels == SCALE.channels and stack.pixel_size_um == 0.5
    assert "Synthesised, not acquired" in stack.description
    assert read_weights(model / "generator.safetensors")[1]["digest"] in stack.description
    table = stack.table
    assert list(table["image_id"]) == [f"low_{i:04d}" for i in range(1, N + 1)]
    assert set(table["search_status"]) == {"ok"} and table["trust"].between(0, 1).all()
    # The loss in the table is that of the written image and the file's pixels.
    x, y = (torch.as_tensor(SCALE.to_unit(images)) for images in (stack.images, low))
    loss = (downscale(SIZE, FACTOR, "renormalize")(x) - y).abs().mean((1, 2, 3))
    assert np.allclose(loss, table["loss_fidelity"], atol=1e-5)
    assert len(pd.read_csv(tmp_path / "high.csv")) == N
    assert Image.open(tmp_path / "high.png").size[1] > N * SIZE
    # Other programs see an OME-TIFF.
    with tifffile.TiffFile(out) as tiff:
        assert tiff.is_ome and tiff.series[0].axes == "TCYX"
    assert not (tmp_path / "high.state").exists()
    assert "trust: 0 of 7" in capsys.readouterr().out


def loss_by(forward: ForwardModel, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Return mean |y - D(x)| of images in counts."""
    d = forward_operator(forward, SIZE, FACTOR, 0.5)
    x, y = (torch.as_tensor(SCALE.to_unit(images)) for images in (high, low))
    return (d(x) - y).abs().mean((1, 2, 3)).numpy()


def test_the_flags_of_d_and_of_the_noise_reach_search_and_header(model, low, tmp_path, capsys):
    out = tmp_path / "high.ome.tif"
    camera = ["--likelihood", "poisson_gaussian", "--gain", "0.5", "--read-noise", "2"]
    own = ["--operator", "psf_binning", "--psf-sd-um", "0.8", "--shift-px", "0.5", "0", *camera]
    run(model, write(tmp_path / "low.ome.tif", low), "--out", out, *own)
    stack, told = read_stack(out), ForwardModel("psf_binning", psf_sd_um=0.8, shift_px=(0.5, 0.0))
    for column in ("forward", "search_forward"):
        assert {ForwardModel.from_text(text) for text in stack.table[column]} == {told}
    assert set(stack.table["likelihood"]) == {"poisson_gaussian"}
    assert told.describe() in stack.description
    loss = loss_by(told, stack.images, low)
    assert np.allclose(loss, stack.table["loss_fidelity"], atol=1e-5)
    # The reference cells were reduced by another D.
    assert stack.table["trust"].isna().all() and "trust: unknown" in capsys.readouterr().out


def test_a_model_folder_keeps_the_d_that_its_trust_was_measured_with(model, low, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    own = ["--operator", "binning", "--likelihood", "gaussian", "--noise-sd", "0.05"]
    own += ["--forward", "with_blur"]  # no chain follows D here, so that is D alone
    measure(folder, "rls", *own)
    entry = read_json(folder / "search.json")["factors"][str(FACTOR)]["rls"]
    assert entry["super_resolve"]["operator"] == "binning" and entry["likelihood"] == "gaussian"
    run(folder, write(tmp_path / "low.ome.tif", low), "--out", tmp_path / "high.ome.tif")
    stack = read_stack(tmp_path / "high.ome.tif")
    loss = loss_by(ForwardModel("binning"), stack.images, low)
    assert np.allclose(loss, stack.table["loss_fidelity"], atol=1e-5)
    assert set(stack.table["likelihood"]) == {"gaussian"} and stack.table["trust"].notna().all()


@pytest.mark.parametrize(
    ("own", "kept"),
    [([], True), (["--operator", "binning"], False), (["--psf-sd-um=1.5"], False)],
)
def test_flags_of_d_take_the_place_of_a_model_s_psf(tmp_path, own, kept) -> None:
    shared = {"operator": "psf_binning", "psf_file": "psf.tif", "border": "reflect"}
    entry = {"8": {"rls": {"search": "rls", "super_resolve": shared}}}
    write_json(tmp_path / "search.json", {"factors": entry})
    found = model_flags(["low.tif", "--model", str(tmp_path), "--factor", "8", *own])
    assert ("--psf-file" in found) is kept and "--border" in found


def test_the_stage_of_the_workflow_runs_the_tool_in_its_old_form(model, low, tmp_path) -> None:
    path = write(tmp_path / "low.ome.tif", low)
    flags = ["--model", str(model), "--factor", str(FACTOR), "--threads", "1"]
    run(model, path, "--out", tmp_path / "a.ome.tif")
    super_resolve.main([str(path), *flags, "--out", str(tmp_path / "b.ome.tif")])
    super_resolve.main([*flags, "--out", str(tmp_path / "c.ome.tif"), str(path)])
    images = [read_stack(tmp_path / f"{name}.ome.tif").images for name in "abc"]
    assert np.array_equal(images[0], images[1]) and np.array_equal(images[0], images[2])


@pytest.mark.parametrize(
    ("door", "arguments", "said"),
    [
        (super_resolve_files, [], "python -m rls.super_resolve_files low.tif"),
        (super_resolve, ["low.tif"], "python -m rls.super_resolve_files low.tif"),
        (super_resolve, [], "``python -m rls.super_resolve_files --help``"),
        (super_resolve, ["--search", "rls"], "--lambda-w"),
    ],
)
def test_each_door_has_its_own_help(door, arguments, said, capsys) -> None:
    with pytest.raises(SystemExit):
        door.main([*arguments, "--help"])
    text = capsys.readouterr().out
    assert said in text and ("--shard" in text) == (
        door is super_resolve and arguments != ["low.tif"]
    )


def test_all_ways_to_hand_over_the_same_cells_give_the_same_bits(model, low, tmp_path) -> None:
    counts = np.rint(low).clip(0).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", counts, imagej=True, metadata={"axes": "TCYX"})
    tifffile.imwrite(tmp_path / "b.tif", counts[:, ::-1].reshape(-1, 4, 4), metadata=None, **GREY)
    (tmp_path / "png").mkdir()
    for i, image in enumerate(counts):
        for name, plane in zip(("dna", "NFKB"), image, strict=True):
            Image.fromarray(plane).save(tmp_path / "png" / f"cell{i + 8}-{name}.png")
    named = ["--channels", "dna,nfkb"]
    ways = {
        "a": [tmp_path / "a.tif", *named],
        "b": [tmp_path / "b.tif", "--channels", "nfkb,dna", "--axes", "TCYX"],
        "c": [tmp_path / "png"],
    }
    for path, said, axes in ((tmp_path / "b.tif", ["nfkb", "dna"], "TCYX"), (tmp_path / "png", None, None)):  # fmt: skip  # noqa: E501
        cells = read_cells([path], SCALE.channels, said, axes)
        assert np.array_equal(cells.images, counts)
    assert cells.image_ids == tuple(f"cell{i + 8}" for i in range(N))  # As people count.
    for name, arguments in ways.items():
        run(model, *arguments, "--out", tmp_path / f"{name}.ome.tif")
    images = [read_stack(tmp_path / f"{name}.ome.tif").images for name in ways]
    # The noise maps are shared, so nothing depends on the name of a cell.
    assert np.array_equal(images[0], images[1]) and np.array_equal(images[0], images[2])


def test_an_interrupted_command_goes_on_with_the_same_bits(
    model, low, tmp_path, monkeypatch, capsys
) -> None:
    path = write(tmp_path / "low.ome.tif", low)
    run(model, path, "--out", tmp_path / "whole.ome.tif", "--batch-size", 3)
    method = load_method("rls")
    search, calls = method.super_resolve, []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return search(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(method, "super_resolve", stops)
        with pytest.raises(KeyboardInterrupt):
            run(model, path, "--out", tmp_path / "b.ome.tif", "--batch-size", 3)
    assert not (tmp_path / "b.ome.tif").exists()
    capsys.readouterr()
    run(model, path, "--out", tmp_path / "b.ome.tif", "--batch-size", 3)
    assert "6 of 7 images were found" in capsys.readouterr().out
    whole, again = read_stack(tmp_path / "whole.ome.tif"), read_stack(tmp_path / "b.ome.tif")
    assert np.array_equal(whole.images, again.images)
    pd.testing.assert_frame_equal(whole.table, again.table)


def test_nothing_is_replaced_unless_asked(model, low, tmp_path) -> None:
    path, out = write(tmp_path / "low.ome.tif", low), tmp_path / "high.ome.tif"
    (tmp_path / "high.csv").write_text("mine")
    with pytest.raises(InputError, match="--overwrite"):
        run(model, path, "--out", out)
    assert (tmp_path / "high.csv").read_text() == "mine" and not out.exists()
    run(model, path, "--out", out, "--overwrite")
    assert out.exists()


def test_cells_of_another_kind_are_named_in_the_table_and_in_words(
    model, low, tmp_path, capsys
) -> None:
    run(model, write(tmp_path / "x.ome.tif", 4 * low), "--out", tmp_path / "high.ome.tif")
    table = read_stack(tmp_path / "high.ome.tif").table
    assert (table["trust"] < 0.01).all() and table["trust_why"].str.contains("reference").all()
    assert "7 of 7 cells look unlike" in capsys.readouterr().out


def test_percentiles_undo_another_gain_and_offset(model, low, tmp_path, capsys) -> None:
    other = 0.1 * low + 7.0
    path = write(tmp_path / "x.ome.tif", other)
    run(model, path, "--out", tmp_path / "a.ome.tif", "--scale", "percentiles")
    assert (read_stack(tmp_path / "a.ome.tif").table["trust"] >= 0.01).all()
    assert "cannot see a wrong brightness" in capsys.readouterr().out
    run(model, write(tmp_path / "y.ome.tif", low), "--out", tmp_path / "d.ome.tif",
        "--scale", "percentiles")  # fmt: skip
    a, d = (read_stack(tmp_path / f"{name}.ome.tif").images for name in "ad")
    assert np.allclose(a, 0.1 * d + 7.0, rtol=1e-3, atol=0.05)  # In the counts of the input.
    own = Intensity(("nfkb", "dna"), (12.0, 17.0), (212.0, 117.0))
    write_intensity(tmp_path / "own.json", own, written_by="test")
    run(model, path, "--out", tmp_path / "b.ome.tif", "--intensity", tmp_path / "own.json")
    run(model, tmp_path / "y.ome.tif", "--out", tmp_path / "c.ome.tif")
    b, c = (read_stack(tmp_path / f"{name}.ome.tif").images for name in "bc")
    assert np.allclose(b, 0.1 * c + 7.0, rtol=1e-3, atol=0.05)


def test_other_methods_and_settings_are_a_flag(model, low, tmp_path, monkeypatch, capsys) -> None:
    path = write(tmp_path / "low.ome.tif", low)
    run(model, path, "--out", tmp_path / "a.ome.tif", "--steps", 2)
    assert "judged by the images alone" in capsys.readouterr().out
    run(model, path, "--out", tmp_path / "b.ome.tif", "--search", "bicubic")
    assert read_stack(tmp_path / "b.ome.tif").table["trust"].notna().all()
    name = add_method(tmp_path, monkeypatch)
    run(model, path, "--out", tmp_path / "c.ome.tif", "--search", name, "--grey", "0.25")
    assert np.allclose(SCALE.to_unit(read_stack(tmp_path / "c.ome.tif").images), 0.25, atol=1e-5)


def test_without_a_reference_trust_is_unknown_not_high(model, low, tmp_path, capsys) -> None:
    other = tmp_path / "model"
    other.mkdir()
    for name in ("generator.safetensors", "intensity.json", "flow.safetensors", "search.json"):
        (other / name).write_bytes((model / name).read_bytes())
    run(other, write(tmp_path / "low.ome.tif", low), "--out", tmp_path / "high.ome.tif")
    assert read_stack(tmp_path / "high.ome.tif").table["trust"].isna().all()
    assert "trust: unknown" in capsys.readouterr().out


def changed_model(model: Path, folder: Path, change: str) -> Path:
    folder.mkdir()
    for path in model.glob("*.*"):
        if path.name != change:
            (folder / path.name).write_bytes(path.read_bytes())
    if change == "another generator":
        write_json(folder / "trust.json",
                   read_json(model / "trust.json") | {"generator_digest": "0"})  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("flow.safetensors", "flow.safetensors, which the prior"),
        ("generator.safetensors", "model folder"),
        ("intensity.json", "intensity scale"),
        ("search.json", "none at all"),
        ("another generator", "another generator"),
    ],
)
def test_a_model_that_is_not_whole_is_refused(model, low, tmp_path, change, said) -> None:
    path = write(tmp_path / "low.ome.tif", low)
    with pytest.raises(InputError, match=said):
        run(changed_model(model, tmp_path / "m", change), path, "--out", tmp_path / "h.ome.tif")


@pytest.mark.parametrize(
    ("images", "arguments", "said"),
    [
        (np.zeros((2, 2, 5, 5)), [], "Crop the cells|crop 4 x 4"),
        (np.zeros((2, 2, 64, 80)), [], "Each image must be one cell"),
        (np.zeros((2, 2, 2, 2)), [], "--factor 8"),
        (np.zeros((2, 3, 4, 4)), ["--channels", "dna,nfkb"], "has 3 channels, and 2 names"),
        (np.zeros((2, 2, 4, 4)), ["--channels", "dna,actin"], "for nfkb"),
        (np.zeros((2, 2, 4, 4)), ["--scale", "percentiles"], "Is it blank"),
        (np.full((2, 2, 4, 4), np.nan), [], "not finite"),
        (np.zeros((2, 2, 4, 4)), ["--n-solutions", "2"], "n_solutions 2"),
    ],
)
def test_files_that_do_not_fit_are_refused(model, tmp_path, images, arguments, said) -> None:
    names = [f"c{i}" for i in range(images.shape[1])]
    names[:2] = SCALE.channels
    path = write(tmp_path / "x.ome.tif", images, names)
    with pytest.raises(InputError, match=said):
        run(model, path, "--out", tmp_path / "h.ome.tif", *arguments)
    assert not list(tmp_path.glob("h.*"))


def test_pictures_and_wrong_names_are_refused(model, low, tmp_path) -> None:
    rgb = tmp_path / "rgb.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(rgb)
    with pytest.raises(InputError, match="3 channels and does not name them.*wants 2"):
        run(model, rgb, "--out", tmp_path / "h.ome.tif")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "cell1_dna.png")
    with pytest.raises(InputError, match="file for nfkb"):
        run(model, tmp_path / "cell1_dna.png", "--out", tmp_path / "h.ome.tif")
    path = write(tmp_path / "low.ome.tif", low)
    with pytest.raises(InputError, match=r"ends in \.ome\.tif"):
        run(model, path, "--out", tmp_path / "h.tif")
    with pytest.raises(InputError, match="folder .*none does not exist"):
        run(tmp_path / "none", path, "--out", tmp_path / "h.ome.tif")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        run(model, tmp_path / "empty", "--out", tmp_path / "h.ome.tif")
    with pytest.raises(InputError, match="no settings for rls at factor 2"):
        run(model, path, "--out", tmp_path / "h.ome.tif", factor=2)


def test_the_picture_shows_the_least_trusted() -> None:
    trust = np.random.default_rng(0).permutation(np.linspace(0.001, 1, 50))
    shown = choose_rows(trust)
    assert len(shown) == 12 and len(set(shown)) == 12
    assert set(np.argsort(trust)[:4]) <= set(shown)
    assert trust[shown].max() == 1.0
    assert list(choose_rows(np.full(3, np.nan))) == [0, 1, 2]


def test_learned_cells_are_no_reference(model, tmp_path) -> None:
    arguments = ["--model", model, "--high-resolution", model / "hr.ome.tif", "--factors", FACTOR,
                 "--method", "rls", "--search", "rls", "--splits", "gan"]  # fmt: skip
    with pytest.raises(InputError, match="choose from .classifier., .tune."):
        measure_trust.main([*map(str, arguments), *SHARED, *SEARCH, "--output", str(tmp_path)])


def test_the_models_that_come_with_the_program_fit_its_settings() -> None:
    folders = [path.parent for path in (ROOT / "models").glob("*/search.json")]
    assert folders
    for folder in folders:
        trust = json.loads((folder / "trust.json").read_text())["factors"]
        for factor, methods in json.loads((folder / "search.json").read_text())["factors"].items():
            for method, block in methods.items():
                own = load_method(block["search"]).Settings
                values = {k: v for k, v in block.items() if k not in ("search", "super_resolve")}
                assert as_flags(own(**values)), f"{folder} {factor} {method}"
                assert trust[factor][method]["n"] >= 100
