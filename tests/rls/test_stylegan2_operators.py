"""Operators of StyleGAN2 against loops, textbook forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rls.stylegan2 import operators as ops


def upfirdn_loop(x, kernel, up, down, padding, gain):
    """Return the result by definition, sample by sample, for one channel of one image."""
    left, right, top, bottom = padding
    height, width = x.shape
    fine = np.zeros((height * up, width * up))
    fine[::up, ::up] = x
    padded = np.pad(fine, [(max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))])
    padded = padded[max(-top, 0) : padded.shape[0] - max(-bottom, 0)]
    padded = padded[:, max(-left, 0) : padded.shape[1] - max(-right, 0)]
    ky, kx = kernel.shape
    rows = range(0, padded.shape[0] - ky + 1, down)
    columns = range(0, padded.shape[1] - kx + 1, down)
    mirrored = kernel[::-1, ::-1]
    return gain * np.array(
        [[(padded[i : i + ky, j : j + kx] * mirrored).sum() for j in columns] for i in rows]
    )


@pytest.mark.parametrize(
    ("up", "down", "padding"),
    [(1, 1, (0, 0, 0, 0)), (2, 1, (2, 1, 3, 0)), (3, 2, (1, 2, 3, 4)), (1, 2, (-1, 2, 3, -2))],
)
def test_upfirdn_equals_its_definition(up, down, padding):
    random = np.random.default_rng(1)
    x = random.standard_normal((2, 3, 9, 7))
    kernel = random.standard_normal((4, 3))
    y = ops.upfirdn2d(
        torch.from_numpy(x), torch.from_numpy(kernel), up=up, down=down, padding=padding, gain=1.5
    )
    for i in range(2):
        for c in range(3):
            expected = upfirdn_loop(x[i, c], kernel, up, down, padding, 1.5)
            np.testing.assert_allclose(y[i, c].numpy(), expected, atol=1e-12)


def test_upsampling_without_inserted_zeros_equals_upfirdn():
    kernel = ops.setup_filter((1, 2, 4, 7))
    x = torch.randn(2, 3, 8, 8)
    expected = ops.upfirdn2d(x, kernel, up=2, padding=(2, 1, 2, 1), gain=4.0)
    torch.testing.assert_close(ops.upsample2d(x, kernel), expected)


def test_resampling_keeps_a_constant_image_inside():
    kernel = ops.setup_filter(ops.FILTER_TAPS)
    ones = torch.ones(1, 1, 8, 8)
    for y in (
        ops.upsample2d(ones, kernel)[..., 2:-2, 2:-2],
        ops.downsample2d(ones, kernel)[..., 1:-1, 1:-1],
    ):
        torch.testing.assert_close(y, torch.ones_like(y))


def textbook_modulated_convolution(x, weight, styles, demodulate, up, kernel):
    """Convolve with a weight per sample, demodulated as StyleGAN2 prints it, in groups."""
    n, n_in = styles.shape
    n_out, size = weight.shape[0], weight.shape[-1]
    w = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        w = w / (w.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    grouped = x.reshape(1, n * n_in, *x.shape[2:])
    if up:
        y = F.conv_transpose2d(
            grouped, w.transpose(1, 2).reshape(n * n_in, n_out, size, size), stride=2, groups=n
        )
        y = ops.upfirdn2d(y, kernel, padding=(1, 1, 1, 1), gain=4.0)
    else:
        y = F.conv2d(grouped, w.reshape(-1, n_in, size, size), padding=size // 2, groups=n)
    return y.reshape(n, n_out, *y.shape[2:])


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_scaled_activations_equal_per_sample_weights(up, demodulate):
    torch.manual_seed(2)
    x, weight = torch.randn(3, 8, 6, 6), torch.randn(5, 8, 3, 3)
    styles, kernel = 1 + 0.5 * torch.randn(3, 8), ops.setup_filter(ops.FILTER_TAPS)
    y = ops.modulated_conv2d(x, weight, styles, demodulate=demodulate, up=up, kernel=kernel)
    expected = textbook_modulated_convolution(x, weight, styles, demodulate, up, kernel)
    assert (y - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_demodulation_makes_the_scale_of_a_style_irrelevant():
    torch.manual_seed(3)
    x, weight, styles = torch.randn(2, 4, 5, 5), torch.randn(3, 4, 3, 3), 1 + torch.rand(2, 4)
    y = ops.modulated_conv2d(x, weight, styles)
    torch.testing.assert_close(ops.modulated_conv2d(x, weight, 7.0 * styles), y)


def test_first_and_second_derivatives_of_convolutions():
    torch.manual_seed(4)
    kernel = ops.setup_filter(ops.FILTER_TAPS).double()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    s = torch.rand(2, 2, dtype=torch.float64).add(0.5).requires_grad_()
    b = torch.randn(3, dtype=torch.float64, requires_grad=True)
    cases = [
        (lambda x, w, s: ops.modulated_conv2d(x, w, s), (x, w, s)),
        (lambda x, w, s: ops.modulated_conv2d(x, w, s, up=True, kernel=kernel), (x, w, s)),
        (lambda x, w, b: ops.downsampled_convolution(x, w, kernel, b), (x, w, b)),
        (lambda x: ops.upsample2d(x, kernel), (x,)),
    ]
    for function, inputs in cases:
        assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


def test_layers_have_unit_variance_at_the_start():
    torch.manual_seed(5)
    conv = ops.Conv2dLayer(64, 64, 3, activation="lrelu")
    y = conv(torch.randn(4, 64, 12, 12))[..., 1:-1, 1:-1]
    assert 0.9 < y.square().mean() < 1.1
    full = ops.FullyConnectedLayer(256, 256, activation="lrelu", rate_multiplier=0.01)
    assert 0.9 < full(torch.randn(64, 256)).square().mean() < 1.1


def test_a_layer_adds_the_bias_before_the_activation_and_clamps_after_its_gain():
    torch.manual_seed(6)
    layer = ops.Conv2dLayer(3, 4, 3, activation="lrelu", clamp=0.5)
    layer.bias.data.normal_()
    x = torch.randn(2, 3, 6, 6)
    plain = F.conv2d(x, layer.weight * layer.weight_gain, padding=1)
    active = F.leaky_relu(plain + layer.bias[:, None, None], 0.2) * (0.7 * np.sqrt(2))
    expected = active.clamp(-0.35, 0.35)
    torch.testing.assert_close(layer(x, gain=0.7), expected)
