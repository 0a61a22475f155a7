"""Settings of the encoder, section ``train_encoder``, and those that other fits to pairs share."""

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
class FitSettings:
    """What every fit of a network to pairs needs."""

    learning_rate: float = option("AdamW's first learning rate.", above=0)
    weight_decay: float = option("AdamW's weight decay.", least=0)
    cuda_graphs: str = option(
        "auto: on a GPU a step is recorded once as a CUDA graph and replayed; off. The result is "
        "the same.",
        choices=("auto", "off"),
        default="auto",
    )
    seed: int = option(
        "Seed of the pairs, the initial weights and the order of the batches.", least=0
    )
    device: str = option("Where to compute.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.", least=1)

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or self.weight_decay < 0:
            raise InputError(
                f"Found learning_rate {self.learning_rate:g} and weight_decay "
                f"{self.weight_decay:g}, expected more than 0, and 0 or more."
            )


@dataclass(frozen=True, kw_only=True)
class RegressionSettings(FitSettings):
    """The network of a regression from y to features, and its steps."""

    width: int = option("Maps of the first two convolutions; the third has twice as many.", least=1)
    hidden: int = option("Units between the two fully connected layers.", least=1)
    epochs: int = option(
        "Passes over the pairs; the learning rate falls to 0 along a cosine.", least=1
    )
    pairs_per_step: int = option("Pairs per step.", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_at_least(self, width=1, hidden=1, epochs=1, pairs_per_step=1)


@dataclass(frozen=True, kw_only=True)
class PairSettings(FitSettings):
    """The generated pairs of a fit."""

    n_pairs: int = option("Generated pairs to train on.", least=2)
    n_held_out: int = option("Other pairs, whose loss decides which epoch is kept.", least=2)
    pair_batch_size: int = option("Pairs that are generated at a time.", least=1)
    mixing_probability: float = option("Share of pairs with mixed styles, 0 to 1.", least=0, most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_at_least(self, n_pairs=2, n_held_out=2, pair_batch_size=1)
        if not 0 <= self.mixing_probability <= 1:
            raise InputError(
                f"Found mixing_probability {self.mixing_probability:g}, expected 0 to 1."
            )


@dataclass(frozen=True, kw_only=True)
class Settings(PairSettings):
    """The encoder, its generated pairs and how it is trained."""

    hidden: int = option("Units of the encoder's layers.", least=1)
    blocks: int = option("Residual blocks of two layers.", least=0)
    epochs: int = option(
        "Passes over the pairs; the learning rate falls to 0 along a cosine.", least=1
    )
    batch_size: int = option("Pairs per step.", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_at_least(self, hidden=1, blocks=0, epochs=1, batch_size=1)


def encoder_file(factor: int) -> str:
    """Return the name of the encoder of a factor in a model folder."""
    return f"encoder_{factor}x.safetensors"
