"""Weights of smaller images grow: the first images are theirs, enlarged, and no layer is lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from unittest import mock

import pytest
import torch

from rls.io import write_weights
from rls.runtime.errors import InputError
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.growing import grown_discriminator
from rls.stylegan2.initial_weights import load_initial
from rls.stylegan2.networks import Generator
from rls.stylegan2.operators import upsample2d

SMALL = Architecture(
    image_size=8, n_channels=2, z_dim=6, w_dim=6, mapping_layers=2, channel_base=64, channel_max=8
)
LARGE = dataclasses.replace(SMALL, image_size=32)


def write_training(folder: Path, architecture: Architecture) -> tuple[Generator, Discriminator]:
    """Write the weights of a finished training and return its networks."""
    generator, discriminator = Generator(architecture), Discriminator(architecture)
    header = {"architecture": dataclasses.asdict(architecture)}
    both = {f"generator.{k}": v for k, v in generator.state_dict().items()}
    both |= {f"discriminator.{k}": v for k, v in discriminator.state_dict().items()}
    files = {"generator": generator.state_dict(), "discriminator": both}
    names = {"generator": "generator", "discriminator": "training"}
    for kind, tensors in files.items():
        write_weights(folder / f"{names[kind]}.safetensors", tensors, {**header, "kind": kind})
    return generator, discriminator


def trainer_of(architecture: Architecture) -> mock.Mock:
    return mock.Mock(
        generator=Generator(architecture),
        average=Generator(architecture),
        discriminator=Discriminator(architecture),
    )


def test_a_grown_generator_begins_with_the_smaller_images_enlarged(tmp_path, capsys):
    small, _ = write_training(tmp_path, SMALL)
    trainer = trainer_of(LARGE)
    load_initial(trainer, tmp_path)
    z = torch.randn(3, 6)
    for network in (trainer.generator, trainer.average):
        with torch.no_grad():
            images = network(z, noise="none")
            expected = upsample2d(upsample2d(small(z, noise="none")))
        torch.testing.assert_close(images, expected)
    assert "grow from 8 to 32 px" in capsys.readouterr().out


def test_a_grown_discriminator_keeps_every_layer_but_the_first(tmp_path):
    _, small = write_training(tmp_path, SMALL)
    trainer = trainer_of(LARGE)
    load_initial(trainer, tmp_path)
    grown = trainer.discriminator.state_dict()
    shared = [name for name in small.state_dict() if "fromrgb" not in name]
    assert len(shared) > 8
    assert all(torch.equal(grown[name], small.state_dict()[name]) for name in shared)


@pytest.mark.parametrize("n_channels", [2, 3])
def test_a_grown_discriminator_begins_with_the_judgement_of_the_smaller_one(tmp_path, n_channels):
    """The images are smooth, since what is finer than the smaller one's pixels it never saw."""
    sizes = {"n_channels": n_channels, "channel_base": 256, "channel_max": 32}
    _, small = write_training(tmp_path, dataclasses.replace(SMALL, **sizes))
    trainer = trainer_of(dataclasses.replace(LARGE, **sizes, image_size=16))
    load_initial(trainer, tmp_path)
    smooth = torch.nn.functional.interpolate(
        torch.randn(64, n_channels, 3, 3), size=16, mode="bicubic", align_corners=True
    )
    with torch.no_grad():
        expected = small(torch.nn.functional.avg_pool2d(smooth, 2))[:, 0]
        found = trainer.discriminator(smooth)[:, 0]
    assert torch.corrcoef(torch.stack([found, expected]))[0, 1] > 0.97
    assert (found - expected).std() < 0.25 * expected.std()


def test_features_that_a_new_block_has_room_for_are_handed_on_exactly():
    """At equal widths nothing is approximated."""
    small = dataclasses.replace(SMALL, image_size=8, channel_base=1024)
    first, second = Discriminator(small), Discriminator(dataclasses.replace(small, image_size=16))
    second.load_state_dict(grown_discriminator(second, first.state_dict(), small))
    flat = torch.randn(8, 2, 1, 1)
    with torch.no_grad():
        expected = first(flat.expand(-1, -1, 8, 8).clone())
        found = second(flat.expand(-1, -1, 16, 16).clone())
    # The borders of a filtered image are darker: a constant image is not constant at its rim.
    assert torch.corrcoef(torch.cat([found, expected], 1).T)[0, 1] > 0.97


def test_new_layers_learn(tmp_path):
    write_training(tmp_path, SMALL)
    trainer = trainer_of(LARGE)
    load_initial(trainer, tmp_path)
    loss = trainer.discriminator(trainer.generator(torch.randn(4, 6))).sum()
    loss.backward()
    for block in ("b16", "b32"):
        assert trainer.generator.synthesis.get_submodule(block).torgb.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    "change", [{"image_size": 64}, {"channel_base": 128}, {"n_channels": 3}, {"mapping_layers": 3}]
)
def test_a_larger_or_another_network_is_refused(tmp_path, change):
    write_training(tmp_path, dataclasses.replace(LARGE, **change))
    with pytest.raises(InputError, match=next(iter(change))):
        load_initial(trainer_of(LARGE), tmp_path)
