"""The trainer of generator and discriminator: one step, its state, and its statistics.

A step has the phases of StyleGAN2-ADA: generator, path length (every ``path_length_interval``
steps), discriminator, and R1 (every ``r1_interval`` steps). Then the running average of the
generator is updated, and every ``augment_interval`` steps the probability p of augmentations. All
random numbers of step k are drawn from streams of (seed, k). So the state consists of the weights,
the optimisers, the step, p and the signs since its last change, the mean path length, and the sums
of statistics.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from rls.runtime.distributed import Processes
from rls.runtime.errors import InputError
from rls.runtime.streams import stream, torch_stream
from rls.stylegan2 import augment
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.augment_draws import draw
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.losses import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from rls.stylegan2.networks import Generator, Precision
from rls.stylegan2.optimisation import ema_decay, lazy_adam, update_average
from rls.stylegan2.pipelines import PIPELINES
from rls.stylegan2.settings import Settings
from rls.stylegan2.training_images import TrainingImages

ALONE = Processes()  # a training in one process
# Sums over the steps since the last tick. A mean is a sum divided by the nearest count before it.
# The tensor in the checkpoints has this order.
STATISTICS = (
    "steps",
    "loss_generator",
    "loss_discriminator",
    "logits",
    "r_t",
    "r1_steps",
    "r1",
    "path_steps",
    "path_length",
    "path_penalty",
)
COUNTS = ("steps", "logits", "r1_steps", "path_steps")


class Trainer:
    """Generator, discriminator, averaged generator and optimisers, and one step of all of them.

    Arguments:
        settings: Settings with all numbers filled in (``fill_auto``).
        data: The training images.
        precision: Precision of the convolutions; the averaged generator is in float32.
        processes: This process among those of one training.
    """

    def __init__(
        self,
        settings: Settings,
        architecture: Architecture,
        data: TrainingImages,
        device: torch.device,
        precision: Precision,
        processes: Processes = ALONE,
    ) -> None:
        self.settings, self.data, self.device = settings, data, device
        self.processes = processes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(stream(settings.seed, "weights", "train_gan").integers(2**62)))
            generator = Generator(architecture, precision)
            discriminator = Discriminator(architecture, precision)
        self.generator = generator.to(device)
        self.discriminator = discriminator.to(device)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.average.synthesis.precision = "float32"  # as load_generator returns it
        self.discriminator.freeze(settings.freeze_discriminator)
        self.discriminator_parameters = [
            p for p in self.discriminator.parameters() if p.requires_grad
        ]
        assert settings.learning_rate is not None  # because fill_auto has set it
        self.generator_optimizer = lazy_adam(
            list(self.generator.parameters()),
            settings.learning_rate,
            settings.path_length_interval if settings.path_length_weight > 0 else None,
        )
        self.discriminator_optimizer = lazy_adam(
            self.discriminator_parameters,
            settings.learning_rate,
            settings.r1_interval if settings.r1_gamma else None,
        )
        self.step = 0
        self.augment_p = settings.augment_p or 0.0
        self.path_mean = torch.zeros((), device=device)
        # Count and sum of the signs of D(real) since the last change of p.
        self.signs = torch.zeros(2, dtype=torch.float64, device=device)
        self.sums = torch.zeros(len(STATISTICS), dtype=torch.float64, device=device)

    @property
    def images_seen(self) -> int:
        """Return the number of real images shown so far."""
        return self.step * self.settings.batch_size

    def run_step(self) -> None:
        """Run one step.

        Raises:
            InputError: A loss is not finite.
        """
        settings = self.settings
        assert settings.ema_kimg is not None  # because fill_auto has set it
        random = torch_stream(settings.seed, f"step {self.step}", "train_gan", self.device)
        real = self.data.batch(self.step, settings.batch_size, self.device, self.processes.rows)
        self.generator_phase(random)
        if settings.path_length_weight > 0 and self.step % settings.path_length_interval == 0:
            self.path_length_phase(random)
        self.discriminator_phase(real, random)
        with_r1 = bool(settings.r1_gamma) and self.step % settings.r1_interval == 0
        if with_r1:
            self.r1_phase(real, random)
        decay = ema_decay(
            settings.batch_size, self.images_seen, settings.ema_kimg, settings.ema_rampup
        )
        update_average(self.average, self.generator, decay)
        if settings.adaptive and (self.step + 1) % settings.augment_interval == 0:
            self._adapt_augmentation()
        self._add(steps=1)
        self.step += 1
        # Reading the sums forces a GPU synchronisation, so do it rarely there.
        if self.device.type == "cpu" or self.step % settings.r1_interval == 0:
            self._check_finite()

    def _add(self, **values: float | Tensor) -> None:
        """Add to the sums of statistics."""
        for name, value in values.items():
            self.sums[STATISTICS.index(name)] += value

    def _fake(
        self, random: torch.Generator, *, phase: str, n: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the generated images of a phase and their ws, the rows of this process.

        Styles are mixed at a random layer (StyleGAN, section 3.1). Each phase updates the mean w,
        as in the reference. The mapping network sees the joint batch of all processes, so that the
        mean is over all of them.

        Arguments:
            n: Size of the joint batch; None is batch_size.
        """
        n = self.settings.batch_size if n is None else n
        network, rows = self.generator, self.processes.rows
        z = torch.randn((n, network.z_dim), device=self.device, generator=random)
        ws = network.mapping(z, update_average=True)
        mixing = stream(self.settings.seed, f"step {self.step}", f"train_gan mixing {phase}")
        if mixing.random() < self.settings.style_mixing_probability:
            cut = int(mixing.integers(1, network.num_ws))
            other = torch.randn((n, network.z_dim), device=self.device, generator=random)
            ws = torch.cat([ws[:, :cut], network.mapping(other)[:, cut:]], dim=1)
        noise = [
            torch.randn((n, *shape[1:]), device=self.device, generator=random)[rows]
            for shape in network.noise_shapes
        ]
        ws = ws[rows]
        return network.synthesis(ws, noise), ws

    def _augmented(self, images: Tensor, random: torch.Generator) -> Tensor:
        """Return the images of this process, augmented by its rows of the joint draws."""
        names = PIPELINES[self.settings.augmentations]
        if names and self.augment_p > 0:
            n, c, height, width = images.shape
            joint = (n * self.processes.count, c, height, width)
            draws = draw(joint, self.augment_p, names, random)
            images = augment.apply(images, draws[self.processes.rows])
        return images

    def _update(self, optimizer: torch.optim.Adam, loss: Tensor) -> None:
        """Take a step of the optimiser, with gradients averaged over processes."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.average_gradients(optimizer.param_groups[0]["params"])
        optimizer.step()

    def generator_phase(self, random: torch.Generator) -> None:
        """Update the generator by its adversarial loss."""
        self._train_discriminator(False)
        fake, _ = self._fake(random, phase="generator")
        loss = generator_loss(self.discriminator(self._augmented(fake, random)))
        self._update(self.generator_optimizer, loss)
        self._train_discriminator(True)
        self._add(loss_generator=loss.detach())

    def path_length_phase(self, random: torch.Generator) -> None:
        """Update the generator by the path-length penalty.

        It is computed in float32, because second derivatives in bfloat16 are too coarse.
        """
        settings, network = self.settings, self.generator.synthesis
        precision, network.precision = network.precision, "float32"
        n = settings.batch_size // settings.path_length_batch_shrink
        images, ws = self._fake(random, phase="path length", n=n)
        noise = torch.randn((n, *images.shape[1:]), device=self.device, generator=random)
        lengths = path_lengths(images, ws, noise[self.processes.rows], create_graph=True)
        penalty, mean = path_length_penalty(lengths, self.path_mean, self.processes.mean)
        scale = settings.path_length_weight * settings.path_length_interval
        # The term of weight 0 gives every parameter a gradient, so that all moments of Adam decay.
        self._update(
            self.generator_optimizer, penalty.mean() * scale + 0 * images[:, 0, 0, 0].mean()
        )
        network.precision = precision
        self.path_mean = mean.detach()
        self._add(
            path_steps=1, path_length=lengths.detach().mean(), path_penalty=penalty.detach().mean()
        )

    def start_path_mean(self) -> None:
        """Set the running mean to the mean path length of one batch of the present generator.

        If it started from 0, as in a new training, the penalty would at first pull the lengths of a
        trained generator to 0. Nothing else changes.
        """
        if self.settings.path_length_weight == 0:
            return
        n, w_mean = self.settings.batch_size, self.generator.w_mean.clone()
        network = self.generator.synthesis
        precision, network.precision = network.precision, "float32"
        random = torch_stream(self.settings.seed, "path mean", "train_gan", self.device)
        images, ws = self._fake(random, phase="path mean")
        noise = torch.randn((n, *images.shape[1:]), device=self.device, generator=random)
        lengths = path_lengths(images, ws, noise[self.processes.rows], create_graph=False)
        network.precision = precision
        self.generator.w_mean.copy_(w_mean)
        self.path_mean = self.processes.mean(lengths.mean())

    def discriminator_phase(self, real: Tensor, random: torch.Generator) -> None:
        """Update the discriminator by its adversarial loss.

        Generated and real images alternate in one pass where no group of the minibatch standard
        deviation mixes them: image i belongs to group i mod (n / g), so that each group has images
        of one kind, as in two separate passes.
        """
        with torch.no_grad():
            fake, _ = self._fake(random, phase="discriminator")
        fake, real = self._augmented(fake, random), self._augmented(real, random)
        if len(real) >= self.settings.mbstd_group_size:
            logits = self.discriminator(torch.stack([fake, real], dim=1).flatten(0, 1))
            fake_logits, real_logits = logits[0::2], logits[1::2]
        else:
            fake_logits, real_logits = self.discriminator(fake), self.discriminator(real)
        loss = discriminator_loss(fake_logits, real_logits)
        self._update(self.discriminator_optimizer, loss)
        self._add_signs(real_logits)
        self._add(loss_discriminator=loss.detach())

    def r1_phase(self, real: Tensor, random: torch.Generator) -> None:
        """Update the discriminator by the R1 penalty.

        It is computed in float32, because second derivatives in bfloat16 are too coarse. This costs
        little, since the penalty is rarely computed.
        """
        settings = self.settings
        assert settings.r1_gamma is not None  # because fill_auto has set it
        images = real.detach().requires_grad_()
        precision, self.discriminator.precision = self.discriminator.precision, "float32"
        logits = self.discriminator(self._augmented(images, random))
        penalty = r1_penalty(logits, images).mean()
        scale = settings.r1_gamma / 2 * settings.r1_interval
        self._update(self.discriminator_optimizer, penalty * scale + 0 * logits.mean())
        self.discriminator.precision = precision
        self._add_signs(logits)
        self._add(r1_steps=1, r1=penalty.detach())

    def _train_discriminator(self, on: bool) -> None:
        """Switch the gradients of the discriminator's trained parameters on or off."""
        for parameter in self.discriminator_parameters:
            parameter.requires_grad_(on)

    def _add_signs(self, real_logits: Tensor) -> None:
        """Add the signs of D(real) to the statistics and, if p is adaptive, to those for p."""
        signs = real_logits.detach().sign().sum()
        self._add(logits=len(real_logits), r_t=signs)
        if self.settings.adaptive:
            self.signs += torch.stack([torch.full_like(signs, len(real_logits)), signs])

    def _adapt_augmentation(self) -> None:
        """Move p by a fixed step towards the target of r_t = E sign D(real) (ADA, section 3.1)."""
        settings = self.settings
        count, total = self.processes.sum(self.signs).tolist()
        self.signs.zero_()
        difference = total / count - settings.augment_target
        step = settings.batch_size * settings.augment_interval / (settings.augment_kimg * 1000)
        self.augment_p = max(
            self.augment_p + math.copysign(step, difference) * (difference != 0), 0
        )

    def _check_finite(self) -> None:
        """Raise InputError if a sum of statistics is not finite."""
        sums = self.sums.tolist()
        if not all(map(math.isfinite, sums)):
            named = ", ".join(f"{k} {v:.3g}" for k, v in zip(STATISTICS, sums, strict=True))
            raise InputError(
                f"Found a loss that is not finite after {self.images_seen / 1000:.1f} kimg (sums: "
                f"{named}), expected finite numbers. Check the intensity scale and the images "
                "first; then try a larger r1_gamma (ten times), half the learning_rate, or "
                "precision float32."
            )

    def gather(self) -> None:
        """Collect the sums of all processes in the first; all must call this together."""
        for name in ("sums", "signs"):
            total = self.processes.sum(getattr(self, name))
            setattr(self, name, total if self.processes.is_first else torch.zeros_like(total))

    def check_agreement(self) -> None:
        """Raise InputError in every process unless all have the same step and state."""
        weights = [p.detach().double().sum() for p in self.generator.parameters()]
        numbers = [
            self.step,
            self.augment_p,
            float(self.path_mean),
            float(torch.stack(weights).sum()),
        ]
        if not self.processes.agree(numbers, self.device):
            raise InputError(
                f"Found processes of one training that differ (this one is at step {self.step}), "
                "expected the same checkpoint in all. Put --state on a folder that all nodes share."
            )

    def statistics(self) -> dict[str, float]:
        """Return the means since the last call, NaN where nothing was measured.

        Raises:
            InputError: A loss was not finite.
        """
        self._check_finite()
        means: dict[str, float] = {}
        count = 0.0
        for name, value in zip(STATISTICS, self.sums.tolist(), strict=True):
            if name in COUNTS:
                count = value
            else:
                means[name] = value / count if count else math.nan
        self.sums.zero_()
        return {**means, "augment_p": self.augment_p}

    def state(self) -> dict[str, Any]:
        """Return the state that determines all later steps, as dicts of tensors and numbers.

        Raises:
            InputError: A loss was not finite, so that the state is not worth keeping.
        """
        self._check_finite()
        return {
            "step": self.step,
            "sums": self.sums.clone(),
            "signs": self.signs.clone(),
            "augment_p": self.augment_p,
            "path_mean": self.path_mean.clone(),
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict()["state"],
            "discriminator_optimizer": self.discriminator_optimizer.state_dict()["state"],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`state` returned."""
        self.step = state["step"]
        self.augment_p = state["augment_p"]
        self.path_mean = state["path_mean"].to(self.device)
        for name in ("sums", "signs"):  # sums over all processes, which only the first takes
            value = state[name].to(self.device)
            setattr(self, name, value if self.processes.is_first else torch.zeros_like(value))
        for name in ("generator", "discriminator", "average"):
            getattr(self, name).load_state_dict(state[name])
        for name in ("generator_optimizer", "discriminator_optimizer"):
            optimizer = getattr(self, name)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state[name], "param_groups": groups})
