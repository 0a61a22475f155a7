"""Cells of the two controls, and batches of them for the treatment classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rls.io import Intensity, Stack, read_intensity, read_stack
from rls.io.splits import Use, rows_for
from rls.networks.classifier import SMALLEST_SIDE
from rls.runtime.errors import InputError
from rls.runtime.transfer import as_floats, fits, signed, upload


@dataclass(frozen=True)
class Cells:
    """Images of the two controls with their labels.

    Attributes:
        images: (n, c, y, x) in counts.
        labels: (n,), 0 for the negative and 1 for the positive control.
        intensity: The scale of the counts.
        splits: The splits that they are of.
    """

    images: np.ndarray
    labels: np.ndarray
    intensity: Intensity
    splits: tuple[str, ...]


class Batches:
    """Batches of cells on a device.

    A GPU keeps all counts where they take at most a quarter of its free memory. Else batches are
    read and scaled on the host.

    Arguments:
        store: Whether the device keeps all counts; None to decide by its memory.

    Attributes:
        labels: The labels of all cells (n,).
    """

    def __init__(self, cells: Cells, device: torch.device, *, store: bool | None = None) -> None:
        self.cells, self.device = cells, device
        self.labels = upload(cells.labels, device)
        self.stored: Tensor | None = None
        if fits(cells.images.nbytes, device) if store is None else store:
            self.stored = torch.from_numpy(signed(cells.images)).to(device)
            levels = cells.intensity.levels()
            self.black, self.span = (torch.from_numpy(level).to(device) for level in levels)

    def __len__(self) -> int:
        return len(self.cells.images)

    def images(self, rows: np.ndarray) -> Tensor:
        """Return the images (n, c, y, x) of ``rows`` in unit intensity."""
        if self.stored is None:
            return upload(self.cells.intensity.to_unit(self.cells.images[rows]), self.device)
        counts = self.stored.index_select(0, upload(rows, self.device))
        return (as_floats(counts) - self.black) / self.span


def read_assay(
    stack_path: Path, intensity_path: Path, more: Path | None = None
) -> tuple[Stack, Intensity]:
    """Return (stack, intensity scale) of one assay.

    Arguments:
        more: Another stack of such images, whose cells follow.

    Raises:
        InputError: Their channels differ, or the images are smaller than 4 px.
    """
    stack, intensity = read_stack(stack_path), read_intensity(intensity_path)
    if more is not None:
        stack = stack.with_others(read_stack(more))
    if intensity.channels != stack.channels:
        raise InputError(
            f"{intensity_path} is of the channels {', '.join(intensity.channels)} and {stack_path} "
            f"of {', '.join(stack.channels)}. Give files of one assay."
        )
    if min(stack.images.shape[-2:]) < SMALLEST_SIDE:
        raise InputError(
            f"{stack_path} has images of {stack.images.shape[-2]} x {stack.images.shape[-1]} px; "
            f"the classifier needs at least {SMALLEST_SIDE} px. Choose a smaller factor."
        )
    return stack, intensity


def cells_for(use: Use, stack: Stack, intensity: Intensity, controls: tuple[str, str]) -> Cells:
    """Return the cells of the two controls that may serve ``use``.

    Raises:
        InputError: The stack has no split or no treatment, or one of the controls has fewer than
            two cells.
    """
    if "treatment" not in stack.table:
        raise InputError(
            f"The table of the stack has no column 'treatment'; it has "
            f"{', '.join(stack.table.columns)}. Run the rule that writes the stack again."
        )
    here = rows_for(use, stack.table, "The stack")
    treatments = stack.table["treatment"].to_numpy()[here]
    for name in controls:
        count = int((treatments == name).sum())
        if count < 2:
            raise InputError(
                f"The split '{use}' has {count} cells of the treatment '{name}', expected at "
                f"least 2. Treatments there: {', '.join(sorted(set(treatments)))}. Give it "
                f"cells of both controls in the section select_cells (counts, shares or plates)."
            )
    kept = np.isin(treatments, controls)
    labels = (treatments[kept] == controls[1]).astype(np.int64)
    return Cells(stack.images[here[kept]], labels, intensity, use.splits)


def channel_moments(cells: Cells, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and sd (c,) of each channel over all pixels, in unit intensity.

    Raises:
        InputError: A channel is constant.
    """
    total, square, count = 0.0, 0.0, 0
    for start in range(0, len(cells.images), batch_size):
        unit = cells.intensity.to_unit(cells.images[start : start + batch_size]).astype(np.float64)
        total = total + unit.sum(axis=(0, 2, 3))
        square = square + (unit**2).sum(axis=(0, 2, 3))
        count += unit.shape[0] * unit.shape[2] * unit.shape[3]
    mean = np.asarray(total) / count
    sd = np.sqrt(np.maximum(np.asarray(square) / count - mean**2, 0.0))
    if (sd == 0).any():
        blank = ", ".join(np.asarray(cells.intensity.channels)[sd == 0])
        raise InputError(f"Every training image is constant in the channel {blank}.")
    return mean, sd
