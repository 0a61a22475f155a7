"""Train the generator of high-resolution cells (StyleGAN2, logistic loss with lazy R1).

min_G max_D  E log D(x) + E log(1 - D(G(z))), in its non-saturating form, plus gamma/2 E |grad
D(x)|^2 (Karras et al. 2020; section 3.2 of the article). Writes the averaged generator, beside it a
grid of samples (.png) and the curves (.training.csv). A training that was stopped, or killed, goes
on when the same command is run again, and ends as if it had never stopped; with a larger total_kimg
a finished one goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from rls.checkpoint import StateFolder
from rls.command import Parser, run
from rls.device import choose_device, has_fast_bfloat16
from rls.errors import InputError
from rls.io import (
    file_digest,
    read_intensity,
    read_stack,
    read_weights,
    write_table,
    write_weights,
)
from rls.progress import Progress, format_seconds
from rls.streams import torch_stream
from rls.stylegan2.data import TrainingImages
from rls.stylegan2.generator_io import read_architecture, write_generator
from rls.stylegan2.grid import write_grid
from rls.stylegan2.networks import Architecture, Generator, Precision
from rls.stylegan2.settings import Settings
from rls.stylegan2.training import Trainer

NAME = "train_gan"
LENGTH_ONLY = ("total_kimg", "checkpoint_kimg", "tick_kimg")  # do not change what a step computes
GRID_COLUMNS = 8
GENERATOR_FILE, TRAINING_FILE = "generator.safetensors", "training.safetensors"


def architecture_of(settings: Settings, n_channels: int) -> Architecture:
    """Sizes of the networks that the settings ask for."""
    names = {field.name for field in dataclasses.fields(Architecture)}
    values = {k: v for k, v in dataclasses.asdict(settings).items() if k in names}
    return Architecture(n_channels=n_channels, **values)


def choose_precision(name: str, device: torch.device) -> Precision:
    """Precision of the convolutions; "auto" is bfloat16 where the device is fast at it. Printed."""
    chosen = name
    if name == "auto":
        chosen = "bfloat16" if has_fast_bfloat16(device) else "float32"
    print(f"precision: {chosen}{' (auto)' if name == 'auto' else ''}", flush=True)
    return "bfloat16" if chosen == "bfloat16" else "float32"


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


def memory_gib(device: torch.device) -> float:
    """Peak memory so far in GiB: of the device, or of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Log:
    """Rows of the training curve; a line a tick."""

    def __init__(self, settings: Settings, trainer: Trainer, rows: list[dict[str, float]]) -> None:
        self.settings, self.trainer, self.rows = settings, trainer, rows
        self.started = self.last = time.monotonic()
        self.images_at_start = self.images_at_last = trainer.images_seen

    def tick(self) -> None:
        """Add a row and print it."""
        now, seen = time.monotonic(), self.trainer.images_seen
        rate = (seen - self.images_at_last) / max(now - self.last, 1e-9)
        mean_rate = (seen - self.images_at_start) / max(now - self.started, 1e-9)
        left = (self.settings.total_kimg * 1000 - seen) / max(mean_rate, 1e-9)
        row = {
            "kimg": seen / 1000,
            "images_per_second": rate,
            **self.trainer.statistics(),
            "memory_gib": memory_gib(self.trainer.device),
        }
        self.rows.append(row)
        self.last, self.images_at_last = now, seen
        print(
            f"{NAME}: {row['kimg']:.2f} of {self.settings.total_kimg:g} kimg, {rate:.3g} img/s, "
            f"{format_seconds(max(left, 0))} left, G {row['loss_generator']:.3f}, D "
            f"{row['loss_discriminator']:.3f}, r_t {row['r_t']:+.2f}, R1 {row['r1']:.3g}, "
            f"{row['memory_gib']:.1f} GiB",
            flush=True,
        )


def n_steps(settings: Settings) -> int:
    """Steps of the whole training."""
    return math.ceil(settings.total_kimg * 1000 / settings.batch_size)


def train(settings: Settings, trainer: Trainer, state: StateFolder) -> list[dict[str, float]]:
    """Run, or go on, to total_kimg; checkpoints go to the state folder. Rows of the training curve.

    Raises InputError if a loss is not finite, or the checkpoint is already beyond total_kimg.
    """
    payload = state.load()
    if payload is not None:
        trainer.load_state(payload["trainer"])
        print(f"{NAME}: goes on at {trainer.images_seen / 1000:.2f} kimg", flush=True)
    total, batch = n_steps(settings), settings.batch_size
    if trainer.step > total:
        raise InputError(
            f"Found a checkpoint of {trainer.images_seen / 1000:g} kimg in {state.folder}, "
            f"expected at most total_kimg = {settings.total_kimg:g}. Set total_kimg to at least "
            "that, or give another --state."
        )
    log = Log(settings, trainer, payload["rows"] if payload is not None else [])
    per_tick = max(1, round(settings.tick_kimg * 1000 / batch))
    per_checkpoint = max(1, round(settings.checkpoint_kimg * 1000 / batch))
    bar = Progress(total * batch, NAME, "img", done=trainer.images_seen)
    on_terminal = sys.stderr.isatty()  # in a log the line of a tick takes the bar's place
    with bar if on_terminal else contextlib.nullcontext():
        while trainer.step < total:
            trainer.run_step()
            if on_terminal:
                bar.advance(batch)
            if trainer.step % per_tick == 0 or trainer.step == total:
                log.tick()
            if trainer.step % per_checkpoint == 0 or trainer.step == total:
                state.save(trainer.step, {"trainer": trainer.state(), "rows": log.rows})
    return log.rows


@torch.no_grad()
def sample_grid(generator: Generator, seed: int, device: torch.device) -> torch.Tensor:
    """Images of fixed z in [0, 1], (64, c, y, x), the same at every length of training."""
    z = torch.randn(
        (GRID_COLUMNS**2, generator.z_dim), generator=torch_stream(seed, "grid", NAME, "cpu")
    )
    return (generator(z.to(device)).cpu() + 1) / 2


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
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
    args, settings = parser.parse(argv)

    device = choose_device(settings.device, settings.threads)
    precision = choose_precision(settings.precision, device)
    stack = read_stack(args.cells, memory_map=True)
    intensity = read_intensity(args.intensity)
    data = TrainingImages(stack, intensity, settings.image_size, settings.seed)
    architecture = architecture_of(settings, len(stack.channels))
    trainer = Trainer(settings, architecture, data, device, precision)
    if args.init_from is not None:
        load_initial(trainer, args.init_from)
    turns = "any angle" if data.turns_freely else "quarter turns"
    print(f"{NAME}: {len(data)} images, turned by {turns}", flush=True)
    with StateFolder(
        args.state, NAME, identity_of(settings, precision, data, args.init_from)
    ) as state:
        rows = train(settings, trainer, state)
    header = {
        "channels": list(stack.channels),
        "pixel_size_um": stack.pixel_size_um,
        "intensity": intensity.as_dict(),
        "image_size": settings.image_size,
        "images_seen": trainer.images_seen,
        "n_training_images": len(data),
        "data_digest": data.digest,
        "precision": precision,
        "settings": dataclasses.asdict(settings),
    }
    if args.output_training is not None:
        tensors = {f"generator.{k}": v for k, v in trainer.generator.state_dict().items()}
        tensors |= {f"discriminator.{k}": v for k, v in trainer.discriminator.state_dict().items()}
        sizes = {"architecture": dataclasses.asdict(architecture)}
        write_weights(args.output_training, tensors, {**header, **sizes, "kind": "discriminator"})
    images = sample_grid(trainer.average, settings.seed, device)
    write_grid(args.output.with_suffix(".png"), images.numpy(), GRID_COLUMNS)
    write_table(args.output.with_suffix(".training.csv"), pd.DataFrame(rows), written_by=NAME)
    write_generator(args.output, trainer.average, header)


if __name__ == "__main__":
    run(main)
