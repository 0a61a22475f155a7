"""Training images: crops with a margin, rotated at random, cut to size and scaled to [-1, 1].

The order of the images and every random rotation are functions of (seed, step) alone, so a training
that is resumed sees exactly the images that it would have seen.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rls.io import Intensity, Stack
from rls.io.splits import TRAIN, Use, rows_for
from rls.runtime.errors import InputError
from rls.runtime.streams import stream
from rls.runtime.transfer import as_floats, signed


@dataclass(frozen=True)
class Choices:
    """The images of a batch, and how they are shown.

    Attributes:
        rows: Rows of the stack (n,).
        flips: Whether an image is flipped, (n,) bool.
        turns: (n,), angles in radians or numbers of quarter turns.
    """

    rows: np.ndarray
    flips: np.ndarray
    turns: np.ndarray


class TrainingImages:
    """Batches of the images of one split.

    Where the stored side is at least image_size * sqrt(2), images are rotated by any angle (bicubic
    interpolation) and flipped, else rotated by quarter turns and flipped.

    Arguments:
        stack: Cells with a column ``split`` in their table.
        intensity: Scale of the channels.
        image_size: Side of the training images in px.
        seed: Seed of order, rotations and flips.
        use: What the images serve; it decides their split.
        binning: Pixels of the stack, each way, that are averaged into one.

    Raises:
        InputError: There is no image of the split, the crops are smaller than ``image_size``, or
            the channels are not those of the intensity scale.
    """

    def __init__(
        self,
        stack: Stack,
        intensity: Intensity,
        image_size: int,
        seed: int,
        *,
        use: Use = TRAIN,
        binning: int = 1,
    ) -> None:
        if tuple(stack.channels) != tuple(intensity.channels):
            raise InputError(
                f"Found channels {', '.join(stack.channels)} in the cells and "
                f"{', '.join(intensity.channels)} in the intensity scale, expected the same. Run "
                "select_cells again."
            )
        self.rows = rows_for(use, stack.table, "The stack of cells", stage="select_cells")
        side = min(stack.images.shape[-2:]) // binning
        if side < image_size:
            raise InputError(
                f"Found crops of {side} px, expected at least image_size = {image_size} px. Crop "
                "larger cells (crop_cells) or train at a smaller image_size."
            )
        self.stack, self.intensity = stack, intensity
        self.image_size, self.seed, self.binning = image_size, seed, binning
        self.turns_freely = side >= image_size * math.sqrt(2)
        self._order: dict[int, np.ndarray] = {}
        self._scale: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def pixel_size_um(self) -> float:
        """The side of a pixel of the images in um."""
        return self.stack.pixel_size_um * self.binning

    @property
    def digest(self) -> str:
        """Return the blake2b digest of ids, digests of the pixels, intensity scale and binning."""
        table = self.stack.table.iloc[self.rows]
        content = [
            table["image_id"].tolist(),
            table["image_digest"].tolist(),
            self.intensity.as_dict(),
            *([self.binning] if self.binning > 1 else []),
        ]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()

    def batch(
        self, step: int, batch_size: int, device: torch.device, part: slice = slice(None)
    ) -> Tensor:
        """Return the images of a step (batch_size, c, image_size, image_size), in [-1, 1].

        They are not clipped.

        Arguments:
            part: Only these images of the batch are read and returned.
        """
        chosen = self.choices(step, batch_size, part)
        counts = torch.from_numpy(self.counts(chosen.rows)).to(device)
        flips, turns = (torch.from_numpy(x).to(device) for x in (chosen.flips, chosen.turns))
        return self.show(counts, flips, turns)

    def choices(self, step: int, batch_size: int, part: slice = slice(None)) -> Choices:
        """Return which images a step shows, and how they are turned.

        Arguments:
            part: Only these images of the batch are returned.
        """
        first = step * batch_size
        rows = np.array([self._row(first + i) for i in range(batch_size)[part]])
        random = stream(self.seed, f"step {step}", "train_gan turns")
        flips = random.integers(0, 2, batch_size)[part].astype(bool)
        if self.turns_freely:
            angles = random.uniform(0, 2 * math.pi, batch_size)[part].astype(np.float32)
            return Choices(rows, flips, angles)
        return Choices(rows, flips, random.integers(0, 4, batch_size)[part])

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Return the crops of these rows of the stack (n, c, y, x), as :meth:`show` takes them."""
        return signed(np.ascontiguousarray(self.stack.images[rows]))

    def show(self, counts: Tensor, flips: Tensor, turns: Tensor) -> Tensor:
        """Return crops as the networks see them: scaled to [-1, 1], turned, cut and flipped.

        Arguments:
            counts: Crops (n, c, y, x) that :meth:`counts` made.
            flips: (n,) bool.
            turns: (n,), angles in radians where images turn freely, else quarter turns.
        """
        black, span = self._levels(counts.device)
        images = binned((as_floats(counts) - black) / span * 2 - 1, self.binning)
        if self.turns_freely:
            images = rotated_crop(images, turns, self.image_size)
        else:
            images = quarter_turns(centre_crop(images, self.image_size), turns)
        return torch.where(flips[:, None, None, None], images.flip(3), images)

    def _levels(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return black and white - black of each channel in counts, (c, 1, 1)."""
        if device not in self._scale:
            black, span = (torch.from_numpy(x).to(device) for x in self.intensity.levels())
            self._scale[device] = (black, span)
        return self._scale[device]

    def _row(self, position: int) -> int:
        """Return the stack's row at a position of the sequence, which is reshuffled every epoch."""
        epoch, i = divmod(position, len(self.rows))
        if epoch not in self._order:
            random = stream(self.seed, f"epoch {epoch}", "train_gan order")
            self._order = {k: v for k, v in self._order.items() if k == epoch - 1}
            self._order[epoch] = random.permutation(self.rows)
        return int(self._order[epoch][i])


def binned(images: Tensor, binning: int) -> Tensor:
    """Return images (n, c, y, x) of which binning x binning pixels are averaged into one.

    Pixels that do not fill a bin are left out at the border, on both sides alike or one more at the
    end.
    """
    if binning == 1:
        return images
    whole = min(images.shape[-2:]) // binning * binning
    return F.avg_pool2d(centre_crop(images, whole), binning)


def centre_crop(images: Tensor, size: int) -> Tensor:
    """Return the central size x size pixels of images (n, c, y, x)."""
    top, left = ((side - size) // 2 for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def quarter_turns(images: Tensor, turns: Tensor) -> Tensor:
    """Return each image rotated by ``turns`` (n,) quarter turns counter-clockwise.

    It equals numpy.rot90 on (y, x) of square images (n, c, y, x).
    """
    source = _turned_pixels(images.shape[-1], images.device)[turns]
    return (
        images.flatten(2).gather(2, source[:, None].expand(-1, images.shape[1], -1)).view_as(images)
    )


@functools.cache
def _turned_pixels(side: int, device: torch.device) -> Tensor:
    """Return for 0 to 3 quarter turns where each pixel comes from (4, side * side)."""
    pixels = torch.arange(side * side).view(side, side)
    turned = [torch.rot90(pixels, k).flatten() for k in range(4)]
    return torch.stack(turned).to(device)


@functools.cache
def _centred_pixels(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return x (1, side) and y (side, 1) of the pixels of an image, counted from its centre."""
    axis = torch.arange(side, device=device, dtype=torch.float32) - (side - 1) / 2
    return axis[None], axis[:, None]


def rotated_crop(images: Tensor, angles: Tensor, size: int) -> Tensor:
    """Return central crops (n, c, size, size) of rotated images, by bicubic interpolation.

    Images are rotated about their centre, counter-clockwise as displayed. Crops of images with a
    side of at least size * sqrt(2) show no border.

    Arguments:
        images: (n, c, y, x).
        angles: (n,), in radians.
    """
    height, width = images.shape[-2:]
    x, y = _centred_pixels(size, images.device)
    cos, sin = torch.cos(angles)[:, None, None], torch.sin(angles)[:, None, None]
    from_x, from_y = cos * x - sin * y, sin * x + cos * y
    grid = torch.stack([from_x * (2 / width), from_y * (2 / height)], dim=3)
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False)
