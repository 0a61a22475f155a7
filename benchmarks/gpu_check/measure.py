"""Times, kernels and memory of what runs on a GPU, or on a CPU where the check itself is tested."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, supported_activities
from torch.utils._python_dispatch import TorchDispatchMode

Function = Callable[[], object]


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(function: Function, device: torch.device, repeats: int = 1, warm_up: int = 0) -> float:
    """Return the mean seconds of a call, all calls together, after some that are not timed."""
    for _ in range(warm_up):
        function()
    wait_for(device)
    started = time.perf_counter()
    for _ in range(repeats):
        function()
    wait_for(device)
    return (time.perf_counter() - started) / repeats


def free(device: torch.device) -> None:
    """Give unused memory back, and count the peak of the memory anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def kernel_names(function: Function, device: torch.device) -> list[str]:
    """Return the name of every kernel that a call runs; of every operator on a CPU.

    A GPU's profiler sees kernels in CUDA graphs, too. Where it may not look, the list is empty.
    """
    if device.type != "cuda":
        operators = Operators()
        with operators:
            function()
        return operators.names
    if ProfilerActivity.CUDA not in supported_activities():
        return []
    wait_for(device)
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        function()
        wait_for(device)
    events: Sequence[Any] = seen.events() or ()
    return [e.name for e in events if e.device_type == torch.autograd.DeviceType.CUDA]


class Operators(TorchDispatchMode):
    """Notes the name of every operator."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))
