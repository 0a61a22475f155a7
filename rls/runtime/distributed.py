"""One training in several processes, a device each (torchrun), or in one.

Rank r of R takes rows r, r + R, ... of every joint batch: then groups of the minibatch standard
deviation (image i belongs to group i mod n/g) lie within one process, and the gradients, averaged
over processes, are those of the joint batch. Everything random is drawn for the joint batch from
streams that all processes share, so nothing needs to be sent but gradients and three sums.
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

TIMEOUT = datetime.timedelta(minutes=10)  # a process that is left alone stops after this


@dataclass(frozen=True)
class Processes:
    """This process among those of one training."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and the log."""
        return self.rank == 0

    @property
    def rows(self) -> slice:
        """Rows of a joint batch that are this process's."""
        return slice(self.rank, None, self.count)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its mean over processes; one message for all of them."""
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
        """Sum over processes, not differentiable; `values` is not changed."""
        values = values.clone()
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def mean(self, value: Tensor) -> Tensor:
        """Mean over processes, differentiable: each gets the gradient of all losses."""
        if self.count == 1:
            return value
        return torch.distributed.nn.all_reduce(value) / self.count

    def agree(self, numbers: Sequence[float], device: torch.device) -> bool:
        """Whether all processes hold the same numbers; the answer is the same in all."""
        if self.count == 1:
            return True
        mine = torch.tensor([*numbers, *(-x for x in numbers)], dtype=torch.float64, device=device)
        dist.all_reduce(mine, dist.ReduceOp.MAX)
        greatest, least = mine.chunk(2)
        return torch.equal(greatest, -least)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag of any process is set; the answer is the same in all."""
        if self.count == 1:
            return flag
        mine = torch.tensor(int(flag), device=device)
        dist.all_reduce(mine, dist.ReduceOp.MAX)
        return bool(mine)

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.count > 1:
            dist.barrier()


@contextlib.contextmanager
def started(device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun started, or one alone. Chooses the GPU of this process.

    Raises InputError if there are more processes than GPUs.
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
