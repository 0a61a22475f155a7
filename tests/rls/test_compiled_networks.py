"""Networks and penalties compiled as one graph against the same in eager mode.

The backend is aot_eager: torch traces and differentiates as for a GPU, but generates no kernels.
"""

from __future__ import annotations

import pytest
import torch

from rls.stylegan2 import losses
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.networks import Generator

N = 4


def architecture(side):
    return Architecture(side, 3, z_dim=6, w_dim=6, mapping_layers=2, channel_base=64, channel_max=6)


def compiled(function):
    torch.compiler.reset()
    return torch.compile(function, backend="aot_eager", fullgraph=True)


def generator(side, dtype):
    torch.manual_seed(1)
    network = Generator(architecture(side)).to(dtype)
    for layer in network.synthesis.layers():
        layer.noise_strength.data.fill_(0.1)
    noise = [torch.randn(N, *shape[1:], dtype=dtype) for shape in network.noise_shapes]
    return network, torch.randn(N, 6, dtype=dtype), noise


def discriminator(side, dtype):
    torch.manual_seed(2)
    return Discriminator(architecture(side)).to(dtype), torch.randn(N, 3, side, side, dtype=dtype)


def gradients(loss, network):
    """Return the gradients by all parameters, zeros where there is none."""
    parameters = list(network.parameters())
    return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)


def assert_equal(found, expected, dtype):
    """Compare each tensor relative to its largest number, or to 1e-3 of the largest of all."""
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    largest = max(b.abs().max() for b in expected)
    assert largest > 0
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= tolerance * max(b.abs().max(), 1e-3 * largest)


def check_generator(side, dtype):
    network, z, noise = generator(side, dtype)

    def loss(z):
        images = network.synthesis(network.mapping(z, update_average=True), noise)
        return images, losses.generator_loss(images.mean(dim=(1, 2, 3)))

    results = []
    for function in (loss, compiled(loss)):
        network.mapping.w_avg.zero_()
        images, value = function(z)
        results.append([images, value, network.mapping.w_avg.clone(), *gradients(value, network)])
    assert results[0][2].abs().max() > 0
    assert_equal(results[1], results[0], dtype)


def check_discriminator(side, dtype):
    network, images = discriminator(side, dtype)

    def loss(images):
        logits = network(images)
        return logits, losses.generator_loss(logits)

    results = []
    for function in (loss, compiled(loss)):
        logits, value = function(images)
        results.append([logits, value, *gradients(value, network)])
    assert_equal(results[1], results[0], dtype)


def check_r1(side, dtype):
    network, images = discriminator(side, dtype)

    def total(images):
        logits = network(images)
        return logits.sum(), logits

    slope, logits = compiled(torch.func.grad(total, has_aux=True))(images)
    found = slope.square().sum(dim=(1, 2, 3)).mean()
    images.requires_grad_()
    eager = network(images)
    expected = losses.r1_penalty(eager, images).mean()
    assert_equal([logits, found], [eager, expected], dtype)
    assert_equal(gradients(found, network), gradients(expected, network), dtype)


def check_path_lengths(side, dtype):
    network, z, noise = generator(side, dtype)
    y = torch.randn(N, 3, side, side, dtype=dtype)

    def along(ws):
        return (network.synthesis(ws, noise) * (y / side)).sum()

    def lengths(z):
        slope = torch.func.grad(along)(network.mapping(z))
        return slope.square().sum(dim=2).mean(dim=1).sqrt()

    ws = network.mapping(z)
    images = network.synthesis(ws, noise)
    expected = losses.path_lengths(images, ws, y, create_graph=True)
    found = compiled(lengths)(z)
    assert_equal([found], [expected], dtype)
    weights = torch.arange(1.0, N + 1, dtype=dtype)
    pair = [gradients((value * weights).sum(), network) for value in (found, expected)]
    assert_equal(*pair, dtype)


def check_search(side, dtype):
    """A frozen generator, differentiated by the styles."""
    network, z, noise = generator(side, dtype)
    network.requires_grad_(False)
    ws = network.mapping(z).requires_grad_()

    def loss(ws):
        return network.synthesis(ws, noise).square().sum()

    results = []
    for function in (loss, compiled(loss)):
        value = function(ws)
        results.append([value, torch.autograd.grad(value, ws)[0]])
    assert_equal(results[1], results[0], dtype)


@pytest.mark.parametrize("check", [check_generator, check_r1])
def test_small_networks_are_one_graph_equal_to_eager_mode(check):
    check(8, torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "check", [check_generator, check_discriminator, check_r1, check_path_lengths, check_search]
)
def test_networks_and_penalties_are_one_graph_equal_to_eager_mode(check, dtype):
    check(16, dtype)


@pytest.mark.slow
def test_a_compiled_generator_in_bfloat16_is_near_the_eager_one():
    network, z, noise = generator(16, torch.float32)
    ws = network.mapping(z).detach()

    def images(ws):
        return network.synthesis(ws, noise, precision="bfloat16")

    found, expected = compiled(images)(ws), images(ws)
    assert found.dtype == torch.float32
    assert (found - expected).norm() < 1e-2 * expected.norm()
    assert (found - network.synthesis(ws, noise)).norm() > 1e-4 * expected.norm()
