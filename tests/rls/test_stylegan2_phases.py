"""The four phases of a step: the gradient of every parameter against the textbook formulas.

Textbook means a weight per sample and a grouped convolution, one loss at a time, in float64.
"""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.training_step import textbook
from rls.runtime.device import tensor_float32
from rls.runtime.errors import InputError
from rls.stylegan2.architecture import Architecture, architecture_of
from rls.stylegan2.losses import path_length_penalty, path_lengths
from rls.stylegan2.networks import Generator
from rls.stylegan2.optimisation import ADAM_BETAS
from rls.stylegan2.trainer import Trainer
from rls.stylegan2.training_images import TrainingImages
from tests.rls.test_stylegan2_training import CPU, SCALE, make_stack
from tests.rls.test_train_gan import SETTINGS

PLAIN = dataclasses.replace(SETTINGS, style_mixing_probability=0.0, augmentations="none")


def make_trainer(**changes) -> Trainer:
    """Return a trainer in float64 whose noise strengths and biases are not 0."""
    settings = dataclasses.replace(PLAIN, **changes)
    data = TrainingImages(make_stack(n=12, side=24), SCALE, 16, seed=3)
    trainer = Trainer(settings, architecture_of(settings, 2), data, CPU, "float32")
    torch.manual_seed(5)
    for network in (trainer.generator, trainer.discriminator):
        network.double()
        for parameter in network.parameters():
            if parameter.ndim < 2:
                parameter.data += 0.1 * torch.randn_like(parameter)
    trainer.average.double()
    trainer.path_mean = torch.tensor(0.3, dtype=torch.float64)
    trainer.augment_p = 0.0
    trainer.fill_inputs()
    trainer.image_phase()
    return trainer


def plain_images(generator: Generator, trainer: Trainer, phase: str):
    """Return the images and the ws of a phase's inputs, computed with a weight per sample."""
    drawn = trainer.inputs.fake[phase]
    with textbook():
        ws = generator.mapping(drawn.z.double())
        return generator.synthesis(ws, [noise.double() for noise in drawn.maps]), ws


def assert_gradients(network, plain, scale=1.0):
    """Check that each parameter of ``network`` has ``scale`` times the gradient of its twin."""
    for (name, parameter), twin in zip(network.named_parameters(), plain.parameters(), strict=True):
        assert parameter.grad is not None, name
        expected = torch.zeros_like(twin) if twin.grad is None else twin.grad * scale
        # Noise maps are drawn and multiplied in float32.
        tolerance = 1e-6 * max(expected.abs().max().item(), 1e-3)
        torch.testing.assert_close(parameter.grad, expected, atol=tolerance, rtol=1e-6, msg=name)


def test_generator_phase():
    trainer = make_trainer()
    generator, discriminator = copy.deepcopy((trainer.generator, trainer.discriminator))
    trainer.generator_phase()
    logits = discriminator(plain_images(generator, trainer, "generator")[0])
    torch.log1p(torch.exp(-logits)).mean().backward()
    assert_gradients(trainer.generator, generator)
    assert all(p.grad is None for p in trainer.discriminator.parameters())


def test_path_length_phase():
    """The updated mean is in the graph, as in StyleGAN2-ADA; half a batch is used."""
    trainer = make_trainer()
    generator = copy.deepcopy(trainer.generator)
    trainer.path_length_phase()
    images, ws = plain_images(generator, trainer, "path length")
    assert len(images) == 2
    y = trainer.inputs.pixels.double() / 16
    (slope,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
    lengths = slope.pow(2).sum(2).mean(1).sqrt()
    mean = 0.3 + 0.01 * (lengths.mean() - 0.3)
    (2.0 * (lengths - mean) ** 2).mean().mul(2).backward()  # weight 2, every 2 steps
    assert_gradients(trainer.generator, generator)
    assert trainer.path_mean.item() == pytest.approx(mean.item())
    assert not trainer.path_mean.requires_grad


def test_discriminator_phase():
    trainer = make_trainer()
    generator, discriminator = copy.deepcopy((trainer.generator, trainer.discriminator))
    trainer.discriminator_phase()
    real = trainer.data.batch(0, 4, CPU)
    fake = plain_images(generator, trainer, "discriminator")[0].detach()
    loss = F.softplus(discriminator(fake)).mean() + F.softplus(-discriminator(real)).mean()
    loss.backward()
    assert_gradients(trainer.discriminator, discriminator)
    assert all(p.grad is None for p in trainer.generator.parameters())


def test_r1_phase():
    trainer = make_trainer()
    discriminator = copy.deepcopy(trainer.discriminator)
    trainer.r1_phase()
    images = trainer.data.batch(0, 4, CPU).double().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    (3 * 0.1 / 2 * slope.pow(2).sum((1, 2, 3)).mean()).backward()  # every 3 steps, gamma 0.1
    assert_gradients(trainer.discriminator, discriminator)


def test_lengths_of_a_linear_generator_are_the_norms_of_its_transpose():
    """With images = A w for every style, |J^T y| is known and does not depend on w."""
    torch.manual_seed(1)
    matrix = torch.randn(2 * 8 * 8, 3, 5, dtype=torch.float64)
    ws = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)
    images = torch.einsum("pld,nld->np", matrix, ws).reshape(4, 2, 8, 8)
    noise = torch.randn_like(images)
    found = path_lengths(images, ws, noise, create_graph=False)
    rows = torch.einsum("pld,np->nld", matrix, noise.reshape(4, -1) / 8)
    torch.testing.assert_close(found, (rows.square().sum((1, 2)) / 3).sqrt())


def test_the_penalty_is_least_at_equal_lengths_and_its_mean_moves_by_a_hundredth():
    lengths, mean = torch.full((4,), 2.0), torch.tensor(2.0)
    penalty, new = path_length_penalty(lengths, mean)
    assert penalty.abs().max() == 0
    assert new == 2.0
    penalty, new = path_length_penalty(lengths, torch.tensor(1.0))
    assert new.item() == pytest.approx(1.01)
    torch.testing.assert_close(penalty, torch.full((4,), 0.99**2))


def test_the_mean_w_follows_every_phase():
    trainer = make_trainer()
    for phase in ("generator_phase", "path_length_phase"):
        before = trainer.generator.mapping.w_avg.clone()
        getattr(trainer, phase)()
        assert not torch.equal(before, trainer.generator.mapping.w_avg)


@pytest.mark.parametrize(("sign", "moves"), [(1.0, 1), (-1.0, 0), (0.7, 1), (0.5, -1), (0.6, 0)])
def test_p_moves_by_a_fixed_step_towards_the_target(sign, moves):
    """With 4 images per step, a change every 2 steps and 0.02 kimg for a rise by 1, it is 0.4."""
    trainer = make_trainer(augmentations="bgc")
    trainer.augment_p = 0.0 if sign == -1 else 1.0
    trainer.signs = torch.tensor([10.0, 10 * sign], dtype=torch.float64)
    before = trainer.augment_p
    trainer._adapt_augmentation()
    assert trainer.augment_p == pytest.approx(before + 0.4 * moves)
    assert trainer.signs.abs().sum() == 0


def test_the_step_of_p_is_that_of_the_paper():
    """At batch 32, every 4 steps and 500 kimg it is 0.000256 (ADA, appendix D)."""
    trainer = make_trainer(augmentations="bgc", augment_kimg=500.0, augment_interval=4)
    trainer.settings = dataclasses.replace(trainer.settings, batch_size=32)
    trainer.signs = torch.tensor([128.0, 128.0], dtype=torch.float64)
    trainer._adapt_augmentation()
    assert trainer.augment_p == pytest.approx(0.000256)


def test_p_moves_after_every_interval_and_not_before():
    trainer = make_trainer(augmentations="bgc", augment_target=-0.99, augment_interval=3)
    seen = []
    for _ in range(6):
        trainer.run_step()
        seen.append(trainer.augment_p > 0)
    assert seen == [False, False, True, True, True, True]


def test_a_loss_that_is_not_finite_ends_a_training_on_a_cpu_at_once():
    trainer = make_trainer()
    trainer.run_step()
    trainer.sums[1] = math.nan
    with pytest.raises(InputError, match="not finite"):
        trainer.run_step()


def test_starting_the_mean_length_changes_nothing_else():
    trainer = make_trainer()
    before = {k: v.clone() for k, v in trainer.generator.state_dict().items()}
    trainer.start_path_mean()
    assert trainer.path_mean > 0
    assert trainer.path_mean != 0.3
    assert all(torch.equal(v, before[k]) for k, v in trainer.generator.state_dict().items())


def test_lazy_regularisation_rescales_rate_and_betas():
    trainer = make_trainer(r1_interval=16, path_length_interval=4)
    for optimizer, share in (
        (trainer.generator_optimizer, 4 / 5),
        (trainer.discriminator_optimizer, 16 / 17),
    ):
        group = optimizer.param_groups[0]
        assert group["lr"] == pytest.approx(PLAIN.learning_rate * share)
        assert group["betas"] == pytest.approx((ADAM_BETAS[0], ADAM_BETAS[1] ** share))
    without = make_trainer(path_length_weight=0.0, r1_gamma=0.0)
    assert without.generator_optimizer.param_groups[0]["lr"] == PLAIN.learning_rate
    assert without.discriminator_optimizer.param_groups[0]["betas"] == ADAM_BETAS


def test_frozen_layers_of_the_discriminator_keep_their_weights():
    trainer = make_trainer(freeze_discriminator=3, augmentations="bgc")
    trainer.augment_p = 0.5
    weights = {k: v for k, v in trainer.discriminator.named_parameters() if k.endswith("weight")}
    before = {k: v.detach().clone() for k, v in weights.items()}
    trainer.run_step()
    kept = {k for k, v in weights.items() if torch.equal(before[k], v)}
    assert kept == {"b16.fromrgb.weight", "b16.conv0.weight", "b16.conv1.weight"}
    with pytest.raises(InputError, match="freeze_discriminator"):
        make_trainer(freeze_discriminator=99)


def test_one_step_is_finite_and_its_length_near_what_the_textbook_measures():
    """At equal weights |J^T y| agrees with the textbook form."""
    torch.manual_seed(2)
    generator = Generator(Architecture(16, 2, 8, 8, 2, 64, 8)).double()
    ws = generator.mapping(torch.randn(3, 8).double()).detach().requires_grad_()
    noise = torch.randn(3, 2, 16, 16).double()
    ours = path_lengths(generator.synthesis(ws), ws, noise, create_graph=False)
    with textbook():
        plain = path_lengths(generator.synthesis(ws), ws, noise, create_graph=False)
    torch.testing.assert_close(ours, plain)
    assert math.isfinite(ours.sum().item())


class Roundings(TorchDispatchMode):
    """Notes for every convolution in float32 whether a GPU could round its factors to TF32."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[bool, int] = {False: 0, True: 0}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "convolution" in func.__name__ and args[0].dtype == torch.float32:
            self.found[torch.backends.cudnn.allow_tf32] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_penalties_beside_bfloat16_may_round_to_tf32_from_the_loss_to_the_last_gradient(precision):
    data = TrainingImages(make_stack(n=12, side=24), SCALE, 16, seed=3)
    trainer = Trainer(PLAIN, architecture_of(PLAIN, 2), data, CPU, precision)
    trainer.fill_inputs()
    trainer.image_phase()
    for phase in ("generator", "path_length", "discriminator", "r1"):
        with tensor_float32(False), Roundings() as seen:  # as choose_device leaves it
            getattr(trainer, f"{phase}_phase")()
        rounds = precision == "bfloat16" and phase in ("path_length", "r1")
        assert seen.found[rounds] > 0 and seen.found[not rounds] == 0, phase
