"""Describe a training and its cost before it begins (``train_gan --dry-run``).

The description has sizes, images, work, memory, disk and time, as lines to print. Nothing is
written, and no state folder is touched.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch

from rls.runtime.checkpoint import KEPT
from rls.runtime.graphs import why_not
from rls.runtime.progress import format_seconds
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.cost import (
    TIMED_STEPS,
    Cost,
    Timing,
    costs,
    flop_per_image,
    measure_steps,
    n_parameters,
)
from rls.stylegan2.networks import Precision
from rls.stylegan2.settings import Settings
from rls.stylegan2.trainer import Trainer
from rls.stylegan2.training_images import TrainingImages

FLOAT_BYTES = 4
# A machine is busy if the process gets less than this share of its threads' time; it gets more on
# two idle threads.
BUSY = 0.7


def as_bytes(n: float) -> str:
    """Return bytes as ``12.3 MiB`` or ``4.56 GiB``."""
    return f"{n / 2**30:.2f} GiB" if n >= 2**30 else f"{n / 2**20:.1f} MiB"


def describe(
    settings: Settings,
    architecture: Architecture,
    data: TrainingImages,
    device: torch.device,
    precision: Precision,
) -> str:
    """Return a description of the training and its cost, as lines to print.

    This takes a minute or two on a CPU, because real steps are run on a trainer that is then
    discarded.

    Arguments:
        settings: Settings with all numbers filled in (``fill_auto``).
    """
    work = costs(settings, architecture, data, precision)
    trainer = Trainer(settings, architecture, data, device, precision)
    size = checkpoint_bytes(trainer)
    timing: Timing | None
    try:
        timing = measure_steps(trainer)
    except torch.OutOfMemoryError:
        timing = None
    values = dataclasses.asdict(settings)
    width = max(map(len, values))
    sections = {
        "settings": [f"{k:{width}}  {'none' if v is None else v}" for k, v in values.items()],
        "networks": describe_networks(trainer),
        "images": describe_data(settings, data),
        "work": describe_work(settings, work),
        "memory": describe_memory(settings, size, work, timing, device),
        "disk": describe_disk(settings, size),
        "time": describe_time(settings, timing, work, device),
    }
    lines = ["train_gan, dry run: nothing is trained and nothing is written."]
    for name, content in sections.items():
        lines += ["", name, *(f"  {line}" for line in content)]
    return "\n".join(lines)


def describe_networks(trainer: Trainer) -> list[str]:
    """Return the numbers of parameters of both networks by resolution."""
    generator, discriminator = trainer.generator, trainer.discriminator
    a = generator.architecture
    table = [("", "feature maps", "generator", "discriminator")]
    table.append(("mapping", "", f"{n_parameters(generator.mapping):,}", ""))
    for r in a.resolutions:
        blocks = [net.get_submodule(f"b{r}") for net in (generator.synthesis, discriminator)]
        counts = [f"{n_parameters(block):,}" for block in blocks]
        table.append((f"{r} px", str(a.features(r)), counts[0], counts[1]))
    totals = [f"{n_parameters(net):,}" for net in (generator, discriminator)]
    table.append(("total", "", totals[0], totals[1]))
    return [f"{row[0]:8}" + "".join(f"{cell:>15}" for cell in row[1:]) for row in table]


def describe_data(settings: Settings, data: TrainingImages) -> list[str]:
    """Return the number of crops, their rotation, and how often each is shown."""
    side, size = min(data.stack.images.shape[-2:]) // data.binning, settings.image_size
    needed = math.ceil(size * math.sqrt(2))
    turns = (
        f"turned by any angle (at least {needed} px are needed)"
        if data.turns_freely
        else f"turned by quarters only (crops of at least {needed} px are turned by any angle)"
    )
    shown = settings.total_kimg * 1000 / len(data)
    return [
        f"{len(data):,} crops of {side} px, channels {', '.join(data.stack.channels)}, for images "
        f"of {size} px: a margin of {(side - size) / 2:g} px on each side",
        f"{turns}, and flipped; each is shown {shown:,.0f} times",
    ]


def describe_work(settings: Settings, work: Sequence[Cost]) -> list[str]:
    """Return the operations per image shown, by phase and in all."""
    per_image = {c.name: c.flop / settings.batch_size for c in work}
    lines = [
        f"{c.name:14}{per_image[c.name] / 1e9:10.4g} GFLOP per image of the batch"
        + (f", every {c.every} steps" if c.every > 1 else "")
        for c in work
    ]
    total = flop_per_image(settings, work)
    return [
        *lines,
        f"{'together':14}{total / 1e9:10.4g} GFLOP per image shown; "
        f"{total * settings.total_kimg * 1000 / 1e15:.4g} PFLOP in all",
        "counted: convolutions and matrix products with their derivatives, not augmentation",
    ]


def checkpoint_bytes(trainer: Trainer) -> int:
    """Return the bytes of all weights, of Adam's two moments and of the averaged generator."""
    trained = (trainer.generator, trainer.discriminator)
    moments = 2 * sum(n_parameters(net, trained=True) for net in trained)
    weights = sum(n_parameters(net) for net in (*trained, trainer.average))
    return FLOAT_BYTES * (moments + weights)


def describe_memory(
    settings: Settings,
    size: int,
    work: Sequence[Cost],
    timing: Timing | None,
    device: torch.device,
) -> list[str]:
    """Return the memory that follows from sizes and shapes, and the peak of the timed steps.

    Arguments:
        size: Bytes of a checkpoint.
    """
    if timing is None:
        total = torch.cuda.get_device_properties(device).total_memory
        peak = (
            f"a step does NOT fit into the {as_bytes(total)} of the GPU: lower batch_size, "
            "channel_base or channel_max, or share the batch among more GPUs (torchrun)"
        )
    else:
        whose = "the device" if device.type == "cuda" else "this process with its libraries"
        peak = f"{as_bytes(timing.peak_gib * 2**30)} at the peak of {whose} "
        peak += f"(measured, {basis(settings, timing)})"
    largest = max(work, key=lambda c: c.peak_bytes)
    return [
        f"{as_bytes(size)} for weights, Adam's two moments and the averaged generator (exact)",
        f"{as_bytes(largest.peak_bytes)} for activations and gradients in the largest phase, "
        f"{largest.name} (estimated from shapes, without augmentation and operators' scratch)",
        peak,
    ]


def describe_disk(settings: Settings, size: int) -> list[str]:
    """Return the size of the checkpoints, each of ``size`` bytes, and the number of pictures."""
    n_grids = math.ceil(settings.total_kimg / settings.evaluate_kimg)
    return [
        f"{as_bytes(size)} a checkpoint, every {settings.checkpoint_kimg:g} kimg; {KEPT} are kept: "
        f"{as_bytes((KEPT + 1) * size)} while one is written",
        f"{n_grids} grids of samples (every {settings.evaluate_kimg:g} kimg), and the curves",
    ]


def describe_time(
    settings: Settings, timing: Timing | None, work: Sequence[Cost], device: torch.device
) -> list[str]:
    """Return the expected time, and the measurements behind it."""
    if timing is None:
        return ["not measured: a step does not fit"]
    rate = timing.images_per_second
    parts = [
        f"{name:14}{seconds * 1000 / timing.batch_size:10.4g} ms per image of the batch"
        + (f", every {timing.every[name]} steps" if timing.every[name] > 1 else "")
        for name, seconds in timing.seconds.items()
    ]
    flops = flop_per_image(settings, work) * rate
    total = settings.total_kimg * 1000 / rate
    lines = [
        *parts,
        f"{format_seconds(total)} for {settings.total_kimg:g} kimg at {rate:.4g} images/s on one "
        f"{device.type} process: {flops / 1e9:.4g} GFLOP/s",
        f"from {basis(settings, timing)}; evaluations and checkpoints not counted",
    ]
    if not why_not(device, settings.cuda_graphs, 1):
        lines.append("the training replays CUDA graphs, and so loses less time between its kernels")
    if device.type == "cpu" and timing.cpu_share < BUSY:
        lines.append(
            f"this process had {timing.cpu_share:.0%} of its threads' time: other programs slow "
            f"it, and alone it may take {format_seconds(total * timing.cpu_share)}"
        )
    return lines


def basis(settings: Settings, timing: Timing) -> str:
    """Return how many steps of how many images a timing is based on."""
    whole = timing.batch_size == settings.batch_size
    n = TIMED_STEPS if whole else 1
    text = f"{n} step{'s' if n > 1 else ''} of {timing.batch_size} images after one to warm up"
    if not whole:
        text += f", because {settings.batch_size} would take over a minute"
    return text
