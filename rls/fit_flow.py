"""Fit the normalising flow p_F to style vectors w (Eq. 4, sections 3.1.2 and 4.1).

Maximum likelihood by Adam with early stopping on a held-out share; the weights of the best epoch
are kept. The header of the result sets its validation log p beside that of a Gaussian with
diagonal and with full covariance: a flow that does not beat the latter has learned no shape.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rls.io import read_weights
from rls.prior.flows import FLOWS, ROWS_AT_ONCE, StyleFlow, write_flow
from rls.runtime.checkpoint import StateFolder
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.stopping import Watch
from rls.runtime.streams import stream_seed, torch_stream

MOST_HALVINGS = 3
NUMBERS = ("best_log_prob", "best_epoch", "epoch", "halvings")  # of a Fit, kept with its tensors


@dataclass(frozen=True)
class Settings:
    """The flow and how it is fitted."""

    flow: str = option("Kind of flow: maf (masked autoregressive) or realnvp.", choices=FLOWS)
    n_blocks: int = option("Flow blocks, a batch norm behind each.")
    hidden: int = option("Width of all hidden layers.")
    learning_rate: float = option("Adam's learning rate.")
    weight_decay: float = option("Adam's L2 weight decay.")
    batch_size: int = option("Styles per step.")
    max_epochs: int = option("Most epochs.")
    patience_epochs: int = option("Stop after so many epochs without a better validation log p.")
    validation_share: float = option("Share of the styles held out, 0 to 1.")
    gradient_clip: float = option("Largest norm of the gradient of a step.")
    seed: int = option("Seed of initial weights, split and order of the batches.")
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.")


@dataclass
class Fit:
    """State of a fit: all that the next epoch depends on."""

    flow: StyleFlow
    optimiser: torch.optim.Adam
    best: dict[str, Tensor]
    best_log_prob: float = -math.inf
    best_epoch: int = 0
    epoch: int = 0
    halvings: int = 0

    def payload(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        numbers = {name: getattr(self, name) for name in NUMBERS}
        return {
            "flow": self.flow.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            **numbers,
        }

    def restore(self, payload: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.flow.load_state_dict(payload["flow"])
        self.optimiser.load_state_dict(payload["optimiser"])
        self.best = payload["best"]
        for name in NUMBERS:
            setattr(self, name, payload[name])


def split_styles(w: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return (training, validation) styles by a seeded shuffle.

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


def gaussian_log_prob(train: Tensor, shown: Tensor, full: bool) -> float | None:
    """Return the mean log density (nats) of styles under the Gaussian of the training styles.

    None where the full covariance is singular: fewer training styles than dimensions.
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
    return float(-0.5 * (z**2).sum(0).mean() - log_det - constant)


@torch.no_grad()
def mean_log_prob(flow: StyleFlow, w: Tensor) -> float:
    """Return the mean log p_F over styles (n, d), in nats."""
    flow.eval()
    return float(torch.cat([flow.log_prob(part) for part in w.split(ROWS_AT_ONCE)]).double().mean())


def start_fit(train: Tensor, settings: Settings) -> Fit:
    """Return an unfitted flow on the training styles' scale, with its optimiser."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(settings.seed, "flow", "initial weights"))
        flow = StyleFlow(settings.flow, train.shape[1], settings.hidden, settings.n_blocks)
    flow = flow.to(train.device)
    flow.set_scale(train)
    optimiser = torch.optim.Adam(
        flow.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    return Fit(flow, optimiser, copy.deepcopy(flow.state_dict()))


def run_epoch(fit: Fit, train: Tensor, settings: Settings, watch: Watch) -> bool:
    """Go once through the training styles; return False as soon as a loss is not finite.

    Raises:
        Stopped: On a signal; the epoch is lost.
    """
    size = min(settings.batch_size, len(train))
    random = torch_stream(settings.seed, f"epoch {fit.epoch}", "fit_flow order")
    order = torch.randperm(len(train), generator=random).to(train.device)
    fit.flow.train()
    healthy = torch.tensor(True, device=train.device)
    # The remainder waits for another epoch: a batch of one has no variance
    for rows in order[: len(order) // size * size].split(size):
        loss = -fit.flow.log_prob(train[rows]).mean()
        fit.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        watch.stop_if_asked(f"after epoch {fit.epoch}")
        norm = torch.nn.utils.clip_grad_norm_(fit.flow.parameters(), settings.gradient_clip)
        healthy = healthy & torch.isfinite(loss) & torch.isfinite(norm)
        if not bool(healthy):
            return False
        fit.optimiser.step()
    return True


def step_back(fit: Fit) -> None:
    """Return to the best weights with half the learning rate after a loss that was not finite.

    Raises:
        InputError: That happened too often.
    """
    fit.halvings += 1
    if fit.halvings > MOST_HALVINGS:
        raise InputError(
            f"The fit of the flow diverged {fit.halvings} times although its learning rate was "
            f"halved each time. Lower learning_rate or gradient_clip."
        )
    fit.flow.load_state_dict(fit.best)
    fit.optimiser.state.clear()
    for group in fit.optimiser.param_groups:
        group["lr"] /= 2
    print(f"fit_flow: the loss was not finite in epoch {fit.epoch + 1}; the best weights so far "
          "are taken up again with half the learning rate", flush=True)  # fmt: skip


def not_finished(fit: Fit, settings: Settings) -> bool:
    """Whether neither the length nor the patience is used up."""
    waited = fit.epoch - fit.best_epoch
    return fit.epoch < settings.max_epochs and waited < settings.patience_epochs


def fit_flow(
    train: Tensor, validation: Tensor, settings: Settings, state: StateFolder | None = None
) -> Fit:
    """Fit a flow to training styles (n, d); it ends holding the best weights, in eval mode.

    Arguments:
        state: Where each epoch is kept; an interrupted fit goes on there, with the same result.

    Raises:
        InputError: The fit diverged.
        Stopped: Before a time limit or on a signal.
    """
    fit = start_fit(train, settings)
    saved = state.load() if state else None
    if saved:
        fit.restore(saved)
        print(f"fit_flow: goes on after epoch {fit.epoch}", flush=True)
    bar = Progress(settings.max_epochs, "fit_flow", "epoch", done=fit.epoch)
    with bar, Watch("fit_flow") as watch:
        while not_finished(fit, settings):
            if run_epoch(fit, train, settings, watch):
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


def judge(fit: Fit, train: Tensor, validation: Tensor) -> dict[str, Any]:
    """Return how good the fit is: log p in nats, squared norms of z beside chi-squared."""
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


def main(argv: Sequence[str] | None = None) -> None:
    """Read styles, write the flow."""
    parser = Parser(__doc__, Settings, "fit_flow")
    parser.add_argument("--styles", type=Path, required=True, help="styles.safetensors")
    parser.add_argument("--output", type=Path, required=True, help="flow.safetensors to write")
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    args, settings = parser.parse(argv)
    device = choose_device(settings.device, settings.threads)
    tensors, header = read_weights(args.styles, kind="styles")
    w = tensors["w"].float()
    train, validation = (
        part.to(device)
        for part in split_styles(w, settings.validation_share, settings.seed)
    )  # fmt: skip
    print(f"fit_flow: {len(train)} styles of {w.shape[1]} dimensions to fit, {len(validation)} to "
          f"judge; at most {settings.max_epochs} epochs", flush=True)  # fmt: skip
    # Not what a job may have otherwise when it goes on: its length, its machine
    elsewhere = ("max_epochs", "device", "threads")
    identity = {name: value for name, value in asdict(settings).items() if name not in elsewhere}
    identity["styles"] = header["digest"]
    with StateFolder(args.state, "fit_flow", identity) as state:
        fit = fit_flow(train, validation, settings, state)
        facts = judge(fit, train, validation)
        facts |= {"styles_digest": header["digest"], "settings": asdict(settings)}
        write_flow(args.output, fit.flow, facts)
        state.clear()
    for name in ("validation", "gaussian_full", "gaussian_diagonal"):
        print(f"fit_flow: {name} log p {facts[name + '_log_prob']} nats")
    print(f"fit_flow: squared norm of F(w) {facts['validation_squared_norm_mean']:.1f} "
          f"+- {facts['validation_squared_norm_sd']:.1f}, chi-squared {w.shape[1]} "
          f"+- {facts['chi_squared_sd']:.1f}")  # fmt: skip


if __name__ == "__main__":
    run(main)
