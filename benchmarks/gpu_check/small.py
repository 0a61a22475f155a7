"""A small network with every phase in every step: recorded steps against direct ones."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.gpu_check.cases import (
    Machine,
    make_trainer,
    run_steps,
    time_training,
    without_waiting,
)
from benchmarks.gpu_check.measure import free
from benchmarks.gpu_check.report import Report
from benchmarks.training_step import warm_up
from rls.runtime.errors import GRAPHS_OFF, first_line
from rls.stylegan2.optimisation import update_average
from rls.stylegan2.trainer import Trainer

STEPS = 20
NEAR = 1e-3  # largest difference of weights where the order of sums on a GPU is left to chance
# Every phase is in every step, and p leaves 0 after the first block. So phases are recorded twice.
EVERY = {"r1_interval": 1, "path_length_interval": 1, "augment_target": -0.9, "augment_kimg": 1}
NAME = "small64"


def run(machine: Machine, report: Report) -> None:
    """Check equality, waits and the restart, then measure."""
    trainer = bit_for_bit(machine, report)
    waits(machine, report, trainer)
    del trainer
    free(machine.device)
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as folder:
        process = begin_restart(machine, folder)  # meanwhile nothing is timed
        nearly(machine, report)
        end_restart(machine, report, process)
    for recorded in (False, True):
        free(machine.device)
        trainer = make_trainer(machine, NAME, recorded=recorded, augment_p=0.3)
        warm_up(trainer)
        form = "recorded" if recorded else "directly"
        time_training(machine, report, NAME, trainer, form, kernels=True)
        del trainer
    liveness(machine, report)


def bit_for_bit(machine: Machine, report: Report) -> Trainer:
    """Check that recorded and direct steps are equal, also across a stop; return the recorded one.

    Colours alone are augmented, because torch adds up the gradient of geometric transforms in an
    order that is left to chance.
    """
    changes: dict[str, Any] = {**EVERY, "augmentations": "color"}
    with deterministic():
        direct, recorded = (
            make_trainer(machine, NAME, recorded=recorded, **changes) for recorded in (False, True)
        )
        run_steps(direct, STEPS)
        run_steps(recorded, STEPS)
        equal(report, f"{STEPS} recorded steps = direct ones (color)", direct, recorded)
        all_recorded = all(phase.replay for phase in recorded._due())
        if recorded.recorder.active:
            report.check("every phase is recorded", all_recorded)
        else:
            report.left_out("every phase is recorded", recorded.recorder.reason)
        half = make_trainer(machine, NAME, recorded=True, **changes)
        run_steps(half, STEPS // 2)
        then = make_trainer(machine, NAME, recorded=True, **changes)
        then.load_state(copy.deepcopy(half.state()))
        run_steps(then, STEPS - STEPS // 2)
        equal(report, f"stopped after {STEPS // 2} steps and gone on = direct", direct, then)
    return recorded


def nearly(machine: Machine, report: Report) -> None:
    """Check that recorded steps with geometric transforms end near direct ones."""
    changes: dict[str, Any] = {**EVERY, "augmentations": "bgc"}
    ends = []
    for recorded in (False, False, True):
        trainer = make_trainer(machine, NAME, recorded=recorded, **changes)
        run_steps(trainer, STEPS)
        ends.append(weights(trainer))
    chance = distance(ends[0], ends[1])
    found = distance(ends[0], ends[2])
    text = f"two direct trainings differ by {chance:.2g}"
    report.at_most(f"{STEPS} recorded steps are near direct ones (bgc)", found, NEAR, text)


def waits(machine: Machine, report: Report, trainer: Trainer) -> None:
    """Check that replays and the averaging never wait for the GPU."""
    with trainer.recorder.stream():
        trainer.fill_inputs()

        def replays() -> None:
            for phase in trainer._due():
                phase()
            update_average(trainer.average, trainer.generator, 0.99)

        waited = without_waiting(machine, replays)
        report.check("no replay waits for the GPU", not waited, waited)
        trainer.step += 1

        def inputs() -> None:
            trainer.inputs.forget()  # so that the draws of a block are in it
            trainer.fill_inputs()

        waited = without_waiting(machine, inputs)
        report.measured("waits while the inputs of a block are made", waited or "none")


def liveness(machine: Machine, report: Report) -> None:
    """Check that no tensor which a recording reads is freed before a replay; torch watches that.

    It comes last, because a process is of no use after a recording that failed.
    """
    name = "what a recording reads is never freed"
    watched = "check_input_liveness"
    if watched not in inspect.signature(torch.cuda.graph.__init__).parameters:
        return report.left_out(name, f"torch {torch.__version__} has no {watched}")
    trainer = make_trainer(machine, NAME, recorded=True, augment_p=0.3)
    if not trainer.recorder.active:
        return report.left_out(name, trainer.recorder.reason)
    graph = functools.partial(torch.cuda.graph, **{watched: True})
    said = ""
    try:
        with mock.patch.object(torch.cuda, "graph", graph):
            warm_up(trainer)
            run_steps(trainer, 5)
    except RuntimeError as error:
        said = first_line(error)
    report.check(name, not said, said)


def begin_restart(machine: Machine, folder: str) -> subprocess.Popen[str]:
    """Start a command of which a phase cannot be recorded."""
    command = [sys.executable, "-m", "benchmarks.gpu_check.restart", folder]
    command += [machine.device.type, *["tiny"] * machine.tiny]
    environment = {k: v for k, v in os.environ.items() if k != GRAPHS_OFF}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def end_restart(machine: Machine, report: Report, process: subprocess.Popen[str]) -> None:
    """Check that the command went on without graphs."""
    name = "a phase that looks at a number ends in a restart without graphs"
    out, errors = process.communicate(timeout=max(report.left, 60))
    said = (out.strip().splitlines() or [""])[-1]
    passed = process.returncode == 0 and "trained to the end" in said
    if not machine.on_gpu:
        report.check("the training of that command", passed, said or errors[-200:])
        return report.left_out(name, "a CPU records nothing")
    warned = "starts again without graphs" in errors
    passed = passed and warned and "could not be made" in said
    report.check(name, passed, said if passed else f"{said} {errors.strip()[-300:]}")


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Let cuDNN sum in a fixed order."""
    before, torch.backends.cudnn.deterministic = torch.backends.cudnn.deterministic, True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def equal(report: Report, name: str, one: Trainer, other: Trainer) -> None:
    """Check that the states of two trainers are equal bit for bit."""
    a, b = flattened(one.state()), flattened(other.state())
    differ = [k for k in a if k not in b or not torch.equal(a[k], b[k])]
    text = f"{len(differ)} of {len(a)} tensors differ"
    if differ:
        far = distance(weights(one), weights(other))
        text += f", {differ[0]} first; weights by {far:.2g}"
    report.check(name, not differ and a.keys() == b.keys(), text, differ=len(differ))


def flattened(state: Mapping[Any, Any], prefix: str = "") -> dict[str, Tensor]:
    """Return all tensors and numbers of a state by their names."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = torch.as_tensor(value)
    return found


def weights(trainer: Trainer) -> Tensor:
    """Return all weights as one vector in float64."""
    both = (*trainer.generator.parameters(), *trainer.discriminator.parameters())
    return torch.cat([p.detach().flatten().double() for p in both])


def distance(one: Tensor, other: Tensor) -> float:
    """Return the relative distance of two vectors."""
    return float((one - other).norm() / one.norm())
