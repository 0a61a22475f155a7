"""Pix2Pix: its sizes, receptive fields, dropout, training pairs and search."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rls.io import Intensity, write_weights
from rls.networks.pix2pix import KIND, Pairing, PatchGAN, UNet, check_assay, load_unet
from rls.runtime.errors import InputError
from rls.search.degradation import degrade
from rls.search.forward import downscale
from rls.search.forward_model import ForwardModel
from rls.search.methods import load_method
from rls.search.pix2pix import Settings
from tests.rls.search_stand_ins import make_problem, quiet

CHANNELS = ("dna", "nfkb")


def unet(size=16, n_channels=2, width=4, seed=0):
    """Return a network in eval mode whose weights are large enough to show differences."""
    torch.manual_seed(seed)
    net = UNet(n_channels, size, width)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize(("size", "n_channels"), [(16, 1), (32, 2), (64, 3), (128, 2), (256, 5)])
def test_a_u_net_halves_down_to_one_pixel_and_gives_back_size_and_channels(size, n_channels):
    net = UNet(n_channels, size, 2)
    sides = []
    net.down[-1].register_forward_hook(lambda *call: sides.append(call[2].shape[-2:]))
    images = torch.randn(2, n_channels, size, size)
    assert net(images).shape == images.shape
    assert sides == [(1, 1)] and 2**net.depth == size


def test_the_maps_double_to_eight_times_the_width_as_published():
    maps = [next(layer.parameters()).shape[0] for layer in UNet(3, 128, 4).down]
    assert maps == [4, 8, 16, 32, 32, 32, 32]


@pytest.mark.parametrize("size", [8, 24, 100])
def test_sizes_that_cannot_be_halved_down_to_one_pixel_are_refused(size):
    with pytest.raises(InputError, match=f"image_size {size} px, expected a power of two"):
        UNet(2, size, 4)


def test_every_pixel_sees_the_whole_image():
    images = torch.randn(1, 2, 32, 32, requires_grad=True)
    unet(32)(images)[0, 0, 3, 3].backward()
    assert (images.grad != 0).float().mean() > 0.95


def test_values_beyond_black_and_white_can_be_made():
    net = unet()
    net.up[0].bias.fill_(3.0)
    assert net(torch.zeros(1, 2, 16, 16)).mean() > 1.5


@pytest.mark.parametrize(("size", "side"), [(16, 16), (32, 16), (64, 34), (128, 70), (256, 70)])
def test_a_patch_is_as_large_as_published_where_the_image_holds_it(size, side):
    net = PatchGAN(1, size, 2).double().eval()
    source, images = torch.randn(2, 1, 1, 160, 160, dtype=torch.double)  # No edge cuts the patch.
    for tensor in (source, images):
        tensor.requires_grad_(True)
    logits = net(source, images)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    assert net.receptive_field == side
    for tensor in (source, images):
        for axis in (2, 3):
            seen = torch.nonzero(tensor.grad.abs().sum(dim=(0, 1, axis))).flatten()
            assert seen[-1] - seen[0] + 1 == side <= size


def test_weights_start_as_published():
    for net in (UNet(2, 64, 32).requires_grad_(False), PatchGAN(2, 64, 64).requires_grad_(False)):
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                if module.weight.numel() > 5000:
                    assert module.weight.std() == pytest.approx(0.02, rel=0.1)
                    assert abs(module.weight.mean()) < 0.002
            elif isinstance(module, torch.nn.BatchNorm2d) and len(module.weight) > 100:
                assert module.weight.mean() == pytest.approx(1.0, abs=0.01)


def test_dropout_drops_half_in_three_blocks_beside_the_innermost_and_keeps_the_mean():
    shapes = UNet(2, 128, 4).dropout_shapes
    assert [shape[1] for shape in shapes.values()] == [4, 8, 16]
    assert len(UNet(2, 16, 4).dropout_shapes) == 2  # Never in the last block.
    masks = UNet(2, 128, 16).masks(8, torch.Generator().manual_seed(0))
    for mask in masks.values():
        assert set(mask.unique().tolist()) == {0.0, 2.0}
        assert mask.mean() == pytest.approx(1.0, abs=0.05)
        assert not torch.equal(mask[0], mask[1])


def test_the_dropout_of_an_image_is_its_own_in_any_company():
    net = unet(32)
    together = net.masks_of(["a", "b", "c"], seed=1)
    for level, mask in net.masks_of(["c"], seed=1).items():
        assert torch.equal(mask[0], together[level][2])
        assert not torch.equal(mask[0], together[level][1])
        assert not torch.equal(mask[0], net.masks_of(["c"], seed=2)[level][0])


@pytest.mark.parametrize("quantise", ["8bit", "none"])
@pytest.mark.parametrize("border", ["renormalize", "reflect"])
def test_pairs_are_made_as_degrade_makes_them(border, quantise):
    unit = np.random.default_rng(0).normal(0.5, 3.0, (3, 2, 32, 32)).astype(np.float32)
    forward = ForwardModel(border=border)
    given = {"forward": forward, "pixel_size_um": 1.0, "quantise": quantise, "seed": 1}
    low = degrade(unit, ["a", "b", "c"], 4, (), **given)
    found = Pairing(downscale(32, 4, border), quantise).low_resolution(torch.from_numpy(unit))
    assert np.array_equal(found.numpy(), low)


def test_the_input_of_a_grey_image_is_grey():
    pairing = Pairing(downscale(32, 8, "renormalize"), "8bit")
    grey = torch.full((1, 2, 32, 32), 51 / 255 * 2 - 1)
    torch.testing.assert_close(pairing(grey), grey, atol=1e-5, rtol=0)


# ---- the file and the search that uses it ----------------------------------------------------


@pytest.fixture
def network(tmp_path):
    header = {
        "kind": KIND, "channels": list(CHANNELS), "image_size": 16, "factor": 4,
        "generator_width": 4, "adversarial_weight": 1.0,
        "intensity": Intensity(CHANNELS, (0.0, 0.0), (1.0, 2.0)).as_dict(),
    }  # fmt: skip
    write_weights(tmp_path / "network.safetensors", unet().state_dict(), header)
    return tmp_path / "network.safetensors"


def solve(network, y, ids, *, factor=4, weight=1.0, dropout=True):
    problem = make_problem(y, factor, ids=ids, network=network)
    settings = Settings(adversarial_weight=weight, dropout_at_test=dropout)
    return load_method("pix2pix").super_resolve(problem, settings, quiet()), problem


def test_the_search_gives_each_image_what_it_gets_alone(network):
    y = torch.rand(3, 2, 4, 4)
    found, problem = solve(network, y, ["a", "b", "c"])
    assert found.images.shape == (3, 2, 16, 16) and found.latents is None
    assert set(found.columns) == {"loss_fidelity", "search_status"}
    loss = (problem.forward(found.images) - y).abs().mean(dim=(1, 2, 3))
    np.testing.assert_allclose(found.columns["loss_fidelity"], loss, rtol=1e-5)
    others, _ = solve(network, torch.stack([y[2], y[2] + 3, y[2] - 3]), ["c", "d", "e"])
    assert torch.equal(others.images[0], found.images[2])


def test_dropout_at_test_is_noise_of_the_image_id_and_can_be_left_out(network):
    y = torch.rand(1, 2, 4, 4).expand(2, -1, -1, -1)
    drawn, off = (solve(network, y, ["a", "b"], dropout=d)[0].images for d in (True, False))
    assert torch.equal(drawn, solve(network, y, ["a", "b"])[0].images)
    assert not torch.allclose(drawn[0], drawn[1], atol=1e-3)
    torch.testing.assert_close(off[0], off[1])
    assert not torch.allclose(drawn[0], off[0], atol=1e-3)


@pytest.mark.parametrize(
    ("y", "change", "words"),
    [
        ((1, 2, 2, 2), {"factor": 8}, "trained for factor 4, and these images have factor 8"),
        ((1, 2, 8, 8), {}, "image_size 16 x 16, and these images have image_size 32 x 32"),
        ((1, 3, 4, 4), {}, "trained for channels 2, and these images have channels 3"),
        ((1, 2, 4, 4), {"weight": 0.0}, "adversarial_weight 1, and this method has 0"),
    ],
)
def test_a_network_of_other_images_or_of_the_twin_is_refused(network, y, change, words):
    with pytest.raises(InputError, match=words):
        solve(network, torch.zeros(y), ["a"], **change)


def test_a_search_without_its_network_says_so():
    with pytest.raises(InputError, match="Give --network"):
        solve(None, torch.zeros(1, 2, 4, 4), ["a"])


def test_a_network_of_another_assay_is_refused(network):
    _, header = load_unet(network)
    check_assay(network, header, Intensity(CHANNELS, (0.0, 0.0), (1.0, 2.0)))
    for other in (
        Intensity(CHANNELS, (0.0, 0.0), (1.0, 3.0)),
        Intensity(("dna", "golgi"), (0.0, 0.0), (1.0, 2.0)),
    ):
        with pytest.raises(InputError, match="Give the network of this assay"):
            check_assay(network, header, other)
