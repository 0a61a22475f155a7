"""LPIPS: its formula, its limits, its files; with the weights of Zhang et al. where they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rls.io.files import file_sha256
from rls.networks import lpips
from rls.networks.lpips import ALEXNET, LAYERS, VGG16, Lpips, TorchScriptVgg
from rls.networks.weights_settings import AUTO, Vgg16Settings, as_text, located, weights_folder
from rls.runtime.errors import InputError
from tests.rls.small_weights import random_lpips, random_tensors, write_random

CPU = torch.device("cpu")


def images(n=2, channels=3, size=64, seed=0):
    return np.random.default_rng(seed).random((n, channels, size, size)).astype(np.float32)


def distances(network, a, b, rgb=()):
    return lpips.lpips_distances(network, a, b, CPU, 2, rgb)


# ---- the formula, computed by NumPy alone -------------------------------------------------------


def convolved(x, weight, bias, stride, padding):
    """x (c, y, x) with weight (f, c, k, k): windows times weights, one sum a position."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    k = weight.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    return np.einsum("cyxkl,fckl->fyx", windows, weight, optimize=True) + bias[:, None, None]


def pooled(x, side):
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
    return windows[:, ::2, ::2].max(axis=(-2, -1))


# Filters, side of the kernel, stride, padding, side of the pooling before; ! where LPIPS compares.
ALEX = [(64, 11, 4, 2, 0, "!"), (192, 5, 1, 2, 3, "!"), (384, 3, 1, 1, 3, "!"),
        (256, 3, 1, 1, 0, "!"), (256, 3, 1, 1, 0, "!")]  # fmt: skip
VGG = [(64, 3, 1, 1, 0, ""), (64, 3, 1, 1, 0, "!"), (128, 3, 1, 1, 2, ""), (128, 3, 1, 1, 0, "!"),
       (256, 3, 1, 1, 2, ""), (256, 3, 1, 1, 0, ""), (256, 3, 1, 1, 0, "!"),
       (512, 3, 1, 1, 2, ""), (512, 3, 1, 1, 0, ""), (512, 3, 1, 1, 0, "!"),
       (512, 3, 1, 1, 2, ""), (512, 3, 1, 1, 0, ""), (512, 3, 1, 1, 0, "!")]  # fmt: skip


def by_numpy(architecture, tensors, a, b):
    """LPIPS of two images (3, y, x) on [0, 1], as Zhang et al. 2018 define it."""
    arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    shift = np.array([-0.030, -0.088, -0.188])[:, None, None]
    scale = np.array([0.458, 0.448, 0.450])[:, None, None]
    both = [(2 * np.round(255 * x.astype(float)) / 255 - 1 - shift) / scale for x in (a, b)]
    total, head = 0.0, 0
    for i, (_, _, stride, padding, pool, mark) in enumerate(architecture):
        both = [pooled(x, pool) if pool else x for x in both]
        weight, bias = arrays[f"weight{i}"], arrays[f"bias{i}"]
        both = [np.maximum(convolved(x, weight, bias, stride, padding), 0) for x in both]
        if mark:
            units = [x / (np.sqrt((x**2).sum(axis=0, keepdims=True)) + 1e-10) for x in both]
            weights = arrays[f"head{head}"][:, None, None]
            total += (weights * (units[0] - units[1]) ** 2).sum(axis=0).mean()
            head += 1
    return total


@pytest.mark.parametrize(("net", "architecture"), [("alexnet", ALEX), ("vgg16", VGG)])
def test_lpips_is_its_formula(net, architecture):
    a, b = images(1, size=67, seed=1), images(1, size=67, seed=2)
    found = distances(random_lpips(net), a, b)
    expected = by_numpy(architecture, random_tensors(net), a[0], b[0])
    np.testing.assert_allclose(found, expected, rtol=2e-4)


@pytest.mark.parametrize("net", LAYERS)
def test_lpips_is_symmetric_and_zero_on_equal_images_alone(net):
    network, a, b = random_lpips(net), images(seed=1), images(seed=2)
    there, back = distances(network, a, b), distances(network, b, a)
    np.testing.assert_allclose(there, back, rtol=1e-5)
    assert (there > 1e-3).all() and (distances(network, a, a) == 0).all()


@pytest.mark.parametrize("net", LAYERS)
def test_features_are_finite_and_so_are_their_gradients_where_nothing_is_active(net):
    network = random_lpips(net)
    for name, buffer in network.named_buffers():
        if name.startswith("bias"):
            buffer.fill_(-100.0)
    x = torch.full((1, 3, 64, 64), 100.0, requires_grad=True)
    found = network.features(x)
    assert (found == 0).all()
    found.square().sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("net", LAYERS)
@pytest.mark.parametrize("size", [4, 16, 32])
def test_small_images_are_enlarged_to_64_px(net, size):
    network = random_lpips(net)
    a, b = images(1, size=size, seed=1), images(1, size=size, seed=2)
    found = distances(network, a, b)
    larger = [
        torch.nn.functional.interpolate(
            (255 * torch.as_tensor(x)).round(), size=64, mode="bilinear"
        )
        for x in (a, b)
    ]
    with torch.no_grad():
        of_a, of_b = (network.features(x) for x in larger)
    np.testing.assert_allclose(found, (of_a - of_b).square().sum(1).numpy(), rtol=1e-4)
    assert lpips.enlarge(torch.zeros(1, 3, 16, 24)).shape == (1, 3, 64, 96)
    assert lpips.enlarge(torch.zeros(1, 3, 65, 64)).shape == (1, 3, 65, 64)


def test_an_image_does_not_know_the_batch_and_colours_are_chosen():
    network = random_lpips("alexnet")
    a, b = images(3, channels=4, seed=1), images(3, channels=4, seed=2)
    together = distances(network, a, b)
    alone = np.concatenate([distances(network, a[i : i + 1], b[i : i + 1]) for i in range(3)])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(distances(network, a[:, [2, 0]], b[:, [2, 0]]),
                               distances(network, a, b, (2, 0)), rtol=1e-6)  # fmt: skip
    assert not np.allclose(together, distances(network, a, b, (2, 0)))


def test_the_embedding_is_the_mean_of_relu3_3_and_relu4_3():
    network, x = random_lpips("vgg16"), images(2, seed=3)
    found = lpips.vgg16_features(network, x, CPU, 2)
    assert found.shape == (2, 256 + 512)
    h = (2 * torch.as_tensor(x).mul(255).round() / 255 - 1 - network.shift) / network.scale
    taken = []
    for i in range(10):
        h = torch.nn.functional.max_pool2d(h, 2) if i in (2, 4, 7) else h
        weight, bias = getattr(network, f"weight{i}"), getattr(network, f"bias{i}")
        h = torch.nn.functional.conv2d(h, weight, bias, padding=1).relu()
        if i in (6, 9):
            taken.append(h.mean(dim=(2, 3)))
    np.testing.assert_allclose(found, torch.cat(taken, 1).numpy(), rtol=1e-3, atol=1e-5)


def test_the_networks_have_the_numbers_of_parameters_of_their_publications():
    convolutions = {"alexnet": 2_469_696, "vgg16": 14_714_688}
    for net, expected in convolutions.items():
        shapes = lpips.tensor_shapes(net)
        heads = sum(math.prod(s) for name, s in shapes.items() if name.startswith("head"))
        assert sum(map(math.prod, shapes.values())) - heads == expected
        assert heads == {"alexnet": 1152, "vgg16": 1472}[net]
    assert len(ALEXNET) == 5 and len(VGG16) == 13


# ---- files --------------------------------------------------------------------------------------


def test_a_file_is_used_by_its_sha256_and_for_its_own_network_alone(tmp_path):
    path = tmp_path / "vgg16.safetensors"
    write_random(path, "vgg16")
    loaded = lpips.load_lpips("vgg16", path, file_sha256(path), CPU)
    assert isinstance(loaded, Lpips)
    a, b = images(1, seed=1), images(1, seed=2)
    np.testing.assert_array_equal(distances(loaded, a, b), distances(random_lpips("vgg16"), a, b))
    with pytest.raises(InputError, match="SHA-256"):
        lpips.load_lpips("vgg16", path, "0" * 64, CPU)
    with pytest.raises(InputError, match="holds the weights of vgg16, expected alexnet"):
        lpips.load_lpips("alexnet", path, file_sha256(path), CPU)
    with pytest.raises(InputError, match="only VGG16 is known as TorchScript"):
        lpips.load_lpips("alexnet", tmp_path / "alex.pt", "0" * 64, CPU)


class Stub(torch.nn.Module):
    """Is called as vgg16.pt of StyleGAN2-ADA, and returns channel means over 255."""

    def forward(self, images: torch.Tensor, resize_images: bool, return_lpips: bool):
        assert return_lpips and not resize_images
        return images.mean(dim=(2, 3)) / 255.0


def test_lpips_is_the_squared_distance_of_the_features_of_a_torchscript_file(tmp_path):
    path = tmp_path / "vgg16.pt"
    torch.jit.script(Stub()).save(str(path))
    network = lpips.load_lpips("vgg16", path, file_sha256(path), CPU)
    assert isinstance(network, TorchScriptVgg)
    a = np.zeros((2, 1, 4, 4), np.float32)
    np.testing.assert_allclose(distances(network, a, a + 1.0), [3.0, 3.0], rtol=1e-6)


def test_auto_is_the_fetched_file_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("RLS_WEIGHTS", str(tmp_path))
    assert located("vgg16", AUTO, None) is None is located("vgg16", None, None)
    path = tmp_path / "vgg16.safetensors"
    path.write_bytes(b"x")
    assert located("vgg16", AUTO, None) == (path, file_sha256(path))
    assert located("vgg16", "/a/b.pt", "AB") == (type(path)("/a/b.pt"), "ab")
    for path, sha256, missing in (("/a", None, "vgg16_sha256"), (None, "ab", "vgg16_path")):
        with pytest.raises(InputError, match=f"without {missing}"):
            located("vgg16", path, sha256)
    assert (
        as_text({"vgg16": "b" * 64, "alexnet": "a" * 64}) == f"alexnet:{'a' * 16} vgg16:{'b' * 16}"
    )
    assert as_text({}) == "" and Vgg16Settings().vgg16_path is None


def test_the_folder_is_the_users_cache_unless_it_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("RLS_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights_folder() == tmp_path / "rls-super-resolution"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert weights_folder() == tmp_path / "home" / ".cache" / "rls-super-resolution"


# ---- the weights of Zhang et al. ----------------------------------------------------------------


def cells(n=4, size=64, seed=0):
    """Bright discs with texture, by which blur can be seen."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    disc = 1 / (1 + np.exp((np.hypot(x, y) / (0.3 * size) - 1) * 12))
    texture = random.random((n, 3, size, size)) * 0.6 + 0.4
    return (disc * texture).astype(np.float32)


def blurred(x, sd):
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(x, (0, 0, sd, sd))


@pytest.mark.parametrize("net", LAYERS)
def test_the_real_lpips_grows_with_blur_noise_and_shift(net, real_weights):
    path = real_weights / f"{net}.safetensors"
    network = lpips.load_lpips(net, path, file_sha256(path), CPU)
    x = cells()
    found = [distances(network, x, blurred(x, sd)) for sd in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert (found[0] == 0).all()
    for less, more in zip(found, found[1:], strict=False):
        assert (less < more).all()
    assert (found[-1] < 1.5).all()
    np.testing.assert_allclose(distances(network, blurred(x, 2.0), x), found[3], rtol=1e-5)
    noise = np.random.default_rng(1).normal(0, 1, x.shape).astype(np.float32)
    noisy = [distances(network, x, x + sd * noise) for sd in (0.02, 0.1, 0.3)]
    assert (noisy[0] < noisy[1]).all() and (noisy[1] < noisy[2]).all()


def test_the_real_weights_are_the_ones_that_the_program_knows(real_weights):
    from rls.io import read_weights

    for net, count in (("alexnet", 2_470_848), ("vgg16", 14_716_160)):
        tensors, header = read_weights(real_weights / f"{net}.safetensors", kind="lpips")
        assert sum(tensor.numel() for tensor in tensors.values()) == count == header["parameters"]
