"""Settings of the commands that train a generator, sample from it and measure its Jacobian.

This module imports nothing heavy, so that a command can show its help at once.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from rls.runtime.command import need_at_least, option
from rls.runtime.errors import InputError
from rls.stylegan2.pipelines import PIPELINES

AUTO = "null: rule of StyleGAN2-ADA's auto"
NOISES = ("const", "none", "random")
# Settings of train_gan that a resumed training may change: no step depends on them but in rounding.
MAY_CHANGE = (
    *("total_kimg", "checkpoint_kimg", "tick_kimg", "evaluate_kimg", "evaluate_images"),
    *("device", "threads", "cuda_graphs", "compile"),
    *("grow_from", "grow_kimg"),  # They act through the weights that the training starts from.
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of ``train_gan``; section train_gan of the configuration."""

    image_size: int = option("Side of the images in px, a power of two from 8 on.", least=8)
    total_kimg: float = option("Length of the training in thousands of real images shown.", above=0)
    batch_size: int = option("Images per step, of all processes together.", least=1)
    learning_rate: float | None = option(f"Adam's step size for both networks. {AUTO}.", above=0)
    r1_gamma: float | None = option(
        f"Weight of the R1 penalty: the loss is gamma/2 |grad D|^2. {AUTO}, 0.0002 size^2 / batch.",
        least=0,
    )
    r1_interval: int = option("Steps between applications of R1 (lazy regularisation).", least=1)
    path_length_weight: float = option(
        "Weight of the path-length penalty (|J^T y| - mean)^2; 0 for none.", least=0
    )
    path_length_interval: int = option(
        "Steps between applications of the path-length penalty.", least=1
    )
    path_length_batch_shrink: int = option(
        "The path-length penalty is computed on batch_size / path_length_batch_shrink images.",
        least=1,
    )
    ema_kimg: float | None = option(
        f"Half-life of the averaged generator, in thousands of images. {AUTO}, 10 batch / 32.",
        above=0,
    )
    ema_rampup: float | None = option(
        "Limit the half-life to this share of the images seen (0.05); null, and always with "
        "init_from: no limit.",
        least=0,
    )
    z_dim: int = option("Dimensions of z.", least=1)
    w_dim: int = option("Dimensions of w.", least=1)
    mapping_layers: int = option(
        "Layers of the mapping network: 8 released, 2 in NVlabs' auto.", least=1
    )
    channel_base: int | None = option(
        "Feature maps at resolution r are min(channel_base / r, channel_max). "
        f"{AUTO}, 16384 below 512 px.",
        least=1,
    )
    channel_max: int = option("Most feature maps at any resolution.", least=1)
    clamp: float | None = option(
        "Limit of activations (256 in NVlabs' fp16); null: no limit.", above=0
    )
    mbstd_group_size: int = option("Images per group of the minibatch standard deviation.", least=1)
    style_mixing_probability: float = option(
        "Share of generator batches that mix two styles.", least=0, most=1
    )
    augmentations: str = option(
        "Augmentations of the images that the discriminator sees: b(lit), g(eometric), c(olour), "
        "f(ilter), n(oise), c(utout).",
        choices=tuple(PIPELINES),
    )
    augment_p: float | None = option(
        "Fixed probability of each augmentation; null: adaptive.", least=0, most=1
    )
    augment_target: float = option(
        "Adaptive p: p rises while the mean sign of D(real) is above this value.", least=-1, most=1
    )
    augment_kimg: float = option(
        "Adaptive p: thousands of images in which it can rise by 1.", above=0
    )
    augment_interval: int = option(
        "Adaptive p: steps between its changes. Random augmentations are drawn for as many steps.",
        least=1,
    )
    freeze_discriminator: int = option(
        "Freeze-D: number of layers, counted from the image, that keep the weights of init_from; "
        "0 for none.",
        least=0,
    )
    grow_from: int | None = option(
        "Side of the images in px of a first stage, a power of two from 8 on: the networks learn "
        "the cells at this size, averaged, and then grow to image_size. null: no such stage.",
        default=None,
        least=8,
    )
    grow_kimg: float = option(
        "Length of the first stage in thousands of real images shown.", default=100.0, above=0
    )
    precision: str = option(
        "Precision of the convolutions; auto is bfloat16 where the device is fast at it.",
        choices=("auto", "float32", "bfloat16"),
    )
    checkpoint_kimg: float = option("Thousands of images between checkpoints.", above=0)
    tick_kimg: float = option(
        "Thousands of images between lines of the log and of the CSV.", above=0
    )
    evaluate_kimg: float = option(
        "Thousands of images, in whole ticks, between grids and distances to held-out cells.",
        above=0,
    )
    evaluate_images: int = option(
        "Most held-out (split tune) and generated images of a kernel distance; 0 for none.", least=0
    )
    cuda_graphs: str = option(
        "auto: on a GPU the phases of a step are recorded once as CUDA graphs and replayed; off. "
        "The result is the same.",
        choices=("auto", "off"),
        default="auto",
    )
    compile: str = option(
        "auto: in a training of hours on a GPU the networks are compiled by torch, which takes "
        "minutes; off. Results are equal but for rounding.",
        choices=("auto", "off"),
        default="auto",
    )
    seed: int = option("Seed of weights, order, turns and noise.", least=0)
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of each process.", least=1)

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
        for names, is_wrong, wanted in (
            (
                "total_kimg learning_rate r1_interval path_length_interval ema_kimg augment_kimg "
                "augment_interval checkpoint_kimg tick_kimg evaluate_kimg grow_kimg",
                lambda value: value <= 0,
                "more than 0",
            ),
            ("style_mixing_probability augment_p", lambda value: not 0 <= value <= 1, "0 to 1"),
            (
                "r1_gamma path_length_weight freeze_discriminator evaluate_images",
                lambda value: value < 0,
                "0 or more",
            ),
        ):
            for name in names.split():
                value = getattr(self, name)
                if value is not None and is_wrong(value):
                    raise InputError(f"Found {name} {value}, expected {wanted}.")

        small = self.grow_from
        if small is not None and not (8 <= small < self.image_size and small & (small - 1) == 0):
            raise InputError(
                f"Found grow_from {small}, expected a power of two from 8 on and below image_size, "
                f"{self.image_size}. Set it to {self.image_size // 2}, or to null for none."
            )

    @property
    def adaptive(self) -> bool:
        """Return whether the probability of augmentations is adapted (ADA)."""
        return self.augment_p is None and self.augmentations != "none"


@dataclass(frozen=True)
class SampleSettings:
    """Settings of ``sample_images``."""

    n_images: int = option("Images of the stack.", default=64, least=1)
    truncation_psi: float = option("1 leaves w as it is, 0 makes it the mean w.", default=1.0)
    truncation_cutoff: int | None = option(
        "Number of style inputs, from the coarsest, that psi acts on; none is all.", default=None
    )
    noise: str = option(
        "Noise maps: const is the generator's own, random draws new ones for every image.",
        choices=NOISES,
        default="const",
    )
    grid_size: int = option(
        "Rows of either grid, and columns of the style-mixing grid.", default=6, least=1
    )
    grid_psi: tuple[float, ...] = option(
        "Columns of the truncation grid.", default=(-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.2)
    )
    mixed_styles: str = option(
        "Style inputs that the style-mixing grid takes from the column's image: coarse, middle or "
        "fine (thirds of the resolutions), or their numbers such as 0-3.",
        default="coarse",
    )
    batch_size: int = option(
        "Images drawn at a time; every batch is filled to it.", default=32, least=1
    )
    seed: int = option("Seed of z and of random noise.", default=0, least=0)
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"), default="auto")
    threads: int = option("CPU threads of torch.", default=1, least=1)

    def __post_init__(self) -> None:
        need_at_least(self, n_images=1, grid_size=1, batch_size=1, threads=1)
        psi = {"truncation_psi": (self.truncation_psi,), "grid_psi": self.grid_psi}
        for name, values in psi.items():
            if not values or not all(map(math.isfinite, values)):
                raise InputError(
                    f"Found {name} {', '.join(map(str, values)) or 'empty'}, expected finite "
                    "numbers such as 0.7. Set it to some."
                )


def auto_rules(image_size: int, batch_size: int) -> dict[str, Any]:
    """Return NVlabs' rule "auto" for every setting that may be left at none."""
    return {
        "learning_rate": 0.0025 if image_size < 1024 else 0.002,
        "r1_gamma": 0.0002 * image_size**2 / batch_size,
        "ema_kimg": 10 * batch_size / 32,
        "channel_base": 16384 if image_size < 512 else 32768,
    }


def fill_auto(settings: Settings) -> Settings:
    """Return the settings with NVlabs' rule "auto" in place of every number left at none.

    The rules for one process, by image size s and batch size b, are: learning_rate 0.0025 (0.002
    from 1024 px on), r1_gamma 0.0002 s^2 / b, ema_kimg 10 b / 32, channel_base 16384 (32768 from
    512 px on).
    """
    rules = auto_rules(settings.image_size, settings.batch_size)
    left = {name: value for name, value in rules.items() if getattr(settings, name) is None}
    return dataclasses.replace(settings, **left)


def check_share(settings: Settings, count: int) -> None:
    """Raise InputError unless ``count`` processes can share every batch in whole groups."""
    group = min(settings.mbstd_group_size, settings.batch_size)
    small = settings.batch_size // settings.path_length_batch_shrink
    if settings.batch_size % (group * count) or small % count:
        raise InputError(
            f"Found batch_size {settings.batch_size} for {count} processes, expected a multiple of "
            f"{group * count} (mbstd_group_size x processes), with a path-length batch of a "
            f"multiple of {count}. Change batch_size or --nproc-per-node."
        )
