"""Settings of the evaluation of a generator; section ``evaluate_generator``."""

from __future__ import annotations

from dataclasses import dataclass, fields, make_dataclass

from analysis.features.settings import MeasureSettings, settings_class
from rls.runtime.command import need_at_least, option
from rls.runtime.errors import InputError

NAME = "evaluate_generator"  # The command, its section, and the purpose of its pairs.
MAY_CHANGE = ("device", "threads")  # Settings on which no result depends.


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How many images are drawn, and how the two regressions are fitted."""

    n_images: int = option("Generated images to measure and to train the regression on.")
    n_held_out: int = option("Other generated images, whose loss decides which epoch is kept.")
    image_batch_size: int = option("Images that are generated and measured at a time.")
    width: int = option("Maps of the first two convolutions; the third has twice as many.")
    hidden: int = option("Units between the two fully connected layers.")
    epochs: int = option("Passes over the pairs; the learning rate falls to 0 along a cosine.")
    pairs_per_step: int = option("Pairs per step.")
    learning_rate: float = option("AdamW's first learning rate.")
    weight_decay: float = option("AdamW's weight decay.")
    confidence_level: float = option("Level of the intervals over wells.")
    seed: int = option("Seed of the images, the initial weights and the order of the batches.")
    device: str = option("Where to compute.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.")

    def __post_init__(self) -> None:
        sizes = ("image_batch_size", "width", "hidden", "epochs", "pairs_per_step")
        need_at_least(self, n_images=10, n_held_out=2, **dict.fromkeys(sizes, 1))
        if not self.learning_rate > 0 or self.weight_decay < 0:
            raise InputError(
                f"Found learning_rate {self.learning_rate:g} and weight_decay "
                f"{self.weight_decay:g}, expected more than 0, and 0 or more."
            )
        if not 0 < self.confidence_level < 1:
            raise InputError(
                f"Found confidence_level {self.confidence_level:g}, expected 0 to 1, such as 0.95."
            )


@dataclass(frozen=True, kw_only=True)
class CommandSettings(Settings, MeasureSettings):
    """Settings with those of ``measure``, since the command measures what it generates."""

    @property
    def own(self) -> Settings:
        """The settings of this section."""
        return Settings(**{field.name: getattr(self, field.name) for field in fields(Settings)})


def command_settings() -> type[CommandSettings]:
    """Return CommandSettings with the fields of every feature found."""
    return make_dataclass("Settings", [], bases=(CommandSettings, settings_class()), frozen=True)
