"""Move batches between the host and a GPU without making either wait for the other."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor

AHEAD = 2  # Batches that the host prepares before it waits for a GPU.
MOST_PINNED = 1 << 30  # Bytes of pinned memory for one result; more is copied batch by batch.


def upload(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Return ``values`` on ``device``; a copy to a GPU is queued behind its work."""
    tensor = torch.as_tensor(values)
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Gathered:
    """Results of batches, on their way to the host's memory.

    Arguments:
        n: Rows of all batches together; rows beyond are left out.
    """

    def __init__(self, n: int) -> None:
        self.n, self.done = n, 0
        self._result: Tensor | None = None
        self._events: deque[torch.cuda.Event] = deque()

    def add(self, part: Tensor) -> int:
        """Take the rows of a batch (k, ...); return how many were taken.

        The host waits only while a GPU is more than two batches behind.
        """
        part = part[: self.n - self.done].detach()
        if self._result is None:
            size = self.n * part[:1].numel() * part.element_size()
            self._result = torch.empty(
                (self.n, *part.shape[1:]),
                dtype=part.dtype,
                pin_memory=part.is_cuda and size <= MOST_PINNED,
            )
        self._result[self.done : self.done + len(part)].copy_(part, non_blocking=True)
        self.done += len(part)
        if part.is_cuda:
            self._events.append(torch.cuda.current_stream(part.device).record_event())
            if len(self._events) > AHEAD:
                self._events.popleft().synchronize()
        return len(part)

    def result(self) -> Tensor:
        """Return all rows (n, ...) on the CPU, once they have arrived.

        Raises:
            ValueError: Rows are missing.
        """
        while self._events:
            self._events.popleft().synchronize()
        if self._result is None or self.done != self.n:
            raise ValueError(f"Found {self.done} rows, expected {self.n}.")
        return self._result
