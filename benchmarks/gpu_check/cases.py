"""Networks, images and trainers of the check, in the sizes of a GPU or in tiny ones for a CPU."""

from __future__ import annotations

import dataclasses
import math
import typing
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.gpu_check.measure import Function, kernel_names, seconds, wait_for
from benchmarks.gpu_check.report import Report, Row
from benchmarks.training_step import noise_images
from rls.runtime.command import convert, make_settings
from rls.stylegan2.architecture import Architecture, architecture_of
from rls.stylegan2.cost import memory_gib
from rls.stylegan2.networks import Precision
from rls.stylegan2.settings import Settings
from rls.stylegan2.trainer import Trainer
from rls.stylegan2.training_images import TrainingImages

CONFIG = Path(__file__).resolve().parents[2] / "config" / "config.yaml"
SIZES = {
    "small64": {
        "image_size": 64, "batch_size": 32, "z_dim": 128, "w_dim": 128, "mapping_layers": 2,
        "channel_base": 2048, "channel_max": 128, "learning_rate": 0.0025, "r1_gamma": 0.05,
    },
    "article": {
        "image_size": 128, "batch_size": 128, "z_dim": 512, "w_dim": 512, "mapping_layers": 8,
        "channel_base": 16384, "channel_max": 512, "learning_rate": 0.002, "r1_gamma": 10.0,
    },
}  # fmt: skip
N_CHANNELS = {"small64": 2, "article": 3}
TINY = {
    "image_size": 8, "batch_size": 4, "z_dim": 8, "w_dim": 8, "mapping_layers": 2,
    "channel_base": 64, "channel_max": 8, "mbstd_group_size": 2,
}  # fmt: skip
# The least milliseconds a real image that were calculated for an H200: arithmetic at the rates of
# its tensor cores, and one pass over memory between two convolutions. For the small network it is
# the arithmetic alone, which its thousands of kernels hide.
FLOOR_MS = {"small64": 0.2 / 32, "article": 0.60}
P = 0.3  # probability of augmentations while times are taken
MANY = 16  # steps whose mean is the time of a step: the period of the rarest phase


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where the check runs.

    Attributes:
        tiny: Whether the networks are tiny, for a test. Nothing is measured then.
        quick: Whether to repeat less.
    """

    device: torch.device
    tiny: bool = False
    quick: bool = False

    @property
    def on_gpu(self) -> bool:
        """Return whether there are CUDA graphs and TF32."""
        return self.device.type == "cuda"

    @property
    def precision(self) -> Precision:
        """Return the precision of the convolutions in training."""
        return "bfloat16" if self.on_gpu else "float32"


def settings_of(machine: Machine, name: str, **changes: Any) -> Settings:
    """Return the settings of a training: those of the configuration file but for the sizes."""
    values = {
        **{"seed": 1, "device": machine.device.type, "threads": torch.get_num_threads()},
        **{"cuda_graphs": "auto", "compile": "off"},
        **yaml.safe_load(CONFIG.read_text())["train_gan"],
        **SIZES[name],
        **changes,
        **(TINY if machine.tiny else {}),
    }
    hints = typing.get_type_hints(Settings)
    kinds = {key: convert(value, hints[key], key) for key, value in values.items()}
    return make_settings(Settings, kinds, "train_gan")


def architecture(machine: Machine, name: str) -> Architecture:
    """Return the sizes of a generator."""
    return architecture_of(settings_of(machine, name), N_CHANNELS[name])


def make_trainer(machine: Machine, name: str, *, recorded: bool, **changes: Any) -> Trainer:
    """Return a trainer on images of noise."""
    settings = settings_of(machine, name, cuda_graphs="auto" if recorded else "off", **changes)
    n = max(64, 2 * settings.batch_size)
    stack, scale = noise_images(N_CHANNELS[name], settings.image_size, n)
    data = TrainingImages(stack, scale, settings.image_size, settings.seed)
    return Trainer(
        settings, architecture_of(settings, N_CHANNELS[name]), data, machine.device,
        machine.precision,
    )  # fmt: skip


def run_steps(trainer: Trainer, n: int) -> None:
    """Run steps on the trainer's own stream, and wait for them."""
    with trainer.recorder.stream():
        for _ in range(n):
            trainer.run_step()
    wait_for(trainer.device)


def time_training(
    machine: Machine, report: Report, name: str, trainer: Trainer, form: str, *, kernels: bool
) -> None:
    """Add a row with the mean of the steps of a trainer that is warmed up."""
    n = 4 if machine.tiny else MANY
    batch = trainer.settings.batch_size
    trainer.step = 0
    trainer.inputs.forget()  # so that the first step begins a block, as in a training
    taken = seconds(lambda: run_steps(trainer, n), machine.device) / n
    report.row(
        Row(
            f"training, {name}, batch {batch}",
            form,
            1e3 * taken,
            batch / taken,
            math.nan if machine.tiny else FLOOR_MS[name] * batch,
            kernels_a_step(trainer) if kernels else math.nan,
            memory_gib(machine.device),
        )
    )


def kernels_a_step(trainer: Trainer) -> float:
    """Return the mean number of kernels of a step; NaN where they cannot be seen.

    It follows from three steps: one without R1, one of all phases, and one without both penalties.
    The first two begin a block of augmentations.
    """
    settings = trainer.settings
    often, rare = settings.path_length_interval, settings.r1_interval
    assert often == settings.augment_interval and rare % often == 0
    counts = []
    for step in (often, 0, 1):
        trainer.step = step
        if step != 1:
            trainer.inputs.forget()
        counts.append(len(kernel_names(lambda: run_steps(trainer, 1), trainer.device)))
    shares = 1 / often - 1 / rare, 1 / rare, 1 - 1 / often
    if not all(counts):
        return math.nan
    return sum(count * share for count, share in zip(counts, shares, strict=True))


def without_waiting(machine: Machine, function: Function) -> str:
    """Run a function in which nothing may wait for the GPU; return what waited, or ""."""
    if not machine.on_gpu:
        function()
        return ""
    torch.cuda.set_sync_debug_mode("error")
    try:
        function()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return ""
