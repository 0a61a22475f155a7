"""Decide whether a training compiles its networks, and check that they compute the same.

The compiler of torch joins what stands between two convolutions into one kernel. That takes
minutes once, so only a training of hours on a GPU can gain by it. On two processor cores it does
not: the generator's phase at 64 px, compiled in five minutes, took as long as before (measured).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rls.runtime.compiled import Computed, why_differ
from rls.stylegan2.arithmetic import Arithmetic
from rls.stylegan2.network_uses import CompiledNetworks, Networks
from rls.stylegan2.phases import Phases
from rls.stylegan2.settings import Settings

LEAST_HOURS = 1.0  # shorter trainings are not worth the minutes of compilation
# Assumed speed of a GPU, for the length of a training. Only its order of magnitude counts.
ASSUMED_GFLOP_PER_SECOND = 200e3
ASSUMED_LEAST_STEP_S = 5e-3


def why_not_compiled(trainer: Phases) -> str:
    """Return why the networks are not compiled, as the end of a sentence; empty if they are."""
    settings = trainer.settings
    if trainer.device.type != "cuda":
        return f"the device is {trainer.device.type}"
    if settings.compile == "off":
        return "compile is off"
    if trainer.processes.count > 1:
        return f"{trainer.processes.count} processes train together"
    hours = assumed_hours(settings, trainer.generator.n_channels)
    if hours < LEAST_HOURS:
        return f"a training of about {hours * 60:.0f} minutes is too short for it"
    return ""


def assumed_hours(settings: Settings, n_channels: int) -> float:
    """Return about how many hours a GPU trains, by the arithmetic of the networks."""
    names = [f.name for f in dataclasses.fields(Arithmetic) if hasattr(settings, f.name)]
    known = {name: getattr(settings, name) for name in names}
    closed = Arithmetic(n_channels=n_channels, **known)
    gflop = settings.batch_size * closed.training_gflop(
        settings.path_length_interval if settings.path_length_weight else math.inf,
        settings.r1_interval if settings.r1_gamma else math.inf,
    )
    step = max(gflop / ASSUMED_GFLOP_PER_SECOND, ASSUMED_LEAST_STEP_S)
    return settings.total_kimg * 1000 / settings.batch_size * step / 3600


def compile_networks(trainer: Phases, backend: str = "inductor") -> str:
    """Compile the networks of a training whose inputs are filled; return why not, or "".

    They stay as they are where the compiler fails, or where a loss or a gradient of the compiled
    form differs from that of the plain form.
    """
    plain = trainer.networks
    compiled = CompiledNetworks(trainer.generator, trainer.discriminator, backend)
    reason = why_differ(lambda: zip(losses(trainer, plain), losses(trainer, compiled), strict=True))
    if not reason:
        trainer.networks = compiled
    return reason


def losses(trainer: Phases, networks: Networks) -> Iterator[Computed]:
    """Yield each loss that the settings ask for, and its gradient; the trainer does not change."""
    settings = trainer.settings
    generator = list(trainer.generator.parameters())
    discriminator = trainer.discriminator_parameters
    found: list[tuple[str, Callable[[], Tensor], list[torch.nn.Parameter]]] = [
        ("the generator's loss", trainer.generator_loss, generator),
        ("the discriminator's loss", lambda: trainer.discriminator_loss()[0], discriminator),
    ]
    if settings.path_length_weight:
        found.append(("path length", lambda: trainer.path_length_loss()[0], generator))
    if settings.r1_gamma:
        found.append(("R1", lambda: trainer.r1_loss()[0], discriminator))
    for name, function, parameters in found:
        before, w_mean = trainer.networks, trainer.generator.w_mean.clone()
        trainer.networks = networks
        trainer.train_discriminator(parameters is discriminator)
        try:
            loss = function()
            gradients = torch.autograd.grad(
                loss, parameters, allow_unused=True, materialize_grads=True
            )
        finally:
            trainer.networks = before
            trainer.generator.w_mean.copy_(w_mean)
            trainer.train_discriminator(True)
        flat = torch.cat([gradient.flatten().double() for gradient in gradients])
        yield Computed(name, float(loss.detach()), flat)
