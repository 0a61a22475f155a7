"""Everything random about the augmentation of one batch of images.

Karras et al. 2020, "Training generative adversarial networks with limited data", appendix B: 18
augmentations, each chosen per image with probability p. How many random numbers are drawn, and in
which order, depends neither on p nor on what is chosen.

Colour is written for any number c of channels. Let v = (1, ..., 1) / sqrt(c) be the axis of luma
and P = I - v v^T. Brightness b, contrast k, luma flip f = 1 or -1, hue and saturation s then are

    y = C x + f k b (1, ..., 1)^T,    C = k (f v v^T + s R),

R = P turned by the hue's angle in a plane orthogonal to v. c = 3 leaves one such plane, and hue is
the turn about v of the paper; c >= 4 has many, one is drawn per image; c = 2 has none, and hue does
nothing; c = 1 has P = 0, and neither hue nor saturation acts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rls.runtime.errors import InputError

_BLIT = ("xflip", "rotate90", "xint")
_GEOMETRY = ("scale", "rotate", "aniso", "xfrac")
_COLOUR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
PIPELINES: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "blit": _BLIT,
    "geom": _GEOMETRY,
    "color": _COLOUR,
    "filter": ("filter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
    "bg": _BLIT + _GEOMETRY,
    "bgc": _BLIT + _GEOMETRY + _COLOUR,
    "bgcf": _BLIT + _GEOMETRY + _COLOUR + ("filter",),
    "bgcfn": _BLIT + _GEOMETRY + _COLOUR + ("filter", "noise"),
    "bgcfnc": _BLIT + _GEOMETRY + _COLOUR + ("filter", "noise", "cutout"),
}  # the names of the paper: pixel blitting, geometry, colour, filter, noise, cutout
# Strengths, appendix B. Images lie in [-1, 1].
TRANSLATION = 0.125  # of the side: limit of integer, sd of fractional translation
SCALE_SD = 0.2  # sd of log2 of the isotropic and of the anisotropic factor
BRIGHTNESS_SD = 0.2
CONTRAST_SD = 0.5  # of log2
SATURATION_SD = 1.0  # of log2
BAND_SD = 1.0  # of log2 of a band's gain
BAND_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # of natural images, low frequencies first
NOISE_SD = 0.1  # of the half-normal that the noise's own sd is drawn from
CUTOUT_SIDE = 0.5  # of the image's side


@dataclass(frozen=True)
class Draws:
    """What happens to each of n images; None where the pipeline has no such part."""

    matrices: Tensor | None = None  # (n, 2, 3): output pixel (x, y, 1) from the centre -> source
    colours: Tensor | None = None  # (n, c, c + 1): C and, in the last column, the offset
    bands: Tensor | None = None  # (n, 4): gains, low frequencies first
    noise: Tensor | None = None  # (n, c, y, x): added
    cutouts: Tensor | None = None  # (n, 3): centre x, y and side of the box, in sides of the image

    def __getitem__(self, rows: slice | Tensor) -> Draws:
        """The draws of some of the images."""
        parts = (self.matrices, self.colours, self.bands, self.noise, self.cutouts)
        return Draws(*(None if part is None else part[rows] for part in parts))


class _Dice:
    """Random numbers for n images; at a percentile, that of their distribution instead.

    The percentiles of normal numbers are those of a normal of sd 1 / sqrt(2), as in the paper's
    own program.
    """

    def __init__(self, n: int, random: torch.Generator, percentile: float | None) -> None:
        self.n, self.random, self.percentile = n, random, percentile
        self.device = random.device

    def uniform(self, k: int) -> Tensor:
        """(n, k) in [0, 1)."""
        out = torch.rand((self.n, k), device=self.device, generator=self.random)
        return out if self.percentile is None else torch.full_like(out, self.percentile)

    def normal(self, k: int) -> Tensor:
        """(n, k)."""
        out = torch.randn((self.n, k), device=self.device, generator=self.random)
        if self.percentile is None:
            return out
        return torch.full_like(out, 2 * self.percentile - 1).erfinv()

    def half_normal(self) -> Tensor:
        """(n, 1), not negative."""
        out = torch.randn((self.n, 1), device=self.device, generator=self.random).abs()
        return out if self.percentile is None else torch.full_like(out, self.percentile).erfinv()

    def chosen(self, p: float, names: tuple[str, ...], has: frozenset[str]) -> Tensor:
        """(n, k) of 0 and 1, 1 with probability p; 0 for the names that `has` does not hold."""
        shape = (self.n, len(names))
        dice = torch.rand(shape, device=self.device, generator=self.random)
        switches = _row(tuple(float(name in has) for name in names), self.device)
        return (dice < p * switches).to(dice.dtype)


@functools.lru_cache(maxsize=64)
def _row(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Constants that are copied to the device once."""
    return torch.tensor(values, device=device)


def draw(
    shape: tuple[int, int, int, int],
    p: float,
    pipeline: str,
    random: torch.Generator,
    *,
    percentile: float | None = None,
) -> Draws:
    """Draws for images of a shape (n, c, y, x), on the device of `random`.

    Each augmentation of the pipeline is chosen with probability p. percentile (0 to 1) sets every
    strength to that percentile of its distribution, for tests.
    """
    if pipeline not in PIPELINES:
        raise InputError(
            f'Found a pipeline of augmentations "{pipeline}", expected one of '
            f"{', '.join(PIPELINES)}. Set augmentations to one of these."
        )
    return draw_augmentations(shape, p, PIPELINES[pipeline], random, percentile=percentile)


def draw_augmentations(
    shape: tuple[int, int, int, int],
    p: float,
    names: Collection[str],
    random: torch.Generator,
    *,
    percentile: float | None = None,
) -> Draws:
    """As `draw`, with augmentations by their names as in `PIPELINES`."""
    n, c, height, width = shape
    dice = _Dice(n, random, percentile)
    has = frozenset(names)
    matrices = colours = bands = noise = cutouts = None
    if has & {*_BLIT, *_GEOMETRY}:
        matrices = _matrices(dice, (height, width), p, has)
    if has & {*_COLOUR}:
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
    """Flip, quarter turn, shift, scale, turn, anisotropic scale, turn, shift: their inverses.

    A turn is drawn before and after the anisotropic scale with probability 1 - sqrt(1 - p), so
    that any turn has probability p. At a percentile there is only the one before.
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
    # Whole numbers: an image without a free rotation keeps its axes exactly.
    linear = turned[:, 0].round() * torch.cat([1 - 2 * flips, torch.ones_like(flips)], 1)[..., None]
    shift = linear @ whole[..., None]
    linear = linear @ turned[:, 1] * torch.cat([1 / stretch, stretch], dim=1)[:, None]
    linear = linear @ turned[:, 2] / scale[..., None]
    return torch.cat([linear, -shift - linear @ part[..., None]], dim=2)


def _colours(dice: _Dice, c: int, p: float, has: frozenset[str]) -> Tensor:
    """The module's C and offset."""
    chosen = dice.chosen(p, _COLOUR, has)[:, :, None, None]
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
    """Two orthonormal axes (n or 1, c, 1), orthogonal to luma; random from four channels on."""
    c = len(chroma)
    if c == 3:
        # The turn is right-handed about luma: a x b = v.
        a = chroma[:, :1] / chroma[:, :1].norm()
        b = (chroma[:, 1:2] - chroma[:, 2:]) / math.sqrt(2)
        return a[None], b[None]
    axes = torch.randn((2, dice.n, c, 1), device=dice.device, generator=dice.random)
    a, b = chroma @ axes
    a = a / a.norm(dim=1, keepdim=True)
    b = b - a * (a * b).sum(dim=1, keepdim=True)
    return a, b / b.norm(dim=1, keepdim=True)


def _bands(dice: _Dice, p: float, has: frozenset[str]) -> Tensor:
    """Gains of the bands: one after another is changed, the expected power kept at one."""
    chosen = dice.chosen(p, ("filter",) * len(BAND_POWER), has)
    gains = torch.exp2(dice.normal(len(BAND_POWER)) * BAND_SD * chosen)
    power = 1 + _row(BAND_POWER, dice.device) * (gains**2 - 1)
    return gains * power.prod(dim=1, keepdim=True).rsqrt()
