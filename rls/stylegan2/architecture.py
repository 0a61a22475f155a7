"""The sizes of a generator and its discriminator: from settings, or from the header of a file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rls.runtime.errors import InputError
from rls.stylegan2.settings import Settings


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Sizes of both networks.

    Attributes:
        image_size: Side of an image in px, a power of two from 8 on.
        n_channels: Channels of an image.
        z_dim, w_dim: Dimensions of z and w.
        mapping_layers: Layers of the mapping network.
        channel_base, channel_max: The feature maps at resolution r are min(channel_base // r,
            channel_max).
        mbstd_group_size: Images per group of the minibatch standard deviation.
        clamp: Limit of activations (NVlabs' conv_clamp, 256 in networks trained in fp16); None is
            no limit.

    Raises:
        InputError: ``image_size`` is not a power of two from 8 on.
    """

    image_size: int
    n_channels: int
    z_dim: int
    w_dim: int
    mapping_layers: int
    channel_base: int
    channel_max: int
    mbstd_group_size: int = 4
    clamp: float | None = None

    def __post_init__(self) -> None:
        if self.image_size < 8 or self.image_size & (self.image_size - 1):
            raise InputError(
                f"Found image_size {self.image_size}, expected a power of two from 8 on. Set "
                f"image_size to {2 ** max(3, round(math.log2(max(self.image_size, 1))))} and crop "
                "the cells to it."
            )

    @property
    def resolutions(self) -> list[int]:
        """Return 4, 8, ..., image_size."""
        return [2**i for i in range(2, int(math.log2(self.image_size)) + 1)]

    def features(self, resolution: int) -> int:
        """Return the number of feature maps at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)


def architecture_of(settings: Settings, n_channels: int) -> Architecture:
    """Return the sizes of the networks that the settings ask for."""
    names = {field.name for field in dataclasses.fields(Architecture)}
    values = {k: v for k, v in dataclasses.asdict(settings).items() if k in names}
    return Architecture(n_channels=n_channels, **values)


def read_architecture(path: Path | str, header: Mapping[str, Any]) -> Architecture:
    """Return the architecture in the header of the file ``path``.

    Raises:
        InputError: The header has none, or one that this version does not know.
    """
    try:
        return Architecture(**header["architecture"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"Found no usable architecture in the header of {path} ({error}), expected one "
            "written by train_gan of this version. Run train_gan again."
        ) from error
