"""Draw the random parameters of the augmentation of one batch of images.

There are 18 augmentations (Karras et al. 2020, "Training generative adversarial networks with
limited data", appendix B), each chosen per image with probability p. The count and the order of the
random numbers depend neither on p nor on what is chosen.

The colour transformation is written for any number c of channels. Let v = (1, ..., 1) / sqrt(c) be
the luma axis and P = I - v v^T. Brightness b, contrast k, luma flip f = 1 or -1, hue and saturation
s give

    y = C x + f k b (1, ..., 1)^T,    C = k (f v v^T + s R),

where R is P turned by the hue angle in a plane orthogonal to v. With c = 3 there is one such plane,
and hue is the paper's rotation about v. With c >= 4 there are many, and one is drawn per image.
With c = 2 there is none, and hue does nothing. With c = 1, P = 0, and neither hue nor saturation
acts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from rls.stylegan2.pipelines import BLIT, COLOUR, GEOMETRY

# These strengths are those of appendix B, for images in [-1, 1].
TRANSLATION = 0.125  # limit of the integer and sd of the fractional translation, in image sides
SCALE_SD = 0.2  # sd of log2 of the isotropic and of the anisotropic factor
BRIGHTNESS_SD = 0.2
CONTRAST_SD = 0.5  # sd of log2 of the contrast
SATURATION_SD = 1.0  # sd of log2 of the saturation
BAND_SD = 1.0  # sd of log2 of a band's gain
BAND_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # power spectrum of natural images, low first
NOISE_SD = 0.1  # sd of the half-normal from which the sd of the noise is drawn
CUTOUT_SIDE = 0.5  # side of the box, in image sides


@dataclass(frozen=True)
class Draws:
    """Random parameters of the augmentation of n images; None for parts that do not take place.

    Attributes:
        matrices: (n, 2, 3), from an output pixel (x, y, 1) about the centre to its source.
        colours: (n, c, c + 1), the matrix C and, in the last column, the offset.
        bands: (n, 4), gains of the frequency bands, low frequencies first.
        noise: (n, c, y, x), added to the images.
        cutouts: (n, 3), centre x, centre y and side of the box, in image sides.
    """

    matrices: Tensor | None = None
    colours: Tensor | None = None
    bands: Tensor | None = None
    noise: Tensor | None = None
    cutouts: Tensor | None = None

    def __getitem__(self, rows: int | slice | Tensor | tuple[slice, ...]) -> Draws:
        """Return the draws of some of the images."""
        return Draws(*(None if part is None else part[rows] for part in self.parts()))

    def parts(self) -> tuple[Tensor | None, ...]:
        """Return all parts in their order."""
        return self.matrices, self.colours, self.bands, self.noise, self.cutouts

    def view(self, *leading: int) -> Draws:
        """Return the draws with the axis of images split into several."""
        parts = self.parts()
        return Draws(*(None if x is None else x.reshape(*leading, *x.shape[1:]) for x in parts))

    def empty_like(self) -> Draws:
        """Return uninitialised draws of the same shapes."""
        return Draws(*(None if part is None else torch.empty_like(part) for part in self.parts()))

    def copy_(self, source: Draws) -> None:
        """Overwrite the draws by others of the same shapes."""
        for own, other in zip(self.parts(), source.parts(), strict=True):
            if own is not None and other is not None:
                own.copy_(other)


class _Dice:
    """Random numbers for n images, or instead of each a given percentile of its distribution.

    The percentiles of normal numbers are those of a normal distribution with sd 1 / sqrt(2), as in
    the paper's own program.
    """

    def __init__(self, n: int, random: torch.Generator, percentile: float | None) -> None:
        self.n, self.random, self.percentile = n, random, percentile
        self.device = random.device

    def uniform(self, k: int) -> Tensor:
        """Return uniform numbers (n, k) in [0, 1)."""
        out = torch.rand((self.n, k), device=self.device, generator=self.random)
        return out if self.percentile is None else torch.full_like(out, self.percentile)

    def normal(self, k: int) -> Tensor:
        """Return standard normal numbers (n, k)."""
        out = torch.randn((self.n, k), device=self.device, generator=self.random)
        if self.percentile is None:
            return out
        return torch.full_like(out, 2 * self.percentile - 1).erfinv()

    def half_normal(self) -> Tensor:
        """Return absolute values (n, 1) of standard normal numbers."""
        out = torch.randn((self.n, 1), device=self.device, generator=self.random).abs()
        return out if self.percentile is None else torch.full_like(out, self.percentile).erfinv()

    def chosen(self, p: float, names: tuple[str, ...], has: frozenset[str]) -> Tensor:
        """Return (n, k) of 0 and 1: 1 with probability p, always 0 for names not in ``has``."""
        shape = (self.n, len(names))
        dice = torch.rand(shape, device=self.device, generator=self.random)
        switches = _row(tuple(float(name in has) for name in names), self.device)
        return (dice < p * switches).to(dice.dtype)


@functools.cache
def _row(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return constants on the device; they are copied there only once."""
    return torch.tensor(values, device=device)


def draw(
    shape: tuple[int, int, int, int],
    p: float,
    names: Collection[str],
    random: torch.Generator,
    *,
    percentile: float | None = None,
) -> Draws:
    """Return the draws of some augmentations for one batch, on the device of ``random``.

    Arguments:
        shape: Shape (n, c, y, x) of the images.
        p: Probability of each augmentation.
        names: Names of the augmentations, such as ``PIPELINES["bgc"]``.
        random: Stream of the random numbers.
        percentile: Sets every strength to this percentile (0 to 1) of its distribution, for tests.
    """
    n, c, height, width = shape
    dice = _Dice(n, random, percentile)
    has = frozenset(names)
    matrices = colours = bands = noise = cutouts = None
    if has & {*BLIT, *GEOMETRY}:
        matrices = _matrices(dice, (height, width), p, has)
    if has & {*COLOUR}:
        colours = _colours(dice, c, p, has)
    if "filter" in has:
        bands = _bands(dice, p, has)
    if "noise" in has:
        sd = dice.half_normal() * NOISE_SD * dice.chosen(p, ("noise",), has)
        noise = torch.randn(shape, device=random.device, generator=random) * sd[:, :, None, None]
    if "cutout" in has:
        cutouts = torch.cat(
            [dice.uniform(2), CUTOUT_SIDE * dice.chosen(p, ("cutout",), has)], dim=1
        )
    return Draws(matrices, colours, bands, noise, cutouts)


def _matrices(dice: _Dice, size: tuple[int, int], p: float, has: frozenset[str]) -> Tensor:
    """Return the inverse geometric transformations (n, 2, 3).

    Their order is flip, quarter turn, shift, scale, rotation, anisotropic scale, rotation, shift.
    Each of the two rotations is drawn with probability 1 - sqrt(1 - p), so that an image is rotated
    at all with probability p. At a percentile only the first rotation takes place.
    """
    kinds = ("xflip", "rotate90", "scale", "aniso", "xint", "xfrac")
    chosen = dice.chosen(p, kinds, has)
    turning = dice.chosen(1 - math.sqrt(max(1 - p, 0.0)), ("rotate", "rotate"), has)
    if dice.percentile is not None:
        turning = turning * _row((1.0, 0.0), dice.device)
    uniform, normal = dice.uniform(6), dice.normal(4)
    limits = _row((TRANSLATION * size[1], TRANSLATION * size[0]), dice.device)  # x, y
    flips, quarters = (
        (uniform[:, :2] * _row((2.0, 4.0), dice.device)).floor() * chosen[:, :2]
    ).split(1, dim=1)
    whole = ((2 * uniform[:, 2:4] - 1) * limits).round() * chosen[:, 4:5]
    part = normal[:, 2:] * limits * chosen[:, 5:]
    turns = (2 * uniform[:, 4:] - 1) * math.pi * turning
    factors = torch.exp2(normal[:, :2] * SCALE_SD * chosen[:, 2:4])
    scale, stretch = factors.split(1, dim=1)
    angles = torch.cat([quarters * (math.pi / 2), turns], dim=1)
    cos, sin = angles.cos(), angles.sin()
    turned = torch.stack([cos, -sin, sin, cos], dim=2).reshape(-1, 3, 2, 2)
    # The rounding keeps the axes of an image without a free rotation exact.
    linear = turned[:, 0].round() * torch.cat([1 - 2 * flips, torch.ones_like(flips)], 1)[..., None]
    shift = linear @ whole[..., None]
    linear = linear @ turned[:, 1] * torch.cat([1 / stretch, stretch], dim=1)[:, None]
    linear = linear @ turned[:, 2] / scale[..., None]
    return torch.cat([linear, -shift - linear @ part[..., None]], dim=2)


def _colours(dice: _Dice, c: int, p: float, has: frozenset[str]) -> Tensor:
    """Return C and the offset (n, c, c + 1), as the module's docstring defines them."""
    chosen = dice.chosen(p, COLOUR, has)[:, :, None, None]
    uniform, normal = dice.uniform(2)[:, :, None, None], dice.normal(3)[:, :, None, None]
    brightness = normal[:, 0] * BRIGHTNESS_SD * chosen[:, 0]
    contrast = torch.exp2(normal[:, 1] * CONTRAST_SD * chosen[:, 1])
    flip = 1 - 2 * (uniform[:, 0] * 2).floor() * chosen[:, 2]
    angle = (2 * uniform[:, 1] - 1) * math.pi * chosen[:, 3]
    saturation = torch.exp2(normal[:, 2] * SATURATION_SD * chosen[:, 4])
    luma = torch.full((c, c), 1 / c, device=dice.device)
    chroma = torch.eye(c, device=dice.device) - luma
    turned = chroma.expand(dice.n, c, c)
    if c >= 3:
        a, b = _hue_plane(dice, chroma)
        stay, turn = a @ a.mT + b @ b.mT, b @ a.mT - a @ b.mT
        turned = turned + (angle.cos() - 1) * stay + angle.sin() * turn
    linear = flip * luma + saturation * turned
    return contrast * torch.cat([linear, (flip * brightness).expand(dice.n, c, 1)], dim=2)


def _hue_plane(dice: _Dice, chroma: Tensor) -> tuple[Tensor, Tensor]:
    """Return two orthonormal axes (n or 1, c, 1) orthogonal to luma.

    With four or more channels they are random.
    """
    c = len(chroma)
    if c == 3:
        # This choice makes the rotation right-handed about luma: a x b = v.
        a = chroma[:, :1] / chroma[:, :1].norm()
        b = (chroma[:, 1:2] - chroma[:, 2:]) / math.sqrt(2)
        return a[None], b[None]
    axes = torch.randn((2, dice.n, c, 1), device=dice.device, generator=dice.random)
    a, b = chroma @ axes
    a = a / a.norm(dim=1, keepdim=True)
    b = b - a * (a * b).sum(dim=1, keepdim=True)
    return a, b / b.norm(dim=1, keepdim=True)


def _bands(dice: _Dice, p: float, has: frozenset[str]) -> Tensor:
    """Return the gains (n, 4) of the bands, which keep the expected power of an image at one."""
    chosen = dice.chosen(p, ("filter",) * len(BAND_POWER), has)
    gains = torch.exp2(dice.normal(len(BAND_POWER)) * BAND_SD * chosen)
    power = 1 + _row(BAND_POWER, dice.device) * (gains**2 - 1)
    return gains * power.prod(dim=1, keepdim=True).rsqrt()
