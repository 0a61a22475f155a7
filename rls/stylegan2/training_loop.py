"""Train to a given length with checkpoints and a log, and write the results."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from rls.io import write_table
from rls.runtime.checkpoint import StateFolder
from rls.runtime.distributed import Processes
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress, format_seconds
from rls.runtime.stopping import Watch
from rls.runtime.streams import torch_stream
from rls.stylegan2.alarms import findings
from rls.stylegan2.cost import memory_gib
from rls.stylegan2.generator_io import write_generator, write_training_weights
from rls.stylegan2.grid import write_grid
from rls.stylegan2.held_out import HeldOut
from rls.stylegan2.monitor import GRID_COLUMNS, Monitor
from rls.stylegan2.networks import Generator
from rls.stylegan2.settings import Settings
from rls.stylegan2.trainer import Trainer

NAME = "train_gan"
# Label in the log, key of the row, and format. Values that a tick did not measure are left out.
FIGURES = (
    ("G", "loss_generator", ".3f"),
    ("D", "loss_discriminator", ".3f"),
    ("r_t", "r_t", "+.2f"),
    ("p", "augment_p", ".3f"),
    ("R1", "r1", ".3g"),
    ("length", "path_length", ".3g"),
)
STOP_STEPS = 16  # interval in steps at which several processes agree on whether to stop
# A recording that fails costs the steps since the last checkpoint. Save first if they are as many.
KEEP_STEPS = 100


@contextlib.contextmanager
def only_first_prints(processes: Processes) -> Iterator[None]:
    """Silence the output of all processes but the first; errors still appear."""
    if processes.is_first:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


class Log:
    """The rows of the training curve; each tick prints a line.

    Arguments:
        rows: Rows so far, to which new ones are appended.
        held_out: Measures distances to held-out crops; None measures none.
        monitor: Draws curves and grids.
    """

    def __init__(
        self,
        settings: Settings,
        trainer: Trainer,
        rows: list[dict[str, float]],
        held_out: HeldOut | None,
        monitor: Monitor,
    ) -> None:
        self.settings, self.trainer, self.rows = settings, trainer, rows
        self.held_out, self.monitor = held_out, monitor
        self.warned: set[str] = set()  # kinds of faults that were printed
        self.started = self.last = time.monotonic()
        self.images_at_start = self.images_at_last = trainer.images_seen
        self.apart = 0.0  # seconds of evaluations, which are not training time

    def tick(self, *, evaluate: bool) -> None:
        """Add a row and print it; with ``evaluate`` also draw a grid and measure the distance."""
        now, seen = time.monotonic(), self.trainer.images_seen
        rate = (seen - self.images_at_last) / max(now - self.last, 1e-9)
        mean_rate = (seen - self.images_at_start) / max(now - self.started - self.apart, 1e-9)
        left = (self.settings.total_kimg * 1000 - seen) / max(mean_rate, 1e-9)
        row = {
            "kimg": seen / 1000,
            "images_per_second": rate,
            **self.trainer.statistics(),
            "memory_gib": memory_gib(self.trainer.device),
        }
        known = [f"{n} {row[k]:{f}}" for n, k, f in FIGURES if math.isfinite(row[k])]
        line = (
            f"{NAME}: {row['kimg']:.2f} of {self.settings.total_kimg:g} kimg, {rate:.3g} img/s, "
            f"{format_seconds(max(left, 0))} left, {', '.join(known)}, {row['memory_gib']:.1f} GiB"
        )
        if evaluate:
            row |= self._evaluate()
            if "kd" in row:
                line += f", KD {row['kd']:.4g} (floor {row['kd_floor']:.3g})"
        self.rows.append(row)
        self.monitor.tick(row)
        print(line, flush=True)
        for kind, sentence in findings(self.rows, self.warned).items():
            print(f"{NAME}: warning: {sentence}", flush=True)
            self.warned.add(kind)
        self.last, self.images_at_last = time.monotonic(), seen

    def _evaluate(self) -> dict[str, float]:
        """Draw a grid; return the distance to held-out crops, if it is measured."""
        started = time.monotonic()
        average, device = self.trainer.average, self.trainer.device
        images = sample_grid(average, self.settings.seed, device)
        self.monitor.evaluate(self.trainer.images_seen / 1000, images.numpy())
        found = self.held_out.distance(average) if self.held_out is not None else {}
        self.apart += time.monotonic() - started
        return found


@torch.no_grad()
def sample_grid(generator: Generator, seed: int, device: torch.device) -> Tensor:
    """Return images (64, c, y, x) in [0, 1] of fixed z, the same at every length of training."""
    random = torch_stream(seed, "grid", NAME, "cpu")
    z = torch.randn((GRID_COLUMNS**2, generator.z_dim), generator=random)
    return (generator(z.to(device)).cpu() + 1) / 2


def n_steps(settings: Settings) -> int:
    """Return the number of steps of the whole training."""
    return math.ceil(settings.total_kimg * 1000 / settings.batch_size)


def is_due(kimg: float, step: int, settings: Settings, *, within: float | None = None) -> bool:
    """Return whether something done every ``kimg`` thousand images is due after ``step`` steps.

    Arguments:
        within: Round the interval to a multiple of this many thousand images.
    """
    every = max(1, round((within or kimg) * 1000 / settings.batch_size))
    if within:
        every *= max(1, round(kimg / within))
    return step % every == 0 or step == n_steps(settings)


def resume(trainer: Trainer, state: StateFolder, settings: Settings) -> list[dict[str, float]]:
    """Load the newest checkpoint, if there is one, and return the rows of the curve so far.

    Raises:
        InputError: The checkpoint is already beyond total_kimg.
    """
    processes = trainer.processes
    if not processes.is_first:
        processes.wait()  # the first process sets damaged checkpoints aside before others look
    payload = state.load()
    if processes.is_first:
        processes.wait()
    if payload is not None:
        trainer.load_state(payload["trainer"])
    trainer.check_agreement()
    if payload is None:
        return []
    if processes.is_first:
        print(f"{NAME}: goes on at {trainer.images_seen / 1000:.2f} kimg", flush=True)
    if trainer.step > n_steps(settings):
        raise InputError(
            f"Found a checkpoint of {trainer.images_seen / 1000:g} kimg in {state.folder}, "
            f"expected at most total_kimg = {settings.total_kimg:g}. Set total_kimg to at least "
            "that, or give another --state."
        )
    return payload["rows"]


def train(
    settings: Settings, trainer: Trainer, state: StateFolder, held_out: HeldOut | None = None
) -> tuple[list[dict[str, float]], Monitor]:
    """Train to total_kimg, from the newest checkpoint if there is one.

    Returns:
        The rows of the training curve, and the monitor.

    Raises:
        InputError: A loss is not finite, or the checkpoint is already beyond total_kimg.
        Stopped: A time limit is near or a signal came; a checkpoint was written.
    """
    first = trainer.processes.is_first
    rows = resume(trainer, state, settings)
    trainer.compile()
    state.machine |= trainer.machine()  # whether they are compiled is certain only now
    trainer.processes.wait()  # the checkpoint may be replaced only after all have read it
    total, batch = n_steps(settings), settings.batch_size
    monitor = Monitor(state.folder, resumed_at_kimg=trainer.images_seen / 1000)
    log = Log(settings, trainer, rows, held_out, monitor)
    if first:
        print(f"{NAME}: grids and TensorBoard curves in {state.folder}", flush=True)
    bar = Progress(total * batch, NAME, "img", done=trainer.images_seen)
    on_terminal = first and sys.stderr.isatty()  # in a log the lines of the ticks replace the bar
    with bar if on_terminal else contextlib.nullcontext(), Watch(NAME) as watch:
        saved = trainer.step
        while trainer.step < total:
            if first and trainer.records_next and trainer.step >= saved + KEEP_STEPS:
                state.save(trainer.step, {"trainer": trainer.state(), "rows": rows})
                saved = trainer.step
            trainer.run_step()
            stop = watch.due()
            if trainer.processes.count > 1:
                asks = trainer.step % STOP_STEPS == 0
                stop = asks and trainer.processes.any(stop, trainer.device)
            stop = stop and trainer.step < total
            if on_terminal:
                bar.advance(batch)
            step = trainer.step
            tick = is_due(settings.tick_kimg, step, settings)
            evaluate = is_due(settings.evaluate_kimg, step, settings, within=settings.tick_kimg)
            save = is_due(settings.checkpoint_kimg, step, settings) or stop
            if tick or save:
                trainer.gather()
            if tick and first:
                log.tick(evaluate=evaluate)
            if save and first:
                state.save(step, {"trainer": trainer.state(), "rows": rows})
                saved = step
            if stop:
                monitor.close()
                raise watch.stopped(f"at {trainer.images_seen / 1000:.3f} kimg")
    return rows, monitor


def write_results(
    output: Path,
    output_training: Path | None,
    trainer: Trainer,
    rows: Sequence[dict[str, float]],
    monitor: Monitor,
) -> None:
    """Write weights, pictures and curves.

    Arguments:
        output: File of the averaged generator; pictures and curves are named after it.
        output_training: File of generator and discriminator, None for none.
        rows: Rows of the training curve.
        monitor: Monitor of the training, which has its grids.
    """
    settings, data = trainer.settings, trainer.data
    header = {
        "channels": list(data.stack.channels),
        "pixel_size_um": data.pixel_size_um,
        "intensity": data.intensity.as_dict(),
        "image_size": settings.image_size,
        "images_seen": trainer.images_seen,
        "n_training_images": len(data),
        "data_digest": data.digest,
        "precision": trainer.generator.synthesis.precision,
        "settings": dataclasses.asdict(settings),
    }
    if output_training is not None:
        write_training_weights(output_training, trainer.generator, trainer.discriminator, header)
    images = sample_grid(trainer.average, settings.seed, trainer.device)
    write_grid(output.with_suffix(".png"), images.numpy(), GRID_COLUMNS)
    sheet = output.with_suffix(".progress.png")
    if not monitor.progress_sheet(sheet):  # somebody removed the grids from the state folder
        monitor.evaluate(trainer.images_seen / 1000, images.numpy())
        monitor.progress_sheet(sheet)
    monitor.close()
    write_table(output.with_suffix(".training.csv"), pd.DataFrame(rows), written_by=NAME)
    write_generator(output, trainer.average, header)
