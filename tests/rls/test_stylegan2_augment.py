"""Augmentation of images: the reference program, known results of each part, and derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rls.stylegan2.augment import apply, band_filters, filter_bands
from rls.stylegan2.augment_draws import Draws, draw
from rls.stylegan2.augment_warp import SYM6
from rls.stylegan2.pipelines import PIPELINES

SINGLE = sorted({name for names in PIPELINES.values() for name in names} - {"noise"})


def stream(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("percentile", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("name", [*SINGLE, "bgc"])
def test_augmentations_equal_the_reference_program(golden, name, percentile):
    arrays = np.load(golden / "augment_bgc.npz")
    x = torch.from_numpy(arrays["x"])
    names = PIPELINES.get(name, (name,)) if name == "bgc" else (name,)
    drawn = draw(tuple(x.shape), 1.0, names, stream(), percentile=percentile)
    expected = torch.from_numpy(arrays[f"{name}_p{round(10 * percentile):02d}"])
    torch.testing.assert_close(apply(x, drawn), expected, atol=1e-4, rtol=0)


def test_one_channel_and_the_identity_equal_the_reference_program(golden):
    arrays = np.load(golden / "augment_bgc.npz")
    x = torch.from_numpy(arrays["x_gray"])
    drawn = draw(tuple(x.shape), 1.0, PIPELINES["bgc"], stream(), percentile=0.8)
    expected = torch.from_numpy(arrays["bgc_gray_p08"])
    torch.testing.assert_close(apply(x, drawn), expected, atol=1e-4, rtol=0)
    x = torch.from_numpy(arrays["x"])
    expected = torch.from_numpy(arrays["bgc_p0_identity"])
    found = apply(x, draw(tuple(x.shape), 0.0, PIPELINES["bgc"], stream()))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_filters_equal_the_reference_program(golden):
    arrays = np.load(golden / "augment_bgc.npz")
    np.testing.assert_allclose(band_filters().numpy(), arrays["Hz_fbank"], atol=1e-7, rtol=0)
    taps = np.array(SYM6) / sum(SYM6)
    np.testing.assert_allclose(taps, arrays["Hz_geom"], atol=1e-7, rtol=0)


def test_nothing_to_do_gives_the_images_themselves():
    x = torch.randn(2, 3, 8, 8)
    assert apply(x, Draws()) is x
    assert apply(x, draw((2, 3, 8, 8), 0.7, PIPELINES["none"], stream())) is x


@pytest.mark.parametrize("pipeline", ["bgc", "bgcfnc"])
def test_a_process_that_takes_its_rows_of_the_draws_gets_its_rows_of_the_images(pipeline):
    x = torch.randn(6, 3, 16, 16)
    draws = draw((6, 3, 16, 16), 0.7, PIPELINES[pipeline], stream())
    whole = apply(x, draws)
    parts = torch.cat([apply(x[rows], draws[rows]) for rows in (slice(0, 2), slice(2, 6))])
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=0)


def test_colours_mix_the_channels_of_each_pixel():
    x = torch.randn(3, 4, 5, 6)
    draws = draw((3, 4, 5, 6), 1.0, PIPELINES["color"], stream())
    matrix, offset = draws.colours[:, :, :4], draws.colours[:, :, 4]
    pixel = matrix[1] @ x[1, :, 2, 3] + offset[1]
    torch.testing.assert_close(apply(x, draws)[1, :, 2, 3], pixel)


def test_bands_sum_to_the_identity_and_separate_frequencies():
    x = torch.randn(2, 2, 20, 27)  # shorter than the 43 taps, so mirrored more than once
    torch.testing.assert_close(filter_bands(x, torch.ones(2, 4)), x, atol=1e-6, rtol=0)
    checks = torch.ones(1, 1, 16, 16)
    checks[..., ::2, :] *= -1
    checks[..., :, ::2] *= -1  # the highest frequency there is
    for band in range(4):
        gains = torch.eye(4)[band : band + 1]
        flat = filter_bands(torch.ones(1, 1, 16, 16), gains)
        assert flat.mean().item() == pytest.approx(float(band == 0), abs=1e-5)
        fine = filter_bands(checks, gains).abs().mean().item()
        assert fine == pytest.approx(float(band == 3), abs=1e-5)


def test_a_cut_out_box_is_grey_and_the_rest_is_kept():
    x = torch.rand(1, 2, 16, 16) + 0.5
    y = apply(x, Draws(cutouts=torch.tensor([[0.75, 0.5, 0.5]])))
    assert (y[..., 4:12, 8:] == 0).all()
    y[..., 4:12, 8:] = x[..., 4:12, 8:]
    assert torch.equal(x, y)


def test_noise_is_added():
    x = torch.randn(2, 3, 8, 8)
    draws = draw((2, 3, 8, 8), 1.0, PIPELINES["noise"], stream())
    torch.testing.assert_close(apply(x, draws) - x, draws.noise, atol=1e-6, rtol=0)
    assert draws.noise.any()


@pytest.mark.parametrize("c", [1, 3])
def test_first_and_second_derivatives_with_respect_to_images(c):
    draws = draw((2, c, 8, 8), 0.9, PIPELINES["bgcfnc"], stream())
    x = torch.randn(2, c, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: apply(x, draws), (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: apply(x, draws) ** 2, (x,), fast_mode=True)
