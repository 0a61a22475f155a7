"""Find the cost of a training step: operations and memory from shapes, and measured time.

Nothing is written. A trainer that was timed cannot be used afterwards.
"""

from __future__ import annotations

import dataclasses
import math
import resource
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from rls.stylegan2.architecture import Architecture
from rls.stylegan2.networks import Precision
from rls.stylegan2.optimisation import update_average
from rls.stylegan2.settings import Settings
from rls.stylegan2.trainer import Trainer
from rls.stylegan2.training_images import TrainingImages

TIMED_STEPS = 2  # after one step to warm up
PATIENCE_S = 60.0  # longest time of all these steps; a slower CPU is timed with smaller batches
ADAPTIVE_P = 0.5  # p while timing, where p is adapted; at its initial 0 augmentation costs nothing
META = torch.device("meta")  # its tensors have a shape and no numbers


@dataclass(frozen=True)
class Phase:
    """A part of a step, done every ``every`` steps."""

    name: str
    every: int
    run: Callable[[], object]


@dataclass(frozen=True)
class Cost:
    """Work and memory of one phase, done every ``every`` steps.

    Attributes:
        flop: Floating-point operations of a batch.
        peak_bytes: Most bytes of activations and gradients that are alive at one time.
    """

    name: str
    every: int
    flop: int
    peak_bytes: int


@dataclass(frozen=True)
class Timing:
    """Mean seconds of each part of a step of ``batch_size`` images, and the peak memory.

    Attributes:
        cpu_share: Share of the time of its threads that the process got while it was timed.
    """

    seconds: dict[str, float]
    every: dict[str, int]
    batch_size: int
    peak_gib: float
    cpu_share: float = 1.0

    @property
    def images_per_second(self) -> float:
        """Return the real images shown per second, with rare phases averaged over the steps."""
        return self.batch_size / sum(s / self.every[name] for name, s in self.seconds.items())


def phases(trainer: Trainer) -> list[Phase]:
    """Return the phases that the settings ask for, ready to run on the trainer's inputs."""
    settings = trainer.settings
    found = [Phase("generator", 1, trainer.generator_phase)]
    if settings.path_length_weight > 0:
        found.append(Phase("path length", settings.path_length_interval, trainer.path_length_phase))
    found.append(Phase("discriminator", 1, trainer.discriminator_phase))
    if settings.r1_gamma:
        found.append(Phase("R1", settings.r1_interval, trainer.r1_phase))
    return found


class Counter(TorchDispatchMode):
    """Count the operations and the live memory of what runs in this context.

    Operations are counted by torch's formulas. Its own FlopCounterMode follows modules, too, and
    fails in second derivatives (torch 2.13).

    Attributes:
        flop: Operations of convolutions and matrix products.
        now: Bytes of the tensors made here that are alive.
        peak: Most such bytes at one time, without the scratch memory of operators.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = self.now = self.peak = 0
        self.alive: set[int] = set()

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Run an operator and count it."""
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flop += formula(*args, **(kwargs or {}), out_val=result)
        inputs = (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        before = {tensor.untyped_storage()._cdata for tensor in inputs}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._follow(leaf, before)
        return result

    def _follow(self, tensor: Tensor, before: set[int]) -> None:
        """Count the storage of a tensor until it is freed, unless it was an input's."""
        storage = tensor.untyped_storage()
        key, n_bytes = storage._cdata, storage.nbytes()
        if key in self.alive or key in before:
            return

        def free() -> None:
            self.alive.discard(key)
            self.now -= n_bytes

        self.alive.add(key)
        weakref.finalize(storage, free)
        self.now += n_bytes
        self.peak = max(self.peak, self.now)


def costs(
    settings: Settings, architecture: Architecture, data: TrainingImages, precision: Precision
) -> list[Cost]:
    """Return work and memory of each phase at the real batch size, from shapes alone.

    Convolutions and matrix products are counted, with a multiplication and an addition as two
    operations, and second derivatives as they are computed. Augmentation, activations and
    optimisers are not counted: they are memory traffic with few operations.
    """
    plain = dataclasses.replace(settings, augmentations="none")
    found = []
    trainer = Trainer(plain, architecture, data, META, precision)
    # Fused Adam cannot handle such tensors, and is not counted.
    for name in ("generator_optimizer", "discriminator_optimizer"):
        groups = getattr(trainer, name).param_groups
        setattr(trainer, name, torch.optim.SGD(groups[0]["params"], 0.0))
    counter = Counter()
    with counter:
        for phase in phases(trainer):
            counter.flop, counter.peak = 0, counter.now  # live tensors stay counted
            phase.run()
            found.append(Cost(phase.name, phase.every, counter.flop, counter.peak))
    return found


def flop_per_image(settings: Settings, work: Sequence[Cost]) -> float:
    """Return the operations per real image shown, with rare phases averaged over the steps."""
    return sum(c.flop / c.every for c in work) / settings.batch_size


def n_parameters(module: nn.Module, *, trained: bool = False) -> int:
    """Return the number of parameters of a module, either all or those that are trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


def measure_steps(trainer: Trainer) -> Timing:
    """Return the timing of real steps of a new trainer, which cannot be used afterwards.

    On a CPU where the steps would take longer than a minute, the batch is the smallest that the
    settings allow.

    Raises:
        torch.OutOfMemoryError: The GPU is too small.
    """
    settings, device = trainer.settings, trainer.device
    if settings.adaptive:
        trainer.augment_p = ADAPTIVE_P
    smallest = math.lcm(
        min(settings.mbstd_group_size, settings.batch_size), settings.path_length_batch_shrink
    )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif smallest < settings.batch_size:
        small = dataclasses.replace(settings, batch_size=smallest)
        architecture = trainer.generator.architecture
        other = Trainer(small, architecture, trainer.data, device, trainer.precision)
        other.augment_p = trainer.augment_p
        timing = time_steps(other, 1)
        ratio = settings.batch_size / smallest
        if sum(timing.seconds.values()) * ratio * (1 + TIMED_STEPS) > PATIENCE_S:
            return timing
    return time_steps(trainer, TIMED_STEPS)


def time_steps(trainer: Trainer, n_steps: int) -> Timing:
    """Return the mean time of every part of a step over n_steps, after one step to warm up."""
    settings, device = trainer.settings, trainer.device

    def inputs() -> None:
        trainer.inputs.forget()
        trainer.fill_inputs()

    parts = [
        Phase("inputs", settings.augment_interval, inputs),
        Phase("images", 1, trainer.image_phase),
        *phases(trainer),
        Phase("average", 1, lambda: update_average(trainer.average, trainer.generator, 0.999)),
    ]
    seconds, cpu_seconds = {}, 0.0
    for part in parts:
        part.run()
        _wait_for(device)
        started, cpu_started = time.monotonic(), time.process_time()
        for _ in range(n_steps):
            part.run()
        _wait_for(device)
        seconds[part.name] = (time.monotonic() - started) / n_steps
        cpu_seconds += (time.process_time() - cpu_started) / n_steps
    share = cpu_seconds / (sum(seconds.values()) * torch.get_num_threads())
    every = {part.name: part.every for part in parts}
    return Timing(seconds, every, settings.batch_size, memory_gib(device), min(share, 1.0))


def _wait_for(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory_gib(device: torch.device) -> float:
    """Return the peak memory so far in GiB: that of a GPU, or that of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
