"""Convolution, adjoint and weight gradient, and their derivatives, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from rls.stylegan2 import convolution
from rls.stylegan2.convolution import convolve, convolve_transposed, only_image_gradients

# Processors without AVX-512 convolve bfloat16 by other sums in either form.
HAS_BFLOAT16 = torch.backends.cpu.get_cpu_capability() == "AVX512"
CASES = [  # channels in, out, kernel, stride, padding, side, groups
    (2, 3, 3, 1, 1, 9, 1),
    (3, 2, 3, 1, 1, 8, 1),
    (2, 3, 3, 2, 0, 9, 1),
    (2, 2, 3, 2, 1, 8, 1),
    (4, 2, 1, 1, 0, 8, 1),
    (2, 4, 1, 2, 0, 8, 1),
    (2, 3, 3, 1, 2, 7, 1),
    (2, 2, 5, 3, 1, 12, 1),
    (3, 3, 4, 1, 2, 8, 3),
    (3, 3, 4, 2, 1, 8, 3),
]


def tensors(case, *, transposed=False):
    n_in, n_out, k, _, _, side, groups = case
    torch.manual_seed(1)
    x = torch.randn(2, n_in, side, side + 1, dtype=torch.float64, requires_grad=True)
    shape = (n_in, n_out // groups, k, k) if transposed else (n_out, n_in // groups, k, k)
    return x, torch.randn(shape, dtype=torch.float64, requires_grad=True)


@pytest.fixture(params=[1, 10**9], ids=["products", "torch"])
def least_pixels(request, monkeypatch):
    """Compute weight gradients by matrix products always, or never."""
    monkeypatch.setattr(convolution, "LEAST_PIXELS", request.param)


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_torchs(case, least_pixels):
    _, n_out, _, stride, padding, _, groups = case
    x, w = tensors(case)
    bias = torch.randn(n_out, dtype=torch.float64, requires_grad=True)
    options = {"stride": stride, "padding": padding, "groups": groups}
    ours, plain = convolve(x, w, bias, **options), F.conv2d(x, w, bias, **options)
    torch.testing.assert_close(ours, plain)
    g = torch.randn_like(plain)
    found, expected = (torch.autograd.grad(y, (x, w, bias), g) for y in (ours, plain))
    torch.testing.assert_close(found, expected)
    x, w = tensors(case, transposed=True)
    ours = convolve_transposed(x, w, **options)
    plain = F.conv_transpose2d(x, w, **options)
    torch.testing.assert_close(ours, plain)
    g = torch.randn_like(plain)
    found, expected = (torch.autograd.grad(y, (x, w), g) for y in (ours, plain))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("case", CASES[:3] + CASES[-2:])
def test_second_derivatives_are_those_of_differences(case, least_pixels):
    _, _, _, stride, padding, _, groups = case
    options = {"stride": stride, "padding": padding, "groups": groups}
    for transposed, function in ((False, convolve), (True, convolve_transposed)):
        x, w = tensors(case, transposed=transposed)
        x = x.detach()[:1, :, :5, :5].requires_grad_()
        assert gradcheck(lambda x, w, f=function: f(x, w, **options), (x, w))
        assert gradgradcheck(lambda x, w, f=function: f(x, w, **options), (x, w))


@pytest.mark.parametrize("transposed", [False, True])
def test_forward_derivatives_are_the_sum_of_both_directions(transposed):
    function = convolve_transposed if transposed else convolve
    x, w = (t.detach() for t in tensors(CASES[0], transposed=transposed))
    dx, dw = torch.randn_like(x), torch.randn_like(w)
    with forward_ad.dual_level():
        y = function(forward_ad.make_dual(x, dx), forward_ad.make_dual(w, dw), padding=1)
        tangent = forward_ad.unpack_dual(y).tangent
    expected = function(dx, w, padding=1) + function(x, dw, padding=1)
    torch.testing.assert_close(tangent, expected)


def test_weight_gradients_are_channels_last_as_the_weights_are():
    x = torch.randn(2, 4, 16, 16).contiguous(memory_format=torch.channels_last)
    w = torch.randn(6, 4, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    convolve(x, w, padding=1).sum().backward()
    expected = torch.autograd.grad(F.conv2d(x, w, padding=1).sum(), w)[0]
    torch.testing.assert_close(w.grad, expected, atol=1e-3, rtol=1e-4)


def test_kernels_need_not_be_square():
    x = torch.randn(1, 2, 9, 8, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    ours, plain = convolve(x, w, stride=2), F.conv2d(x, w, stride=2)
    torch.testing.assert_close(ours, plain)
    g = torch.randn_like(plain)
    found, expected = (torch.autograd.grad(y, (x, w), g) for y in (ours, plain))
    torch.testing.assert_close(found, expected)


def test_second_derivatives_are_whole_where_the_first_was_by_images_alone():
    """The gradient of |dy/dx|^2 by the weights is the same with and without the short cut."""
    x, w = tensors(CASES[0])
    found = []
    for shortened in (False, True):
        y = (convolve(x, w, padding=1) ** 2).sum()
        if shortened:
            with only_image_gradients():
                (slope,) = torch.autograd.grad(y, x, create_graph=True)
        else:
            (slope,) = torch.autograd.grad(y, x, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), w)[0])
    torch.testing.assert_close(*found)
    assert found[0].abs().max() > 0
    with only_image_gradients():
        assert torch.autograd.grad(convolve(x, w).sum(), w, allow_unused=True) == (None,)


@pytest.mark.parametrize(("side", "padding"), [(16, 1), (15, 1), (17, 2), (12, 0)])
def test_adjoints_of_filters_in_bfloat16_have_torchs_bits(side, padding):
    """At stride 2 they are computed as convolutions between zeros."""
    torch.manual_seed(1)
    x = torch.randn(2, 5, side, side + 1).bfloat16().requires_grad_()
    w = torch.randn(1, 1, 4, 4).bfloat16().expand(5, 1, 4, 4)
    options = {"stride": 2, "padding": padding, "groups": 5}
    plain = F.conv2d(x, w, **options)
    g = torch.randn_like(plain)
    (expected,) = torch.autograd.grad(plain, x, g)
    missing = [
        n - (m - 1) * 2 + 2 * padding - 4 for n, m in zip(x.shape[2:], g.shape[2:], strict=True)
    ]
    transposed = F.conv_transpose2d(g, w, None, 2, padding, missing, 5)
    (found,) = torch.autograd.grad(convolve(x, w, **options), x, g)
    if HAS_BFLOAT16:
        assert torch.equal(found, transposed)
    torch.testing.assert_close(found, transposed, rtol=0.016, atol=0.02)
    torch.testing.assert_close(found, expected, rtol=0.016, atol=0.02)


@pytest.mark.parametrize("size", [(16, 17), (5, 4), (1, 3)])
def test_transposed_convolutions_in_bfloat16_equal_torchs(size, monkeypatch):
    """At stride 2 each parity of rows and columns is a convolution of its own."""
    monkeypatch.setattr(convolution, "LEAST_SIDE", 1)
    torch.manual_seed(1)
    g, w = torch.randn(2, 6, *size).bfloat16(), torch.randn(6, 4, 3, 3).bfloat16()
    found = convolve_transposed(g, w, stride=2)
    plain = F.conv_transpose2d(g.double(), w.double(), stride=2)
    assert found.shape == plain.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), plain, rtol=8e-3, atol=8e-3)  # one rounding
