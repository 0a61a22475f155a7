"""Geometric augmentation: identity, known transformations, probabilities, derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import erfinv

from rls.stylegan2.augment import augment, random_transforms, warp


def smooth_images(n=2, c=2, side=24, seed=1):
    """Low-pass noise: what resampling can keep."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn((n, c, 6, 6), generator=random)
    return torch.nn.functional.interpolate(
        coarse, size=(side, side), mode="bicubic", align_corners=False
    )


def affine(xx=1.0, xy=0.0, yx=0.0, yy=1.0, x=0.0, y=0.0):
    return torch.tensor([[xx, xy, x], [yx, yy, y], [0.0, 0.0, 1.0]])


def rotation(angle):
    return affine(math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle))


def test_probability_zero_is_the_identity():
    x = smooth_images()
    assert augment(x, 0.0, torch.Generator().manual_seed(1)) is x
    matrices = random_transforms(5, (24, 24), 0.0, torch.Generator().manual_seed(1))
    assert torch.equal(matrices, torch.eye(3).expand(5, 3, 3))


def test_the_identity_matrix_gives_the_image_back():
    x = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(warp(x, torch.eye(3).expand(2, 3, 3)), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_equal_rot90(quarters):
    x = smooth_images(side=33)
    y = warp(x, rotation(quarters * math.pi / 2).expand(2, 3, 3))
    errors = [(y - torch.rot90(x, k, (2, 3))).abs().mean() / x.abs().mean() for k in range(4)]
    # sym6 is not quite symmetric: a turned image is off by a small part of a pixel, as in ADA.
    assert errors.pop(quarters) < 0.04
    assert min(errors) > 0.5


def test_a_whole_pixel_shift_moves_the_pixels():
    x = torch.randn(1, 1, 16, 16)
    y = warp(x, affine(x=3.0, y=-2.0)[None])
    torch.testing.assert_close(y[..., 2:, :-3], x[..., :-2, 3:], atol=1e-5, rtol=0)


def test_a_mirror_flips_and_each_image_has_its_own_matrix():
    x = smooth_images()
    y = warp(x, torch.stack([affine(xx=-1.0), torch.eye(3)]))
    assert (y[0] - x[0].flip(2)).abs().mean() < 0.04 * x.abs().mean()
    torch.testing.assert_close(y[1], x[1], atol=1e-5, rtol=0)


def test_a_rotation_and_its_inverse_cancel():
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 32)] * 2, indexing="ij")
    blob = torch.exp(-8 * ((x - 0.2) ** 2 + 2 * y**2))[None, None]
    turned = warp(blob, rotation(0.6)[None])
    assert (turned - blob).abs().max() > 0.2
    back = warp(turned, rotation(-0.6)[None])
    assert (back - blob)[..., 8:-8, 8:-8].abs().max() < 0.03  # corners show the mirrored border


def test_every_transformation_has_its_probability():
    """Parts of the matrix that only one transformation changes, over many draws."""
    n, p = 20_000, 0.4
    matrices = random_transforms(n, (32, 32), p, torch.Generator().manual_seed(3)).double()
    linear = matrices[:, :2, :2]
    # A flip happens in half of the chosen images; nothing else changes the sign of the determinant.
    assert (linear.det() < 0).double().mean().item() == pytest.approx(p / 2, abs=0.015)
    area = linear.det().abs()
    assert (area - 1).abs().gt(1e-4).double().mean().item() == pytest.approx(p, abs=0.015)
    isotropic = 0.5 * area.log2().std().item()  # sd of the log2 of the factor, zeros included
    assert isotropic == pytest.approx(0.2 * math.sqrt(p), rel=0.05)
    singular = torch.linalg.svdvals(linear)
    anisotropic = (singular[:, 0] / singular[:, 1] - 1).gt(1e-4).double().mean().item()
    assert anisotropic == pytest.approx(p, abs=0.015)
    # Any rotation, before or after the anisotropic scale: 1 - (1 - p_rotation)^2 = p.
    similar = (singular[:, 0] / singular[:, 1] - 1) < 1e-4
    angles = torch.atan2(linear[:, 1, 0], linear[:, 0, 0])[similar] / (math.pi / 2)
    turned = (angles - angles.round()).abs().gt(1e-4).double().mean().item()
    assert turned == pytest.approx(p, abs=0.02)


def test_transformations_follow_their_stream():
    a, b = (random_transforms(4, (16, 16), 0.8, torch.Generator().manual_seed(2)) for _ in "ab")
    c = random_transforms(4, (16, 16), 0.8, torch.Generator().manual_seed(3))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_first_and_second_derivatives_with_respect_to_images():
    random = torch.Generator().manual_seed(4)
    matrices = random_transforms(2, (8, 8), 0.9, random)
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: warp(x, matrices), (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: warp(x, matrices) ** 2, (x,), fast_mode=True)


def test_geometric_transformations_equal_the_reference_program(golden):
    """At fixed percentiles of their distributions."""
    arrays = np.load(golden / "augment_bgc.npz")
    x = torch.from_numpy(arrays["x"])
    for percentile in (0.2, 0.5, 0.8):
        q = 2 * percentile - 1
        factor = 2 ** (0.2 * erfinv(q))
        whole, part = round(q * 0.125 * 32), erfinv(q) * 0.125 * 32
        matrices = {
            "xflip": affine(xx=1.0 - 2 * math.floor(percentile * 2)),
            "rotate90": rotation(math.floor(percentile * 4) * math.pi / 2),
            "xint": affine(x=-whole, y=-whole),
            "scale": affine(xx=1 / factor, yy=1 / factor),
            "rotate": rotation(q * math.pi),
            "aniso": affine(xx=1 / factor, yy=factor),
            "xfrac": affine(x=-part, y=-part),
        }
        for name, matrix in matrices.items():
            expected = torch.from_numpy(arrays[f"{name}_p{round(10 * percentile):02d}"])
            found = warp(x, matrix.float().expand(2, 3, 3))
            torch.testing.assert_close(
                found, expected, atol=1e-4, rtol=0, msg=lambda m, k=name: f"{k}: {m}"
            )
