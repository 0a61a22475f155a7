"""Settings of the encoder and its training; section ``train_encoder`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import need_at_least, option
from rls.runtime.errors import InputError

NAME = "train_encoder"  # The command, its section, and the key of its random streams.
ENCODER = "encoder.safetensors"  # its file beside the low-resolution images
LARGEST_MAP = 8  # side in px of the maps of a regression before its linear layers, at most
# Settings that a resumed training may change.
MAY_CHANGE = ("cuda_graphs", "device", "threads")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The encoder, its generated pairs and how it is trained."""

    n_pairs: int = option("Generated pairs of a style and a low-resolution image to train on.")
    n_held_out: int = option("Other pairs, whose log q decides which epoch is kept.")
    pair_batch_size: int = option("Pairs that the generator makes at a time.")
    mixing_probability: float = option("Share of pairs with mixed styles, 0 to 1.")
    hidden: int = option("Units of the encoder's layers.")
    blocks: int = option("Residual blocks of two layers.")
    epochs: int = option("Passes over the pairs; the learning rate falls to 0 along a cosine.")
    batch_size: int = option("Pairs per step.")
    learning_rate: float = option("Adam's first learning rate.")
    weight_decay: float = option("AdamW's weight decay.")
    cuda_graphs: str = option(
        "auto: on a GPU a step is recorded once as a CUDA graph and replayed; off. The result is "
        "the same.",
        choices=("auto", "off"),
        default="auto",
    )
    seed: int = option("Seed of the pairs, the initial weights and the order of the batches.")
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.")

    def __post_init__(self) -> None:
        need_at_least(
            self,
            n_pairs=2,
            n_held_out=2,
            pair_batch_size=1,
            hidden=1,
            blocks=0,
            epochs=1,
            batch_size=1,
        )
        if not 0 <= self.mixing_probability <= 1:
            raise InputError(
                f"Found mixing_probability {self.mixing_probability:g}, expected 0 to 1."
            )
        if not self.learning_rate > 0 or self.weight_decay < 0:
            raise InputError(
                f"Found learning_rate {self.learning_rate:g} and weight_decay "
                f"{self.weight_decay:g}, expected more than 0, and 0 or more."
            )


def encoder_file(factor: int) -> str:
    """Return the name of the encoder of a factor in a model folder."""
    return f"encoder_{factor}x.safetensors"
