"""One training in several processes with a device each (torchrun), or in one process.

Rank r of R takes the rows r, r + R, ... of every joint batch. Each group of the minibatch standard
deviation (image i belongs to group i mod n/g) then lies within one process, and the gradients,
averaged over processes, are those of the joint batch. Every random number is drawn for the joint
batch from streams that all processes share, so that only gradients and three sums are sent.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.distributed.nn
from torch import Tensor

from rls.runtime.errors import InputError

TIMEOUT = datetime.timedelta(minutes=10)  # How long a process waits for the others.


@dataclass(frozen=True)
class Processes:
    """This process among the processes of one training.

    Attributes:
        rank: Number of this process, from 0.
        count: Number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Return whether this process writes files and the log."""
        return self.rank == 0

    @property
    def rows(self) -> slice:
        """Return the rows of a joint batch that belong to this process."""
        return slice(self.rank, None, self.count)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its mean over processes, in one message for all gradients."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over processes, which is not differentiable; ``values`` is unchanged."""
        values = values.clone()
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def mean(self, value: Tensor) -> Tensor:
        """Return the differentiable mean over processes; each gets the gradient of all losses."""
        if self.count == 1:
            return value
        return torch.distributed.nn.all_reduce(value) / self.count

    def agree(self, numbers: Sequence[float], device: torch.device) -> bool:
        """Return whether all processes hold the same numbers; all get the same answer."""
        if self.count == 1:
            return True
        mine = torch.tensor([*numbers, *(-x for x in numbers)], dtype=torch.float64, device=device)
        dist.all_reduce(mine, dist.ReduceOp.MAX)
        greatest, least = mine.chunk(2)
        return torch.equal(greatest, -least)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether any process has its flag set; all get the same answer."""
        if self.count == 1:
            return flag
        mine = torch.tensor(int(flag), device=device)
        dist.all_reduce(mine, dist.ReduceOp.MAX)
        return bool(mine)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()


@contextlib.contextmanager
def started(device: torch.device) -> Iterator[Processes]:
    """Yield the processes that torchrun started, or one alone, and choose this process's GPU.

    Raises:
        InputError: There are more processes than GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    local = int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise InputError(
                f"Found {torch.cuda.device_count()} GPUs for process {local}, expected one each. "
                "Start torchrun with --nproc-per-node of the number of GPUs."
            )
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
