"""Losses, the running average and the training images."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from rls.io import Intensity, Stack
from rls.runtime.errors import InputError
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.losses import discriminator_loss, generator_loss, r1_penalty
from rls.stylegan2.optimisation import ema_decay, update_average
from rls.stylegan2.training_images import TrainingImages, quarter_turns, rotated_crop


def test_losses_at_known_logits():
    zero = torch.zeros(4, 1)
    assert generator_loss(zero).item() == pytest.approx(math.log(2))
    assert discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2))
    sure = torch.full((4, 1), 30.0)
    assert generator_loss(sure).item() == pytest.approx(0, abs=1e-6)
    assert generator_loss(-sure).item() == pytest.approx(30)
    assert discriminator_loss(-sure, sure).item() == pytest.approx(0, abs=1e-6)


def test_r1_of_a_quadratic_discriminator():
    """D(x) = a/2 |x|^2 + b.x has gradient a x + b, so the penalty and its slope in a are known."""
    torch.manual_seed(1)
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    b = torch.randn(2, 4, 4, dtype=torch.float64)
    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    logits = (a / 2 * x.square() + b * x).sum(dim=(1, 2, 3))
    penalty = r1_penalty(logits, x)
    expected = (a * x + b).square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(penalty, expected)
    (slope,) = torch.autograd.grad(penalty.sum(), a)
    torch.testing.assert_close(slope, (2 * (a * x + b) * x).sum())


def test_r1_through_the_discriminator_has_the_right_slope():
    """The double backward agrees with central differences of the penalty in float64."""
    torch.manual_seed(2)
    discriminator = Discriminator(Architecture(8, 2, 4, 4, 1, 32, 4)).double()
    x = torch.randn(4, 2, 8, 8, dtype=torch.float64, requires_grad=True)

    def penalty():
        return r1_penalty(discriminator(x), x).mean()

    for name in ("b8.conv0.weight", "b8.conv1.weight", "b8.skip.weight", "b4.conv.weight"):
        weight = discriminator.get_parameter(name)
        (gradient,) = torch.autograd.grad(penalty(), weight)
        direction, step = torch.randn_like(weight), 1e-6
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.add_(direction, alpha=sign * step)
            values.append(penalty().item())
            with torch.no_grad():
                weight.sub_(direction, alpha=sign * step)
        slope = (values[0] - values[1]) / (2 * step)
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-4), name


def test_the_average_covers_half_the_way_in_its_half_life():
    average, network = nn.Linear(1, 1), nn.Linear(1, 1)
    for module, value in ((average, 0.0), (network, 1.0)):
        for parameter in module.parameters():
            nn.init.constant_(parameter, value)
    for step in range(500):  # 500 steps of 20 images are 10 kimg
        update_average(average, network, ema_decay(20, 10**6 + 20 * step, 10.0, None))
    assert average.weight.item() == pytest.approx(0.5, abs=1e-5)


def test_the_average_starts_as_a_copy_and_its_half_life_is_ramped_up():
    assert ema_decay(32, 0, 10.0, 0.05) == 0.0
    assert ema_decay(32, 6400, 10.0, 0.05) == pytest.approx(0.5 ** (32 / 320))
    assert ema_decay(32, 10**7, 10.0, 0.05) == pytest.approx(0.5 ** (32 / 10_000))


def test_buffers_of_the_average_are_copied():
    average, network = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    network.running_mean.fill_(3.0)
    update_average(average, network, 0.9)
    assert torch.equal(average.running_mean, network.running_mean)


def make_stack(n=12, side=24, channels=("dna", "nfkb"), split="gan"):
    random = np.random.default_rng(1)
    images = random.integers(100, 4000, (n, len(channels), side, side)).astype(np.uint16)
    table = pd.DataFrame(
        {
            "image_id": [f"p_A01_s1_y{i}_x0" for i in range(n)],
            "image_digest": [str(i) for i in range(n)],
            "split": split,
        }
    )
    return Stack(images, table, channels, 0.5, "")


SCALE = Intensity(("dna", "nfkb"), (100.0, 200.0), (2100.0, 4200.0))
CPU = torch.device("cpu")


def test_turned_crops_at_quarter_turns_equal_rot90():
    images = torch.randn(4, 2, 46, 46)
    angles = torch.arange(4) * (math.pi / 2)
    turned = rotated_crop(images, angles, 32)
    centre = images[..., 7:39, 7:39]
    for k in range(4):
        expected = torch.from_numpy(np.rot90(centre[k].numpy(), k, (1, 2)).copy())
        torch.testing.assert_close(turned[k], expected, atol=1e-4, rtol=0)
    by_hand = quarter_turns(centre, torch.arange(4))
    torch.testing.assert_close(turned, by_hand, atol=1e-4, rtol=0)


def test_turned_crops_show_no_border():
    """The image is 0 inside the circle that a crop can reach, and 1 outside of it."""
    side, size = 46, 32
    axis = torch.arange(side) - (side - 1) / 2
    radius = torch.sqrt(axis[:, None] ** 2 + axis[None] ** 2)
    images = (radius > 22.9).float().expand(16, 1, side, side)
    turned = rotated_crop(images, torch.linspace(0, math.pi, 16), size)
    # Bicubic interpolation reaches two pixels beyond the corner, so outermost pixels may differ.
    assert turned[..., 2:-2, 2:-2].abs().max() == 0


@pytest.mark.parametrize("side", [16, 22, 24])
def test_batches_are_scaled_by_the_intensity_and_cut_to_size(side):
    data = TrainingImages(make_stack(side=side), SCALE, 16, seed=1)
    assert data.turns_freely == (side >= 16 * math.sqrt(2))
    batch = data.batch(0, 5, CPU)
    assert batch.shape == (5, 2, 16, 16)
    assert batch.dtype == torch.float32
    flat = make_stack(side=side)
    flat.images[:, 0], flat.images[:, 1] = 2100, 200
    batch = TrainingImages(flat, SCALE, 16, seed=1).batch(0, 5, CPU)
    torch.testing.assert_close(batch[:, 0], torch.ones(5, 16, 16), atol=1e-5, rtol=0)
    torch.testing.assert_close(batch[:, 1], -torch.ones(5, 16, 16), atol=1e-5, rtol=0)


def test_every_image_is_shown_once_an_epoch_and_only_those_of_the_split():
    stack = make_stack(n=12)
    stack.table.loc[8:, "split"] = "evaluation"
    data = TrainingImages(stack, SCALE, 16, seed=3)
    orders = [[data._row(8 * epoch + i) for i in range(8)] for epoch in range(3)]
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert orders[0] != orders[1]


def test_a_batch_is_a_function_of_seed_and_step():
    first, second = (TrainingImages(make_stack(), SCALE, 16, seed=1) for _ in range(2))
    for step in (0, 1, 2):
        first.batch(step, 5, CPU)
    assert torch.equal(first.batch(3, 5, CPU), second.batch(3, 5, CPU))
    assert not torch.equal(
        second.batch(3, 5, CPU), TrainingImages(make_stack(), SCALE, 16, seed=2).batch(3, 5, CPU)
    )


def test_half_of_the_images_are_mirrored_and_every_turn_is_as_frequent():
    for side in (16, 24):
        data = TrainingImages(make_stack(side=side), SCALE, 16, seed=1)
        chosen = data.choices(0, 4000)
        assert abs(chosen.flips.mean() - 0.5) < 0.03
        turns = chosen.turns / (math.pi / 2) if data.turns_freely else chosen.turns
        assert turns.min() >= 0
        shares = np.bincount(turns.astype(int)) / 4000
        assert len(shares) == 4 and np.abs(shares - 0.25).max() < 0.03


def test_the_digest_of_the_data_changes_with_an_image_and_with_the_scale():
    digest = TrainingImages(make_stack(), SCALE, 16, seed=1).digest
    other = make_stack()
    other.table.loc[3, "image_digest"] = "changed"
    assert TrainingImages(other, SCALE, 16, seed=1).digest != digest
    scale = Intensity(SCALE.channels, SCALE.black, (2100.0, 4201.0))
    assert TrainingImages(make_stack(), scale, 16, seed=1).digest != digest


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        (make_stack(side=15), "15 px"),
        (make_stack(split="tune"), "no cell of split 'gan'"),
        (make_stack(channels=("dna", "golgi")), "dna, golgi"),
    ],
)
def test_unfit_cells_are_refused(stack, words):
    with pytest.raises(InputError, match=words):
        TrainingImages(stack, SCALE, 16, seed=1)
