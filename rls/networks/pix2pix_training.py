"""Train Pix2Pix (Isola et al. 2017) or its twin on L1 alone.

min_U max_P  a E[log P(s, x) + log(1 - P(s, U(s)))] + l1_weight E |x - U(s)|, where the first term
is non-saturating for U.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from rls.io import write_table, write_weights
from rls.networks.pix2pix import KIND, Pairing, PatchGAN, UNet
from rls.networks.pix2pix_settings import NAME, Settings
from rls.runtime.adam import place_adam, recorded_step
from rls.runtime.checkpoint import Resumable, StateFolder
from rls.runtime.errors import InputError
from rls.runtime.graphs import Recorder
from rls.runtime.progress import Progress, format_seconds
from rls.runtime.stopping import Watch
from rls.runtime.streams import stream_seed, torch_stream
from rls.runtime.transfer import upload
from rls.stylegan2.crops import Crops
from rls.stylegan2.training_images import TrainingImages, centre_crop

CHECK_STEPS = 50  # Reading the losses forces a GPU synchronisation, so do it rarely.
Net = TypeVar("Net", bound=nn.Module)


@dataclass
class Training(Resumable):
    """State of a training.

    Attributes:
        adversarial_weight: Weight of the adversarial loss.
        unet: The generator.
        optimiser: The generator's optimiser.
        patch: The discriminator; None without an adversarial weight.
        patch_optimiser: The discriminator's optimiser, or None.
        epoch: Epochs done.
        steps: Steps done in the current epoch.
        losses: Sums over these steps of the L1 distance and of the losses of both networks.
        best_l1: Lowest L1 distance on tune.
        best: Weights of the U-Net of that epoch, if they are kept.
        curves: One row per epoch.
    """

    adversarial_weight: float
    unet: UNet
    optimiser: torch.optim.Adam
    patch: PatchGAN | None
    patch_optimiser: torch.optim.Adam | None
    epoch: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    best_l1: float = float("inf")
    best: dict[str, Tensor] | None = None
    curves: list[dict[str, float]] = field(default_factory=list)

    modules = ("unet", "optimiser", "patch", "patch_optimiser")
    plain = ("epoch", "steps", "losses", "best_l1", "best", "curves")

    @property
    def optimisers(self) -> list[torch.optim.Adam]:
        """Return the optimisers of its networks."""
        return [one for one in (self.optimiser, self.patch_optimiser) if one is not None]


def start(
    n_channels: int, adversarial_weight: float, settings: Settings, device: torch.device
) -> Training:
    """Return fresh networks and optimisers; the U-Net's weights are the same for both twins."""
    unet, optimiser = _fresh(UNet, settings.generator_width, n_channels, settings, device)
    if not adversarial_weight:
        return Training(0.0, unet, optimiser, None, None)
    patch = _fresh(PatchGAN, settings.discriminator_width, n_channels, settings, device)
    return Training(adversarial_weight, unet, optimiser, *patch)


def _fresh(
    kind: type[Net], width: int, n_channels: int, settings: Settings, device: torch.device
) -> tuple[Net, torch.optim.Adam]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(settings.seed, NAME, kind.__name__))
        net = kind(n_channels, settings.image_size, width).to(device)
    adam = torch.optim.Adam(
        net.parameters(), lr=settings.learning_rate, betas=(settings.beta1, 0.999)
    )
    return net, adam


def adversarial_loss(logits: Tensor, real: bool) -> Tensor:
    """Return the mean binary cross-entropy of the patches' logits, with the label real or fake."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def step(
    state: Training,
    source: Tensor,
    high: Tensor,
    masks: dict[int, Tensor],
    l1_weight: float,
) -> Tensor:
    """Take one step of each network and return (3,): L1, loss of the U-Net, loss of the PatchGAN.

    Arguments:
        state: Its networks and optimisers are changed.
        source: Inputs of the U-Net (n, c, y, x) in [-1, 1] units.
        high: Their targets (n, c, y, x) in [-1, 1] units.
        masks: Dropout of the U-Net.
        l1_weight: Weight of the L1 distance in [-1, 1] units; the L1 returned is in [0, 1] units.
    """
    fake = state.unet(source, masks)
    l1 = functional.l1_loss(fake, high)
    loss, patch_loss = l1_weight * l1, torch.zeros_like(l1)
    if state.patch is not None and state.patch_optimiser is not None:
        state.patch.requires_grad_(True)
        on_real = adversarial_loss(state.patch(source, high), True)
        on_fake = adversarial_loss(state.patch(source, fake.detach()), False)
        # The loss is halved, so that the PatchGAN learns more slowly than the U-Net.
        patch_loss = (on_real + on_fake) / 2
        state.patch_optimiser.zero_grad(set_to_none=True)
        patch_loss.backward()
        state.patch_optimiser.step()
        state.patch.requires_grad_(False)
        loss = loss + state.adversarial_weight * adversarial_loss(state.patch(source, fake), True)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    state.optimiser.step()
    return torch.stack([l1.detach() / 2, loss.detach(), patch_loss.detach()])


class Steps:
    """The steps of a training, as a function of tensors that never move.

    Arguments:
        state: Its networks and optimisers are changed.
        data: Cells to train on.
        pairing: Makes the inputs of the U-Net.
        settings: Settings of the training.
        recorder: Records the step.

    Attributes:
        high: Targets of the step (n, c, y, x) in [-1, 1] units.
        masks: Dropout of the U-Net, by level.
        total: Sums of the losses (3,), see :func:`step`.
    """

    def __init__(
        self,
        state: Training,
        data: TrainingImages,
        pairing: Pairing,
        settings: Settings,
        recorder: Recorder,
    ) -> None:
        self.state, self.data, self.pairing = state, data, pairing
        self.settings, self.recorder = settings, recorder
        n, size, unet, device = (
            settings.batch_size,
            settings.image_size,
            state.unet,
            next(state.unet.parameters()).device,
        )
        self.crops = Crops(data, device, n)
        self.high = torch.zeros((n, unet.n_channels, size, size), device=device)
        self.masks = {
            k: torch.zeros((n, *x), device=device) for k, x in unet.dropout_shapes.items()
        }
        self.total = torch.zeros(3, dtype=torch.float64, device=device)
        self.take = recorded_step("the step of Pix2Pix", self._step, recorder, *state.optimisers)

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return -(-len(self.data) // self.settings.batch_size)

    def start_epoch(self) -> None:
        """Set the learning rate and the sums of the losses."""
        self.state.unet.train()
        for optimiser in self.state.optimisers:
            place_adam(optimiser, self.settings.rate(self.state.epoch), self.recorder)
        self.total.copy_(torch.tensor(self.state.losses, dtype=torch.float64))

    def show(self, number: int) -> None:
        """Draw images and dropout of the step with this number."""
        settings, device = self.settings, self.high.device
        chosen = self.data.choices(number, settings.batch_size)
        positions, flips, turns = (
            upload(x, device) for x in (self.crops.place(chosen.rows), chosen.flips, chosen.turns)
        )
        counts = self.crops.stored.index_select(0, positions)
        self.high.copy_(self.data.show(counts, flips, turns))
        random = torch_stream(settings.seed, f"step {number}", "pix2pix dropout", device)
        self.state.unet.draw_masks(self.masks, random)

    def _step(self) -> None:
        source = self.pairing(self.high)
        self.total.add_(step(self.state, source, self.high, self.masks, self.settings.l1_weight))


def train_epoch(state: Training, steps: Steps, bar: Progress, watch: Watch) -> np.ndarray | None:
    """Take one pass and return the mean of each loss (3,), or None if the pass had to stop.

    The last batch is filled from the next pass. Every draw depends on the seed and the step alone,
    so that a pass that had to stop can resume from the steps and losses in ``state``.

    Raises:
        InputError: A loss is not finite.
    """
    settings, n, total = steps.settings, len(steps), steps.total
    steps.start_epoch()
    for i in range(state.steps, n):
        steps.show(state.epoch * n + i)
        steps.take()
        due = (i + 1) % CHECK_STEPS == 0 or i + 1 == n
        if due and not bool(torch.isfinite(total).all()):
            raise InputError(
                f"A loss of {NAME} is not finite in epoch {state.epoch + 1}. Set a smaller "
                f"learning_rate than {settings.learning_rate:g}, or a larger batch_size."
            )
        bar.advance(settings.batch_size)
        if watch.due() and i + 1 < n:
            state.steps, state.losses = i + 1, total.tolist()
            return None
    state.steps, state.losses = 0, [0.0, 0.0, 0.0]
    return (total / n).cpu().numpy()


@torch.no_grad()
def held_out_l1(unet: UNet, tune: TrainingImages, pairing: Pairing, batch_size: int) -> float:
    """Return mean |x - U(s)| in [0, 1] units over centre crops of cells, without dropout."""
    unet.eval()
    stack, device = tune.stack, next(unet.parameters()).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for first in range(0, len(tune), batch_size):
        rows = tune.rows[first : first + batch_size]
        unit = torch.from_numpy(tune.intensity.to_unit(np.asarray(stack.images[rows])))
        high = upload(centre_crop(unit, tune.image_size), device) * 2 - 1
        total += (unet(pairing(high)) - high).abs().mean(dim=(1, 2, 3)).sum() / 2
    return float(total) / len(tune)


def train(
    state: Training,
    data: TrainingImages,
    tune: TrainingImages,
    pairing: Pairing,
    settings: Settings,
    folder: StateFolder,
    recorder: Recorder | None = None,
) -> None:
    """Train to the end, from the newest checkpoint if there is one.

    Arguments:
        state: Fresh networks, which are trained.
        data: Cells to train on.
        tune: Cells whose L1 distance is printed after each epoch.
        pairing: Makes the inputs of the U-Net.
        settings: Settings of the training.
        folder: Keeps the checkpoints.
        recorder: Records the step, within its own stream; None to record nothing.

    Raises:
        InputError: A loss is not finite.
        Stopped: Before a time limit or on a signal, after a checkpoint.
    """
    if (payload := folder.load()) is not None:
        state.restore(payload)
        print(f"{NAME}: goes on after {progress_of(state)}", flush=True)
    recorder = recorder or Recorder(next(state.unet.parameters()).device, "off")
    steps = Steps(state, data, pairing, settings, recorder)
    epochs, n = settings.total_epochs, len(steps) * settings.batch_size
    first, started = state.epoch, time.monotonic()
    seen = state.epoch * n + state.steps * settings.batch_size
    with Progress(epochs * n, NAME, "img", done=seen) as bar, Watch(NAME) as watch:
        while state.epoch < epochs:
            begun, images = time.monotonic(), n - state.steps * settings.batch_size
            losses = train_epoch(state, steps, bar, watch)
            if losses is None:
                folder.save(state.epoch * len(steps) + state.steps, state.payload())
                raise watch.stopped(f"after {progress_of(state)}")
            rate = images / (time.monotonic() - begun)
            end_epoch(state, losses, tune, pairing, settings)
            stop = watch.due() and state.epoch < epochs
            if stop or state.epoch % settings.checkpoint_epochs == 0 or state.epoch == epochs:
                folder.save(state.epoch * len(steps), state.payload())
            if stop:
                raise watch.stopped(f"after {progress_of(state)}")
            left = (time.monotonic() - started) / (state.epoch - first) * (epochs - state.epoch)
            row = state.curves[-1]
            patch = f", D {row['loss_discriminator']:.3f}" if state.patch is not None else ""
            print(
                f"{NAME}: epoch {state.epoch} of {epochs}, L1 {row['l1']:.4f} "
                f"(tune {row['l1_tune']:.4f}), G {row['loss_generator']:.3f}{patch}, "
                f"{rate:.3g} img/s, {format_seconds(left)} left",
                flush=True,
            )


def end_epoch(
    state: Training,
    losses: np.ndarray,
    tune: TrainingImages,
    pairing: Pairing,
    settings: Settings,
) -> None:
    """Add a row to the curves, and keep the weights if they are the best on tune and wanted."""
    l1, loss, patch_loss = losses
    tune_l1 = held_out_l1(state.unet, tune, pairing, settings.batch_size)
    row = {"epoch": state.epoch + 1, "learning_rate": settings.rate(state.epoch)}
    row |= {"l1": l1, "l1_tune": tune_l1, "loss_generator": loss}
    if state.patch is not None:
        row["loss_discriminator"] = patch_loss
    state.curves.append({name: float(value) for name, value in row.items()})
    state.epoch += 1
    if settings.keep == "best_on_tune" and tune_l1 < state.best_l1:
        state.best_l1, state.best = tune_l1, copy.deepcopy(state.unet.state_dict())


def progress_of(state: Training) -> str:
    """Return the progress of a training, in words."""
    begun = f" and {state.steps} steps of the next" if state.steps else ""
    return f"epoch {state.epoch}{begun}"


def describe(state: Training) -> str:
    """Return the networks and the size of a checkpoint, in words."""
    nets = [net for net in (state.unet, state.patch) if net is not None]
    weights = [sum(p.numel() for p in net.parameters()) for net in nets]
    text = f"U-Net of {weights[0] / 1e6:.2f} million weights"
    if state.patch is not None:
        side = state.patch.receptive_field
        text += f", PatchGAN of {weights[1] / 1e6:.2f} million, {side} x {side} px a patch"
    return f"{text}; about {sum(weights) * 12 / 1e6:.0f} MB a checkpoint"


def write_results(
    path: Path,
    state: Training,
    settings: Settings,
    data: TrainingImages,
    facts: Mapping[str, object],
) -> None:
    """Write the curves, and the weights with their header.

    Arguments:
        path: ``*.safetensors``; the curves lie beside it as ``*.training.csv``.
        state: A training that has ended.
        settings: Settings of the training.
        data: Cells it was trained on.
        facts: How the inputs were made, and digests of the data.
    """
    weights = state.best if settings.keep == "best_on_tune" else state.unet.state_dict()
    assert weights is not None
    header = {
        "kind": KIND,
        **facts,
        "channels": list(data.stack.channels),
        "image_size": settings.image_size,
        "pixel_size_um": data.stack.pixel_size_um,
        "intensity": data.intensity.as_dict(),
        "generator_width": settings.generator_width,
        "epochs": state.epoch,
        "n_training_images": len(data),
        "curves": state.curves,
        "settings": asdict(settings),
    }
    curves = pd.DataFrame(state.curves)
    write_table(path.with_suffix(".training.csv"), curves, written_by=NAME)
    write_weights(path, weights, header)
