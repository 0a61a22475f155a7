"""The log of a training: a line and a row of the curve per tick, now and then an evaluation."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from rls.runtime.progress import format_seconds
from rls.runtime.streams import torch_stream
from rls.stylegan2.alarms import Alarms
from rls.stylegan2.cost import memory_gib
from rls.stylegan2.held_out import HeldOut
from rls.stylegan2.monitor import GRID_COLUMNS, Monitor
from rls.stylegan2.networks import Generator
from rls.stylegan2.settings import Settings
from rls.stylegan2.trainer import Trainer

# Label in the log, key of the row, and format. What a tick did not measure is left out.
FIGURES = (
    ("G", "loss_generator", ".3f"),
    ("D", "loss_discriminator", ".3f"),
    ("r_t", "r_t", "+.2f"),
    ("p", "augment_p", ".3f"),
    ("R1", "r1", ".3g"),
    ("length", "path_length", ".3g"),
)


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
        self.held_out, self.monitor, self.alarms = held_out, monitor, Alarms()
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
            f"train_gan: {row['kimg']:.2f} of {self.settings.total_kimg:g} kimg, {rate:.3g} img/s, "
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
            print(f"train_gan: warning: {sentence}", flush=True)
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
    random = torch_stream(seed, "grid", "train_gan", "cpu")
    z = torch.randn((GRID_COLUMNS**2, generator.z_dim), generator=random)
    return (generator(z.to(device)).cpu() + 1) / 2
