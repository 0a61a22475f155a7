"""A short training whose discriminator's phase looks at a number, which no recording can hold.

    python -m benchmarks.gpu_check.restart FOLDER DEVICE [tiny]

It is what the check runs to see that such a command goes on without graphs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.gpu_check.cases import Machine, make_trainer
from rls.runtime.checkpoint import StateFolder
from rls.runtime.command import run
from rls.stylegan2 import training_loop
from rls.stylegan2.trainer import Trainer

STEPS = 8


def main() -> None:
    """Train, with checkpoints as the real command."""
    folder = Path(sys.argv[1])
    machine = Machine(torch.device(sys.argv[2]), tiny="tiny" in sys.argv[3:])
    plain = Trainer.discriminator_phase

    def looking(trainer: Trainer) -> None:
        plain(trainer)
        assert trainer.sums.sum().item() > 0

    Trainer.discriminator_phase = looking  # type: ignore[method-assign]
    batch = 4 if machine.tiny else 32
    trainer = make_trainer(
        machine, "small64", recorded=True, total_kimg=STEPS * batch / 1000, tick_kimg=1000,
        checkpoint_kimg=1000, evaluate_kimg=1000, augmentations="none", compile="off",
    )  # fmt: skip
    with trainer.recorder.stream(), StateFolder(folder / "state", "train_gan", {"a": 1}) as state:
        training_loop.train(trainer.settings, trainer, state)
    said = trainer.recorder.describe("phases of a step")
    print(f"trained to the end, {trainer.step} steps; {said}", flush=True)


if __name__ == "__main__":
    run(main)
