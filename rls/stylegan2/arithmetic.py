"""Operations and weights of StyleGAN2's networks in closed form, without building the networks.

A plan needs them before torch is imported. :mod:`rls.stylegan2.cost` counts them as they run; the
two agree within a tenth (tested), since affine layers, mapping and FIR filters are left out here.
"""

from __future__ import annotations

from dataclasses import dataclass

from rls.stylegan2.architecture import Architecture

# Cost of each phase of a training per image of its batch, in forward passes of the generator. It
# includes the backward pass and, for the penalties, second derivatives. Counts at 32 to 256 px are
# generator 5.1 to 5.6, path length 3.0 to 3.3, discriminator 7.2 to 7.5 and R1 6.2 to 6.3, all per
# image of the whole batch, although the path length takes only a part of it.
GENERATOR_PASSES, PATH_LENGTH_PASSES = 5.2, 3.1
DISCRIMINATOR_PASSES, R1_PASSES = 7.3, 6.3
SEARCH_PASSES = 2.03  # forward, and backward to the styles alone; counted 2.01 to 2.08
FLOAT_MB = 4e-6


@dataclass(frozen=True)
class Arithmetic(Architecture):
    """Operations and weights of the networks of an architecture."""

    @property
    def generator_gflop(self) -> float:
        """Return the operations of one generated image in 1e9, with a multiply-add as two.

        Every resolution has a 3x3 convolution and a 1x1 convolution to the image. From 8 px on
        another 3x3 convolution precedes them, which doubles the side and works at the smaller one.
        """
        total = 0
        for r in self.resolutions:
            maps = self.features(r)
            total += 2 * 9 * r**2 * maps**2 + 2 * r**2 * maps * self.n_channels
            if r > 4:
                total += 2 * 9 * (r // 2) ** 2 * self.features(r // 2) * maps
        return total / 1e9

    @property
    def mapping_gflop(self) -> float:
        """Return the operations of the mapping network for one style, in 1e9."""
        return 2 * (self.z_dim + (self.mapping_layers - 1) * self.w_dim) * self.w_dim / 1e9

    @property
    def search_gflop(self) -> float:
        """Return the operations of one image in one step of a search, in 1e9."""
        return SEARCH_PASSES * self.generator_gflop

    def training_gflop(self, path_length_interval: float, r1_interval: float) -> float:
        """Return the operations of a training per real image shown, in 1e9.

        Arguments:
            path_length_interval, r1_interval: Steps between applications of the
                penalty; infinite without it.
        """
        passes = GENERATOR_PASSES + DISCRIMINATOR_PASSES
        passes += PATH_LENGTH_PASSES / path_length_interval + R1_PASSES / r1_interval
        return passes * self.generator_gflop

    @property
    def generator_weights(self) -> int:
        """Return the number of the generator's parameters.

        They are those of the mapping, constant input, convolutions and affine layers.
        """
        mapping = (self.z_dim + (self.mapping_layers - 1) * self.w_dim) * self.w_dim
        total = mapping + self.mapping_layers * self.w_dim + self.features(4) * 16
        for r in self.resolutions:
            maps = self.features(r)
            total += self._styled(maps, 9 * maps) + maps + 1
            total += self._styled(maps, self.n_channels) + self.n_channels
            if r > 4:
                total += self._styled(self.features(r // 2), 9 * maps) + maps + 1
        return total

    @property
    def discriminator_weights(self) -> int:
        """Return the discriminator's parameters: residual blocks, and the last block at 4 px."""
        first, last = self.features(self.image_size), self.features(4)
        total = (self.n_channels + 1) * first
        for r in self.resolutions:
            if r > 4:
                maps, below = self.features(r), self.features(r // 2)
                total += 9 * maps**2 + maps + 9 * maps * below + below + maps * below
        return total + 9 * (last + 1) * last + last + 16 * last**2 + last + last + 1

    @property
    def checkpoint_mb(self) -> float:
        """Return the MB of a checkpoint: networks with Adam's two moments, and the average."""
        trained = self.generator_weights + self.discriminator_weights
        return FLOAT_MB * (3 * trained + self.generator_weights)

    def _styled(self, n_in: int, n_out: int) -> int:
        """Return the weights of a layer whose input maps are scaled by an affine layer of w."""
        return n_in * n_out + (self.w_dim + 1) * n_in


def unet_gflop(side: int, channels: int, width: int) -> float:
    """Return the GFLOP of one image through the U-Net of Pix2Pix: 4x4 kernels, halving to 1 px."""
    total, before, level = 0.0, channels, 1
    while side >> level >= 1:
        maps = width * min(2 ** (level - 1), 8)
        # Once down, and once up, where the skip connection doubles the input channels.
        total += 2 * 16 * (side >> level) ** 2 * (before * maps + 2 * maps * before)
        before, level = maps, level + 1
    return total / 1e9
