"""The four phases of a training step, each a function of tensors that never move.

A phase takes and returns nothing. It reads the inputs of the step (``step_inputs``) and the
weights, takes a step of an optimiser, and adds to the sums of statistics, all in place. So it runs
directly, or is recorded once as a CUDA graph and replayed.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from rls.runtime.device import tensor_float32
from rls.runtime.distributed import Processes
from rls.runtime.streams import stream, torch_stream
from rls.stylegan2 import augment
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.losses import (
    discriminator_loss,
    generator_loss,
    mean_norms,
    path_length_penalty,
    path_lengths,
    squared_norms,
)
from rls.stylegan2.network_uses import Networks, Synthesis
from rls.stylegan2.networks import Generator, Precision, SynthesisNetwork
from rls.stylegan2.optimisation import lazy_adam
from rls.stylegan2.settings import Settings
from rls.stylegan2.step_inputs import FakeInputs, StepInputs
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


class Phases:
    """Generator, discriminator, averaged generator, optimisers, and the phases of a step.

    Arguments:
        settings: Settings with all numbers filled in (``fill_auto``).
        data: The training images.
        precision: Precision of the convolutions; the averaged generator is in float32.
        processes: This process among those of one training.

    Attributes:
        networks: How the phases use both networks, plain or compiled.
        inputs: What the present step shows and draws.
        real: The real images of the step (n, c, y, x), in [-1, 1].
        path_mean: Running mean () of the path lengths.
        signs: Count and sum of the signs of D(real) since the last change of p.
        sums: Sums of statistics, float64, see STATISTICS.
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
        self.processes, self.precision = processes, precision
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
        self.networks = Networks(self.generator, self.discriminator)
        self.inputs = StepInputs(settings, self.generator, data, device, processes)
        size = (architecture.n_channels, architecture.image_size, architecture.image_size)
        self.real = torch.zeros((len(self.inputs.positions), *size), device=device)
        self.path_mean = torch.zeros((), device=device)
        self.signs = torch.zeros(2, dtype=torch.float64, device=device)
        self.sums = torch.zeros(len(STATISTICS), dtype=torch.float64, device=device)
        # Count and sum of the signs of D(real) in one batch.
        self._of_batch = self.signs.new_tensor([len(self.real), 0.0])

    def image_phase(self) -> None:
        """Make the real images of the step."""
        inputs = self.inputs
        counts = inputs.crops.stored.index_select(0, inputs.positions)
        self.real.copy_(self.data.show(counts, inputs.flips, inputs.turns))

    def generator_phase(self) -> None:
        """Update the generator by its adversarial loss."""
        self.train_discriminator(False)
        loss = self.generator_loss()
        self._update(self.generator_optimizer, loss)
        self.train_discriminator(True)
        self._add(steps=1, loss_generator=loss.detach())

    def path_length_phase(self) -> None:
        """Update the generator by the path-length penalty."""
        loss, lengths, penalty, mean = self.path_length_loss()
        with self._tensor_float32():
            self._update(self.generator_optimizer, loss)
        self.path_mean.copy_(mean)
        self._add(path_steps=1, path_length=lengths.mean(), path_penalty=penalty.mean())

    def discriminator_phase(self) -> None:
        """Update the discriminator by its adversarial loss."""
        loss, real_logits = self.discriminator_loss()
        self._update(self.discriminator_optimizer, loss)
        self._add_signs(real_logits)
        self._add(loss_discriminator=loss.detach())

    def r1_phase(self) -> None:
        """Update the discriminator by the R1 penalty."""
        loss, logits, penalty = self.r1_loss()
        with self._tensor_float32():
            self._update(self.discriminator_optimizer, loss)
        self._add_signs(logits)
        self._add(r1_steps=1, r1=penalty)

    def generator_loss(self) -> Tensor:
        """Return the generator's adversarial loss."""
        fake = self._fake("generator", self.networks.synthesis)
        return generator_loss(self.networks.frozen_logits(self._augmented(fake, "generator")))

    def path_length_loss(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the weighted path-length penalty.

        Returns:
            The loss (), path lengths (n,), their penalties (n,) and the new running mean ().
        """
        settings = self.settings
        inputs = self.inputs.fake["path length"]
        with self._in_float32(self.generator.synthesis):
            ws = self._styles(inputs)
            gradient, images = self.networks.path_gradient(ws, inputs.maps, self.inputs.pixels)
            lengths = mean_norms(gradient)
            penalty, mean = path_length_penalty(lengths, self.path_mean, self.processes.mean)
        scale = settings.path_length_weight * settings.path_length_interval
        # The term of weight 0 gives every parameter a gradient, so that all moments of Adam decay.
        loss = penalty.mean() * scale + 0 * images[:, 0, 0, 0].mean()
        return loss, lengths.detach(), penalty.detach(), mean.detach()

    def discriminator_loss(self) -> tuple[Tensor, Tensor]:
        """Return the discriminator's adversarial loss () and D(real) (n, 1).

        Generated and real images alternate in one pass where no group of the minibatch standard
        deviation mixes them: image i belongs to group i mod (n / g), so that each group has images
        of one kind, as in two separate passes.
        """
        with torch.no_grad():
            fake = self._fake("discriminator", self.networks.synthesis_alone)
        fake, real = self._augmented(fake, "generated"), self._augmented(self.real, "real")
        if len(real) >= self.settings.mbstd_group_size:
            logits = self.networks.logits(torch.stack([fake, real], dim=1).flatten(0, 1))
            fake_logits, real_logits = logits[0::2], logits[1::2]
        else:
            fake_logits, real_logits = self.networks.logits(fake), self.networks.logits(real)
        return discriminator_loss(fake_logits, real_logits), real_logits

    def r1_loss(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weighted R1 penalty (), D(real) (n, 1) and the mean penalty ()."""
        settings = self.settings
        assert settings.r1_gamma is not None  # because fill_auto has set it
        with self._in_float32(self.discriminator):
            images = self.real.detach().requires_grad_()
            gradient, logits = self.networks.r1_gradient(
                images, lambda images: self._augmented(images, "R1")
            )
            penalty = squared_norms(gradient).mean()
            scale = settings.r1_gamma / 2 * settings.r1_interval
        return penalty * scale + 0 * logits.mean(), logits, penalty.detach()

    def start_path_mean(self) -> None:
        """Set the running mean to the mean path length of one batch of the present generator.

        If it started from 0, as in a new training, the penalty would at first pull the lengths of a
        trained generator to 0. Nothing else changes.
        """
        if self.settings.path_length_weight == 0:
            return
        generator, rows = self.generator, self.processes.rows
        n = self.settings.batch_size
        random = torch_stream(self.settings.seed, "path mean", "train_gan", self.device)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, device=self.device, generator=random)

        z = normal(n, generator.z_dim)
        maps = [normal(n, *shape[1:])[rows] for shape in generator.noise_shapes]
        pixels = normal(n, *self.real.shape[1:])[rows]
        with self._in_float32(generator.synthesis):
            ws = generator.mapping(z)[rows]
            images = generator.synthesis(ws, maps)
            lengths = path_lengths(images, ws, pixels, create_graph=False)
        self.path_mean.copy_(self.processes.mean(lengths.mean()))

    @contextlib.contextmanager
    def _in_float32(self, network: SynthesisNetwork | Discriminator) -> Iterator[None]:
        """Run ``network`` in float32, because second derivatives in bfloat16 are too coarse.

        The penalties are rare, so float32 costs little on a CPU.
        """
        before, network.precision = network.precision, "float32"
        try:
            with self._tensor_float32():
                yield
        finally:
            network.precision = before

    def _tensor_float32(self) -> AbstractContextManager[None]:
        """Return a context in which a GPU may round the factors of a penalty's convolutions.

        Beside bfloat16, which has 7 bits of mantissa, they may have the 10 bits of TF32. The
        backward pass of a penalty is most of its work, so it needs the context as the loss does.
        """
        return tensor_float32(self.precision == "bfloat16")

    def _fake(self, phase: str, synthesis: Synthesis) -> Tensor:
        """Return the generated images of a phase, the rows of this process."""
        inputs = self.inputs.fake[phase]
        return synthesis(self._styles(inputs), inputs.maps)

    def _styles(self, inputs: FakeInputs) -> Tensor:
        """Return the ws of generated images, the rows of this process.

        Each phase updates the mean w, as in the reference. The mapping network sees the joint batch
        of all processes, so that the mean is over all of them.
        """
        mapping = self.generator.mapping
        ws = mapping(inputs.z, update_average=True)
        if inputs.other_z is not None:
            ws = torch.where(inputs.from_z[:, None], ws, mapping(inputs.other_z))
        return ws[self.processes.rows]

    def _augmented(self, images: Tensor, use: str) -> Tensor:
        """Return the images, augmented by the draws for this use."""
        if not self.inputs.augmented:
            return images
        return augment.apply(images, self.inputs.draws[use])

    def _update(self, optimizer: torch.optim.Adam, loss: Tensor) -> None:
        """Take a step of the optimiser, with gradients averaged over processes."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.average_gradients(optimizer.param_groups[0]["params"])
        optimizer.step()

    def train_discriminator(self, on: bool) -> None:
        """Switch the gradients of the discriminator's trained parameters on or off."""
        for parameter in self.discriminator_parameters:
            parameter.requires_grad_(on)

    def _add(self, **values: float | Tensor) -> None:
        """Add to the sums of statistics."""
        for name, value in values.items():
            self.sums[STATISTICS.index(name)].add_(value)

    def _add_signs(self, real_logits: Tensor) -> None:
        """Add the signs of D(real) to the statistics and, if p is adaptive, to those for p."""
        self._of_batch[1].copy_(real_logits.detach().sign().sum())
        first = STATISTICS.index("logits")  # and r_t behind it
        self.sums[first : first + 2].add_(self._of_batch)
        if self.settings.adaptive:
            self.signs.add_(self._of_batch)
