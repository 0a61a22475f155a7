"""Train the generator of high-resolution cells (StyleGAN2-ADA).

min_G max_D  E log D(x) + E log(1 - D(G(z))), in its non-saturating form, plus gamma/2 E |grad
D(x)|^2 and the path-length penalty (Karras et al. 2020a, b; section 3.2 of the article). Writes the
averaged generator, beside it a grid of samples (.png), how they changed (.progress.png) and the
curves (.training.csv). A training that was stopped, or killed, goes on when the same command is run
again, and ends as if it had never stopped; with a larger total_kimg a finished one goes on.

On several GPUs:  torchrun --standalone --nproc-per-node 4 -m rls.train_gan ...
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from rls.io import (
    Intensity,
    Stack,
    file_digest,
    read_intensity,
    read_stack,
    read_weights,
    write_table,
    write_weights,
)
from rls.runtime.checkpoint import StateFolder
from rls.runtime.command import Parser, run
from rls.runtime.device import choose_device, has_fast_bfloat16
from rls.runtime.distributed import Processes, started
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress, format_seconds
from rls.runtime.stopping import Watch
from rls.runtime.streams import torch_stream
from rls.stylegan2.cost import memory_gib
from rls.stylegan2.data import TrainingImages
from rls.stylegan2.generator_io import read_architecture, write_generator
from rls.stylegan2.grid import write_grid
from rls.stylegan2.held_out import HeldOut
from rls.stylegan2.monitor import Alarms, Monitor
from rls.stylegan2.networks import Architecture, Generator, Precision
from rls.stylegan2.settings import Settings, fill_auto
from rls.stylegan2.training import Trainer

NAME = "train_gan"
LENGTH_ONLY = (  # do not change what a step computes
    "total_kimg", "checkpoint_kimg", "tick_kimg", "evaluate_kimg", "evaluate_images",
)  # fmt: skip
GRID_COLUMNS = 8
HELD_OUT_SPLIT = "tune"
STOP_STEPS = 16  # steps between the questions of several processes whether to stop
GENERATOR_FILE, TRAINING_FILE = "generator.safetensors", "training.safetensors"


def architecture_of(settings: Settings, n_channels: int) -> Architecture:
    """Sizes of the networks that the settings ask for."""
    names = {field.name for field in dataclasses.fields(Architecture)}
    values = {k: v for k, v in dataclasses.asdict(settings).items() if k in names}
    return Architecture(n_channels=n_channels, **values)


def choose_precision(name: str, device: torch.device) -> Precision:
    """Precision of the convolutions; "auto" is bfloat16 where the device is fast at it. Printed.

    In float32 a GPU's convolutions keep all its digits; beside bfloat16 the penalties, which are
    taken in float32, may use TF32 (10 bits of mantissa to bfloat16's 7).
    """
    chosen = name
    if name == "auto":
        chosen = "bfloat16" if has_fast_bfloat16(device) else "float32"
    print(f"precision: {chosen}{' (auto)' if name == 'auto' else ''}", flush=True)
    torch.backends.cudnn.allow_tf32 = chosen == "bfloat16"
    return "bfloat16" if chosen == "bfloat16" else "float32"


def settings_of_start(settings: Settings, init_from: Path | None) -> Settings:
    """Settings without open numbers; from given weights the average starts at full half-life.

    With a ramp-up the first step would put the raw generator in place of the average that was
    loaded (NVlabs switches it off likewise). Raises InputError if layers are to be frozen that
    start from noise.
    """
    settings = fill_auto(settings)
    if init_from is None and settings.freeze_discriminator:
        raise InputError(
            f"Found freeze_discriminator {settings.freeze_discriminator} without weights to start "
            "from, expected 0. Give --init-from, or set freeze_discriminator: 0."
        )
    if init_from is None or settings.ema_rampup is None:
        return settings
    print(f"{NAME}: no ema_rampup, since the average starts from {init_from}", flush=True)
    return dataclasses.replace(settings, ema_rampup=None)


def load_initial(trainer: Trainer, folder: Path) -> None:
    """Start from the weights of another training (fresh optimisers, the average from its average).

    Raises InputError if a file is missing or the networks have other sizes.
    """
    average, header = read_weights(folder / GENERATOR_FILE, kind="generator")
    both, both_header = read_weights(folder / TRAINING_FILE, kind="discriminator")
    wanted = trainer.generator.architecture
    for name, found_in in ((GENERATOR_FILE, header), (TRAINING_FILE, both_header)):
        found = read_architecture(folder / name, found_in)
        if found != wanted:
            values = dataclasses.asdict(wanted)
            differing = [k for k, v in dataclasses.asdict(found).items() if v != values[k]]
            raise InputError(
                f"Found a network that differs in {', '.join(differing)} in {folder / name} "
                f"({found}), expected {wanted}. Set these to the same values, or leave out "
                "--init-from."
            )
    trainer.average.load_state_dict(average)
    for prefix, network in (
        ("generator.", trainer.generator),
        ("discriminator.", trainer.discriminator),
    ):
        network.load_state_dict(
            {k.removeprefix(prefix): v for k, v in both.items() if k.startswith(prefix)}
        )
    trainer.start_path_mean()


def check_share(settings: Settings, count: int) -> None:
    """Raise InputError unless `count` processes can share every batch in whole groups."""
    group = min(settings.mbstd_group_size, settings.batch_size)
    small = settings.batch_size // settings.path_length_batch_shrink
    if settings.batch_size % (group * count) or small % count:
        raise InputError(
            f"Found batch_size {settings.batch_size} for {count} processes, expected a multiple of "
            f"{group * count} (mbstd_group_size x processes), with a path-length batch of a "
            f"multiple of {count}. Change batch_size or --nproc-per-node."
        )


def identity_of(
    settings: Settings, precision: Precision, data: TrainingImages, init_from: Path | None
) -> dict[str, Any]:
    """What determines every step: settings without lengths, data, initial weights."""
    values = {k: v for k, v in dataclasses.asdict(settings).items() if k not in LENGTH_ONLY}
    initial = (
        [file_digest(init_from / name) for name in (GENERATOR_FILE, TRAINING_FILE)]
        if init_from
        else None
    )
    return {**values, "precision": precision, "data": data.digest, "initial": initial}


def make_held_out(data: TrainingImages, settings: Settings, device: torch.device) -> HeldOut | None:
    """Measures distances to held-out cells; None, with a printed reason, if there are too few.

    Held-out and training cells are turned and cut as in training; the floor is their distance.
    """
    held_out = int((data.stack.table["split"] == HELD_OUT_SPLIT).sum())
    n = min(held_out, len(data), settings.evaluate_images)
    if n < 2:
        reason = f"{held_out} cells of split {HELD_OUT_SPLIT}"
        if not settings.evaluate_images:
            reason = "evaluate_images is 0"
        print(f"{NAME}: no kernel distance ({reason})", flush=True)
        return None
    size, seed = settings.image_size, settings.seed
    other = TrainingImages(data.stack, data.intensity, size, seed, split=HELD_OUT_SPLIT)
    cpu = torch.device("cpu")
    unit, floor = ((x.batch(0, n, cpu).numpy() + 1) / 2 for x in (other, data))
    batch = settings.batch_size
    return HeldOut(unit, floor_images=floor, seed=seed, device=device, batch_size=batch)


class Log:
    """Rows of the training curve: a line a tick, distances and grids now and then."""

    def __init__(
        self,
        settings: Settings,
        trainer: Trainer,
        rows: list[dict[str, float]],
        held_out: HeldOut | None,
        monitor: Monitor,
    ) -> None:
        self.settings, self.trainer, self.rows = settings, trainer, rows
        self.held_out, self.monitor, self.alarms = held_out, monitor, Alarms()
        self.started = self.last = time.monotonic()
        self.images_at_start = self.images_at_last = trainer.images_seen
        self.apart = 0.0  # seconds of evaluation: no training time

    def tick(self, *, evaluate: bool) -> None:
        """Add a row and print it; with `evaluate` also a grid and the distance to held-out."""
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
        figures = (  # name, key, format; what was not measured in this tick is left out
            ("G", "loss_generator", ".3f"), ("D", "loss_discriminator", ".3f"),
            ("r_t", "r_t", "+.2f"), ("p", "augment_p", ".3f"), ("R1", "r1", ".3g"),
            ("length", "path_length", ".3g"),
        )  # fmt: skip
        known = [f"{n} {row[k]:{f}}" for n, k, f in figures if math.isfinite(row[k])]
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
        for sentence in self.alarms.new(self.rows):
            print(f"{NAME}: warning: {sentence}", flush=True)
        self.last, self.images_at_last = time.monotonic(), seen

    def _evaluate(self) -> dict[str, float]:
        started = time.monotonic()
        average, device = self.trainer.average, self.trainer.device
        images = sample_grid(average, self.settings.seed, device)
        self.monitor.evaluate(self.trainer.images_seen / 1000, images.numpy())
        found = self.held_out.distance(average) if self.held_out is not None else {}
        self.apart += time.monotonic() - started
        return found


def n_steps(settings: Settings) -> int:
    """Steps of the whole training."""
    return math.ceil(settings.total_kimg * 1000 / settings.batch_size)


def is_due(kimg: float, step: int, settings: Settings, *, within: float | None = None) -> bool:
    """Whether something done every `kimg` thousand images is due after `step` steps.

    within: only together with what is done every so many thousand images, the nearest whole
    number of times.
    """
    every = max(1, round((within or kimg) * 1000 / settings.batch_size))
    if within:
        every *= max(1, round(kimg / within))
    return step % every == 0 or step == n_steps(settings)


def go_on(trainer: Trainer, state: StateFolder, settings: Settings) -> list[dict[str, float]]:
    """Load the newest checkpoint, if there is one; rows of the curve so far.

    Raises InputError if it is already beyond total_kimg.
    """
    processes = trainer.processes
    if not processes.is_first:
        processes.wait()  # the first sets damaged ones aside before the others look
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
    """Run, or go on, to total_kimg; checkpoints go to the state folder. Rows of the training curve.

    Raises InputError if a loss is not finite, or the checkpoint is already beyond total_kimg;
    Stopped, with a checkpoint, before a time limit or on a signal.
    """
    first = trainer.processes.is_first
    rows = go_on(trainer, state, settings)
    trainer.processes.wait()  # all have read it before it can be replaced
    total, batch = n_steps(settings), settings.batch_size
    monitor = Monitor(state.folder, resumed_at_kimg=trainer.images_seen / 1000)
    log = Log(settings, trainer, rows, held_out, monitor)
    if first:
        print(f"{NAME}: grids and TensorBoard curves in {state.folder}", flush=True)
    bar = Progress(total * batch, NAME, "img", done=trainer.images_seen)
    on_terminal = first and sys.stderr.isatty()  # in a log the tick's line takes the bar's place
    with bar if on_terminal else contextlib.nullcontext(), Watch(NAME) as watch:
        while trainer.step < total:
            trainer.run_step()
            stop = must_stop(watch, trainer) and trainer.step < total
            if on_terminal:
                bar.advance(batch)
            step = trainer.step
            tick = is_due(settings.tick_kimg, step, settings)
            evaluate = is_due(settings.evaluate_kimg, step, settings, within=settings.tick_kimg)
            save = is_due(settings.checkpoint_kimg, step, settings)
            save = save or stop
            if tick or save:
                trainer.gather()
            if tick and first:
                log.tick(evaluate=evaluate)
            if save and first:
                state.save(step, {"trainer": trainer.state(), "rows": rows})
            if stop:
                monitor.close()
                raise watch.stopped(f"at {trainer.images_seen / 1000:.3f} kimg")
    return rows, monitor


def must_stop(watch: Watch, trainer: Trainer) -> bool:
    """Whether to stop after this step; several processes ask one another now and then."""
    due = watch.due()
    if trainer.processes.count == 1:
        return due
    return trainer.step % STOP_STEPS == 0 and trainer.processes.any(due, trainer.device)


@torch.no_grad()
def sample_grid(generator: Generator, seed: int, device: torch.device) -> torch.Tensor:
    """Images of fixed z in [0, 1], (64, c, y, x), the same at every length of training."""
    z = torch.randn(
        (GRID_COLUMNS**2, generator.z_dim), generator=torch_stream(seed, "grid", NAME, "cpu")
    )
    return (generator(z.to(device)).cpu() + 1) / 2


@contextlib.contextmanager
def only_first_prints(processes: Processes) -> Iterator[None]:
    """Silence what other processes than the first would print; errors still come through."""
    if processes.is_first:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def make_parser() -> Parser[Settings]:
    """The command line."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument(
        "--cells", type=Path, required=True, help="stack of cells, with a column split"
    )
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--output", type=Path, required=True, help="generator.safetensors to write")
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument(
        "--init-from", type=Path, help=f"folder with {GENERATOR_FILE} and {TRAINING_FILE}"
    )
    parser.add_argument("--output-training", type=Path, help="weights for a later --init-from")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what it would be and cost; train nothing"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args, settings = make_parser().parse(argv)
    settings = settings_of_start(settings, args.init_from)
    device = choose_device(settings.device, settings.threads)
    with started(device) as processes, only_first_prints(processes):
        check_share(settings, processes.count)
        precision = choose_precision(settings.precision, device)
        stack = read_stack(args.cells, memory_map=True)
        intensity = read_intensity(args.intensity)
        data = TrainingImages(stack, intensity, settings.image_size, settings.seed)
        architecture = architecture_of(settings, len(stack.channels))
        if args.dry_run:
            from rls.stylegan2.plan import describe  # it trains a step or two: only here

            print(describe(settings, architecture, data, device, precision))
            return
        trainer = Trainer(settings, architecture, data, device, precision, processes)
        if args.init_from is not None:
            load_initial(trainer, args.init_from)
        turns = "any angle" if data.turns_freely else "quarter turns"
        print(f"{NAME}: {len(data)} images, turned by {turns}", flush=True)
        held_out = make_held_out(data, settings, device) if processes.is_first else None
        identity = identity_of(settings, precision, data, args.init_from)
        with StateFolder(args.state, NAME, identity, writes=processes.is_first) as state:
            processes.wait()
            rows, monitor = train(settings, trainer, state, held_out)
        if processes.is_first:
            write_results(args, trainer, stack, intensity, rows, monitor)


def write_results(
    args: Any,  # noqa: ANN401  # argparse's namespace
    trainer: Trainer,
    stack: Stack,
    intensity: Intensity,
    rows: Sequence[dict[str, float]],
    monitor: Monitor,
) -> None:
    """Write weights, pictures and curves."""
    settings, data = trainer.settings, trainer.data
    header = {
        "channels": list(stack.channels),
        "pixel_size_um": stack.pixel_size_um,
        "intensity": intensity.as_dict(),
        "image_size": settings.image_size,
        "images_seen": trainer.images_seen,
        "n_training_images": len(data),
        "data_digest": data.digest,
        "precision": trainer.generator.precision,
        "settings": dataclasses.asdict(settings),
    }
    if args.output_training is not None:
        tensors = {f"generator.{k}": v for k, v in trainer.generator.state_dict().items()}
        tensors |= {f"discriminator.{k}": v for k, v in trainer.discriminator.state_dict().items()}
        sizes = {"architecture": dataclasses.asdict(trainer.generator.architecture)}
        write_weights(args.output_training, tensors, {**header, **sizes, "kind": "discriminator"})
    images = sample_grid(trainer.average, settings.seed, trainer.device)
    write_grid(args.output.with_suffix(".png"), images.numpy(), GRID_COLUMNS)
    sheet = args.output.with_suffix(".progress.png")
    if not monitor.progress_sheet(sheet):  # the state folder's grids were removed by hand
        monitor.evaluate(trainer.images_seen / 1000, images.numpy())
        monitor.progress_sheet(sheet)
    monitor.close()
    write_table(args.output.with_suffix(".training.csv"), pd.DataFrame(rows), written_by=NAME)
    write_generator(args.output, trainer.average, header)


if __name__ == "__main__":
    run(main)
