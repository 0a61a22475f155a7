"""Test D: one bicubic operator, equal to Pillow's, with its adjoint."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rls.runtime.errors import InputError
from rls.search.forward import downscale, interpolate_noaa, upscale

FACTORS = (2, 3, 4, 8, 16, 32)


def random_images(size: int, seed: int = 0, n: int = 2, c: int = 2) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).random((n, c, size, size), dtype=np.float32))


def pillow(image: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size, size), Image.BICUBIC))


@pytest.mark.parametrize("border", ["renormalize", "reflect"])
@pytest.mark.parametrize("factor", FACTORS)
def test_a_constant_stays_the_constant(factor: int, border: str) -> None:
    size = 96 if factor == 3 else 128
    low = downscale(size, factor, border)(torch.full((1, 3, size, size), 0.37))
    assert low.shape == (1, 3, size // factor, size // factor)
    assert torch.allclose(low, torch.tensor(0.37), atol=1e-6)


@pytest.mark.parametrize("factor", FACTORS)
def test_d_equals_pillow_inside_and_at_the_border(factor: int) -> None:
    size = 96
    x = random_images(size)
    low = downscale(size, factor, "renormalize")(x).numpy()
    expected = np.stack([[pillow(c, size // factor) for c in image] for image in x.numpy()])
    assert np.abs(low - expected).max() < 1e-5


@pytest.mark.parametrize("factor", [2, 8, 16])
def test_the_enlargement_equals_pillow(factor: int) -> None:
    x = random_images(8)
    high = upscale(8, factor)(x).numpy()
    expected = np.stack([[pillow(c, 8 * factor) for c in image] for image in x.numpy()])
    assert np.abs(high - expected).max() < 1e-5


def test_the_two_borders_agree_where_no_tap_leaves_the_image() -> None:
    x = random_images(128)
    pillow_like = downscale(128, 4, "renormalize")(x)
    pulse_like = downscale(128, 4, "reflect")(x)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert torch.allclose(pillow_like[inner], pulse_like[inner], atol=1e-6)
    assert not torch.allclose(pillow_like, pulse_like, atol=1e-3)


@pytest.mark.parametrize("factor", FACTORS)
def test_brgm_s_operator_equals_torch_without_antialiasing(factor: int) -> None:
    x = random_images(96)
    low = interpolate_noaa(96, factor)(x)
    size = (96 // factor, 96 // factor)
    expected = torch.nn.functional.interpolate(x, size=size, mode="bicubic", align_corners=False)
    assert torch.allclose(low, expected, atol=1e-5)


def test_brgm_s_operator_is_blind_to_most_pixels_and_d_to_none() -> None:
    seen = interpolate_noaa(128, 32).rows.ne(0).any(0)
    assert int(seen.sum()) == 4 * 4
    assert int(downscale(128, 32, "renormalize").rows.ne(0).any(0).sum()) == 128
    with pytest.raises(InputError, match="33"):
        interpolate_noaa(128, 33)


def test_images_need_not_be_square() -> None:
    x = torch.rand(1, 1, 24, 40)
    low = downscale((24, 40), 8, "renormalize")(x)
    expected = np.asarray(Image.fromarray(x[0, 0].numpy()).resize((5, 3), Image.BICUBIC))
    assert np.abs(low[0, 0].numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("border", ["renormalize", "reflect"])
def test_the_gradient_through_d_is_the_adjoint(border: str) -> None:
    d = downscale(64, 8, border).double()
    x = torch.rand(2, 2, 64, 64, dtype=torch.float64, requires_grad=True)
    y = torch.rand(2, 2, 8, 8, dtype=torch.float64)
    product = (d(x) * y).sum()
    (gradient,) = torch.autograd.grad(product, x)
    assert torch.isclose(product, (x * gradient).sum(), rtol=1e-12)
    assert torch.allclose(gradient, d.rows.T @ y @ d.columns)
    assert torch.autograd.gradcheck(
        downscale(8, 2, "reflect"), torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    )


def test_one_image_gives_the_same_bits_wherever_it_stands_in_the_batch() -> None:
    d = downscale(32, 8, "renormalize")
    x = random_images(32, n=5)
    low = d(x)
    assert torch.equal(d(x.flip(0)).flip(0), low)
    assert torch.equal(d(x[2:3].expand(5, -1, -1, -1))[4], low[2])


@pytest.mark.parametrize(("size", "factor"), [(100, 8), (128, 64), (128, 1)])
def test_a_factor_that_does_not_fit_is_refused(size: int, factor: int) -> None:
    with pytest.raises(InputError, match=str(factor)):
        downscale(size, factor, "renormalize")


def test_an_image_too_small_to_be_mirrored_is_refused() -> None:
    with pytest.raises(InputError, match="mirrored"):
        downscale(32, 32, "reflect")


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="64 x 64"):
        downscale(32, 8, "renormalize")(torch.zeros(1, 1, 64, 64))


@pytest.mark.skipif("RLS_GOLDEN" not in os.environ, reason="RLS_GOLDEN names no folder")
@pytest.mark.parametrize("factor", [4, 8, 16, 32])
def test_reflect_equals_the_published_pulse_operator(factor: int) -> None:
    golden = np.load(Path(os.environ["RLS_GOLDEN"]) / "pulse_bicubic.npz")
    d = downscale(128, factor, "reflect")
    for name in ("x", "x_smooth"):
        low = d(torch.as_tensor(golden[name])).numpy()
        assert np.abs(low - golden[f"pulse_{name}_f{factor}"]).max() < 1e-5
    if factor == 16:
        x = torch.as_tensor(golden["x"]).requires_grad_()
        (gradient,) = torch.autograd.grad(d(x), x, torch.as_tensor(golden["cot_f16"]))
        assert np.abs(gradient.numpy() - golden["grad_x_f16"]).max() < 1e-5


@pytest.mark.parametrize("factor", [4, 8, 16, 32])
def test_the_operator_without_antialiasing_equals_the_published_one(
    golden: Path, factor: int
) -> None:
    arrays = np.load(golden / "pulse_bicubic.npz")
    d = interpolate_noaa(128, factor)
    for name in ("x", "x_smooth"):
        low = d(torch.as_tensor(arrays[name])).numpy()
        assert np.abs(low - arrays[f"torch_plain_{name}_f{factor}"]).max() < 1e-5
    brgm = np.load(golden / "brgm.npz")
    if factor > 4:
        low = d(torch.as_tensor(brgm["x"])).numpy()
        assert np.abs(low - brgm[f"forward_x_f{factor}"]).max() < 1e-5
