"""One step of the adversarial training, its state, and its statistics.

Phases of a step as in StyleGAN2-ADA: generator, discriminator, every `r1_interval` steps R1; then
the running average of the generator. All randomness of step k is drawn from streams of (seed, k),
so the state is weights, optimisers and the step's number.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from rls.errors import InputError
from rls.streams import stream, torch_stream
from rls.stylegan2.augment import augment
from rls.stylegan2.data import TrainingImages
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.losses import discriminator_loss, generator_loss, r1_penalty
from rls.stylegan2.networks import Architecture, Generator, Precision
from rls.stylegan2.settings import Settings

ADAM_BETAS = (0.0, 0.99)  # StyleGAN2, appendix B
ADAM_EPSILON = 1e-8
STATISTICS = ("steps", "loss_generator", "loss_discriminator", "sign_real", "r1_steps", "r1")


def ema_decay(
    batch_size: int, images_seen: int, ema_kimg: float, ema_rampup: float | None
) -> float:
    """Factor of the old average in one step: 0.5^(batch / half-life).

    The half-life is ema_kimg thousand images, but at most ema_rampup * images_seen (0 at the start:
    copy).
    """
    half_life = ema_kimg * 1000
    if ema_rampup is not None:
        half_life = min(half_life, ema_rampup * images_seen)
    return 0.5 ** (batch_size / max(half_life, 1e-8))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average <- network + decay (average - network) for parameters; buffers are copied."""
    old: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(network.parameters())
    torch._foreach_lerp_(old, new, 1 - decay)
    for buffer, source in zip(average.buffers(), network.buffers(), strict=True):
        buffer.copy_(source)


class Trainer:
    """Generator, discriminator, averaged generator, their optimisers, and one step of them all."""

    def __init__(
        self,
        settings: Settings,
        architecture: Architecture,
        data: TrainingImages,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.settings, self.data, self.device = settings, data, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(stream(settings.seed, "weights", "train_gan").integers(2**62)))
            generator = Generator(architecture, precision)
            discriminator = Discriminator(architecture, precision)
        self.generator = generator.to(device)
        self.discriminator = discriminator.to(device)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        fused = {"fused": True}
        rate = settings.learning_rate
        self.generator_optimizer = torch.optim.Adam(
            self.generator.parameters(), rate, ADAM_BETAS, ADAM_EPSILON, **fused
        )
        # Steps of R1 come on top of the main steps: rate and betas are rescaled (StyleGAN2,
        # appendix B).
        share = settings.r1_interval / (settings.r1_interval + 1) if self.uses_r1 else 1.0
        betas = (ADAM_BETAS[0] ** share, ADAM_BETAS[1] ** share)
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), rate * share, betas, ADAM_EPSILON, **fused
        )
        self.step = 0
        self.sums = torch.zeros(len(STATISTICS), dtype=torch.float64, device=device)

    @property
    def uses_r1(self) -> bool:
        """Whether the R1 penalty has a weight."""
        return self.settings.r1_gamma > 0

    @property
    def images_seen(self) -> int:
        """Real images shown so far."""
        return self.step * self.settings.batch_size

    def run_step(self) -> None:
        """One step; raises InputError if a loss is not finite."""
        settings = self.settings
        random = torch_stream(settings.seed, f"step {self.step}", "train_gan", self.device)
        real = self.data.batch(self.step, settings.batch_size, self.device)
        loss_generator = self._generator_phase(random)
        loss_discriminator, sign = self._discriminator_phase(real, random)
        zero = torch.zeros_like(sign)
        values = [torch.ones_like(sign), loss_generator, loss_discriminator, sign, zero, zero]
        with_r1 = self.uses_r1 and self.step % settings.r1_interval == 0
        if with_r1:
            values[4:] = [torch.ones_like(sign), self._r1_phase(real, random)]
        decay = ema_decay(
            settings.batch_size, self.images_seen, settings.ema_kimg, settings.ema_rampup
        )
        update_average(self.average, self.generator, decay)
        self.sums += torch.stack(values).double()
        self.step += 1
        if with_r1 or self.device.type == "cpu":  # a look at the sums waits for a GPU
            self._check_finite()

    def _fake(self, random: torch.Generator, *, phase: str, update_w: bool) -> Tensor:
        """Generated images of a phase, styles mixed at a random layer (StyleGAN, section 3.1)."""
        n, network = self.settings.batch_size, self.generator
        z = torch.randn((n, network.z_dim), device=self.device, generator=random)
        ws = network.mapping(z, update_average=update_w)
        mixing = stream(self.settings.seed, f"step {self.step}", f"train_gan mixing {phase}")
        if mixing.random() < self.settings.style_mixing_probability:
            cut = int(mixing.integers(1, network.num_ws))
            other = torch.randn((n, network.z_dim), device=self.device, generator=random)
            ws = torch.cat([ws[:, :cut], network.mapping(other)[:, cut:]], dim=1)
        return network.synthesis(ws, "random", random=random)

    def _logits(self, images: Tensor, random: torch.Generator) -> Tensor:
        return self.discriminator(augment(images, self.settings.augment_p, random))

    def _generator_phase(self, random: torch.Generator) -> Tensor:
        self.discriminator.requires_grad_(False)
        fake = self._fake(random, phase="generator", update_w=True)
        loss = generator_loss(self._logits(fake, random))
        self.generator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.generator_optimizer.step()
        self.discriminator.requires_grad_(True)
        return loss.detach()

    def _discriminator_phase(self, real: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            fake = self._fake(random, phase="discriminator", update_w=False)
        real_logits = self._logits(real, random)
        loss = discriminator_loss(self._logits(fake, random), real_logits)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.discriminator_optimizer.step()
        return loss.detach(), real_logits.detach().sign().mean()

    def _r1_phase(self, real: Tensor, random: torch.Generator) -> Tensor:
        """R1, in float32: a second derivative in bfloat16 is too coarse, and it is rarely taken."""
        settings = self.settings
        images = real.detach().requires_grad_()
        precision, self.discriminator.precision = self.discriminator.precision, "float32"
        penalty = r1_penalty(self._logits(images, random), images).mean()
        loss = penalty * (settings.r1_gamma / 2 * settings.r1_interval)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.discriminator_optimizer.step()
        self.discriminator.precision = precision
        return penalty.detach()

    def _check_finite(self) -> None:
        sums = self.sums.tolist()
        if all(math.isfinite(value) for value in sums):
            return
        named = ", ".join(f"{k} {v:.3g}" for k, v in zip(STATISTICS, sums, strict=True))
        raise InputError(
            f"Found a loss that is not finite after {self.images_seen / 1000:.1f} kimg (sums: "
            f"{named}), expected finite numbers. Check the intensity scale and the images first; "
            "then try a larger r1_gamma (ten times), half the learning_rate, or precision float32."
        )

    def statistics(self) -> dict[str, float]:
        """Means since the last call. Raises InputError if one is not finite."""
        self._check_finite()
        sums = dict(zip(STATISTICS, self.sums.tolist(), strict=True))
        steps, r1_steps = max(sums["steps"], 1.0), sums["r1_steps"]
        self.sums.zero_()
        return {
            "loss_generator": sums["loss_generator"] / steps,
            "loss_discriminator": sums["loss_discriminator"] / steps,
            "r_t": sums["sign_real"] / steps,
            "r1": sums["r1"] / r1_steps if r1_steps else math.nan,
        }

    def state(self) -> dict[str, Any]:
        """Everything that decides the rest of the training: nested dicts of tensors and numbers.

        Raises InputError if a loss was not finite: such a state is not worth keeping.
        """
        self._check_finite()
        return {
            "step": self.step,
            "sums": self.sums.clone(),
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict()["state"],
            "discriminator_optimizer": self.discriminator_optimizer.state_dict()["state"],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self.step = state["step"]
        self.sums = state["sums"].to(self.device)
        for name in ("generator", "discriminator", "average"):
            getattr(self, name).load_state_dict(state[name])
        for name in ("generator_optimizer", "discriminator_optimizer"):
            optimizer = getattr(self, name)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state[name], "param_groups": groups})
