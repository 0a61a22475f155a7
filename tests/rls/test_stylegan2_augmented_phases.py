"""The phases of a step with augmentations and mixed styles, which the plain formulas leave out.

The textbook losses are computed in float64 with a weight per sample. Augmentations are applied by
``augment.apply``, which has tests of its own; here it counts which images each draw is applied to.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.training_step import textbook
from rls.stylegan2 import augment
from rls.stylegan2.optimisation import ema_decay
from rls.stylegan2.step_inputs import AUGMENTED, GENERATING
from rls.stylegan2.trainer import Trainer
from tests.rls.test_stylegan2_phases import assert_gradients, make_trainer


def augmented_trainer(**changes) -> Trainer:
    """Return a trainer in float64 that augments every image and mixes the styles of every batch."""
    trainer = make_trainer(**{"augmentations": "bgc", "style_mixing_probability": 1.0, **changes})
    trainer.augment_p = 1.0
    trainer.inputs.forget()
    trainer.fill_inputs()
    trainer.image_phase()
    trainer.real = trainer.real.double()
    return trainer


def mixed_images(trainer: Trainer, generator, phase: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images and ws of a phase, with styles of z up to the cut and of other_z beyond."""
    drawn = trainer.inputs.fake[phase]
    cut = int(drawn.from_z.sum())
    assert 0 < cut < generator.num_ws and bool(drawn.from_z[:cut].all())
    with textbook():
        first, second = (
            generator.mapping(drawn.z.double()),
            generator.mapping(drawn.other_z.double()),
        )
        ws = torch.cat([first[:, :cut], second[:, cut:]], dim=1)
        return generator.synthesis(ws, [noise.double() for noise in drawn.maps]), ws


def augmented(trainer: Trainer, images: torch.Tensor, use: str) -> torch.Tensor:
    shown = augment.apply(images, trainer.inputs.draws[use])
    assert ((shown - images).abs().amax((1, 2, 3)) > 0.01).all()  # every image is changed
    return shown


def test_the_generator_sees_the_slopes_of_augmented_images_of_mixed_styles():
    trainer = augmented_trainer()
    generator, discriminator = copy.deepcopy((trainer.generator, trainer.discriminator))
    trainer.generator_phase()
    images = augmented(trainer, mixed_images(trainer, generator, "generator")[0], "generator")
    F.softplus(-discriminator(images)).mean().backward()
    assert_gradients(trainer.generator, generator)


def test_the_discriminator_sees_both_kinds_augmented_each_by_its_own_draws():
    trainer = augmented_trainer()
    generator, discriminator = copy.deepcopy((trainer.generator, trainer.discriminator))
    trainer.discriminator_phase()
    fake = mixed_images(trainer, generator, "discriminator")[0].detach()
    fake = discriminator(augmented(trainer, fake, "generated"))
    real = discriminator(
        augmented(trainer, trainer.data.batch(0, 4, trainer.device).double(), "real")
    )
    (F.softplus(fake).mean() + F.softplus(-real).mean()).backward()
    assert_gradients(trainer.discriminator, discriminator)


def test_r1_is_the_slope_of_the_logits_of_augmented_images_by_the_images_themselves():
    trainer = augmented_trainer()
    discriminator = copy.deepcopy(trainer.discriminator)
    trainer.r1_phase()
    images = trainer.data.batch(0, 4, trainer.device).double().requires_grad_()
    logits = discriminator(augmented(trainer, images, "R1"))
    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    (3 * 0.1 / 2 * slope.pow(2).sum((1, 2, 3)).mean()).backward()  # every 3 steps, gamma 0.1
    assert_gradients(trainer.discriminator, discriminator)


def test_path_lengths_are_those_of_plain_images_of_mixed_styles():
    trainer = augmented_trainer()
    generator = copy.deepcopy(trainer.generator)
    trainer.path_length_phase()
    images, ws = mixed_images(trainer, generator, "path length")
    assert len(images) == 2  # half a batch
    y = trainer.inputs.pixels.double() / 16
    (slope,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
    lengths = slope.pow(2).sum(2).mean(1).sqrt()
    mean = 0.3 + 0.01 * (lengths.mean() - 0.3)
    (2.0 * (lengths - mean) ** 2).mean().mul(2).backward()  # weight 2, every 2 steps
    assert_gradients(trainer.generator, generator)
    assert trainer.path_mean.item() == pytest.approx(mean.item())


@pytest.mark.parametrize("phase", ["discriminator", "r1"])
def test_r_t_counts_the_signs_of_augmented_real_images(phase):
    """D's bias is set so that generated images, and real ones as they are, have another sum."""
    trainer = augmented_trainer()
    real = trainer.data.batch(0, 4, trainer.device).double()
    with torch.no_grad():
        fake = mixed_images(trainer, trainer.generator, "discriminator")[0]
        shown = augmented(trainer, real, "R1" if phase == "r1" else "real")
        others = [real, fake, augmented(trainer, fake, "generated")]
        logits, *others = (trainer.discriminator(x).flatten() for x in (shown, *others))
        ordered = logits.sort().values
        for bias in -(ordered[1:] + ordered[:-1]) / 2:
            expected = (logits + bias).sign().sum()
            if all((x + bias).sign().sum() != expected for x in others):
                break
        else:
            raise AssertionError("no bias tells the images apart")
        trainer.discriminator.b4.out.bias += bias
    getattr(trainer, f"{phase}_phase")()
    assert trainer.signs.tolist() == [4.0, expected.item()]


def test_every_use_image_and_step_has_draws_of_its_own():
    trainer = augmented_trainer()
    assert set(trainer.inputs.draws) == set(AUGMENTED)
    drawn = [trainer.inputs.draws[use].matrices.clone() for use in AUGMENTED]
    trainer.step = 1
    trainer.fill_inputs()
    drawn += [trainer.inputs.draws[use].matrices.clone() for use in AUGMENTED]
    trainer.step = 2  # the next block
    trainer.fill_inputs()
    drawn += [trainer.inputs.draws[use].matrices.clone() for use in AUGMENTED]
    every = torch.cat(drawn).flatten(1)
    assert len(every) == 3 * 4 * 4
    assert len(every.unique(dim=0)) == len(every)


def test_every_phase_image_and_step_has_normal_numbers_of_its_own():
    trainer = augmented_trainer()
    rows: dict[int, list[torch.Tensor]] = {}
    for step in range(2):
        trainer.step = step
        trainer.inputs.fill(step, 1.0, with_path_length=True)
        for phase in GENERATING:
            drawn = trainer.inputs.fake[phase]
            for numbers in (drawn.z, drawn.other_z, *drawn.maps):
                flat = numbers.flatten(1).clone()
                rows.setdefault(flat.shape[1], []).append(flat)
    for found in rows.values():
        every = torch.cat(found)
        assert len(every.unique(dim=0)) == len(every)


def test_styles_are_mixed_with_the_given_probability_at_every_layer_and_apart_for_each_phase():
    trainer = augmented_trainer(style_mixing_probability=0.5)
    taken = np.stack([trainer.inputs._mixing(step).sum(axis=1) for step in range(400)])
    n_styles = trainer.generator.num_ws
    assert (taken < n_styles).mean() == pytest.approx(0.5, abs=0.05)
    assert set(taken.flat) == set(range(1, n_styles + 1))
    assert all((taken[:, i] != taken[:, j]).any() for i, j in ((0, 1), (0, 2), (1, 2)))


def test_the_average_follows_the_updated_generator_at_the_decay_of_its_half_life():
    trainer = augmented_trainer(ema_rampup=None)
    for _ in range(2):
        before = [p.clone() for p in trainer.average.parameters()]
        step = trainer.step
        trainer.run_step()
        decay = ema_decay(4, 4 * step, 0.02, None)
        assert 0.8 < decay < 0.9
        now = trainer.average.parameters(), trainer.generator.parameters()
        pairs = list(zip(before, *now, strict=True))
        for old, average, new in pairs:
            torch.testing.assert_close(average, new + decay * (old - new))
    assert not any(torch.equal(average, new) for _, average, new in pairs)


def test_the_ramp_of_the_average_knows_the_images_seen():
    trainer = augmented_trainer(ema_rampup=0.5)
    trainer.step = 2  # 8 images: a half-life of 4
    before = [p.clone() for p in trainer.average.parameters()]
    trainer.run_step()
    pairs = zip(before, trainer.average.parameters(), trainer.generator.parameters(), strict=True)
    for old, average, new in pairs:
        torch.testing.assert_close(average, new + 0.5 * (old - new))


def test_penalties_come_at_their_intervals_after_the_losses_of_their_networks(monkeypatch):
    trainer, order = make_trainer(), []
    names = ("image", "generator", "path_length", "discriminator", "r1")
    for name in names:
        monkeypatch.setattr(trainer, f"{name}_phase", lambda name=name: order.append(name))
    for _ in range(7):
        trainer.run_step()
    due = {"path_length": 2, "r1": 3}
    assert order == [n for step in range(7) for n in names if step % due.get(n, 1) == 0]
