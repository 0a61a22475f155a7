"""What a step of training costs: operations and memory counted from shapes, time on the device.

Nothing is written, and a trainer that was timed is of no use afterwards.
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
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from rls.runtime.streams import torch_stream
from rls.stylegan2.data import TrainingImages
from rls.stylegan2.networks import Architecture, Precision
from rls.stylegan2.settings import Settings
from rls.stylegan2.training import Trainer, update_average

TIMED_STEPS = 2  # after one that warms up
PATIENCE_S = 60.0  # for all of them; a slower CPU is timed with smaller batches
ADAPTIVE_P = 0.5  # augmentation while timing, where p is adapted: it starts at 0, where it is free
META = torch.device("meta")  # of tensors that have a shape and no numbers


@dataclass(frozen=True)
class Phase:
    """A part of a step, done every `every` steps."""

    name: str
    every: int
    run: Callable[[], Any]


@dataclass(frozen=True)
class Cost:
    """Work and memory of one phase: floating-point operations of a batch, and the most bytes of
    activations and gradients at one time.
    """

    name: str
    every: int
    flop: int
    peak_bytes: int


@dataclass(frozen=True)
class Timing:
    """Mean seconds of each part of a step of `batch_size` images, and the peak of memory."""

    seconds: dict[str, float]
    every: dict[str, int]
    batch_size: int
    peak_gib: float
    cpu_share: float = 1.0  # of its threads' time that the process had while it was timed

    @property
    def images_per_second(self) -> float:
        """Real images shown a second, rare phases shared out over the steps."""
        return self.batch_size / sum(s / self.every[name] for name, s in self.seconds.items())


def phases(trainer: Trainer, real: Tensor) -> list[Phase]:
    """The phases of a step that the settings ask for, ready to run on real images in [-1, 1]."""
    settings = trainer.settings
    random: Any = None  # of tensors without numbers there is nothing to draw
    if trainer.device != META:
        random = torch_stream(settings.seed, "plan", "train_gan", trainer.device)
    found = [Phase("generator", 1, lambda: trainer._generator_phase(random))]
    if settings.path_length_weight > 0:
        every = settings.path_length_interval
        found.append(Phase("path length", every, lambda: trainer._path_length_phase(random)))
    found.append(Phase("discriminator", 1, lambda: trainer._discriminator_phase(real, random)))
    if settings.r1_gamma:
        found.append(Phase("R1", settings.r1_interval, lambda: trainer._r1_phase(real, random)))
    return found


class Counter(TorchDispatchMode):
    """Counts what runs within it: `flop` of convolutions and matrix products, and live memory.

    `peak` is the most bytes of tensors made within it that were alive at one time, without what an
    operator takes for itself. torch's formulas; its own FlopCounterMode follows modules too, which
    fails in a derivative of a derivative (torch 2.13).
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = self.now = self.peak = 0
        self.alive: set[int] = set()

    def start_phase(self) -> None:
        """Count anew; what is alive stays counted."""
        self.flop, self.peak = 0, self.now

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flop += formula(*args, **(kwargs or {}), out_val=result)
        before = {tensor.untyped_storage()._cdata for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(result):
            self._follow(tensor, before)
        return result

    def _follow(self, tensor: Tensor, before: set[int]) -> None:
        """Count a tensor's storage until it is freed, unless an input brought it."""
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


def _tensors(values: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def costs(
    settings: Settings, architecture: Architecture, data: TrainingImages, precision: Precision
) -> list[Cost]:
    """Work and memory of each phase at the real batch size, from shapes alone.

    Convolutions and matrix products are counted, a multiplication and an addition as 2; second
    derivatives as they are computed. Augmentation, activations and optimisers are not: they are
    memory traffic, and few operations.
    """
    plain = dataclasses.replace(settings, augmentations="none")
    found = []
    trainer = Trainer(plain, architecture, data, META, precision)
    # Adam's fused steps know no such tensors, and are no part of what is counted.
    for name in ("generator_optimizer", "discriminator_optimizer"):
        groups = getattr(trainer, name).param_groups
        setattr(trainer, name, torch.optim.SGD(groups[0]["params"], 0.0))
    size = architecture.image_size
    real = torch.empty((settings.batch_size, architecture.n_channels, size, size), device=META)
    counter = Counter()
    with counter:
        for phase in phases(trainer, real):
            counter.start_phase()
            phase.run()
            found.append(Cost(phase.name, phase.every, counter.flop, counter.peak))
    return found


def measured(trainer: Trainer) -> Timing:
    """Times real steps of a fresh trainer: it is of no use afterwards.

    On a CPU where they would take longer than a minute, at the smallest batch that the settings
    allow. Raises torch.OutOfMemoryError on a GPU that is too small.
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
        trainer.settings = dataclasses.replace(settings, batch_size=smallest)
        timing = timed(trainer, 1)
        ratio = settings.batch_size / smallest
        if sum(timing.seconds.values()) * ratio * (1 + TIMED_STEPS) > PATIENCE_S:
            return timing
        trainer.settings = settings
    return timed(trainer, TIMED_STEPS)


def timed(trainer: Trainer, n_steps: int) -> Timing:
    """Times every part of a step, the mean of n_steps after one that warms up."""
    settings, device = trainer.settings, trainer.device
    size = settings.batch_size
    real = trainer.data.batch(0, size, device, trainer.processes.rows)
    parts = [
        Phase("images", 1, lambda: trainer.data.batch(1, size, device, trainer.processes.rows)),
        *phases(trainer, real),
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
    return Timing(seconds, every, size, memory_gib(device), min(share, 1.0))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory_gib(device: torch.device) -> float:
    """Peak memory so far in GiB: of the device, or of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
