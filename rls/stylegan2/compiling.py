"""Decide whether a training compiles its networks, and check that they compute the same.

The compiler of torch joins what stands between two convolutions into one kernel. That takes
minutes once, so only a training of hours on a GPU gains by it. On two processor cores it gains
nothing (measured at 64 px: five minutes to compile, then as fast as before).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rls.runtime.errors import first_line
from rls.stylegan2.arithmetic import Arithmetic
from rls.stylegan2.network_uses import CompiledNetworks, Networks
from rls.stylegan2.phases import Phases
from rls.stylegan2.settings import Settings

LEAST_HOURS = 1.0  # shorter trainings are not worth the minutes of compilation
# Assumed speed of a GPU, for the length of a training. Only its order of magnitude counts.
ASSUMED_GFLOP_PER_SECOND = 200e3
ASSUMED_LEAST_STEP_S = 5e-3
# The compiled form may round otherwise, and in bfloat16 more so. (Measured on a CPU in float32: a
# largest difference of gradients of 7e-6.)
LOSS_TOLERANCE, NORM_TOLERANCE, LEAST_COSINE = 2e-3, 2e-2, 0.999


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
    compiled = CompiledNetworks(trainer.generator, trainer.discriminator, backend)
    try:
        reason = difference(trainer, trainer.networks, compiled)
    except Exception as error:  # a compiler fails in many ways
        reason = f"the compiler failed ({type(error).__name__}: {first_line(error)})"
    if not reason:
        trainer.networks = compiled
    return reason


def difference(trainer: Phases, plain: Networks, compiled: Networks) -> str:
    """Return how the losses of one batch or their gradients differ; empty if they do not.

    Nothing of the trainer changes.
    """
    pairs = zip(losses(trainer, plain), losses(trainer, compiled), strict=True)
    for (name, loss, gradient), (_, loss_again, gradient_again) in pairs:
        apart = abs(loss - loss_again) / max(abs(loss), 1.0)
        norm, norm_again = float(gradient.norm()), float(gradient_again.norm())
        cosine = float(gradient @ gradient_again) / max(norm * norm_again, 1e-300)
        same = apart <= LOSS_TOLERANCE and cosine >= LEAST_COSINE
        # Written so that a number that is not finite fails.
        if not (same and abs(norm_again - norm) <= NORM_TOLERANCE * norm):
            return (
                f"compiled, {name} is {loss_again:.6g} in place of {loss:.6g}, with a gradient of "
                f"length {norm_again:.4g} in place of {norm:.4g} and a cosine of {cosine:.5f}"
            )
    return ""


def losses(trainer: Phases, networks: Networks) -> Iterator[tuple[str, float, Tensor]]:
    """Yield name, value and flat gradient (float64) of each loss that the settings ask for."""
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
        finally:
            trainer.networks = before
            trainer.generator.w_mean.copy_(w_mean)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        trainer.train_discriminator(True)
        yield name, float(loss.detach()), torch.cat([g.flatten().double() for g in gradients])
