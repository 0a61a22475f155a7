"""Settings of the generator's training."""

from __future__ import annotations

from dataclasses import dataclass

from rls.command import option
from rls.errors import InputError


@dataclass(frozen=True)
class Settings:
    """Numbers of one training; section train_gan of the configuration."""

    image_size: int = option("Side of the images in px, a power of two from 8 on.")
    total_kimg: float = option("Length of the training in thousands of real images shown.")
    batch_size: int = option("Images per step.")
    learning_rate: float = option("Adam's step size for both networks.")
    r1_gamma: float = option("Weight of the R1 penalty: the loss is gamma/2 |grad D|^2.")
    r1_interval: int = option("Steps between applications of R1 (lazy regularisation).")
    ema_kimg: float = option("Half-life of the averaged generator, in thousands of images.")
    ema_rampup: float | None = option(
        "Limit the half-life to this share of the images seen (0.05); none: no limit."
    )
    z_dim: int = option("Dimensions of z.")
    w_dim: int = option("Dimensions of w.")
    mapping_layers: int = option("Layers of the mapping network: 8 released, 2 in NVlabs' auto.")
    channel_base: int = option(
        "Feature maps at resolution r are min(channel_base / r, channel_max)."
    )
    channel_max: int = option("Most feature maps at any resolution.")
    mbstd_group_size: int = option("Images per group of the minibatch standard deviation.")
    style_mixing_probability: float = option("Share of generator batches that mix two styles.")
    augment_p: float = option("Probability of each geometric augmentation, 0 for none.")
    precision: str = option(
        "Of the convolutions; auto is bfloat16 where the device is fast at it.",
        choices=("auto", "float32", "bfloat16"),
    )
    checkpoint_kimg: float = option("Thousands of images between checkpoints.")
    tick_kimg: float = option("Thousands of images between lines of the log and of the CSV.")
    seed: int = option("Seed of weights, order, turns and noise.")
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads.")

    def __post_init__(self) -> None:
        if self.batch_size % min(self.mbstd_group_size, self.batch_size):
            raise InputError(
                f"Found batch_size {self.batch_size} and mbstd_group_size "
                f"{self.mbstd_group_size}, expected whole groups. Set batch_size to a multiple of "
                "mbstd_group_size."
            )
        for name in ("total_kimg", "batch_size", "learning_rate", "r1_interval", "ema_kimg"):
            if getattr(self, name) <= 0:
                raise InputError(f"Found {name} {getattr(self, name)}, expected more than 0.")
        for name in ("style_mixing_probability", "augment_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"Found {name} {getattr(self, name)}, expected 0 to 1.")
