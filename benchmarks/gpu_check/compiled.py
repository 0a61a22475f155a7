"""Phases with compiled networks: losses and gradients against plain ones, and times again."""

from __future__ import annotations

import time

from benchmarks.gpu_check.cases import Machine, make_trainer, time_training
from benchmarks.gpu_check.measure import free
from benchmarks.gpu_check.report import Report
from benchmarks.training_step import warm_up
from rls.stylegan2 import compiling
from rls.stylegan2.network_uses import CompiledNetworks
from rls.stylegan2.trainer import Trainer


def run_small(machine: Machine, report: Report) -> None:
    """Compare and measure the small network."""
    run(machine, report, "small64", 32)


def run_article(machine: Machine, report: Report) -> None:
    """Compare and measure the article's network."""
    run(machine, report, "article", 128)


def run(machine: Machine, report: Report, name: str, batch: int) -> None:
    """Compile, compare, and measure recorded steps with compiled networks."""
    free(machine.device)
    trainer = make_trainer(machine, name, recorded=True, batch_size=batch, augment_p=0.3)
    # Without a card the compiler only traces and differentiates; it makes no kernels.
    backend = "inductor" if machine.on_gpu else "aot_eager"
    compiled = CompiledNetworks(trainer.generator, trainer.discriminator, backend)
    with trainer.recorder.stream():
        compare(report, trainer, compiled)
    trainer.networks = compiled
    started = time.monotonic()
    warm_up(trainer)
    report.measured("warming up and recording", f"{time.monotonic() - started:.1f} s")
    time_training(machine, report, name, trainer, "compiled", kernels=machine.on_gpu)


def compare(report: Report, trainer: Trainer, compiled: CompiledNetworks) -> None:
    """Check the loss of each phase and its gradient; the first call of each use compiles it."""
    trainer.fill_inputs()
    trainer.image_phase()
    plain = [*compiling.losses(trainer, trainer.networks)]
    started = time.monotonic()
    found = compiling.losses(trainer, compiled)
    for name, loss, gradient in plain:
        _, value, slope = next(found)
        apart = abs(value - loss) / max(abs(loss), 1.0)
        norms = float(slope.norm() * gradient.norm())
        cosine = float(slope @ gradient) / norms if norms else 1.0
        text = f"{value:.6g} and plain {loss:.6g}, cosine of the gradients {cosine:.6f}"
        passed = apart <= compiling.LOSS_TOLERANCE and cosine >= compiling.LEAST_COSINE
        report.check(f"{name}, compiled", passed, text, apart=apart, cosine=cosine)
    report.measured("compiling", f"{time.monotonic() - started:.0f} s")
