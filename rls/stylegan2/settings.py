"""Settings of the generator's training, and what NVlabs' rule "auto" makes of those left open."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rls.runtime.command import option
from rls.runtime.errors import InputError

AUGMENTATIONS = (
    "none", "blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn",
    "bgcfnc",
)  # fmt: skip
AUTO = "null: rule of StyleGAN2-ADA's auto"


@dataclass(frozen=True)
class Settings:
    """Numbers of one training; section train_gan of the configuration."""

    image_size: int = option("Side of the images in px, a power of two from 8 on.")
    total_kimg: float = option("Length of the training in thousands of real images shown.")
    batch_size: int = option("Images per step, of all processes together.")
    learning_rate: float | None = option(f"Adam's step size for both networks. {AUTO}.")
    r1_gamma: float | None = option(
        f"Weight of the R1 penalty: the loss is gamma/2 |grad D|^2. {AUTO}, 0.0002 size^2 / batch."
    )
    r1_interval: int = option("Steps between applications of R1 (lazy regularisation).")
    path_length_weight: float = option(
        "Weight of the path-length penalty (|J^T y| - mean)^2; 0 for none."
    )
    path_length_interval: int = option("Steps between applications of the path-length penalty.")
    path_length_batch_shrink: int = option("The penalty is taken of batch_size over this.")
    ema_kimg: float | None = option(
        f"Half-life of the averaged generator, in thousands of images. {AUTO}, 10 batch / 32."
    )
    ema_rampup: float | None = option(
        "Limit the half-life to this share of the images seen (0.05); null, and always with "
        "init_from: no limit."
    )
    z_dim: int = option("Dimensions of z.")
    w_dim: int = option("Dimensions of w.")
    mapping_layers: int = option("Layers of the mapping network: 8 released, 2 in NVlabs' auto.")
    channel_base: int | None = option(
        "Feature maps at resolution r are min(channel_base / r, channel_max). "
        f"{AUTO}, 16384 below 512 px."
    )
    channel_max: int = option("Most feature maps at any resolution.")
    clamp: float | None = option("Limit of activations (256 in NVlabs' fp16); null: no limit.")
    mbstd_group_size: int = option("Images per group of the minibatch standard deviation.")
    style_mixing_probability: float = option("Share of generator batches that mix two styles.")
    augmentations: str = option(
        "What the discriminator's images go through: b(lit), g(eometric), c(olour), f(ilter), "
        "n(oise), c(utout).",
        choices=AUGMENTATIONS,
    )
    augment_p: float | None = option("Fixed probability of each augmentation; null: adaptive.")
    augment_target: float = option("Adaptive p: raise it while the mean sign of D(real) is above.")
    augment_kimg: float = option("Adaptive p: thousands of images in which it can rise by 1.")
    augment_interval: int = option("Adaptive p: steps between its changes.")
    freeze_discriminator: int = option(
        "Freeze-D: layers from the image on that keep the weights of init_from; 0 for none."
    )
    precision: str = option(
        "Of the convolutions; auto is bfloat16 where the device is fast at it.",
        choices=("auto", "float32", "bfloat16"),
    )
    checkpoint_kimg: float = option("Thousands of images between checkpoints.")
    tick_kimg: float = option("Thousands of images between lines of the log and of the CSV.")
    evaluate_kimg: float = option(
        "Thousands of images, in whole ticks, between grids and distances to held-out cells."
    )
    evaluate_images: int = option(
        "Most held-out (split tune) and generated images of a kernel distance; 0 for none."
    )
    seed: int = option("Seed of weights, order, turns and noise.")
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads, of each process.")

    def __post_init__(self) -> None:
        if self.batch_size <= 0 or self.batch_size % min(self.mbstd_group_size, self.batch_size):
            raise InputError(
                f"Found batch_size {self.batch_size} and mbstd_group_size "
                f"{self.mbstd_group_size}, expected whole groups. Set batch_size to a multiple of "
                "mbstd_group_size."
            )
        if self.batch_size % self.path_length_batch_shrink:
            raise InputError(
                f"Found batch_size {self.batch_size} and path_length_batch_shrink "
                f"{self.path_length_batch_shrink}, expected a divisor of batch_size. Set "
                "path_length_batch_shrink to 1 or 2."
            )
        for name in (
            "total_kimg", "learning_rate", "r1_interval", "path_length_interval", "ema_kimg",
            "augment_kimg", "augment_interval", "checkpoint_kimg", "tick_kimg", "evaluate_kimg",
        ):  # fmt: skip
            if (value := getattr(self, name)) is not None and value <= 0:
                raise InputError(f"Found {name} {value}, expected more than 0.")
        for name in ("style_mixing_probability", "augment_p"):
            if (value := getattr(self, name)) is not None and not 0 <= value <= 1:
                raise InputError(f"Found {name} {value}, expected 0 to 1.")
        for name in ("r1_gamma", "path_length_weight", "freeze_discriminator", "evaluate_images"):
            if (value := getattr(self, name)) is not None and value < 0:
                raise InputError(f"Found {name} {value}, expected 0 or more.")

    @property
    def adaptive(self) -> bool:
        """Whether the probability of augmentations is adapted (ADA)."""
        return self.augment_p is None and self.augmentations != "none"


def fill_auto(settings: Settings) -> Settings:
    """Settings without open numbers: those left at none take NVlabs' rule "auto".

    Rules for one process, by image size s and batch b: learning_rate 0.0025 (0.002 from 1024 px),
    r1_gamma 0.0002 s^2 / b, ema_kimg 10 b / 32, channel_base 16384 (32768 from 512 px).
    """
    size, batch = settings.image_size, settings.batch_size
    rules: dict[str, Any] = {
        "learning_rate": 0.0025 if size < 1024 else 0.002,
        "r1_gamma": 0.0002 * size**2 / batch,
        "ema_kimg": 10 * batch / 32,
        "channel_base": 16384 if size < 512 else 32768,
    }
    left = {name: value for name, value in rules.items() if getattr(settings, name) is None}
    return dataclasses.replace(settings, **left)
