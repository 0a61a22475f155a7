"""Train a classifier of the negative against the positive control, on one stack (section 4.2).

Cross-entropy over single cells of the split ``classifier`` in random quarter turns and flips; the
epoch with the lowest cross-entropy on the split ``tune`` is kept. Cells of other splits and of
other treatments are never looked at. On the high-resolution stack it is the classifier of Table 2
and the feature extractor of KD and FD; on a low-resolution stack, one of the rows "LR".
"""

from __future__ import annotations

import argparse
import copy
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from rls.io import Intensity, Stack, read_intensity, read_stack, write_weights
from rls.networks.classifier import SMALLEST_SIDE, TreatmentNet, random_views
from rls.runtime.checkpoint import StateFolder
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.stopping import Watch
from rls.runtime.streams import stream, stream_seed, torch_stream


@dataclass(frozen=True)
class Settings:
    """Training of the treatment classifier."""

    epochs: int = option("Passes over the training cells at most.")
    batch_size: int = option("Images per step.")
    learning_rate: float = option("Step size of AdamW.")
    weight_decay: float = option("Weight decay of AdamW.")
    width: int = option("Channels of the first layer.")
    dropout: float = option("Share of the 32 features left out in training.")
    patience_epochs: int = option("Stop after so many epochs without a lower loss on tune.")
    seed: int = option("Seed of the weights, the order and the orientations.")
    device: str = option("Where to compute.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.")


@dataclass(frozen=True)
class Cells:
    """Images (n, c, y, x) in counts with labels (n,): 0 the negative, 1 the positive control."""

    images: np.ndarray
    labels: np.ndarray
    intensity: Intensity

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return unit images and labels of ``rows``; counts become floats only here."""
        unit = torch.as_tensor(self.intensity.to_unit(self.images[rows]), device=device)
        return unit, torch.as_tensor(self.labels[rows], device=device)


def cells_of_split(
    stack: Stack, intensity: Intensity, split: str, controls: tuple[str, str]
) -> Cells:
    """Return the cells of the two controls in ``split``.

    Raises:
        InputError: The stack has no split, or one of the controls has fewer than two cells in it.
    """
    for column in ("split", "treatment"):
        if column not in stack.table:
            raise InputError(
                f"The table of the stack has no column '{column}'; it has "
                f"{', '.join(stack.table.columns)}. Run the rule that writes the stack again."
            )
    here = (stack.table["split"] == split).to_numpy()
    if not here.any():
        found = ", ".join(sorted(stack.table["split"].astype(str).unique()))
        raise InputError(
            f"The stack has no cells of the split '{split}' (found: {found}). "
            f"Give cells to it in the section select_cells."
        )
    treatments = stack.table["treatment"].to_numpy()
    for name in controls:
        count = int((here & (treatments == name)).sum())
        if count < 2:
            raise InputError(
                f"The split '{split}' has {count} cells of the treatment '{name}', expected at "
                f"least 2. Treatments there: {', '.join(sorted(set(treatments[here])))}. Give it "
                f"cells of both controls in the section select_cells (counts, shares or plates)."
            )
    rows = np.flatnonzero(here & np.isin(treatments, controls))
    labels = (treatments[rows] == controls[1]).astype(np.int64)
    return Cells(stack.images[rows], labels, intensity)


def channel_moments(cells: Cells, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and sd (c,) of each channel over all pixels, in unit intensity."""
    total, square, count = 0.0, 0.0, 0
    for start in range(0, len(cells.images), batch_size):
        unit = cells.intensity.to_unit(cells.images[start : start + batch_size]).astype(np.float64)
        total = total + unit.sum(axis=(0, 2, 3))
        square = square + (unit**2).sum(axis=(0, 2, 3))
        count += unit.shape[0] * unit.shape[2] * unit.shape[3]
    mean = np.asarray(total) / count
    sd = np.sqrt(np.maximum(np.asarray(square) / count - mean**2, 0.0))
    if (sd == 0).any():
        blank = ", ".join(np.asarray(cells.intensity.channels)[sd == 0])
        raise InputError(f"Every training image is constant in the channel {blank}.")
    return mean, sd


@torch.no_grad()
def evaluate(
    net: TreatmentNet, cells: Cells, batch_size: int, device: torch.device
) -> tuple[float, float]:
    """Return (cross-entropy, accuracy) with features averaged over turns and flips."""
    net.eval()
    loss, correct = 0.0, 0
    for start in range(0, len(cells.images), batch_size):
        rows = np.arange(start, min(start + batch_size, len(cells.images)))
        images, labels = cells.batch(rows, device)
        logits = net.head(net.features_of_views(images))
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(dim=1) == labels).sum())
    return loss / len(cells.images), correct / len(cells.images)


@dataclass
class Training:
    """What a checkpoint holds: weights, optimiser, the best epoch so far and the curves."""

    net: TreatmentNet
    optimiser: torch.optim.Optimizer
    epoch: int
    best_loss: float
    best_epoch: int
    best: dict[str, Tensor]
    curves: list[list[float]]

    def payload(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            **{name: getattr(self, name) for name in self.plain},
        }

    def restore(self, payload: dict[str, Any]) -> None:
        self.net.load_state_dict(payload["net"])
        self.optimiser.load_state_dict(payload["optimiser"])
        for name in self.plain:
            setattr(self, name, payload[name])

    plain = ("epoch", "best_loss", "best_epoch", "best", "curves")


def start(training: Cells, settings: Settings, device: torch.device) -> Training:
    """Return a fresh network, its weights drawn from the seed, and its optimiser."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(settings.seed, "classifier", "weights"))
        shape = training.images.shape
        net = TreatmentNet(shape[1], (shape[2], shape[3]), settings.width, settings.dropout)
    net.set_standardisation(*channel_moments(training, settings.batch_size))
    net.to(device)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    best = copy.deepcopy(net.state_dict())
    return Training(net, optimiser, 0, float("inf"), 0, best, [])


def train_epoch(
    state: Training, cells: Cells, settings: Settings, device: torch.device, watch: Watch
) -> float:
    """Take one pass in whole batches; return the mean loss. Draws depend on seed and epoch only.

    Raises:
        Stopped: On a signal; the pass is lost.
    """
    state.net.train()
    key = f"epoch {state.epoch}"
    order = stream(settings.seed, key, "order").permutation(len(cells.images))
    n_batches = -(-len(order) // settings.batch_size)
    order = np.resize(order, n_batches * settings.batch_size)  # the last batch wraps around
    random = torch_stream(settings.seed, key, "orientation")
    total = 0.0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(stream_seed(settings.seed, key, "dropout"))
        for rows in order.reshape(n_batches, settings.batch_size):
            images, labels = cells.batch(rows, device)
            loss = functional.cross_entropy(state.net(random_views(images, random)), labels)
            state.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            state.optimiser.step()
            total += float(loss.detach())
            watch.stop_if_asked(f"after epoch {state.epoch}")
    return total / n_batches


def train(
    training: Cells, tune: Cells, settings: Settings, device: torch.device, folder: StateFolder
) -> Training:
    """Train, or go on from the newest checkpoint, until ``epochs`` or patience ends.

    Raises:
        InputError: The loss is not finite.
        Stopped: Before a time limit or on a signal.
    """
    state = start(training, settings, device)
    if (payload := folder.load()) is not None:
        state.restore(payload)
        print(f"train_classifier: goes on after epoch {state.epoch}", flush=True)
    n = len(training.images)
    bar = Progress(settings.epochs * n, "train_classifier", "img", done=state.epoch * n)
    with bar, Watch("train_classifier") as watch:
        while state.epoch < settings.epochs:
            if state.epoch - state.best_epoch >= settings.patience_epochs:
                break
            training_loss = train_epoch(state, training, settings, device, watch)
            state.epoch += 1
            loss, accuracy = evaluate(state.net, tune, settings.batch_size, device)
            state.curves.append([state.epoch, training_loss, loss, accuracy])
            if not np.isfinite(loss):
                raise InputError(
                    f"The loss of the classifier is {loss} after epoch {state.epoch}. "
                    f"Set a smaller learning_rate than {settings.learning_rate}."
                )
            if loss < state.best_loss:
                state.best_loss, state.best_epoch = loss, state.epoch
                state.best = copy.deepcopy(state.net.state_dict())
            folder.save(state.epoch, state.payload())
            bar.advance(n, note=f"tune loss {loss:.3f}, accuracy {accuracy:.3f}")
            if watch.due() and state.epoch < settings.epochs:
                raise watch.stopped(f"after epoch {state.epoch}")
    return state


def data_digest(stack: Stack, intensity: Intensity) -> str:
    """Return a digest of the ids, pixels, splits and treatments that training sees."""
    columns = ["image_id", "image_digest", "split", "treatment"]
    text = stack.table[columns].to_csv(index=False) + repr(intensity.as_dict())
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def identity(settings: Settings, digest: str, controls: tuple[str, str]) -> dict[str, Any]:
    """Return what determines the result, without the total length and where it is computed."""
    kept = {
        name: value
        for name, value in asdict(settings).items()
        if name not in ("epochs", "patience_epochs", "device", "threads")
    }
    return {**kept, "data": digest, "controls": list(controls)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(__doc__, Settings, "train_classifier")
    parser.add_argument("--stack", type=Path, required=True, help="HR or LR stack (*.ome.tif)")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--negative-control", required=True, help="treatment of class 0")
    parser.add_argument("--positive-control", required=True, help="treatment of class 1")
    parser.add_argument("--output", type=Path, required=True, help="classifier.safetensors")
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    args, settings = parser.parse(argv)
    device = choose_device(settings.device, settings.threads)
    train_classifier(args, settings, device)


def train_classifier(args: argparse.Namespace, settings: Settings, device: torch.device) -> None:
    """Read the stack, train, and write the weights with their header."""
    stack = read_stack(args.stack)
    intensity = read_intensity(args.intensity)
    if intensity.channels != stack.channels:
        raise InputError(
            f"{args.intensity} is of the channels {', '.join(intensity.channels)} and {args.stack} "
            f"of {', '.join(stack.channels)}. Give files of one assay."
        )
    if min(stack.images.shape[-2:]) < SMALLEST_SIDE:
        raise InputError(
            f"{args.stack} has images of {stack.images.shape[-2]} x {stack.images.shape[-1]} px; "
            f"the classifier needs at least {SMALLEST_SIDE} px. Choose a smaller factor."
        )
    controls = (args.negative_control, args.positive_control)
    training = cells_of_split(stack, intensity, "classifier", controls)
    tune = cells_of_split(stack, intensity, "tune", controls)
    digest = data_digest(stack, intensity)
    with StateFolder(
        args.state, "train_classifier", identity(settings, digest, controls)
    ) as folder:
        state = train(training, tune, settings, device, folder)
        state.net.load_state_dict(state.best)
        loss, accuracy = evaluate(state.net, tune, settings.batch_size, device)
        header = {
            "kind": "classifier",
            "classes": list(controls),
            "channels": list(stack.channels),
            "image_size": list(stack.images.shape[-2:]),
            "pixel_size_um": stack.pixel_size_um,
            "intensity": intensity.as_dict(),
            "width": settings.width,
            "dropout": settings.dropout,
            "accuracy_tune": accuracy,
            "cross_entropy_tune": loss,
            "n_training": len(training.labels),
            "n_tune": len(tune.labels),
            "epochs": state.epoch,
            "best_epoch": state.best_epoch,
            "curves": state.curves,
            "data_digest": digest,
            "settings": asdict(settings),
        }
        write_weights(args.output, state.net.state_dict(), header)
    print(
        f"train_classifier: accuracy {accuracy:.3f} on {len(tune.labels)} cells of tune, "
        f"epoch {state.best_epoch} of {state.epoch}, {len(training.labels)} training cells",
        flush=True,
    )


if __name__ == "__main__":
    run(main)
