"""Training crops on the device, from which each step takes its images."""

from __future__ import annotations

import numpy as np
import torch

from rls.runtime.transfer import fits, send
from rls.stylegan2.training_images import TrainingImages


class Crops:
    """The crops of coming steps on the device.

    They are all training crops where these take at most a quarter of a GPU's free memory, and else
    those of one block of steps.

    Arguments:
        n: Crops that a block of steps shows.

    Attributes:
        stored: (m, c, y, x), as :meth:`TrainingImages.counts` returns them.
    """

    def __init__(self, data: TrainingImages, device: torch.device, n: int) -> None:
        self.data = data
        one = data.counts(data.rows[:1])
        self.holds_all = fits(len(data) * one.nbytes, device)
        n = len(data) if self.holds_all else n
        kind = torch.from_numpy(one).dtype
        self.stored = torch.empty((n, *one.shape[1:]), dtype=kind, device=device)
        if self.holds_all:
            for first in range(0, n, 1024):
                rows = data.rows[first : first + 1024]
                send(data.counts(rows), self.stored[first : first + len(rows)])

    def place(self, rows: np.ndarray) -> np.ndarray:
        """Make crops available; return where they are in ``stored``, in the shape of ``rows``.

        Arguments:
            rows: Rows of the stack, of any shape; all that a block shows.
        """
        if self.holds_all:
            return np.searchsorted(self.data.rows, rows)
        send(self.data.counts(rows.ravel()), self.stored)
        return np.arange(rows.size).reshape(rows.shape)
