"""Train a classifier of the negative against the positive control (article, section 4.2)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from rls.io import Intensity, Stack, read_intensity, read_stack, write_weights
from rls.networks.classifier import SMALLEST_SIDE, TreatmentNet, random_views
from rls.networks.classifier_settings import Settings
from rls.runtime.checkpoint import Resumable, StateFolder
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.stopping import Watch
from rls.runtime.streams import stream, stream_seed, torch_stream


@dataclass(frozen=True)
class Cells:
    """Images of the two controls with their labels.

    Attributes:
        images: (n, c, y, x) in counts.
        labels: (n,), 0 for the negative and 1 for the positive control.
        intensity: The scale of the counts.
    """

    images: np.ndarray
    labels: np.ndarray
    intensity: Intensity

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return (unit images, labels) of ``rows``; counts become floats only here."""
        unit = torch.as_tensor(self.intensity.to_unit(self.images[rows]), device=device)
        return unit, torch.as_tensor(self.labels[rows], device=device)


def read_assay(stack_path: Path, intensity_path: Path) -> tuple[Stack, Intensity]:
    """Return (stack, intensity scale) of one assay.

    Raises:
        InputError: Their channels differ, or the images are smaller than 4 px.
    """
    stack, intensity = read_stack(stack_path), read_intensity(intensity_path)
    if intensity.channels != stack.channels:
        raise InputError(
            f"{intensity_path} is of the channels {', '.join(intensity.channels)} and {stack_path} "
            f"of {', '.join(stack.channels)}. Give files of one assay."
        )
    if min(stack.images.shape[-2:]) < SMALLEST_SIDE:
        raise InputError(
            f"{stack_path} has images of {stack.images.shape[-2]} x {stack.images.shape[-1]} px; "
            f"the classifier needs at least {SMALLEST_SIDE} px. Choose a smaller factor."
        )
    return stack, intensity


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
    """Return the mean and sd (c,) of each channel over all pixels, in unit intensity.

    Raises:
        InputError: A channel is constant.
    """
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
def evaluate(net: TreatmentNet, cells: Cells, batch_size: int) -> tuple[float, float]:
    """Return (cross-entropy, accuracy) with features averaged over turns and flips."""
    net.eval()
    loss, correct = 0.0, 0
    for start in range(0, len(cells.images), batch_size):
        rows = np.arange(start, min(start + batch_size, len(cells.images)))
        images, labels = cells.batch(rows, net.mean.device)
        logits = net.head(net.features_of_views(images))
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(dim=1) == labels).sum())
    return loss / len(cells.images), correct / len(cells.images)


@dataclass
class Training(Resumable):
    """State of a training.

    Attributes:
        net: The network.
        optimiser: Its optimiser.
        best: Weights of the epoch with the lowest cross-entropy on tune.
        best_loss: That cross-entropy.
        best_epoch: Number of that epoch, from 1; 0 before there is one.
        epoch: Epochs done.
        curves: One row per epoch: epoch, training loss, loss on tune, accuracy on tune.
    """

    net: TreatmentNet
    optimiser: torch.optim.Optimizer
    best: dict[str, Tensor]
    best_loss: float
    best_epoch: int
    epoch: int
    curves: list[list[float]]

    modules = ("net", "optimiser")
    plain = ("best", "best_loss", "best_epoch", "epoch", "curves")


def start(training: Cells, settings: Settings, device: torch.device) -> Training:
    """Return a fresh network, with weights drawn from the seed, and its optimiser."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(settings.seed, "classifier", "weights"))
        shape = training.images.shape
        net = TreatmentNet(shape[1], (shape[2], shape[3]), settings.width, settings.dropout)
    net.set_standardisation(*channel_moments(training, settings.batch_size))
    net.to(device)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    return Training(net, optimiser, copy.deepcopy(net.state_dict()), float("inf"), 0, 0, [])


def train_epoch(state: Training, cells: Cells, settings: Settings, watch: Watch) -> float:
    """Take one pass in whole batches and return the mean loss.

    Every draw depends on the seed and the epoch alone.

    Raises:
        Stopped: On a signal; the pass is lost.
    """
    device = state.net.mean.device
    state.net.train()
    key = f"epoch {state.epoch}"
    order = stream(settings.seed, key, "order").permutation(len(cells.images))
    n_batches = -(-len(order) // settings.batch_size)
    order = np.resize(order, n_batches * settings.batch_size)  # The last batch wraps around.
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
    """Train, or resume from the newest checkpoint, until ``epochs`` or the patience is used up.

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
            training_loss = train_epoch(state, training, settings, watch)
            state.epoch += 1
            loss, accuracy = evaluate(state.net, tune, settings.batch_size)
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


def describe_data(
    stack: Stack, intensity: Intensity, controls: tuple[str, str]
) -> dict[str, object]:
    """Return the header's facts about the data, with a digest of everything that training reads.

    The digest covers ids, pixels, splits, treatments and the intensity scale.
    """
    columns = ["image_id", "image_digest", "split", "treatment"]
    text = stack.table[columns].to_csv(index=False) + repr(intensity.as_dict())
    return {
        "classes": list(controls),
        "channels": list(stack.channels),
        "image_size": list(stack.images.shape[-2:]),
        "pixel_size_um": stack.pixel_size_um,
        "intensity": intensity.as_dict(),
        "data_digest": hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
    }


def write_classifier(
    path: Path,
    state: Training,
    training: Cells,
    tune: Cells,
    settings: Settings,
    data: Mapping[str, object],
) -> None:
    """Write the weights of the best epoch with their header, and print their accuracy.

    Arguments:
        path: ``classifier.safetensors``.
        state: A training that has ended.
        training: Cells of the split ``classifier``.
        tune: Cells of the split ``tune``.
        settings: Settings of the training.
        data: See :func:`describe_data`.
    """
    state.net.load_state_dict(state.best)
    loss, accuracy = evaluate(state.net, tune, settings.batch_size)
    header = {
        "kind": "classifier",
        **data,
        "width": settings.width,
        "dropout": settings.dropout,
        "accuracy_tune": accuracy,
        "cross_entropy_tune": loss,
        "n_training": len(training.labels),
        "n_tune": len(tune.labels),
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "curves": state.curves,
        "settings": asdict(settings),
    }
    write_weights(path, state.net.state_dict(), header)
    print(
        f"train_classifier: accuracy {accuracy:.3f} on {len(tune.labels)} cells of tune, "
        f"epoch {state.best_epoch} of {state.epoch}, {len(training.labels)} training cells",
        flush=True,
    )
