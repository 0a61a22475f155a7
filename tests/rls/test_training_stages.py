"""A training that begins with smaller images: averaged cells, grown networks, resumed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from rls.io import read_weights
from rls.runtime.errors import InputError
from rls.stylegan2.stages import FOLDER, Stage, stages_of
from rls.stylegan2.training_images import TrainingImages, binned
from tests.rls.test_stylegan2_training import CPU, SCALE, make_stack
from tests.rls.test_train_gan import SETTINGS, assert_equal, cells, trained, weights_in

GROWN = {"grow_from": 8, "grow_kimg": 0.016, "total_kimg": 0.016}
__all__ = ["cells"]  # the fixture


def first_stage(folder):
    """Return the one folder with the weights of a first stage."""
    (found,) = (folder / "state").glob(f"{FOLDER}-*")
    return found


@pytest.fixture(scope="module")
def grown(cells, tmp_path_factory):
    """Return the folder of a training of 8 px, and then of 16 px."""
    folder = tmp_path_factory.mktemp("grown")
    trained(cells, folder, **GROWN)
    return folder


def test_both_stages_write_their_networks_and_pixel_sizes(grown):
    _, last = read_weights(grown / "generator.safetensors", kind="generator")
    _, first = read_weights(first_stage(grown) / "generator.safetensors", kind="generator")
    assert (first["image_size"], last["image_size"]) == (8, 16)
    assert (first["pixel_size_um"], last["pixel_size_um"]) == (1.0, 0.5)
    assert first["images_seen"] == last["images_seen"] == 16


def test_a_finished_training_is_not_trained_again(cells, grown, capsys):
    before = weights_in(grown)
    assert_equal(trained(cells, grown, **GROWN), before)
    assert len(list((grown / "state").glob("train_gan-*"))) == 2


def test_a_longer_last_stage_goes_on_and_ends_as_if_never_stopped(cells, grown, tmp_path):
    longer = {**GROWN, "total_kimg": 0.024}
    whole = trained(cells, tmp_path, **longer)
    assert_equal(trained(cells, grown, **longer), whole)


def test_the_last_stage_starts_from_the_first_ones_weights(cells, tmp_path):
    still = {**GROWN, "total_kimg": 0.004, "learning_rate": 1e-12, "ema_kimg": 1e6}
    last = trained(cells, tmp_path, **still)
    first = weights_in(first_stage(tmp_path))
    shared = [k for k in first if "fromrgb" not in k and "w_avg" not in k]
    for name in shared:
        torch.testing.assert_close(last[name], first[name], atol=1e-5, rtol=1e-4)
    assert len(shared) > 40


def test_trainings_that_share_a_state_folder_have_first_stages_of_their_own(cells, tmp_path):
    """As the assays of a run do: the second must not begin from the first one's weights."""
    alone = trained(cells, tmp_path / "alone", **GROWN, seed=4)
    trained(cells, tmp_path / "shared", **GROWN)
    assert_equal(trained(cells, tmp_path / "shared", **GROWN, seed=4), alone)
    assert len(list((tmp_path / "shared" / "state").glob(f"{FOLDER}-*"))) == 2


def test_bins_are_means_about_the_centre():
    images = torch.arange(2 * 5 * 5, dtype=torch.float32).view(1, 2, 5, 5)
    found = binned(images, 2)
    assert found.shape == (1, 2, 2, 2)
    torch.testing.assert_close(found[0, 0, 0, 0], images[0, 0, :2, :2].mean())
    assert binned(images, 1) is images


def test_binned_training_images_are_averages_of_the_stack():
    stack = make_stack(side=24)
    plain = TrainingImages(stack, SCALE, 8, seed=1, binning=2)
    assert plain.turns_freely and plain.pixel_size_um == 2 * stack.pixel_size_um
    # An image of 24 px in bins of 3 is 8 px wide: turned by quarters only, so that means are kept.
    coarse = TrainingImages(stack, SCALE, 8, seed=1, binning=3)
    assert not coarse.turns_freely
    batch = coarse.batch(0, 6, CPU)
    rows = coarse.choices(0, 6).rows
    units = SCALE.to_unit(np.asarray(stack.images[rows])) * 2 - 1
    np.testing.assert_allclose(batch.mean((2, 3)), units.mean((2, 3)), atol=1e-5)
    assert len({plain.digest, coarse.digest, TrainingImages(stack, SCALE, 8, seed=1).digest}) == 3


@pytest.mark.parametrize("size", [4, 12, 16, 32])
def test_a_first_size_that_does_not_grow_is_refused(size):
    with pytest.raises(InputError, match="grow_from"):
        dataclasses.replace(SETTINGS, grow_from=size)


def test_frozen_layers_and_packed_trainings_have_no_first_stage(tmp_path):
    frozen = dataclasses.replace(SETTINGS, grow_from=8, freeze_discriminator=2)
    with pytest.raises(InputError, match="freeze_discriminator"):
        stages_of(Stage(frozen, None, tmp_path / "g", None), tmp_path, "data")
    last = Stage(dataclasses.replace(SETTINGS, grow_from=8), None, tmp_path / "g", None)
    with pytest.raises(InputError, match="state folder"):
        stages_of(last, tmp_path, "data", tmp_path / "packed")
