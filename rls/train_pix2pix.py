"""Train Pix2Pix (Isola et al. 2017), or with --adversarial-weight 0 its twin on L1 alone.

min_U max_P  a E[log P(s, x) + log(1 - P(s, U(s)))] + l1_weight E |x - U(s)|, the first term
non-saturating for U; s is D(x) of a cell x, put on 256 levels as in ``degrade`` and enlarged. Cells
of split ``gan`` are trained on, turned as in ``train_gan``; the L1 distance on split ``tune`` is
told after each epoch; other splits are never looked at. Beside the weights lie the curves
(.training.csv). A training that was stopped, or killed, goes on when the same command is run again,
and on a CPU ends with the same bits.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from rls.io import read_intensity, read_stack, write_table, write_weights
from rls.io.names import BORDERS
from rls.networks.pix2pix import KIND, Pairing, PatchGAN, UNet
from rls.runtime.checkpoint import StateFolder
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress, format_seconds
from rls.runtime.stopping import Watch
from rls.runtime.streams import stream_seed, torch_stream
from rls.stylegan2.data import TrainingImages, centre_crop

NAME = "train_pix2pix"
TUNE = "tune"
CHECK_STEPS = 50  # steps between looks at the loss, which hold up a GPU
NOT_THE_RESULT = ("checkpoint_epochs", "device", "threads")


@dataclass(frozen=True)
class Settings:
    """Training of the U-Net; the twins share all of it."""

    image_size: int = option("Side of the high-resolution images, in px: a power of two.")
    epochs: int = option("Passes over the training cells at the full learning rate.")
    decay_epochs: int = option("Passes after these, while it falls linearly to 0.")
    batch_size: int = option("Images a step.")
    learning_rate: float = option("Step size of Adam, both networks.")
    beta1: float = option("Decay of Adam's mean gradient.")
    l1_weight: float = option("Weight of the L1 distance, images in [-1, 1].")
    generator_width: int = option("Maps of the U-Net's first layer; the inner ones have 8 times.")
    discriminator_width: int = option("Maps of the PatchGAN's first layer.")
    keep: str = option("Weights to write: last (as published), or best_on_tune by L1.", choices=("last", "best_on_tune"))  # fmt: skip  # noqa: E501
    checkpoint_epochs: int = option("Epochs between checkpoints.")
    seed: int = option("Seed of the weights, the order, the turns and the dropout.")
    device: str = option("Where to compute.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.")

    def __post_init__(self) -> None:
        for name in ("batch_size", "generator_width", "discriminator_width", "checkpoint_epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"Found {name} {getattr(self, name)}, expected 1 or more.")
        if min(self.epochs, self.decay_epochs) < 0 or self.total_epochs < 1:
            raise InputError(
                f"Found epochs {self.epochs} and decay_epochs {self.decay_epochs}, expected none "
                f"below 0 and together 1 or more."
            )
        for name in ("learning_rate", "l1_weight"):
            if not getattr(self, name) > 0:
                raise InputError(f"Found {name} {getattr(self, name)}, expected more than 0.")

    @property
    def total_epochs(self) -> int:
        """Epochs in all."""
        return self.epochs + self.decay_epochs

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0: constant, then linear to 0."""
        passed = max(0, epoch + 1 - self.epochs)
        return self.learning_rate * (1 - passed / (self.decay_epochs + 1))


@dataclass
class Training:
    """What a checkpoint holds. Without an adversarial weight there is no discriminator."""

    adversarial_weight: float
    unet: UNet
    optimiser: torch.optim.Adam
    patch: PatchGAN | None
    patch_optimiser: torch.optim.Adam | None
    epoch: int = 0
    steps: int = 0  # of the epoch that has begun
    losses: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # their sums over these
    best_l1: float = float("inf")
    best: dict[str, Tensor] | None = None
    curves: list[dict[str, float]] = field(default_factory=list)

    plain = ("epoch", "steps", "losses", "best_l1", "best", "curves")
    modules = ("unet", "optimiser", "patch", "patch_optimiser")

    def payload(self) -> dict[str, Any]:
        states = {name: getattr(self, name) for name in self.modules}
        return {
            **{name: part.state_dict() for name, part in states.items() if part is not None},
            **{name: getattr(self, name) for name in self.plain},
        }

    def restore(self, payload: dict[str, Any]) -> None:
        for name in self.modules:
            if (part := getattr(self, name)) is not None:
                part.load_state_dict(payload[name])
        for name in self.plain:
            setattr(self, name, payload[name])


def start(
    n_channels: int, adversarial_weight: float, settings: Settings, device: torch.device
) -> Training:
    """Return fresh networks, the U-Net's weights the same for both twins, and optimisers."""

    def fresh(kind: type[nn.Module], width: int) -> tuple[Any, torch.optim.Adam]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(settings.seed, NAME, kind.__name__))
            net = kind(n_channels, settings.image_size, width).to(device)
        adam = torch.optim.Adam(
            net.parameters(), lr=settings.learning_rate, betas=(settings.beta1, 0.999)
        )
        return net, adam

    unet, optimiser = fresh(UNet, settings.generator_width)
    if not adversarial_weight:
        return Training(0.0, unet, optimiser, None, None)
    patch = fresh(PatchGAN, settings.discriminator_width)
    return Training(adversarial_weight, unet, optimiser, *patch)


def verdict(logits: Tensor, real: bool) -> Tensor:
    """Return the mean binary cross-entropy of the patches' logits."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def step(
    state: Training,
    source: Tensor,
    high: Tensor,
    masks: dict[int, Tensor],
    l1_weight: float,
) -> Tensor:
    """Take one step of each network; return (L1 in [0, 1] units, loss of U-Net, of PatchGAN)."""
    fake = state.unet(source, masks)
    l1 = functional.l1_loss(fake, high)
    loss, patch_loss = l1_weight * l1, torch.zeros_like(l1)
    if state.patch is not None and state.patch_optimiser is not None:
        state.patch.requires_grad_(True)
        told = verdict(state.patch(source, high), True)
        told = told + verdict(state.patch(source, fake.detach()), False)
        patch_loss = told / 2  # slows it down against the U-Net
        state.patch_optimiser.zero_grad(set_to_none=True)
        patch_loss.backward()
        state.patch_optimiser.step()
        state.patch.requires_grad_(False)
        loss = loss + state.adversarial_weight * verdict(state.patch(source, fake), True)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    state.optimiser.step()
    return torch.stack([l1.detach() / 2, loss.detach(), patch_loss.detach()])


def train_epoch(
    state: Training,
    data: TrainingImages,
    pairing: Pairing,
    settings: Settings,
    bar: Progress,
    watch: Watch,
) -> np.ndarray | None:
    """Take one pass, the last batch filled from the next; return the mean of each loss (3,).

    Every draw depends on seed and step alone, so that a pass may go on where it was left: None is
    returned where it must stop, and ``state`` then holds how far it came.

    Raises:
        InputError: A loss is not finite.
    """
    device = next(state.unet.parameters()).device
    state.unet.train()
    for optimiser in (state.optimiser, state.patch_optimiser):
        for group in optimiser.param_groups if optimiser else ():
            group["lr"] = settings.rate(state.epoch)
    steps = -(-len(data) // settings.batch_size)
    total = torch.tensor(state.losses, dtype=torch.float64, device=device)
    for i in range(state.steps, steps):
        number = state.epoch * steps + i
        high = data.batch(number, settings.batch_size, device)
        random = torch_stream(settings.seed, f"step {number}", "pix2pix dropout", device)
        masks = state.unet.masks(len(high), random)
        total += step(state, pairing(high), high, masks, settings.l1_weight)
        due = (i + 1) % CHECK_STEPS == 0 or i + 1 == steps
        if due and not bool(torch.isfinite(total).all()):
            raise InputError(
                f"A loss of {NAME} is not finite in epoch {state.epoch + 1}. Set a smaller "
                f"learning_rate than {settings.learning_rate:g}, or a larger batch_size."
            )
        bar.advance(settings.batch_size)
        if watch.due() and i + 1 < steps:
            state.steps, state.losses = i + 1, total.tolist()
            return None
    state.steps, state.losses = 0, [0.0, 0.0, 0.0]
    return (total / steps).cpu().numpy()


@torch.no_grad()
def held_out_l1(unet: UNet, tune: TrainingImages, pairing: Pairing, batch_size: int) -> float:
    """Return mean |x - U(s)| in [0, 1] units of cells cut at their centre, without dropout."""
    unet.eval()
    stack, device = tune.stack, next(unet.parameters()).device
    total = 0.0
    for first in range(0, len(tune), batch_size):
        rows = tune.rows[first : first + batch_size]
        unit = torch.from_numpy(tune.intensity.to_unit(np.asarray(stack.images[rows])))
        high = centre_crop(unit, tune.image_size).to(device) * 2 - 1
        total += float((unet(pairing(high)) - high).abs().mean(dim=(1, 2, 3)).sum()) / 2
    return total / len(tune)


def train(
    state: Training,
    data: TrainingImages,
    tune: TrainingImages,
    pairing: Pairing,
    settings: Settings,
    folder: StateFolder,
) -> None:
    """Train, or go on from the newest checkpoint, to the end.

    Raises:
        Stopped: Before a time limit or on a signal, with a checkpoint.
    """
    if (payload := folder.load()) is not None:
        state.restore(payload)
        print(f"{NAME}: goes on after {progress_of(state)}", flush=True)
    steps = -(-len(data) // settings.batch_size)
    epochs, n = settings.total_epochs, steps * settings.batch_size
    first, started = state.epoch, time.monotonic()
    seen = state.epoch * n + state.steps * settings.batch_size
    with Progress(epochs * n, NAME, "img", done=seen) as bar, Watch(NAME) as watch:
        while state.epoch < epochs:
            begun, images = time.monotonic(), n - state.steps * settings.batch_size
            losses = train_epoch(state, data, pairing, settings, bar, watch)
            if losses is None:
                folder.save(state.epoch * steps + state.steps, state.payload())
                raise watch.stopped(f"after {progress_of(state)}")
            l1, loss, patch_loss = losses
            rate = images / (time.monotonic() - begun)
            tune_l1 = held_out_l1(state.unet, tune, pairing, settings.batch_size)
            state.epoch += 1
            row = {"epoch": state.epoch, "learning_rate": settings.rate(state.epoch - 1)}
            row |= {"l1": l1, "l1_tune": tune_l1, "loss_generator": loss}
            if state.patch is not None:
                row["loss_discriminator"] = patch_loss
            state.curves.append({name: float(v) for name, v in row.items()})
            if settings.keep == "best_on_tune" and tune_l1 < state.best_l1:
                state.best_l1, state.best = tune_l1, copy.deepcopy(state.unet.state_dict())
            stop = watch.due() and state.epoch < epochs
            if stop or state.epoch % settings.checkpoint_epochs == 0 or state.epoch == epochs:
                folder.save(state.epoch * steps, state.payload())
            if stop:
                raise watch.stopped(f"after {progress_of(state)}")
            seconds = (time.monotonic() - started) / (state.epoch - first)
            adversary = f", D {patch_loss:.3f}" if state.patch is not None else ""
            print(
                f"{NAME}: epoch {state.epoch} of {epochs}, L1 {l1:.4f} (tune {tune_l1:.4f}), "
                f"G {loss:.3f}{adversary}, {rate:.3g} img/s, "
                f"{format_seconds(seconds * (epochs - state.epoch))} left",
                flush=True,
            )


def progress_of(state: Training) -> str:
    """Return how far it came, in words."""
    begun = f" and {state.steps} steps of the next" if state.steps else ""
    return f"epoch {state.epoch}{begun}"


def identity(settings: Settings, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what determines the result: with it the length, since the decay depends on it."""
    kept = {k: v for k, v in asdict(settings).items() if k not in NOT_THE_RESULT}
    return {**kept, **facts}


def make_parser() -> Parser[Settings]:
    """The command line."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument("--cells", type=Path, required=True, help="stack with a column split")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--factor", type=int, required=True, help="side of x over side of y")
    parser.add_argument(
        "--adversarial-weight", type=float, required=True,
        help="weight of the discriminator's verdict; 0: no discriminator, L1 alone",
    )  # fmt: skip
    parser.add_argument("--border", choices=BORDERS, required=True, help="as in degrade")
    parser.add_argument("--quantise", choices=("8bit", "none"), required=True, help="as in degrade")
    parser.add_argument("--output", type=Path, required=True, help="*.safetensors to write")
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args, settings = make_parser().parse(argv)
    if args.adversarial_weight < 0:
        raise InputError(
            f"Found --adversarial-weight {args.adversarial_weight:g}, expected 0 or more."
        )
    device = choose_device(settings.device, settings.threads)
    stack = read_stack(args.cells, memory_map=True)
    intensity = read_intensity(args.intensity)
    data = TrainingImages(stack, intensity, settings.image_size, settings.seed)
    tune = TrainingImages(stack, intensity, settings.image_size, settings.seed, split=TUNE)
    pairing = Pairing(settings.image_size, args.factor, args.border, args.quantise).to(device)
    state = start(len(stack.channels), args.adversarial_weight, settings, device)
    counts = f"{len(data)} images, {len(tune)} of {TUNE}"
    print(f"{NAME}: {counts}; {describe(state)}", flush=True)
    facts = {
        "factor": args.factor,
        "adversarial_weight": args.adversarial_weight,
        "border": args.border,
        "quantise": args.quantise,
        "data_digest": data.digest,
        "tune_digest": tune.digest,
    }
    with StateFolder(args.state, NAME, identity(settings, facts)) as folder:
        train(state, data, tune, pairing, settings, folder)
        write_results(args.output, state, settings, data, facts)
        folder.clear()


def describe(state: Training) -> str:
    """Return what is trained, and how large a checkpoint is."""
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
    facts: dict[str, Any],
) -> None:
    """Write the weights with their header, and the curves."""
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


if __name__ == "__main__":
    run(main)
