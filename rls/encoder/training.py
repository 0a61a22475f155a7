"""Train the encoder on generated pairs: maximum likelihood by AdamW, the best epoch is kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from rls.encoder.network import Encoder, Shape, write_encoder
from rls.encoder.pool import Pool
from rls.encoder.settings import NAME, Settings
from rls.prior.whitening import Whitening
from rls.runtime.adam import place_adam, recorded_step
from rls.runtime.checkpoint import Resumable, StateFolder
from rls.runtime.errors import InputError
from rls.runtime.graphs import Recorder
from rls.runtime.progress import Progress
from rls.runtime.stopping import Watch
from rls.runtime.streams import stream_seed, torch_stream
from rls.runtime.transfer import upload
from rls.stylegan2.networks import Generator

ROWS_AT_ONCE = 1000  # pairs that are judged at a time
GRADIENT_CLIP = 10.0  # a guard against the rare pair that the Gaussian calls impossible


@dataclass
class Training(Resumable):
    """State of a training.

    Attributes:
        best: Weights of the best epoch.
        best_log_prob: Mean log q of the held-out pairs under these, in nats.
        best_epoch: Number of that epoch, from 1; 0 before there is one.
        epoch: Epochs done.
        curves: One row per epoch.
    """

    encoder: Encoder
    optimiser: torch.optim.AdamW
    best: dict[str, Tensor]
    best_log_prob: float = -math.inf
    best_epoch: int = 0
    epoch: int = 0
    curves: list[dict[str, float]] = field(default_factory=list)

    modules = ("encoder", "optimiser")
    plain = ("best", "best_log_prob", "best_epoch", "epoch", "curves")


def start(
    n_channels: int, side: int, whitening: Whitening, settings: Settings, device: torch.device
) -> Training:
    """Return a fresh encoder, whose q is the prior N(u; 0, I), with its optimiser."""
    shape = Shape(n_channels, side, len(whitening.mean), settings.hidden, settings.blocks)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(settings.seed, NAME, "initial weights"))
        encoder = Encoder(shape, whitening).to(device)
    encoder.whitening = whitening.to(device)
    optimiser = torch.optim.AdamW(
        encoder.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    return Training(encoder, optimiser, copy.deepcopy(encoder.state_dict()))


class Steps:
    """The steps of a training, as a function of tensors that never move.

    Attributes:
        y, u: Images and whitened styles of the step.
        total: Sum of the losses.
    """

    def __init__(self, state: Training, pool: Pool, settings: Settings, recorder: Recorder) -> None:
        self.state, self.settings, self.recorder = state, settings, recorder
        self.pool_y, self.pool_u = pool.y, state.encoder.whitening.to_whitened(pool.w)
        n = settings.batch_size
        self.y = pool.y.new_zeros((n, *pool.y.shape[1:]))
        self.u = pool.w.new_zeros((n, pool.w.shape[1]))
        self.total = torch.zeros((), dtype=torch.float64, device=pool.y.device)
        self.take = recorded_step("the step of the encoder", self._step, recorder, state.optimiser)

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return -(-len(self.pool_y) // self.settings.batch_size)

    def show(self, rows: Tensor) -> None:
        """Take the pairs of the next step."""
        torch.index_select(self.pool_y, 0, rows, out=self.y)
        torch.index_select(self.pool_u, 0, rows, out=self.u)

    def _step(self) -> None:
        encoder, optimiser = self.state.encoder, self.state.optimiser
        # Per dimension, so that the clipping means the same for every size of w.
        loss = -encoder.log_prob(encoder(self.y), self.u).mean() / self.u.shape[1]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), GRADIENT_CLIP)
        optimiser.step()
        self.total.add_(loss.detach())


def train(
    state: Training,
    pool: Pool,
    judged: Pool,
    settings: Settings,
    folder: StateFolder,
    recorder: Recorder | None = None,
) -> None:
    """Train to the end, from the newest checkpoint if there is one.

    Arguments:
        pool: Pairs to train on, on the device of the encoder.
        judged: Pairs that decide which epoch is kept.

    Raises:
        InputError: The loss is not finite.
        Stopped: Before a time limit or on a signal, after an epoch that was kept.
    """
    if (payload := folder.load()) is not None:
        state.restore(payload)
        print(f"{NAME}: goes on after epoch {state.epoch}", flush=True)
    recorder = recorder or Recorder(pool.y.device, "off")
    steps = Steps(state, pool, settings, recorder)
    n = len(steps) * settings.batch_size
    with (
        Progress(settings.epochs * n, NAME, "pairs", done=state.epoch * n) as bar,
        Watch(NAME) as watch,
    ):
        while state.epoch < settings.epochs:
            train_epoch(state, steps, bar, watch)
            end_epoch(state, float(steps.total) / len(steps), judged)
            folder.save(state.epoch, state.payload())
            row = state.curves[-1]
            bar.advance(0, f"log q {row['log_prob']:.2f} nats, held out {row['held_out']:.2f}")
            if watch.due() and state.epoch < settings.epochs:
                raise watch.stopped(f"after epoch {state.epoch}")
    state.encoder.load_state_dict(state.best)


def train_epoch(state: Training, steps: Steps, bar: Progress, watch: Watch) -> None:
    """Take one pass over the pairs; the last batch is filled from its beginning.

    Raises:
        Stopped: On a signal; the pass is lost.
    """
    settings, epoch, n = steps.settings, state.epoch, len(steps.pool_y)
    state.encoder.train()
    random = torch_stream(settings.seed, f"epoch {epoch}", f"{NAME} order")
    order = torch.randperm(n, generator=random)
    order = order.repeat(1 + len(steps) * settings.batch_size // n)
    order = upload(order[: len(steps) * settings.batch_size], steps.pool_y.device)
    steps.total.zero_()
    for i, rows in enumerate(order.split(settings.batch_size)):
        passed = (epoch + i / len(steps)) / settings.epochs
        rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * passed))
        place_adam(state.optimiser, rate, steps.recorder)
        steps.show(rows)
        steps.take()
        bar.advance(settings.batch_size)
        watch.stop_if_asked(f"after epoch {epoch}")


def end_epoch(state: Training, loss: float, judged: Pool) -> None:
    """Judge the weights on the held-out pairs, and keep them if they are the best so far.

    Raises:
        InputError: The loss or the log q is not finite.
    """
    log_prob = held_out_log_prob(state.encoder, judged)
    state.epoch += 1
    if not (math.isfinite(loss) and math.isfinite(log_prob)):
        raise InputError(
            f"The loss of {NAME} is not finite in epoch {state.epoch}. Set a smaller learning_rate."
        )
    row = {"epoch": state.epoch, "log_prob": -loss * judged.w.shape[1], "held_out": log_prob}
    state.curves.append({name: float(value) for name, value in row.items()})
    if log_prob > state.best_log_prob:
        state.best_log_prob, state.best_epoch = log_prob, state.epoch
        state.best = copy.deepcopy(state.encoder.state_dict())


@torch.no_grad()
def held_out_log_prob(encoder: Encoder, pool: Pool) -> float:
    """Return the mean log q(u | y) of pairs, in nats; without y, N(0, I) has -d/2 log 2 pi e."""
    encoder.eval()
    parts = [
        encoder.log_prob(encoder(y), encoder.whitening.to_whitened(w))
        for w, y in zip(pool.w.split(ROWS_AT_ONCE), pool.y.split(ROWS_AT_ONCE), strict=True)
    ]
    return float(torch.cat(parts).double().mean())


@torch.no_grad()
def explained_variance(encoder: Encoder, pool: Pool) -> float:
    """Return the share of the variance of w, summed over dimensions, that E's mean explains."""
    encoder.eval()
    found = torch.cat([encoder.mean_style(encoder(y)) for y in pool.y.split(ROWS_AT_ONCE)])
    left = (pool.w - found).double().square().sum()
    return 1.0 - float(left / (pool.w - pool.w.mean(dim=0)).double().square().sum())


def describe(state: Training, settings: Settings) -> str:
    """Return the size of a training, in words."""
    n_weights = sum(p.numel() for p in state.encoder.parameters())
    return (
        f"{settings.n_pairs} pairs to train on, {settings.n_held_out} to judge, "
        f"{n_weights / 1e6:.2f} million weights"
    )


def write_results(
    path: Path,
    state: Training,
    generator: Generator,
    settings: Settings,
    facts: Mapping[str, object],
) -> None:
    """Write the encoder of the best epoch.

    Arguments:
        facts: How the pairs were made, and what the encoder explains.
    """
    header = {
        **facts,
        "channels": list(generator.channels),
        "image_size": generator.image_size,
        "pixel_size_um": generator.pixel_size_um,
        "intensity": generator.intensity.as_dict(),
        "held_out_log_prob": state.best_log_prob,
        "best_epoch": state.best_epoch,
        "curves": state.curves,
        "settings": asdict(settings),
    }
    write_encoder(path, state.encoder, header)
