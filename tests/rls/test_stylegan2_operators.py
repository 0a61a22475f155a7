"""Operators of StyleGAN2 against loops, textbook forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rls.stylegan2 import operators as ops


def upfirdn_loop(x, kernel, up, down, padding, gain):
    """The definition, sample by sample, in one channel of one image."""
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
        ops.filter2d(ones, kernel)[..., 2:-2, 2:-2],
    ):
        torch.testing.assert_close(y, torch.ones_like(y))


def textbook_modulated_convolution(x, weight, styles, demodulate, up, kernel):
    """A weight per sample, demodulated as printed by StyleGAN2, and a grouped convolution."""
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


def test_bias_and_activation_of_a_layer_equal_bias_act():
    torch.manual_seed(6)
    layer = ops.Conv2dLayer(3, 4, 3, activation="lrelu", clamp=0.5)
    layer.bias.data.normal_()
    x = torch.randn(2, 3, 6, 6)
    plain = F.conv2d(x, layer.weight * layer.weight_gain, padding=1)
    expected = ops.bias_act(
        plain, layer.bias, activation="lrelu", gain=0.7 * np.sqrt(2), clamp=0.35
    )
    torch.testing.assert_close(layer(x, gain=0.7), expected)


def test_operators_equal_the_reference_program(golden):
    arrays = {k: torch.from_numpy(v) for k, v in np.load(golden / "ops.npz").items()}
    x, kernel, line = arrays["x"], arrays["f_1331"], arrays["f_12sep"]
    found = {
        "upsample2d": ops.upsample2d(x, kernel),
        "downsample2d": ops.downsample2d(x, kernel),
        "filter2d": ops.filter2d(x, kernel),
        "upfirdn_up2_down1_pad2111": ops.upfirdn2d(x, kernel, up=2, padding=(2, 1, 2, 1), gain=4.0),
        "upfirdn_up3_down2_pad1234": ops.upfirdn2d(
            x, kernel, up=3, down=2, padding=(1, 2, 3, 4), gain=1.5
        ),
        "upfirdn_up1_down2_negpad": ops.upfirdn2d(x, kernel, down=2, padding=(-1, 2, 3, -2)),
        "upsample2d_ones": ops.upsample2d(torch.ones(1, 1, 8, 8), kernel),
        "downsample2d_ones": ops.downsample2d(torch.ones(1, 1, 8, 8), kernel),
    }
    for flip in (True, False):
        found[f"upfirdn_sep12_up2_{'flip' if flip else 'noflip'}"] = ops.upfirdn2d(
            x, line, up=2, padding=(6, 5, 6, 5), gain=4.0, flip=flip
        )
    for name in ops._ACTIVATIONS:
        found[f"bias_act_{name}"] = ops.bias_act(x, arrays["bias"], activation=name)
    found["bias_act_lrelu_gain_clamp"] = ops.bias_act(
        x, arrays["bias"], activation="lrelu", gain=0.7, clamp=0.5
    )
    for name, y in found.items():
        torch.testing.assert_close(y, arrays[name], atol=1e-5, rtol=0, msg=lambda m, k=name: k + m)


def test_modulated_convolution_equals_the_reference_program(golden):
    arrays = {k: torch.from_numpy(v) for k, v in np.load(golden / "modconv.npz").items()}
    kernel, styles = ops.setup_filter(ops.FILTER_TAPS), arrays["styles"]
    for up in (1, 2):
        for demodulate in (0, 1):
            y = ops.modulated_conv2d(
                arrays["x"],
                arrays["weight"],
                styles,
                demodulate=bool(demodulate),
                up=up == 2,
                kernel=kernel,
            )
            for fused in (0, 1):
                name = f"up{up}_demod{demodulate}_fused{fused}_noise"
                noisy = y + arrays[f"noise_{16 * up}"]
                torch.testing.assert_close(y, arrays[name + "0"], atol=2e-5, rtol=1e-5)
                torch.testing.assert_close(noisy, arrays[name + "1"], atol=2e-5, rtol=1e-5)
    y = ops.modulated_conv2d(arrays["x"], arrays["weight_1x1"], styles, demodulate=False)
    torch.testing.assert_close(y, arrays["torgb_1x1_nodemod"], atol=2e-5, rtol=1e-5)


def test_layers_equal_the_reference_program(golden):
    arrays = {k: torch.from_numpy(v) for k, v in np.load(golden / "layers.npz").items()}
    layers = {
        "conv3_down2": ops.Conv2dLayer(3, 5, 3, activation="lrelu", down=True),
        "conv3_up2": ops.Conv2dLayer(3, 5, 3, activation="lrelu", up=True),
        "conv1_down2_nobias": ops.Conv2dLayer(3, 5, 1, bias=False, down=True),
        "fc_lrelu_lr001": ops.FullyConnectedLayer(7, 5, activation="lrelu", rate_multiplier=0.01),
        "fc_linear": ops.FullyConnectedLayer(7, 5),
    }
    for name, layer in layers.items():
        prefix = name + "."
        layer.load_state_dict(
            {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        )
        x = arrays["xf" if name.startswith("fc") else "x"]
        torch.testing.assert_close(layer(x), arrays[name], atol=1e-5, rtol=1e-5)
