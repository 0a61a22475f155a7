from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from rls.networks import perceptual
from rls.runtime.errors import InputError

CPU = torch.device("cpu")


def features(images, seed=0, batch_size=4):
    return perceptual.random_features(images, seed=seed, device=CPU, batch_size=batch_size)


def images(n=5, channels=2, size=16, seed=0):
    return np.random.default_rng(seed).random((n, channels, size, size)).astype(np.float32)


@pytest.mark.parametrize(("channels", "size"), [(1, 4), (2, 32), (3, 17), (5, 64)])
def test_random_features_have_one_width_for_any_channels_and_size(channels, size):
    found = features(images(3, channels, size))
    assert found.shape == (3, perceptual.RANDOM_FEATURES) and np.isfinite(found).all()


def test_random_features_depend_on_the_seed_and_nothing_else():
    torch.manual_seed(1)
    a = features(images())
    torch.manual_seed(2)
    assert np.array_equal(a, features(images()))
    assert not np.allclose(a, features(images(), seed=1))


def test_random_features_do_not_depend_on_the_neighbours_in_a_batch():
    together = features(images(6))
    alone = np.concatenate([features(images(6)[i : i + 1]) for i in range(6)])
    np.testing.assert_array_equal(together, alone)


def test_a_constant_image_has_no_spread_so_borders_are_no_edges():
    flat = np.full((1, 2, 16, 16), 0.6, np.float32)
    found = features(flat).reshape(perceptual.LAYERS, 2, perceptual.FILTERS)
    assert np.abs(found[:, 1]).max() < 1e-5 and np.abs(found[:, 0]).max() > 0.1


def test_random_features_see_blur_that_channel_means_do_not():
    sharp = images(40, 1, 32)
    blurred = sharp.reshape(40, 1, 16, 2, 16, 2).mean(axis=(3, 5))
    blurred = blurred.repeat(2, axis=-1).repeat(2, axis=-2)
    assert np.allclose(sharp.mean(axis=(1, 2, 3)), blurred.mean(axis=(1, 2, 3)), atol=1e-5)
    a, b = features(sharp), features(blurred)
    gap = np.abs(a.mean(axis=0) - b.mean(axis=0)) / (a.std(axis=0) + 1e-9)
    assert gap.max() > 10


class Stub(torch.nn.Module):
    """Has the calls of the Inception and VGG files, and returns (scaled) channel means."""

    def forward(
        self,
        images: torch.Tensor,
        resize_images: bool = True,
        return_features: bool = False,
        return_lpips: bool = False,
    ) -> torch.Tensor:
        means = images.mean(dim=(2, 3))
        return means / 255.0 if return_lpips else means


@pytest.fixture
def stub(tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.script(Stub()).save(str(path))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_torchscript_file_is_loaded_by_its_sha256_and_refused_by_any_other(stub, tmp_path):
    path, digest = stub
    module = perceptual.load_torchscript(path, digest, CPU)
    with pytest.raises(InputError, match="SHA-256"):
        perceptual.load_torchscript(path, "0" * 64, CPU)
    with pytest.raises(InputError, match="does not exist"):
        perceptual.load_torchscript(tmp_path / "absent.pt", digest, CPU)
    other = tmp_path / "other.pt"
    other.write_bytes(b"no torchscript")
    with pytest.raises(InputError, match="not a TorchScript"):
        perceptual.load_torchscript(other, hashlib.sha256(b"no torchscript").hexdigest(), CPU)
    found = perceptual.inception_features(module, np.full((3, 2, 4, 4), 2.0, np.float32), CPU, 2)
    np.testing.assert_array_equal(
        found, [[255, 255, 0]] * 3
    )  # Clipped, and the third channel is empty.


def test_channels_become_colours_by_name_or_in_their_order():
    x = torch.arange(4.0).view(1, 4, 1, 1) / 10
    as_rgb = perceptual.as_rgb_bytes

    def colours(*names):
        rgb = perceptual.rgb_indices(("dna", "actin", "tubulin", "er"), names)
        return (as_rgb(x, rgb).flatten() / 25.5).round().tolist()

    assert colours() == [0, 1, 2]
    assert colours("er", "dna", "actin") == [3, 0, 1]
    assert colours("tubulin") == [2, 2, 2]
    assert colours("tubulin", "actin") == [2, 1, 0]
    assert as_rgb(x[:, :1]).shape == as_rgb(x[:, :2]).shape == (1, 3, 1, 1)
    for names in (("dna", "nfkb"), ("dna", "actin", "tubulin", "er")):
        with pytest.raises(InputError, match="expected up to three of dna, actin"):
            colours(*names)
