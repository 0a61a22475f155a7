"""The article's network: time, memory and losses of recorded steps and of direct ones."""

from __future__ import annotations

import math

from benchmarks.gpu_check.cases import Machine, make_trainer, run_steps, time_training
from benchmarks.gpu_check.measure import free
from benchmarks.gpu_check.report import Report
from benchmarks.training_step import warm_up

NAME = "article"
# The gradient of geometric transforms is summed in an order that is left to chance, and the first
# steps of Adam follow the sign of the smallest gradient.
NEAR = 1e-2
LOSSES = ("loss_generator", "loss_discriminator", "r1", "path_length")


def run_32(machine: Machine, report: Report) -> None:
    """Compare and measure at batch size 32."""
    run(machine, report, 32)


def run_128(machine: Machine, report: Report) -> None:
    """Compare and measure at batch size 128."""
    run(machine, report, 128)


def run(machine: Machine, report: Report, batch: int) -> None:
    """Compare the losses of the first replayed step with a direct one, and measure both."""
    losses: list[dict[str, float]] = []
    for recorded in (True, False):
        free(machine.device)
        trainer = make_trainer(machine, NAME, recorded=recorded, batch_size=batch, augment_p=0.3)
        warm_up(trainer)
        trainer.statistics()  # begins the sums anew
        run_steps(trainer, 1)
        losses.append(trainer.statistics())
        form = "recorded" if recorded else "directly"
        kernels = recorded and not machine.quick
        time_training(machine, report, NAME, trainer, form, kernels=kernels)
        del trainer
    for name in LOSSES:
        recorded_loss, direct = (found[name] for found in losses)
        apart = abs(recorded_loss - direct) / max(abs(direct), 0.1)
        text = f"{recorded_loss:.5g} and {direct:.5g}"
        report.at_most(f"{name} of a recorded and of a direct step", apart, NEAR, text)
    if not all(math.isfinite(x) for found in losses for x in found.values()):
        report.check("all statistics are finite", False, str(losses))
