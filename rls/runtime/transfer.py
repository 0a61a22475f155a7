"""Move batches between the host and a GPU without making either wait for the other."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor

AHEAD = 2  # Batches that the host prepares before it waits for a GPU.
MOST_PINNED = 1 << 30  # Bytes of pinned memory for one result; more is copied batch by batch.
STORED_SHARE = 0.25  # Share of a GPU's free memory that input data may take.
SIGN = 32768  # The value of the highest of 16 bits.


def fits(n_bytes: int, device: torch.device) -> bool:
    """Return whether data take at most a quarter of a GPU's free memory; never on a CPU."""
    if device.type != "cuda":
        return False
    return n_bytes <= STORED_SHARE * torch.cuda.mem_get_info(device)[0]


def signed(counts: np.ndarray) -> np.ndarray:
    """Return counts as a GPU can store and index them.

    Few operators of a GPU take unsigned 16-bit numbers, so these are returned less 32768.
    """
    if counts.dtype == np.int16:
        return counts.astype(np.int32)
    if counts.dtype != np.uint16:
        return counts
    return np.ascontiguousarray(counts).view(np.int16) ^ np.int16(-SIGN)


def as_floats(counts: Tensor) -> Tensor:
    """Return float32 counts of what :func:`signed` returned; they are exact."""
    return counts.float() + SIGN if counts.dtype == torch.int16 else counts.float()


def upload(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Return ``values`` on ``device``; a copy to a GPU is queued behind its work."""
    tensor = torch.as_tensor(values)
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def send(values: np.ndarray, target: Tensor) -> None:
    """Copy ``values`` into ``target``, as :func:`upload` does into a new tensor."""
    source = torch.from_numpy(values)
    # The allocator of pinned memory keeps the source until the copy has been made.
    target.copy_(source.pin_memory() if target.is_cuda else source, non_blocking=True)


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
