"""Geometric resampling: identity, known transformations, derivatives."""

from __future__ import annotations

import math

import pytest
import torch

from rls.stylegan2.augment_draws import draw
from rls.stylegan2.augment_warp import warp
from rls.stylegan2.pipelines import PIPELINES


def smooth_images(n=2, c=2, side=24, seed=1):
    """Return low-pass noise, which resampling can preserve."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn((n, c, 6, 6), generator=random)
    return torch.nn.functional.interpolate(
        coarse, size=(side, side), mode="bicubic", align_corners=False
    )


def affine(xx=1.0, xy=0.0, yx=0.0, yy=1.0, x=0.0, y=0.0):
    return torch.tensor([[xx, xy, x], [yx, yy, y], [0.0, 0.0, 1.0]])


def rotation(angle):
    return affine(math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle))


def test_the_identity_matrix_gives_the_image_back():
    x = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(warp(x, torch.eye(3).expand(2, 3, 3)), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_equal_rot90(quarters):
    x = smooth_images(side=33)
    y = warp(x, rotation(quarters * math.pi / 2).expand(2, 3, 3))
    errors = [(y - torch.rot90(x, k, (2, 3))).abs().mean() / x.abs().mean() for k in range(4)]
    # sym6 is not quite symmetric, so a rotated image is off by a fraction of a pixel, as in ADA.
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
    assert (back - blob)[..., 8:-8, 8:-8].abs().max() < 0.03  # the corners show the mirrored border


def test_first_and_second_derivatives_with_respect_to_images():
    random = torch.Generator().manual_seed(4)
    matrices = draw((2, 1, 8, 8), 0.9, PIPELINES["bg"], random).matrices
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: warp(x, matrices), (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: warp(x, matrices) ** 2, (x,), fast_mode=True)


@pytest.mark.parametrize("size", [(24, 24), (17, 30)])
@pytest.mark.parametrize("p", [0.3, 0.9])
def test_looking_at_the_matrices_saves_work_and_changes_nothing(size, p):
    """Straight, turned and oblique images equal the same images upsampled over whole periods."""
    x = smooth_images(n=12, c=3, side=30)[:, :, : size[0], : size[1]].double()
    matrices = draw((12, 3, *size), p, PIPELINES["bg"], torch.Generator().manual_seed(6)).matrices
    found, expected = (warp(x, matrices, look=look) for look in (True, False))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
    v = torch.randn(found.shape, dtype=torch.float64)
    gradients = []
    for look in (True, False):
        z = x.clone().requires_grad_()
        gradients += torch.autograd.grad((warp(z, matrices, look=look) * v).sum(), z)
    torch.testing.assert_close(*gradients, atol=1e-9, rtol=0)


@pytest.mark.parametrize("look", [True, False])
def test_the_gradient_is_the_adjoint(look):
    """The equation <v, A x> = <A^T v, x> holds for every kind of matrix."""
    x = torch.randn(6, 2, 16, 16, dtype=torch.float64, requires_grad=True)
    matrices = draw((6, 2, 16, 16), 0.5, PIPELINES["bg"], torch.Generator().manual_seed(2)).matrices
    y = warp(x, matrices, look=look)
    v = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, v)
    assert (gradient * x).sum().item() == pytest.approx((y * v).sum().item(), rel=1e-9)


@pytest.mark.parametrize("look", [True, False])
def test_the_border_is_mirrored_again_and_again(look):
    """A shift by whole periods gives the image back; a constant image stays constant anywhere."""
    x = torch.randn(1, 1, 9, 9, dtype=torch.float64)
    for periods in (1, -2, 5):
        y = warp(x, affine(x=16.0 * periods)[None], look=look)
        torch.testing.assert_close(y, x, atol=1e-5, rtol=0)
    far = warp(torch.ones_like(x), affine(3.0, 1.0, -2.0, 4.0, 30.0, -50.0)[None], look=look)
    torch.testing.assert_close(far, torch.ones_like(x), atol=1e-5, rtol=0)


def test_an_image_does_not_depend_on_the_others_of_its_batch():
    x = torch.randn(6, 1, 16, 16, dtype=torch.float64)
    matrices = draw((6, 1, 16, 16), 0.8, PIPELINES["bg"], torch.Generator().manual_seed(4)).matrices
    alone = torch.cat([warp(x[i : i + 1], matrices[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(warp(x, matrices), alone, atol=1e-12, rtol=0)
