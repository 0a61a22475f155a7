"""Fit a regression from y to features, on pairs that are at hand.

With the standardised feature t of a pair, the loss is

    (t - m)^2  +  log s + (t - m)^2 / (2 s^2),

where m is held fixed in the second part. So m is the mean E[t | y] whatever the spread is (in the
likelihood of a Gaussian alone, an early and large s would keep it from being learnt), and s is the
sd about it. What could not be measured on an image counts in neither.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from rls.encoder.regression import RegressionNet, Scale
from rls.encoder.settings import RegressionSettings
from rls.networks.classifier import oriented, pixels_of_views
from rls.runtime.adam import place_adam, recorded_step
from rls.runtime.checkpoint import Resumable, StateFolder
from rls.runtime.errors import InputError
from rls.runtime.graphs import Recorder
from rls.runtime.progress import Progress
from rls.runtime.stopping import Watch
from rls.runtime.streams import stream, stream_seed, torch_stream
from rls.runtime.transfer import upload


@dataclass(frozen=True)
class Schedule:
    """The settings of a fit.

    Attributes:
        width, hidden: Sizes of the network, see :class:`RegressionNet`.
        turned: Whether orientations are drawn in training and averaged afterwards.
        epochs: Passes over the pairs; the learning rate falls to 0 along a half cosine.
        batch_size: Pairs of a step.
        learning_rate, weight_decay: Of AdamW.
        seed: Of the weights, the order and the orientations.
    """

    width: int
    hidden: int
    turned: bool
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))

    @classmethod
    def of(cls, settings: RegressionSettings, *, turned: bool) -> Schedule:
        """Return the network and steps that ``settings`` ask for.

        Arguments:
            turned: Whether the answer is the mean over the turns and flips of y.
        """
        return cls(
            width=settings.width,
            hidden=settings.hidden,
            turned=turned,
            epochs=settings.epochs,
            batch_size=settings.pairs_per_step,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            seed=settings.seed,
        )


@dataclass(frozen=True)
class Examples:
    """Images y (n, c, y, x) in [0, 1] units, and standardised features t (n, k) or NaN."""

    y: Tensor
    t: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: torch.device) -> Examples:
        """Return them on a device."""
        return Examples(self.y.to(device), self.t.to(device))


@dataclass
class Training(Resumable):
    """State of a fit.

    Attributes:
        best: Weights of the epoch with the lowest loss on the pairs held out.
        best_loss, best_epoch: That loss, and the number of that epoch from 1.
        epoch: Epochs done.
        curves: One row an epoch: epoch, loss, loss on the pairs held out.
    """

    net: RegressionNet
    optimiser: torch.optim.AdamW
    best: dict[str, Tensor]
    best_loss: float = float("inf")
    best_epoch: int = 0
    epoch: int = 0
    curves: list[list[float]] = field(default_factory=list)

    modules = ("net", "optimiser")
    plain = ("best", "best_loss", "best_epoch", "epoch", "curves")


def start(shown: Examples, schedule: Schedule, device: torch.device) -> Training:
    """Return a fresh network, with weights drawn from the seed, and its optimiser."""
    n_channels, height, width = shown.y.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(schedule.seed, "weights", "regression"))
        net = RegressionNet(
            n_channels,
            (height, width),
            shown.t.shape[1],
            width=schedule.width,
            hidden=schedule.hidden,
            turned=schedule.turned,
        )
    net.standardise_by(shown.y.cpu())
    net.to(device)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    return Training(net, optimiser, copy.deepcopy(net.state_dict()))


def loss_of(mean: Tensor, log_sd: Tensor, t: Tensor) -> Tensor:
    """Return the mean loss over all features that were measured; arguments are (n, k)."""
    known = torch.isfinite(t)
    # NaN must not reach a gradient, not even multiplied by 0.
    squared = (torch.where(known, t, mean.detach()) - mean).square()
    likelihood = log_sd + 0.5 * squared.detach() * torch.exp(-2 * log_sd)
    return ((squared + likelihood) * known).sum() / known.sum().clamp_min(1)


class Steps:
    """The steps of a fit, as a function of tensors that never move.

    Attributes:
        y, t: Images and standardised features of the step.
        turns: Numbers (n,) of the orientations in which its images are shown.
        total: Sum of the losses.
    """

    def __init__(
        self, state: Training, shown: Examples, schedule: Schedule, recorder: Recorder
    ) -> None:
        self.state, self.shown, self.schedule, self.recorder = state, shown, schedule, recorder
        n, device = schedule.batch_size, shown.y.device
        self.pixels = pixels_of_views(*state.net.size).to(device)
        self.y = shown.y.new_zeros((n, *shown.y.shape[1:]))
        self.t = shown.t.new_zeros((n, shown.t.shape[1]))
        self.turns = torch.zeros(n, dtype=torch.int64, device=device)
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        self.take = recorded_step(
            "the step of the regression", self._step, recorder, state.optimiser
        )

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return -(-len(self.shown) // self.schedule.batch_size)

    def show(self, rows: Tensor, turns: Tensor) -> None:
        """Take the pairs of the next step, and the orientations of their images."""
        torch.index_select(self.shown.y, 0, rows, out=self.y)
        torch.index_select(self.shown.t, 0, rows, out=self.t)
        self.turns.copy_(turns)

    def _step(self) -> None:
        net, optimiser = self.state.net, self.state.optimiser
        y = oriented(self.y, self.pixels, self.turns) if self.schedule.turned else self.y
        mean, log_sd = net(y)
        loss = loss_of(mean, log_sd, self.t)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        self.total.add_(loss.detach())


def train_epoch(state: Training, steps: Steps, watch: Watch) -> float:
    """Take one pass in whole batches and return the mean loss.

    Every draw depends on the seed and the epoch alone.

    Raises:
        Stopped: On a signal; the pass is lost.
    """
    schedule, key, device = steps.schedule, f"epoch {state.epoch}", steps.y.device
    state.net.train()
    place_adam(state.optimiser, schedule.rate(state.epoch), steps.recorder)
    n = len(steps) * schedule.batch_size
    # The last batch wraps around.
    order = stream(schedule.seed, key, "regression order").permutation(len(steps.shown))
    rows = upload(np.resize(order, n), device).split(schedule.batch_size)
    random = torch_stream(schedule.seed, key, "regression orientation")
    turns = torch.randint(len(steps.pixels), (n,), generator=random)
    steps.total.zero_()
    for chosen, turn in zip(rows, upload(turns, device).split(schedule.batch_size), strict=True):
        steps.show(chosen, turn)
        steps.take()
        watch.stop_if_asked(f"after epoch {state.epoch}")
    return float(steps.total) / len(steps)


@torch.no_grad()
def held_out_loss(net: RegressionNet, held: Examples, batch_size: int) -> float:
    """Return the mean loss over pairs that were not trained on."""
    net.eval()
    parts = [net.predict(y) for y in held.y.split(batch_size)]
    mean, log_sd = torch.cat(parts).chunk(2, dim=1)
    return float(loss_of(mean, log_sd, held.t))


def train(
    shown: Examples,
    held: Examples,
    schedule: Schedule,
    device: torch.device,
    folder: StateFolder,
    label: str,
    recorder: Recorder | None = None,
) -> Training:
    """Fit a network, or go on from the newest checkpoint; its weights are those of the best epoch.

    Arguments:
        shown: Pairs to train on.
        held: Pairs whose loss decides which epoch is best.
        folder: Keeps every epoch.
        label: Name of the command, for what is printed.
        recorder: Records the step, within its own stream; None to record nothing.

    Raises:
        InputError: The loss is not finite.
        Stopped: Before a time limit or on a signal.
    """
    state = start(shown, schedule, device)
    if (payload := folder.load()) is not None:
        state.restore(payload)
        print(f"{label}: goes on after epoch {state.epoch}", flush=True)
    shown, held, n = shown.to(device), held.to(device), len(shown)
    steps = Steps(state, shown, schedule, recorder or Recorder(device, "off"))
    bar = Progress(schedule.epochs * n, label, "pair", done=state.epoch * n)
    with bar, Watch(label) as watch:
        while state.epoch < schedule.epochs:
            loss = train_epoch(state, steps, watch)
            state.epoch += 1
            judged = held_out_loss(state.net, held, schedule.batch_size)
            state.curves.append([state.epoch, loss, judged])
            if not math.isfinite(judged):
                raise InputError(
                    f"The loss of the regression is {judged} after epoch {state.epoch}. Set a "
                    f"smaller learning_rate than {schedule.learning_rate:g}."
                )
            if judged < state.best_loss:
                state.best_loss, state.best_epoch = judged, state.epoch
                state.best = copy.deepcopy(state.net.state_dict())
            folder.save(state.epoch, state.payload())
            bar.advance(n, note=f"loss {judged:.3f} on pairs held out")
            if watch.due() and state.epoch < schedule.epochs:
                raise watch.stopped(f"after epoch {state.epoch}")
    state.net.load_state_dict(state.best)
    state.net.eval()
    return state


def correlations(found: np.ndarray, values: np.ndarray) -> list[float]:
    """Return Pearson's r of each feature, over the pairs where it was measured; NaN if undefined.

    Arguments:
        found, values: (n, k) predicted and measured.
    """
    rs = []
    for x, h in zip(np.asarray(found, float).T, np.asarray(values, float).T, strict=True):
        known = np.isfinite(h)
        varies = known.sum() > 2 and min(np.ptp(x[known]), np.ptp(h[known])) > 0
        rs.append(float(np.corrcoef(x[known], h[known])[0, 1]) if varies else float("nan"))
    return rs


def examples_of(y: np.ndarray, values: np.ndarray, scale: Scale) -> Examples:
    """Return examples of images y in [0, 1] units and features h (n, k) in their units."""
    # One order in memory, whoever made the arrays: the last bits of a sum depend on it.
    t = np.ascontiguousarray(scale.standardised(values))
    return Examples(torch.from_numpy(np.ascontiguousarray(y)), torch.from_numpy(t))
