"""Settings of Pix2Pix and its twin; section ``train_pix2pix`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option
from rls.runtime.errors import InputError

NAME = "train_pix2pix"  # The command, its section, and the key of its random streams.
# Settings that a resumed training may change. The decay of the learning rate depends on its length.
MAY_CHANGE = ("checkpoint_epochs", "cuda_graphs", "device", "threads")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Training of the U-Net; the twins share all settings."""

    image_size: int = option("Side of the high-resolution images, in px: a power of two.", least=8)
    epochs: int = option("Passes over the training cells at the full learning rate.", least=0)
    decay_epochs: int = option("Passes after these, while the rate falls linearly to 0.", least=0)
    batch_size: int = option("Images per step.", least=1)
    learning_rate: float = option("Step size of Adam, both networks.", above=0)
    beta1: float = option("Decay of Adam's mean gradient.", least=0, below=1)
    l1_weight: float = option("Weight of the L1 distance, images in [-1, 1].", least=0)
    generator_width: int = option(
        "Maps of the U-Net's first layer; the inner ones have 8 times.", least=1
    )
    discriminator_width: int = option("Maps of the PatchGAN's first layer.", least=1)
    keep: str = option(
        "Weights to write: last (as published), or best_on_tune by L1.",
        choices=("last", "best_on_tune"),
    )
    checkpoint_epochs: int = option("Epochs between checkpoints.", least=1)
    cuda_graphs: str = option(
        "auto: on a GPU a step is recorded once as a CUDA graph and replayed; off. The result is "
        "the same.",
        choices=("auto", "off"),
        default="auto",
    )
    seed: int = option("Seed of the weights, the order, the turns and the dropout.", least=0)
    device: str = option("Where to compute.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.", least=1)

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
        """Return the number of epochs in all."""
        return self.epochs + self.decay_epochs

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0: constant, then linear to 0."""
        passed = max(0, epoch + 1 - self.epochs)
        return self.learning_rate * (1 - passed / (self.decay_epochs + 1))
