"""Settings of the regression from y to features; section ``train_amortised``."""

from __future__ import annotations

from dataclasses import dataclass, fields, make_dataclass

from analysis.features.settings import settings_class
from rls.runtime.command import need_at_least, option
from rls.runtime.errors import InputError

NAME = "train_amortised"  # The command, its section, and the purpose of its random streams.
MAY_CHANGE = ("device", "threads")  # Settings on which no result depends.


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How many pairs are generated, and how the regression is fitted to them."""

    n_pairs: int = option("Generated pairs of y and features, those held out among them.")
    pairs_at_once: int = option("Pairs that are generated, measured and saved together.")
    held_out_share: float = option("Share of the pairs that choose the epoch and give r.")
    mixing_probability: float = option("Share of generated images with mixed styles.")
    width: int = option("Maps of the first two convolutions; the third has twice as many.")
    hidden: int = option("Values between the two linear layers.")
    epochs: int = option("Passes over the pairs; the best on the pairs held out is kept.")
    training_batch_size: int = option("Pairs per step.")
    learning_rate: float = option("Step size of AdamW at the start; it falls along a half cosine.")
    weight_decay: float = option("Weight decay of AdamW.")
    seed: int = option("Seed of the pairs, the weights and the order.")
    device: str = option("Where to compute.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.")

    def __post_init__(self) -> None:
        sizes = ("pairs_at_once", "width", "hidden", "epochs", "training_batch_size")
        need_at_least(self, n_pairs=4, **dict.fromkeys(sizes, 1))
        for name in ("held_out_share", "mixing_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"Found {name} {getattr(self, name):g}, expected a share.")
        if not 2 <= self.n_held_out <= self.n_pairs - 2:
            raise InputError(
                f"Found n_pairs {self.n_pairs} and held_out_share {self.held_out_share:g}, which "
                f"hold {self.n_held_out} pairs out. Expected 2 or more, and as many to train on."
            )

    @property
    def n_held_out(self) -> int:
        """Return the number of pairs held out."""
        return round(self.n_pairs * self.held_out_share)


def command_settings() -> type[Settings]:
    """Return Settings with those of ``measure``, since the command measures what it generates."""
    return make_dataclass("Settings", [], bases=(Settings, settings_class()), frozen=True)


def own_settings(settings: Settings) -> Settings:
    """Return the part of :func:`command_settings` that this section gives."""
    return Settings(**{field.name: getattr(settings, field.name) for field in fields(Settings)})
