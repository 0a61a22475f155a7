"""D of every kind: equal to an independent computation, its adjoint, its borders and its shift."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage, signal

from rls.runtime.errors import InputError
from rls.search.forward import forward_operator
from rls.search.forward_model import (
    ForwardModel,
    OperatorSettings,
    blur_of_chain,
    faults,
    kept_under,
    model_of,
)

HR_UM = 0.5
SHAPES = [(32, 32), (24, 40)]


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def model(folder: Path, operator: str, weights: np.ndarray | None = None, **values) -> ForwardModel:
    """Return a choice; ``weights`` are written as the file of a PSF or kernel."""
    given = {"operator": operator, **values}
    if weights is not None:
        path = folder / f"{operator}.tif"
        tifffile.imwrite(path, weights.astype(np.float32), photometric="minisblack")
        given |= {"kernel_file" if operator == "kernel" else "psf_file": str(path)}
    elif operator == "psf_binning":
        given["psf_sd_um"] = 0.7
    return model_of(OperatorSettings(**given))


def kinds(folder: Path, **values) -> dict[str, ForwardModel]:
    """Return one choice of every kind, a lopsided PSF and kernel among them."""
    return {
        "bicubic": model(folder, "bicubic", **values),
        "binning": model(folder, "binning", **values),
        "gaussian": model(folder, "psf_binning", **values),
        "measured": model(folder, "psf_binning", array(5, 3, seed=1), **values),
        "kernel": model(folder, "kernel", array(6, 8, seed=2), **values),
    }


KINDS = ("bicubic", "binning", "gaussian", "measured", "kernel")


def low(chosen: ForwardModel, image: np.ndarray, factor: int = 4) -> np.ndarray:
    d = forward_operator(chosen, image.shape[-2:], factor, HR_UM)
    return d(torch.as_tensor(image).expand(1, 1, *image.shape[-2:]))[0, 0].numpy()


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_binning_is_the_mean_of_blocks(tmp_path: Path, factor: int) -> None:
    x = array(24, 48)
    blocks = x.reshape(24 // factor, factor, 48 // factor, factor).mean(axis=(1, 3))
    assert np.allclose(low(model(tmp_path, "binning"), x, factor), blocks, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_gaussian_psf_is_scipy_s_blur_before_the_mean_of_blocks(tmp_path, shape) -> None:
    x = array(*shape)
    blurred = ndimage.gaussian_filter(x, 0.7 / HR_UM, mode="mirror", truncate=4.0)
    blocks = blurred.reshape(shape[0] // 4, 4, shape[1] // 4, 4).mean(axis=(1, 3))
    found = low(model(tmp_path, "psf_binning", border="reflect"), x)
    assert np.allclose(found, blocks, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_measured_psf_is_a_convolution_before_the_mean_of_blocks(tmp_path, shape) -> None:
    x, psf = array(*shape), array(5, 3, seed=1)
    padded = np.pad(x, 6, mode="reflect")
    blurred = signal.convolve(padded, psf / psf.sum(), mode="same")[6:-6, 6:-6]
    blocks = blurred.reshape(shape[0] // 4, 4, shape[1] // 4, 4).mean(axis=(1, 3))
    assert np.allclose(
        low(model(tmp_path, "psf_binning", psf, border="reflect"), x), blocks, atol=1e-6
    )


@pytest.mark.parametrize("border", ["renormalize", "reflect"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_kernel_equals_explicit_loops(tmp_path, shape, border) -> None:
    x, weights = array(*shape), array(6, 8, seed=2)
    expected = np.zeros((shape[0] // 4, shape[1] // 4))
    for i, j in np.ndindex(*expected.shape):
        total = 0.0
        for k, m in np.ndindex(6, 8):
            # The middle of 6 taps lies in the middle of 4 pixels, so the first lies 1 before them.
            y, z = 4 * i - 1 + k, 4 * j - 2 + m
            inside = 0 <= y < shape[0] and 0 <= z < shape[1]
            if border == "renormalize" and not inside:
                continue
            y, z = (abs(p) if p < n else 2 * n - 2 - p for p, n in zip((y, z), shape, strict=True))
            expected[i, j] += weights[k, m] * x[y, z]
            total += weights[k, m]
        expected[i, j] /= total
    found = low(model(tmp_path, "kernel", weights, border=border), x)
    assert np.allclose(found, expected, atol=1e-6)


def test_a_gaussian_in_a_file_is_the_gaussian_of_the_setting(tmp_path: Path) -> None:
    line = np.exp(-0.5 * (np.arange(-6, 7) / 1.4) ** 2)
    for shift in ((0.0, 0.0), (0.3, -1.6)):
        for border in ("renormalize", "reflect"):
            given = {"shift_px": shift, "border": border}
            separable = model(tmp_path, "psf_binning", **given)
            measured = model(tmp_path, "psf_binning", np.outer(line, line), **given)
            assert np.allclose(
                low(measured, array(24, 40)), low(separable, array(24, 40)), atol=2e-6
            )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("border", ["renormalize", "reflect"])
def test_the_gradient_is_the_adjoint_on_square_and_other_images(tmp_path, kind, shape, border):
    chosen = kinds(tmp_path, border=border, shift_px=(0.4, -1.25))[kind]
    d = forward_operator(replace(chosen, blur_sd_px=0.6), shape, 4, HR_UM)
    x = torch.as_tensor(array(2, 3, *shape)).requires_grad_()
    v = torch.as_tensor(array(2, 3, shape[0] // 4, shape[1] // 4, seed=4))
    product = (d(x) * v).sum()
    (adjoint,) = torch.autograd.grad(product, x)
    u = torch.as_tensor(array(2, 3, *shape, seed=5))
    assert torch.isclose((d(u) * v).sum(), (u * adjoint).sum(), rtol=1e-12)
    assert torch.autograd.gradcheck(d, torch.rand(1, 1, *shape).double().requires_grad_())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("border", ["renormalize", "reflect"])
def test_a_constant_stays_the_constant_at_every_shift(tmp_path, kind, border) -> None:
    for shift in ((0.0, 0.0), (0.5, -2.0), (-1.7, 3.2)):
        chosen = kinds(tmp_path, border=border, shift_px=shift)[kind]
        for blur in (0.0, 0.8):
            found = low(replace(chosen, blur_sd_px=blur), np.full((24, 40), 0.37))
            assert np.allclose(found, 0.37, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shift_of_whole_pixels_moves_the_image(tmp_path: Path, kind: str) -> None:
    x = array(48, 64)
    moved = low(kinds(tmp_path, shift_px=(3.0, -2.0))[kind], x)
    rolled = low(kinds(tmp_path)[kind], np.roll(x, (3, -2), axis=(0, 1)))
    assert np.allclose(moved[3:-3, 3:-3], rolled[3:-3, 3:-3], atol=1e-6)
    assert not np.allclose(moved, low(kinds(tmp_path)[kind], x), atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shift_of_part_of_a_pixel_moves_a_band_limited_image(tmp_path, kind) -> None:
    y, x = np.mgrid[:64, :64] / 64.0

    def wave(dy: float, dx: float) -> np.ndarray:
        return np.sin(2 * np.pi * 2 * (y - dy / 64)) + np.cos(2 * np.pi * 3 * (x - dx / 64))

    found = low(kinds(tmp_path, shift_px=(0.4, -1.3))[kind], wave(0, 0))
    expected = low(kinds(tmp_path)[kind], wave(0.4, -1.3))
    # Sharing a tap between two pixels smooths a wave of 21 px by 1 % at most.
    assert np.abs(found - expected)[3:-3, 3:-3].max() < 0.02
    assert np.abs(low(kinds(tmp_path)[kind], wave(0, 0)) - expected)[3:-3, 3:-3].max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_blur_that_follows_d_is_the_chain_s(tmp_path: Path, kind: str) -> None:
    chosen, x = kinds(tmp_path)[kind], array(32, 40)
    expected = ndimage.gaussian_filter(low(chosen, x), 1.0, mode="nearest")
    blur = blur_of_chain(["salt_and_pepper:0.05", "gaussian_blur:1.0"])
    assert np.allclose(low(replace(chosen, blur_sd_px=blur), x), expected, atol=1e-6)
    assert blur_of_chain(["gaussian_noise:0.1"]) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_float32_and_double_agree_and_bits_repeat(tmp_path: Path, kind: str) -> None:
    d = forward_operator(kinds(tmp_path)[kind], 32, 4, HR_UM)
    x = torch.rand(3, 2, 32, 32)
    assert d(x).dtype == torch.float32 and d(x.bfloat16()).dtype == torch.float32
    assert torch.allclose(d(x.double()).float(), d(x), atol=1e-6)
    assert torch.equal(d(x), d(x))


def test_the_text_gives_the_choice_back_and_a_path_is_no_part_of_it(tmp_path: Path) -> None:
    for chosen in kinds(tmp_path, shift_px=(0.5, -1.0), border="reflect").values():
        again = ForwardModel.from_text(chosen.to_text())
        assert again == chosen and again.file == chosen.file
        moved = replace(chosen, file="elsewhere.tif")
        assert moved == chosen
        assert moved.to_text(with_file=False) == chosen.to_text(with_file=False)
    assert ForwardModel().to_text() == '{"operator": "bicubic", "border": "renormalize"}'
    with pytest.raises(InputError, match="Run degrade"):
        ForwardModel.from_text("renormalize")


def test_a_psf_much_larger_than_the_image_costs_no_more_than_what_lies_on_it(tmp_path) -> None:
    x, line = array(24, 40), np.exp(-0.5 * (np.arange(-150, 151) / 6.0) ** 2)
    chosen = model(tmp_path, "psf_binning", np.outer(line, line), shift_px=(1.25, -3.0))
    d = forward_operator(chosen, x.shape, 4, HR_UM)
    assert max(d.extend_rows.shape[0], d.extend_columns.shape[0]) < 3 * 40
    psf = np.outer(line, line) / line.sum() ** 2
    moved = ndimage.shift(np.pad(x, 60), (1.25, -3.0), order=1)
    there = ndimage.shift(np.pad(np.ones_like(x), 60), (1.25, -3.0), order=1)
    blurred, share = (
        signal.fftconvolve(one, psf, "same")[60:-60, 60:-60] for one in (moved, there)
    )
    blocks = [one.reshape(6, 4, 10, 4).mean(axis=(1, 3)) for one in (blurred, share)]
    assert np.allclose(low(chosen, x), blocks[0] / blocks[1], atol=1e-5)


def test_changes_of_the_operator_leave_no_psf_of_another_one() -> None:
    said = {"operator": "psf_binning", "psf_sd_um": 1.2, "border": "reflect"}
    rest = {"operator": "psf_binning", "border": "reflect"}
    assert kept_under(said, {}) == kept_under(said, {"operator": "psf_binning"}) == said
    assert kept_under(said, {"border": "renormalize", "psf_file": None}) == said
    for changes in ({"operator": "binning"}, {"psf_file": "a.tif"}, {"psf_sd_um": 2.0}):
        assert kept_under(said, changes) == rest
    assert kept_under({"batch_size": 4}, {"operator": "binning"}) == {"batch_size": 4}


def test_what_names_a_d_holds_the_size_of_a_pixel_where_the_psf_needs_it(tmp_path) -> None:
    found = kinds(tmp_path)
    assert found["gaussian"].identity(0.5) != found["gaussian"].identity(0.65)
    for kind in ("bicubic", "measured"):
        assert found[kind].identity(0.5) == found[kind].identity(0.65)
        assert str(tmp_path) not in found[kind].identity(0.5)


def test_a_file_that_changed_is_refused_and_a_scaled_one_is_the_same(tmp_path: Path) -> None:
    weights = array(5, 5)
    chosen = model(tmp_path, "psf_binning", weights)
    assert model(tmp_path, "psf_binning", weights * 8.0) == chosen
    low(chosen, array(16, 16))
    tifffile.imwrite(chosen.file, array(5, 5, seed=9).astype(np.float32))
    with pytest.raises(InputError, match="other numbers"):
        low(chosen, array(16, 16))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"operator": "psf_binning"}, "neither"),
        ({"operator": "psf_binning", "psf_sd_um": 1.0, "psf_file": "a.tif"}, "both"),
        ({"operator": "kernel"}, "no kernel_file"),
        ({"operator": "binning", "psf_sd_um": 1.0}, "does not use it"),
        ({"operator": "bicubic", "kernel_file": "a.tif"}, "does not use it"),
        ({"operator": "psf_binning", "psf_sd_um": -1.0}, "0 um or more"),
        ({"shift_px": (1.0,)}, "two numbers"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values, said) -> None:
    assert any(said in fault for fault in faults(values))
    with pytest.raises(InputError, match=said):
        model_of(OperatorSettings(**values))


def test_weights_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="even"):
        low(model(tmp_path, "kernel", array(5, 5)), array(16, 16))
    with pytest.raises(InputError, match="sum"):
        model(tmp_path, "kernel", np.zeros((4, 4)))
    with pytest.raises(InputError, match=r"moved\.tif of a PSF or kernel does not exist"):
        model_of(OperatorSettings(operator="kernel", kernel_file=str(tmp_path / "moved.tif")))
    with pytest.raises(InputError, match="not finite"):
        model(tmp_path, "kernel", np.where(array(4, 4) > 0.5, np.nan, 1.0))
    with pytest.raises(InputError, match="expected one"):
        model(tmp_path, "kernel", array(3, 4, 4))
    with pytest.raises(InputError, match="wider than the whole image"):
        low(model_of(OperatorSettings(operator="psf_binning", psf_sd_um=330.0)), array(16, 16))
    with pytest.raises(InputError, match="nothing of an image"):
        low(model(tmp_path, "binning", shift_px=(40.0, 0.0)), array(16, 16))
    with pytest.raises(InputError, match="nothing of an image"):
        low(model(tmp_path, "psf_binning", array(3, 3), shift_px=(40.0, 0.0)), array(16, 16))
