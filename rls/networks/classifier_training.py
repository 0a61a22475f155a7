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

from rls.io import Intensity, Stack, write_weights
from rls.io.splits import CHOOSE, CLASSIFY, Use, check
from rls.networks.classifier import FEATURES, TreatmentNet, oriented, pixels_of_views
from rls.networks.classifier_cells import Batches, Cells, channel_moments
from rls.networks.classifier_settings import Settings
from rls.runtime.adam import place_adam, recorded_step
from rls.runtime.checkpoint import Resumable, StateFolder
from rls.runtime.errors import InputError
from rls.runtime.graphs import Recorder
from rls.runtime.progress import Progress
from rls.runtime.stopping import Watch
from rls.runtime.streams import stream, stream_seed, torch_stream
from rls.runtime.transfer import upload


@torch.no_grad()
def evaluate(net: TreatmentNet, cells: Batches, batch_size: int) -> tuple[float, float]:
    """Return (cross-entropy, accuracy) with features averaged over turns and flips."""
    net.eval()
    loss = torch.zeros((), dtype=torch.float64, device=cells.device)
    correct = torch.zeros((), dtype=torch.int64, device=cells.device)
    for start in range(0, len(cells), batch_size):
        rows = np.arange(start, min(start + batch_size, len(cells)))
        labels = cells.labels[start : start + batch_size]
        logits = net.head(net.features_of_views(cells.images(rows)))
        loss += functional.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(dim=1) == labels).sum()
    return float(loss) / len(cells), int(correct) / len(cells)


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
    optimiser: torch.optim.AdamW
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


class Steps:
    """The steps of a training, as a function of tensors that never move.

    Arguments:
        state: Its network and optimiser are changed.
        cells: Cells to train on.
        settings: Settings of the training.
        recorder: Records the step.

    Attributes:
        images: Images of the step (n, c, y, x), in unit intensity.
        labels, views: Their labels and orientations (n,).
        kept: Factors (n, 32) of the features, 0 for those left out.
        total: Sum of the losses.
    """

    def __init__(
        self, state: Training, cells: Batches, settings: Settings, recorder: Recorder
    ) -> None:
        self.state, self.cells, self.settings, self.recorder = state, cells, settings, recorder
        device, n, shape = cells.device, settings.batch_size, cells.cells.images.shape[1:]
        self.pixels = pixels_of_views(*shape[1:]).to(device)
        self.images = torch.zeros((n, *shape), device=device)
        self.labels, self.views = torch.zeros((2, n), dtype=torch.int64, device=device)
        self.kept = torch.zeros((n, FEATURES), device=device)
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        self.take = recorded_step(
            "the step of the classifier", self._step, recorder, state.optimiser
        )

    def _step(self) -> None:
        net, optimiser = self.state.net, self.state.optimiser
        images = oriented(self.images, self.pixels, self.views)
        loss = functional.cross_entropy(net(images, self.kept), self.labels)
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
    settings, cells, device = steps.settings, steps.cells, steps.cells.device
    state.net.train()
    place_adam(state.optimiser, settings.learning_rate, steps.recorder)
    key = f"epoch {state.epoch}"
    order = stream(settings.seed, key, "order").permutation(len(cells))
    n_batches = -(-len(order) // settings.batch_size)
    # The last batch wraps around.
    order = np.resize(order, (n_batches, settings.batch_size))
    random = torch_stream(settings.seed, key, "orientation")
    dropout = torch_stream(settings.seed, key, "dropout", device)
    views = torch.stack(
        [torch.randint(len(steps.pixels), (len(rows),), generator=random) for rows in order]
    )
    labels, views = cells.labels[upload(order, device)], upload(views, device)
    steps.total.zero_()
    for i, rows in enumerate(order):
        steps.images.copy_(cells.images(rows))
        steps.labels.copy_(labels[i])
        steps.views.copy_(views[i])
        state.net.draw_dropout(steps.kept, dropout)
        steps.take()
        watch.stop_if_asked(f"after epoch {state.epoch}")
    return float(steps.total) / n_batches


def train(
    training: Cells,
    tune: Cells,
    settings: Settings,
    device: torch.device,
    folder: StateFolder,
    recorder: Recorder | None = None,
    use: Use = CLASSIFY,
) -> Training:
    """Train, or resume from the newest checkpoint, until ``epochs`` or the patience is used up.

    Arguments:
        training: Cells to train on.
        tune: Cells whose loss decides which epoch is best.
        settings: Settings of the training.
        device: Where to compute.
        folder: Keeps every epoch.
        recorder: Records the step, within its own stream; None to record nothing.
        use: What the training cells serve.

    Raises:
        InputError: The loss is not finite, or cells are of a split that must not serve.
        Stopped: Before a time limit or on a signal.
    """
    check(use, training.splits)
    check(CHOOSE, tune.splits)
    state = start(training, settings, device)
    if (payload := folder.load()) is not None:
        state.restore(payload)
        print(f"train_classifier: goes on after epoch {state.epoch}", flush=True)
    steps = Steps(state, Batches(training, device), settings, recorder or Recorder(device, "off"))
    judged, n = Batches(tune, device), len(training.images)
    bar = Progress(settings.epochs * n, "train_classifier", "img", done=state.epoch * n)
    with bar, Watch("train_classifier") as watch:
        while state.epoch < settings.epochs:
            if state.epoch - state.best_epoch >= settings.patience_epochs:
                break
            training_loss = train_epoch(state, steps, watch)
            state.epoch += 1
            loss, accuracy = evaluate(state.net, judged, settings.batch_size)
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
        training: The cells that it was trained on.
        tune: Cells of the split ``tune``.
        settings: Settings of the training.
        data: See :func:`describe_data`.
    """
    state.net.load_state_dict(state.best)
    judged = Batches(tune, state.net.mean.device)
    loss, accuracy = evaluate(state.net, judged, settings.batch_size)
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
