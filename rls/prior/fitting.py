"""Fit a flow to styles: maximum likelihood by Adam with early stopping (article, section 3.1.2)."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rls.prior.flows import ROWS_AT_ONCE, StyleFlow
from rls.prior.settings import Settings
from rls.runtime.adam import place_adam, recorded_step
from rls.runtime.checkpoint import Resumable, StateFolder
from rls.runtime.errors import InputError
from rls.runtime.graphs import Recorder
from rls.runtime.progress import Progress
from rls.runtime.stopping import Watch
from rls.runtime.streams import stream_seed, torch_stream

MOST_HALVINGS = 3  # A fit that still diverges after so many halvings of its rate is given up.
CHECK_STEPS = 100  # Steps between looks at whether the losses are finite; a GPU waits for a look.


@dataclass
class Fit(Resumable):
    """State of a fit: everything that the next epoch depends on.

    Attributes:
        flow: The flow that is fitted.
        optimiser: Its optimiser.
        best: Weights of the best epoch.
        best_log_prob: Mean log p in nats of the validation styles under these.
        best_epoch: Number of that epoch, from 1; 0 before there is one.
        epoch: Epochs done.
        halvings: How often the learning rate was halved.
    """

    modules = ("flow", "optimiser")
    plain = ("best", "best_log_prob", "best_epoch", "epoch", "halvings")

    flow: StyleFlow
    optimiser: torch.optim.Adam
    best: dict[str, Tensor]
    best_log_prob: float = -math.inf
    best_epoch: int = 0
    epoch: int = 0
    halvings: int = 0


def split_styles(w: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return (training, validation) styles, split by a seeded shuffle.

    Arguments:
        w: Styles (n, d).
        share: Share of the validation styles, 0 to 1.
        seed: Seed of the shuffle.

    Raises:
        InputError: One of the two would hold fewer than two styles.
    """
    order = torch.randperm(len(w), generator=torch_stream(seed, "styles", "fit_flow split"))
    n_validation = round(share * len(w))
    if min(n_validation, len(w) - n_validation) < 2:
        raise InputError(
            f"{len(w)} styles with a validation_share of {share} leave too few to fit and to "
            f"judge. Sample more styles or change the share."
        )
    return w[order[n_validation:]], w[order[:n_validation]]


def gaussian_log_probs(train: Tensor, shown: Tensor, full: bool) -> Tensor | None:
    """Return the log density in nats of each style, (m,), under the Gaussian of other styles.

    Arguments:
        train: Styles (n, d) that give the mean and the covariance.
        shown: Styles (m, d) whose density is taken.
        full: Whether the covariance is full or diagonal.

    Returns:
        None if the covariance is singular, as a full one is with n <= d.
    """
    train, shown = train.double(), shown.double()
    mean = train.mean(0)
    covariance = torch.cov(train.T) if full else torch.diag(train.var(0))
    if full and len(train) <= train.shape[1]:
        return None
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        return None
    z = torch.linalg.solve_triangular(factor, (shown - mean).T, upper=False)
    log_det = factor.diagonal().log().sum()
    constant = 0.5 * train.shape[1] * math.log(2 * math.pi)
    return -0.5 * (z**2).sum(0) - log_det - constant


def gaussian_log_prob(train: Tensor, shown: Tensor, full: bool) -> float | None:
    """Return the mean of :func:`gaussian_log_probs`, which has the arguments; None as there."""
    found = gaussian_log_probs(train, shown, full)
    return None if found is None else float(found.mean())


@torch.no_grad()
def mean_log_prob(flow: StyleFlow, w: Tensor) -> float:
    """Return the mean log p_F of styles (n, d), in nats."""
    flow.eval()
    flow.need_fit()  # once for all parts, because a GPU waits for it
    parts = [flow.unchecked_log_prob(part) for part in w.split(ROWS_AT_ONCE)]
    return float(torch.cat(parts).double().mean())


def start_fit(train: Tensor, settings: Settings) -> Fit:
    """Return an unfitted flow, scaled to the training styles (n, d), with its optimiser."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(settings.seed, "flow", "initial weights"))
        flow = StyleFlow(settings.flow, train.shape[1], settings.hidden, settings.n_blocks)
    flow = flow.to(train.device)
    flow.set_scale(train)
    optimiser = torch.optim.Adam(
        flow.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    return Fit(flow, optimiser, copy.deepcopy(flow.state_dict()))


class Steps:
    """The steps of a fit, as a function of tensors that never move.

    Nothing in a step needs the host, so that it can be recorded.

    Arguments:
        fit: Its flow and its optimiser are changed.
        train: Styles (n, d) that the flow is fitted to.
        settings: The flow and how it is fitted.
        recorder: Records the step.

    Attributes:
        order: Rows of the styles of every step of an epoch (steps, batch). The remainder is left
            out, because a batch of one style has no variance; another epoch shuffles it into a
            batch.
        number: Number of the next step (1,).
        healthy: Whether all losses of the epoch were finite.
    """

    def __init__(self, fit: Fit, train: Tensor, settings: Settings, recorder: Recorder) -> None:
        self.fit, self.train, self.settings, self.recorder = fit, train, settings, recorder
        size = min(settings.batch_size, len(train))
        self.order = torch.zeros((len(train) // size, size), dtype=torch.int64, device=train.device)
        self.number = torch.zeros(1, dtype=torch.int64, device=train.device)
        self.healthy = torch.tensor(True, device=train.device)
        self.take = recorded_step("the step of the flow", self._step, recorder, fit.optimiser)

    def start_epoch(self) -> None:
        """Shuffle the styles, and set the learning rate."""
        settings, epoch = self.settings, self.fit.epoch
        random = torch_stream(settings.seed, f"epoch {epoch}", "fit_flow order")
        order = torch.randperm(len(self.train), generator=random)
        self.order.copy_(order[: self.order.numel()].view_as(self.order))
        self.number.zero_()
        self.healthy.fill_(True)
        place_adam(self.fit.optimiser, settings.learning_rate / 2**self.fit.halvings, self.recorder)
        self.fit.flow.train()

    def _step(self) -> None:
        rows = self.order.index_select(0, self.number)[0]
        flow, optimiser = self.fit.flow, self.fit.optimiser
        loss = -flow.log_prob(self.train.index_select(0, rows)).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(flow.parameters(), self.settings.gradient_clip)
        self.healthy.logical_and_(torch.isfinite(loss) & torch.isfinite(norm))
        optimiser.step()
        self.number.add_(1)


def run_epoch(fit: Fit, steps: Steps, watch: Watch) -> bool:
    """Run one epoch over the training styles; return False once a loss was not finite.

    Raises:
        Stopped: On a signal; the epoch is lost.
    """
    steps.start_epoch()
    for i in range(len(steps.order)):
        steps.take()
        watch.stop_if_asked(f"after epoch {fit.epoch}")
        if (i + 1) % CHECK_STEPS == 0 and not bool(steps.healthy):
            return False
    return bool(steps.healthy)


def step_back(fit: Fit) -> None:
    """Restore the best weights and halve the learning rate, after a loss that was not finite.

    Raises:
        InputError: That has happened too often.
    """
    fit.halvings += 1
    if fit.halvings > MOST_HALVINGS:
        raise InputError(
            f"The fit of the flow diverged {fit.halvings} times although its learning rate was "
            f"halved each time. Lower learning_rate or gradient_clip."
        )
    fit.flow.load_state_dict(fit.best)
    # In place, because a recorded step goes on with these tensors.
    for moments in fit.optimiser.state.values():
        for moment in moments.values():
            moment.zero_()
    print(
        f"fit_flow: the loss was not finite in epoch {fit.epoch}; the best weights so far "
        "are taken up again with half the learning rate",
        flush=True,
    )


def not_finished(fit: Fit, settings: Settings) -> bool:
    """Return whether neither the length nor the patience is used up."""
    waited = fit.epoch - fit.best_epoch
    return fit.epoch < settings.max_epochs and waited < settings.patience_epochs


def fit_flow(
    train: Tensor,
    validation: Tensor,
    settings: Settings,
    state: StateFolder | None = None,
    recorder: Recorder | None = None,
) -> Fit:
    """Return a flow with the weights of its best epoch, in eval mode.

    Arguments:
        train: Styles (n, d) that the flow is fitted to.
        validation: Styles (m, d) whose log p decides which epoch is best.
        settings: The flow and how it is fitted.
        state: Keeps every epoch; an interrupted fit resumes from it, with the same result.
        recorder: Records the step, within its own stream; None to record nothing.

    Raises:
        InputError: The fit diverged.
        Stopped: Before a time limit or on a signal.
    """
    fit = start_fit(train, settings)
    if state and (saved := state.load()):
        fit.restore(saved)
        print(f"fit_flow: goes on after epoch {fit.epoch}", flush=True)
    steps = Steps(fit, train, settings, recorder or Recorder(train.device, "off"))
    bar = Progress(settings.max_epochs, "fit_flow", "epoch", done=fit.epoch)
    with bar, Watch("fit_flow") as watch:
        while not_finished(fit, settings):
            if run_epoch(fit, steps, watch):
                fit.flow.recompute_batch_norm(train)
                log_prob = mean_log_prob(fit.flow, validation)
            else:
                log_prob = math.nan
            fit.epoch += 1
            if not math.isfinite(log_prob):
                step_back(fit)
            elif log_prob > fit.best_log_prob:
                fit.best_log_prob, fit.best_epoch = log_prob, fit.epoch
                fit.best = copy.deepcopy(fit.flow.state_dict())
            if state:
                state.save(fit.epoch, fit.payload())
            bar.advance(1, f"validation log p {log_prob:.2f} nats, best {fit.best_log_prob:.2f}")
            if watch.due() and state and not_finished(fit, settings):
                raise watch.stopped(f"after epoch {fit.epoch}")
    if not math.isfinite(fit.best_log_prob):
        raise InputError("No epoch of the fit was finite. Lower learning_rate.")
    fit.flow.load_state_dict(fit.best)
    fit.flow.eval()
    return fit


def measure_fit(fit: Fit, train: Tensor, validation: Tensor) -> dict[str, object]:
    """Return the quality of the fit: log p in nats, and squared norms of z beside chi-squared."""
    with torch.no_grad():
        norms = (fit.flow.to_noise(validation[:ROWS_AT_ONCE]).double() ** 2).sum(1)
    return {
        "validation_log_prob": fit.best_log_prob,
        "training_log_prob": mean_log_prob(fit.flow, train),
        "gaussian_diagonal_log_prob": gaussian_log_prob(train, validation, full=False),
        "gaussian_full_log_prob": gaussian_log_prob(train, validation, full=True),
        "validation_squared_norm_mean": float(norms.mean()),
        "validation_squared_norm_sd": float(norms.std()),
        "chi_squared_sd": math.sqrt(2 * train.shape[1]),
        "epochs": fit.epoch,
        "best_epoch": fit.best_epoch,
        "learning_rate_halvings": fit.halvings,
        "n_training": len(train),
        "n_validation": len(validation),
    }
