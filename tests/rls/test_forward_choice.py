"""The D of a search: taken from the images, or asked for by name; a mismatch is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rls.degrade import main as degrade
from rls.io import Intensity, read_stack, write_intensity, write_stack
from rls.pretrained.forwards import Settings, made_by, searched_by
from rls.pretrained.trust import is_of_same_forward
from rls.runtime.errors import InputError
from rls.search.forward import forward_operator
from rls.search.forward_model import ForwardModel, model_of_table
from rls.search.methods import load_method
from rls.search.settings import forward_choice
from rls.search.setup import choose_forward
from rls.super_resolve import main
from tests.rls.test_super_resolve import INTENSITY, arguments, write_models

HR_UM = 0.5
BINNED = ForwardModel("psf_binning", psf_sd_um=0.8, shift_px=(0.5, 0.0))
FLAGS = ["--operator", "psf_binning", "--psf-sd-um", "0.8", "--shift-px", "0.5", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells that psf_binning and a blur reduced, with the networks that search them."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("run")
    write_intensity(path / "intensity.json", INTENSITY, written_by="test")
    images = np.random.default_rng(0).random((5, 2, 8, 8), dtype=np.float32)
    table = pd.DataFrame({"image_id": list("abcde"), "split": "evaluation"})
    write_stack(path / "high.ome.tif", INTENSITY.to_counts(images), table,
                channels=INTENSITY.channels, pixel_size_um=HR_UM, written_by="test")  # fmt: skip
    given = ["--high-resolution", str(path / "high.ome.tif")]
    given += ["--intensity", str(path / "intensity.json"), "--factor", "4", "--quantise", "none"]
    given += ["--degradation", "blurred", "--seed", "1", "--threads", "1", *FLAGS]
    chain = ["--chain", "gaussian_noise:0.01", "gaussian_blur:0.7"]
    degrade([*given, *chain, "--output", str(path / "low.ome.tif")])
    write_models(path, 8, 2)
    return path


@pytest.mark.parametrize(
    ("shared", "own", "expected"),
    [
        ("as_degraded", "shared", BINNED),
        ("bicubic", "shared", ForwardModel()),
        ("bicubic", "as_degraded", BINNED),
        ("as_degraded", "bicubic", ForwardModel()),
        ("as_degraded", "with_blur",
         ForwardModel("psf_binning", psf_sd_um=0.8, shift_px=(0.5, 0.0), blur_sd_px=0.7)),
    ],
)  # fmt: skip
def test_headers_name_the_d_of_the_images_and_that_of_the_search(
    folder, tmp_path, shared, own, expected
) -> None:
    low = read_stack(folder / "low.ome.tif")
    assert model_of_table(low.table, "low") == BINNED and "psf_binning" in low.description
    output = tmp_path / "rls.ome.tif"
    main(arguments(folder, output, forward=shared, forward_op=own))
    found = read_stack(output)
    assert {ForwardModel.from_text(text) for text in found.table["search_forward"]} == {expected}
    assert {ForwardModel.from_text(text) for text in found.table["forward"]} == {BINNED}
    assert set(found.table["likelihood"]) == {"laplace"}
    assert expected.describe() in found.description
    # The loss that the table reports is that of the D it names.
    d = forward_operator(expected, 8, 4, HR_UM)
    x = torch.as_tensor(INTENSITY.to_unit(found.images))
    y = torch.as_tensor(INTENSITY.to_unit(low.images))
    loss = (d(x) - y).abs().mean(dim=(1, 2, 3)).numpy()
    assert np.allclose(found.table["loss_fidelity"], loss, atol=1e-5)


def test_older_tables_name_the_border_alone_and_others_are_refused() -> None:
    older = pd.DataFrame({"border": ["reflect"] * 2})
    assert choose_forward("as_degraded", older, Path("low")) == ForwardModel(border="reflect")
    assert choose_forward("bicubic", older, Path("low")) == ForwardModel(border="reflect")
    for table in (pd.DataFrame({"well": [1]}), pd.DataFrame({"border": ["reflect", "other"]})):
        with pytest.raises(InputError, match="does not name one D"):
            choose_forward("as_degraded", table, Path("low"))


def user(**values) -> Settings:
    given = {"batch_size": 1, "precision": "float32", "noise": "shared", "seed": 1}
    return Settings(**given, device="cpu", threads=1, **values)


def test_a_user_s_flags_must_be_the_d_that_a_file_names(folder: Path) -> None:
    files = [folder / "low.ome.tif"]
    with pytest.raises(InputError, match=r"psf_binning .* and the search is told bicubic"):
        made_by(files, user())
    told = user(operator="psf_binning", psf_sd_um=0.8, shift_px=(0.5, 0.0))
    assert made_by(files, told) == BINNED
    # By name any D may be used.
    assert made_by(files, user(forward="as_told")) == ForwardModel()
    assert made_by([folder / "cells.tif"], user()) == ForwardModel()
    # A folder is asked for each of its files.
    with pytest.raises(InputError, match=r"low\.ome\.tif was made by psf_binning"):
        made_by([folder], user())


def test_a_method_s_own_choice_comes_before_the_shared_one() -> None:
    def own(choice: str):
        return type("Own", (), {"forward_op": choice})()

    assert searched_by(BINNED, "as_degraded", own("shared")) == BINNED
    assert searched_by(BINNED, "bicubic", own("shared")) == ForwardModel()
    assert searched_by(BINNED, "as_degraded", own("bicubic")) == ForwardModel()
    assert searched_by(BINNED, "bicubic", own("as_degraded")) == BINNED
    assert searched_by(BINNED, "as_degraded", own("interpolate_noaa")) == BINNED
    # A trained network is told no D: its images are those of the D that made y.
    for choice in ("trained", "any"):
        assert searched_by(BINNED, "bicubic", own(choice)) == BINNED
        assert forward_choice(choice, "bicubic") == "as_degraded"
    with pytest.raises(InputError, match="with_blur"):
        searched_by(BINNED, "as_degraded", own("with_blur"))


def test_trust_of_another_d_is_unknown(capsys) -> None:
    older = {"settings": {"border": "reflect"}}
    assert is_of_same_forward(older, ForwardModel(border="reflect"))
    assert not is_of_same_forward(older, BINNED)
    assert "trust: unknown" in capsys.readouterr().out
    assert is_of_same_forward({**older, "forward": BINNED.to_text()}, BINNED)


def test_a_network_of_another_d_is_refused_unless_any_is_asked_for(tmp_path: Path) -> None:
    module = load_method("pix2pix")
    check = module._check_forward  # the rest of the search needs a trained network
    problem = type("P", (), {"forward": type("F", (), {"model": BINNED})()})()
    check(tmp_path, {"forward": BINNED.to_text()}, problem)
    for header in ({"forward": ForwardModel().to_text()}, {"border": "renormalize"}, {}):
        with pytest.raises(InputError, match="trained on images of bicubic"):
            check(tmp_path, header, problem)


LIKELIHOOD = {
    "gaussian": {"noise_sd": "0.05"},
    "poisson_gaussian": {"gain": "0.5", "read_noise": "3", "camera_offset": "20"},
}


@pytest.mark.parametrize("name", LIKELIHOOD)
def test_the_likelihood_stands_in_the_result_and_in_its_loss(folder, tmp_path, name) -> None:
    output = tmp_path / "rls.ome.tif"
    main(arguments(folder, output, likelihood=name, **LIKELIHOOD[name]))
    found = read_stack(output)
    assert set(found.table["likelihood"]) == {name}
    scale: Intensity = INTENSITY
    low = read_stack(folder / "low.ome.tif").images.astype(np.float64)
    x = torch.as_tensor(scale.to_unit(found.images))
    d = forward_operator(BINNED, 8, 4, HR_UM)
    r = (d(x).numpy() - scale.to_unit(low)).astype(np.float64)
    span = (np.array(scale.white) - np.array(scale.black))[:, None, None]
    if name == "gaussian":
        expected = (r**2 / (2 * 0.05)).mean(axis=(1, 2, 3))
    else:
        variance = (0.5 * np.maximum(low - 20.0, 0) + 3.0**2) / span**2
        sd = np.sqrt(variance.mean(axis=(1, 2, 3)))
        expected = (r**2 / (2 * variance)).mean(axis=(1, 2, 3)) * sd
    assert np.allclose(found.table["loss_likelihood"], expected, rtol=1e-3)
    assert np.allclose(found.table["loss_fidelity"], np.abs(r).mean(axis=(1, 2, 3)), atol=1e-5)
    total = expected - 5.0e-5 * found.table["log_prior"] + 0.01 * found.table["loss_cross"]
    assert np.allclose(found.table["loss_total"], total, rtol=1e-3)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"likelihood": "gaussian"}, "noise_sd"),
        ({"likelihood": "gaussian", "noise_sd": "0"}, "noise_sd 0.0, expected more than 0"),
        ({"likelihood": "poisson_gaussian", "gain": "1"}, "read_noise"),
        ({"noise_sd": "0.1"}, "does not use"),
        ({"camera_offset": "20"}, "does not use"),
    ],
)
def test_noise_settings_that_do_not_fit_the_likelihood_are_refused(folder, tmp_path, values, said):
    with pytest.raises(InputError, match=said):
        main(arguments(folder, tmp_path / "rls.ome.tif", **values))
