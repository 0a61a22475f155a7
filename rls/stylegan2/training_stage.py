"""One stage of a training from its files to its files."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from rls.io import Intensity, Stack
from rls.runtime.checkpoint import StateFolder
from rls.runtime.device import choose_precision, computed_on
from rls.runtime.distributed import Processes
from rls.stylegan2 import training_loop
from rls.stylegan2.architecture import architecture_of
from rls.stylegan2.dry_run import describe
from rls.stylegan2.held_out import make_held_out
from rls.stylegan2.initial_weights import initial_settings, load_initial
from rls.stylegan2.packed_state import continue_from
from rls.stylegan2.stages import Stage
from rls.stylegan2.trainer import Trainer
from rls.stylegan2.training_identity import refuse_earlier, training_identity
from rls.stylegan2.training_images import TrainingImages

NAME = training_loop.NAME
Cells = tuple[Stack, Intensity]


def images_of(stage: Stage, cells: Cells) -> TrainingImages:
    """Return the training images of a stage."""
    size, seed = stage.settings.image_size, stage.settings.seed
    return TrainingImages(*cells, size, seed, binning=stage.binning)


def describe_stage(stage: Stage, cells: Cells, device: torch.device) -> None:
    """Print what a stage would do and cost."""
    settings = initial_settings(stage.settings, stage.init_from)
    precision = choose_precision(settings.precision, device, "training")
    data = images_of(stage, cells)
    architecture = architecture_of(settings, len(data.stack.channels))
    print(describe(settings, architecture, data, device, precision))


def train_stage(
    stage: Stage,
    cells: Cells,
    state_folder: Path,
    device: torch.device,
    processes: Processes,
    continued: Path | None,
) -> None:
    """Train a stage, or go on with it, and write its weights, pictures and curves.

    Arguments:
        state_folder: Keeps checkpoints.
        continued: Folder of pack_training, None for none.

    Raises:
        InputError: The weights to start from are of other networks, or a loss is not finite.
        Stopped: Before a time limit or on a signal; a checkpoint was saved.
    """
    settings = initial_settings(stage.settings, stage.init_from)
    precision = choose_precision(settings.precision, device, "training")
    data = images_of(stage, cells)
    trainer = Trainer(
        settings,
        architecture_of(settings, len(data.stack.channels)),
        data,
        device,
        precision,
        processes,
    )
    with contextlib.ExitStack() as resources:
        resources.enter_context(trainer.recorder.stream())
        if stage.init_from is not None:
            load_initial(trainer, stage.init_from)
        turns = "any angle" if data.turns_freely else "quarter turns"
        size = f" of {settings.image_size} px" if stage.binning > 1 else ""
        print(f"{NAME}: {len(data)} images{size}, turned by {turns}", flush=True)
        print(f"{NAME}: {trainer.recorder.describe('phases of a step')}", flush=True)
        held_out = make_held_out(data, settings, device) if processes.is_first else None
        known = training_identity(settings, data.digest, stage.init_from)
        if continued is None:
            refuse_earlier(state_folder, NAME, known)
        machine = {**computed_on(device), **trainer.machine()}
        with StateFolder(
            state_folder,
            NAME,
            known,
            writes=processes.is_first,
            output=stage.output,
            machine=machine,
        ) as state:
            continue_from(continued, state)
            processes.wait()
            rows, monitor = training_loop.train(settings, trainer, state, held_out)
        if processes.is_first:
            training_loop.write_results(stage.output, stage.output_training, trainer, rows, monitor)
        processes.wait()
