"""Networks of StyleGAN2: shapes and invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rls.runtime.errors import InputError
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator, minibatch_std
from rls.stylegan2.networks import Generator


def architecture(image_size=16, n_channels=2, mapping_layers=2, w_dim=12):
    return Architecture(image_size, n_channels, 10, w_dim, mapping_layers, 128, 16)


def lively_generator(**sizes):
    """Return a generator in which every term matters: noise strengths and biases are not zero."""
    torch.manual_seed(1)
    generator = Generator(architecture(**sizes))
    for name, parameter in generator.named_parameters():
        if name.endswith(("noise_strength", "bias")) and "affine" not in name:
            parameter.data = 0.3 * torch.randn_like(parameter)
    return generator.eval().requires_grad_(False)


@pytest.mark.parametrize(("image_size", "n_channels"), [(8, 1), (16, 2), (32, 5)])
def test_sizes_and_channel_counts(image_size, n_channels):
    sizes = architecture(image_size, n_channels)
    generator, discriminator = Generator(sizes), Discriminator(sizes)
    images = generator(torch.randn(4, 10))
    assert images.shape == (4, n_channels, image_size, image_size)
    assert generator.num_ws == 2 * len(sizes.resolutions)
    assert len(generator.noise_shapes) == generator.num_ws - 1
    assert discriminator(images).shape == (4, 1)


def test_a_size_that_is_no_power_of_two_is_refused():
    with pytest.raises(InputError, match="48"):
        architecture(image_size=48)


def test_an_image_depends_on_every_style_and_only_on_its_own():
    generator = lively_generator()
    ws = generator.mapping(torch.randn(3, 10))
    image = generator.synthesis(ws)
    for i in range(generator.num_ws):
        other = ws.clone()
        other[0, i] += 1
        changed = (generator.synthesis(other) - image).abs().amax(dim=(1, 2, 3))
        assert changed[0] > 1e-4
        assert changed[1:].max() < 1e-5


def test_an_image_does_not_depend_on_its_place_in_the_batch():
    generator = lively_generator()
    ws = generator.mapping(torch.randn(6, 10))
    for precision in ("float32", "bfloat16"):
        image = generator.synthesis(ws, precision=precision)
        for shift in (1, 3):
            rolled = generator.synthesis(ws.roll(shift, 0), precision=precision)
            assert torch.equal(rolled, image.roll(shift, 0))


def test_noise_given_as_a_list_is_the_stored_noise():
    generator = lively_generator()
    ws = generator.mapping(torch.randn(2, 10))
    stored = [layer.noise_const[None, None] for layer in generator.synthesis.layers()]
    assert [tuple(m.shape) for m in stored] == generator.noise_shapes
    const, listed = generator.synthesis(ws), generator.synthesis(ws, noise=stored)
    assert torch.equal(const, listed)
    none = generator.synthesis(ws, noise="none")
    zeros = generator.synthesis(ws, noise=[torch.zeros_like(m) for m in stored])
    torch.testing.assert_close(none, zeros)
    assert (none - const).abs().max() > 0.01


def test_random_noise_follows_its_stream_and_differs_between_images():
    generator = lively_generator()
    ws = generator.mapping(torch.randn(1, 10)).expand(2, -1, -1)
    a, b = (
        generator.synthesis(ws, "random", random=torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(a, b)
    assert (a[0] - a[1]).abs().max() > 0.01


def test_wrong_noise_and_styles_are_refused():
    generator = lively_generator()
    ws = generator.mapping(torch.randn(1, 10))
    with pytest.raises(ValueError, match="noise maps"):
        generator.synthesis(ws, noise=[torch.zeros(1, 1, 4, 4)])
    with pytest.raises(ValueError, match="ws of shape"):
        generator.synthesis(ws[:, :3])


def test_truncation_moves_w_on_the_line_to_its_mean():
    generator = lively_generator()
    generator.mapping.w_avg.normal_()
    z = torch.randn(4, 10)
    w, mean = generator.mapping(z), generator.mapping.w_avg
    torch.testing.assert_close(generator.mapping(z, 0.0), mean.expand_as(w))
    torch.testing.assert_close(generator.mapping(z, 0.7), mean + 0.7 * (w - mean))
    cut = generator.mapping(z, 0.7, truncation_cutoff=2)
    assert torch.equal(cut[:, 2:], w[:, 2:])


def test_the_scale_of_z_does_not_matter():
    generator = lively_generator()
    z = torch.randn(4, 10)
    torch.testing.assert_close(generator.mapping(3 * z), generator.mapping(z))


def test_the_mean_of_w_is_followed_only_when_asked():
    generator = lively_generator()
    generator.mapping(torch.randn(4, 10))
    assert generator.mapping.w_avg.abs().max() == 0
    w = generator.mapping(torch.randn(4, 10), update_average=True)[:, 0]
    torch.testing.assert_close(generator.mapping.w_avg, 0.005 * w.mean(dim=0))


def test_a_frozen_weight_that_is_changed_is_not_taken_from_the_cache():
    generator = lively_generator()
    ws = generator.mapping(torch.randn(1, 10))
    before = generator.synthesis(ws)
    weight = generator.synthesis.b8.conv1.weight
    weight.mul_(-1)
    assert (generator.synthesis(ws) - before).abs().max() > 1e-3
    weight.mul_(-1)
    assert torch.equal(generator.synthesis(ws), before)


def test_bfloat16_is_close_in_image_and_gradient():
    generator = lively_generator(image_size=32)
    ws = generator.mapping(torch.randn(2, 10)).requires_grad_()
    found = {}
    for precision in ("float32", "bfloat16"):
        image = generator.synthesis(ws, precision=precision)
        assert image.dtype == torch.float32
        found[precision] = (image, torch.autograd.grad(image.square().sum(), ws)[0])
    for exact, rough in zip(found["float32"], found["bfloat16"], strict=True):
        assert (rough - exact).norm() < 0.05 * exact.norm()


def test_gradients_with_respect_to_styles_and_noise_are_slopes():
    generator = lively_generator(image_size=8, w_dim=4).double()
    ws = generator.mapping(torch.randn(2, 10)).requires_grad_()
    noise = [torch.randn(s, dtype=torch.float64).requires_grad_() for s in generator.noise_shapes]
    assert torch.autograd.gradcheck(
        lambda ws, *noise: generator.synthesis(ws, list(noise)).mean(dim=(1, 2)),
        (ws, *noise),
        fast_mode=True,
    )


def minibatch_std_loop(x, group_size, n_features):
    n, c = x.shape[:2]
    group = n if group_size is None else min(group_size, n)
    stride = n // group
    features = np.zeros((n, n_features))
    for i in range(n):
        members = x[[j for j in range(n) if j % stride == i % stride]]
        deviation = np.sqrt(members.var(axis=0) + 1e-8)
        for f in range(n_features):
            width = c // n_features
            features[i, f] = deviation[f * width : (f + 1) * width].mean()
    maps = np.broadcast_to(features[:, :, None, None], (n, n_features, *x.shape[2:]))
    return np.concatenate([x, maps], axis=1)


@pytest.mark.parametrize(("group", "features"), [(4, 1), (4, 2), (None, 1), (2, 3), (16, 1)])
def test_minibatch_deviation_equals_a_loop(group, features):
    x = np.random.default_rng(1).standard_normal((8, 6, 3, 3))
    y = minibatch_std(torch.from_numpy(x), group, features).numpy()
    np.testing.assert_allclose(y, minibatch_std_loop(x, group, features), atol=1e-12)


def test_second_derivative_through_the_minibatch_deviation():
    x = torch.randn(4, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: minibatch_std(x, 2), (x,), fast_mode=True)
