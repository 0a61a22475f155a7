"""The trainer of generator and discriminator: one step, its state, and its statistics.

A step has the phases of StyleGAN2-ADA: generator, path length (every ``path_length_interval``
steps), discriminator, and R1 (every ``r1_interval`` steps). Then the running average of the
generator is updated, and every ``augment_interval`` steps the probability p of augmentations. All
random numbers are functions of (seed, step), or of (seed, block of ``augment_interval`` steps). So
the state consists of the weights, the optimisers, the step, p and the signs since its last change,
the mean path length, and the sums of statistics.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from rls.runtime.adam import recorded_step
from rls.runtime.distributed import Processes
from rls.runtime.errors import InputError
from rls.runtime.graphs import Recorder, Replayed
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.compiling import compile_networks, why_not_compiled
from rls.stylegan2.networks import Precision
from rls.stylegan2.optimisation import ema_decay, load_adam, update_average
from rls.stylegan2.phases import ALONE, STATISTICS, Phases
from rls.stylegan2.settings import Settings
from rls.stylegan2.training_images import TrainingImages

COUNTS = ("steps", "logits", "r1_steps", "path_steps")


class Trainer(Phases):
    """The phases, run as steps: as CUDA graphs where ``recorder`` records, else directly.

    Arguments:
        recorder: Records the phases; None for one that decides by the settings.

    Attributes:
        uncompiled: Why the networks are not to be compiled; empty if they are.
    """

    def __init__(
        self,
        settings: Settings,
        architecture: Architecture,
        data: TrainingImages,
        device: torch.device,
        precision: Precision,
        processes: Processes = ALONE,
        *,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(settings, architecture, data, device, precision, processes)
        self.recorder = recorder or Recorder(device, settings.cuda_graphs, processes.count)
        self.uncompiled = why_not_compiled(self)
        self._replayed: dict[tuple[str, bool], Replayed] = {}
        self.step = 0
        self.augment_p = settings.augment_p or 0.0

    @property
    def images_seen(self) -> int:
        """Return the number of real images shown so far."""
        return self.step * self.settings.batch_size

    @property
    def records_next(self) -> bool:
        """Return whether the next step records a phase. A recording that fails ends the process."""
        return any(phase.is_due for phase in self._due())

    def run_step(self) -> None:
        """Run one step.

        Raises:
            InputError: A loss is not finite.
            GraphError: A phase could not be recorded.
        """
        settings = self.settings
        assert settings.ema_kimg is not None  # because fill_auto has set it
        self.fill_inputs()
        for phase in self._due():
            phase()
        decay = ema_decay(
            settings.batch_size, self.images_seen, settings.ema_kimg, settings.ema_rampup
        )
        update_average(self.average, self.generator, decay)
        if settings.adaptive and (self.step + 1) % settings.augment_interval == 0:
            self._adapt_augmentation()
        self.step += 1
        # Reading the sums forces a GPU synchronisation, so do it rarely there.
        if self.device.type == "cpu" or self.step % settings.r1_interval == 0:
            self._check_finite()

    def machine(self) -> dict[str, object]:
        """Return what changes the last bits of a training besides the device and its threads."""
        return {
            "precision": self.precision,
            "processes": self.processes.count,
            "compiled": not self.uncompiled,
        }

    def compile(self) -> None:
        """Compile the networks if that is worth its time; print whether, unless on a CPU."""
        if self.uncompiled and self.device.type == "cpu":
            return
        started = time.monotonic()
        if not self.uncompiled:
            print("train_gan: compiling the networks, which takes minutes", flush=True)
            self.fill_inputs()
            self.image_phase()
            self.uncompiled = compile_networks(self)
        said = f"no, {self.uncompiled}" if self.uncompiled else "yes, and checked"
        taken = time.monotonic() - started
        print(f"train_gan: networks compiled: {said} ({taken:.0f} s)", flush=True)

    def fill_inputs(self) -> None:
        """Make the inputs of the present step."""
        self.inputs.fill(self.step, self.augment_p, with_path_length=self._has_path_length)

    @property
    def _has_path_length(self) -> bool:
        settings = self.settings
        return settings.path_length_weight > 0 and self.step % settings.path_length_interval == 0

    def _due(self) -> list[Replayed]:
        """Return the phases of the present step in their order."""
        settings = self.settings
        one, other = self.generator_optimizer, self.discriminator_optimizer
        phases = [
            self._as_replayed("the images", self.image_phase),
            self._as_replayed("the generator's phase", self.generator_phase, one),
        ]
        if self._has_path_length:
            phases.append(self._as_replayed("path length", self.path_length_phase, one))
        phases.append(
            self._as_replayed("the discriminator's phase", self.discriminator_phase, other)
        )
        if settings.r1_gamma and self.step % settings.r1_interval == 0:
            phases.append(self._as_replayed("R1", self.r1_phase, other))
        return phases

    def _as_replayed(
        self, name: str, function: Callable[[], None], *optimizers: torch.optim.Adam
    ) -> Replayed:
        """Return a phase with its recording. With augmentations it is another one."""
        key = (name, self.inputs.augmented)
        if key not in self._replayed:
            self._replayed[key] = recorded_step(name, function, self.recorder, *optimizers)
        return self._replayed[key]

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
        for tensor in (self.sums, self.signs):
            total = self.processes.sum(tensor)
            tensor.copy_(total if self.processes.is_first else torch.zeros_like(total))

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
        self.path_mean.copy_(state["path_mean"])
        for name in ("sums", "signs"):  # sums over all processes, which only the first takes
            own = getattr(self, name)
            own.copy_(state[name] if self.processes.is_first else torch.zeros_like(own))
        for name in ("generator", "discriminator", "average"):
            getattr(self, name).load_state_dict(state[name])
        for name in ("generator_optimizer", "discriminator_optimizer"):
            load_adam(getattr(self, name), state[name])
        self.inputs.forget()
        self._replayed.clear()  # the optimisers' tensors are new
