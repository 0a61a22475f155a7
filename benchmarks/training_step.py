"""Compare the speed of a training step of the generator with its textbook form, in one run.

The textbook form has a weight per sample, grouped convolutions, float32, channels first,
augmentations by two-dimensional filters over inserted zeros, separate passes of the discriminator
for real and for generated images, and memory as the C library and torch give it. The four phases
are timed one by one, alternating between both forms, and added up as in a training: path length
every 4 steps, R1 every 16. Each form has a process of its own. The ratio of medians, the images per
second, GFLOP/s beside the best that a bare convolution reached, and the peak memory of each form
are printed. On a GPU phases are launched one by one, so whole steps are timed as well: ours as a
training runs them, in CUDA graphs.

    python -m benchmarks.training_step                      # 64 px, batch 8, bgc at p 0.5
    python -m benchmarks.training_step --image-size 128 --channel-base 16384 --channel-max 512 \
        --w-dim 512 --batch-size 128 --device cuda          # the article's network
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from unittest import mock

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.augment import textbook_warp
from rls.io import Intensity, Stack
from rls.runtime.device import choose_device, choose_precision
from rls.runtime.graphs import WARM_UP
from rls.stylegan2 import augment, fir, networks, operators
from rls.stylegan2.architecture import architecture_of
from rls.stylegan2.cost import memory_gib
from rls.stylegan2.networks import Precision
from rls.stylegan2.optimisation import update_average
from rls.stylegan2.settings import Settings
from rls.stylegan2.trainer import Trainer
from rls.stylegan2.training_images import TrainingImages


def textbook_modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    up: bool = False,
    kernel: Tensor | None = None,
    squares: Tensor | None = None,
    gain: float = 1.0,
    bias: Tensor | None = None,
) -> Tensor:
    """Convolve as StyleGAN2 prints it (Eqs. 1 and 3): a weight per sample, in groups."""
    n, n_in = styles.shape
    n_out, size = weight.shape[0], weight.shape[-1]
    w = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        w = w * (w.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, n * n_in, *x.shape[2:])
    if up:
        w = w.transpose(1, 2).reshape(n * n_in, n_out, size, size)
        y = F.conv_transpose2d(x, w, stride=2, groups=n)
        y = fir.low_pass(y, pad=1, gain=4.0)
    else:
        y = F.conv2d(x, w.reshape(n * n_out, n_in, size, size), padding=size // 2, groups=n)
    y = y.reshape(n, n_out, *y.shape[2:]) * gain
    return y if bias is None else y + bias[:, None, None]


@contextlib.contextmanager
def textbook() -> Iterator[None]:
    """Switch to the textbook form; networks must be made inside, too, for its memory layout."""
    with contextlib.ExitStack() as stack:
        for module, name, plain in (
            (networks, "modulated_conv2d", textbook_modulated_conv2d),
            (networks, "convolve", F.conv2d),
            (operators, "convolve", F.conv2d),
            (operators, "convolve_transposed", F.conv_transpose2d),
            (fir, "convolve", F.conv2d),
            (fir, "convolve_transposed", F.conv_transpose2d),
            (fir, "choose_fir", lambda device: "convolution"),
            (operators, "MEMORY_FORMAT", torch.contiguous_format),
            (augment, "warp", textbook_warp),
        ):
            stack.enter_context(mock.patch.object(module, name, plain))
        yield


class TextbookTrainer(Trainer):
    """A trainer as published: generated and real images pass the discriminator separately."""

    def discriminator_phase(self) -> None:
        with torch.no_grad():
            fake = self._fake("discriminator", self.networks.synthesis_alone)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        fake_logits = self.discriminator(self._augmented(fake, "generated"))
        F.softplus(fake_logits).mean().backward()
        real_logits = self.discriminator(self._augmented(self.real, "real"))
        F.softplus(-real_logits).mean().backward()
        self.discriminator_optimizer.step()
        self._add_signs(real_logits)


def noise_images(n_channels: int, image_size: int, n: int) -> tuple[Stack, Intensity]:
    """Return images of noise with the rotation margin; the time does not depend on the content."""
    side = -(-image_size * 3 // 4) * 2
    images = np.random.default_rng(1).integers(0, 4096, (n, n_channels, side, side))
    names = tuple(f"channel{i}" for i in range(n_channels))
    table = pd.DataFrame({"image_id": list(map(str, range(n))), "image_digest": "", "split": "gan"})
    levels = (0.0,) * n_channels, (4095.0,) * n_channels
    return Stack(images.astype(np.uint16), table, names, 1.0, ""), Intensity(names, *levels)


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call."""
    started = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_gflops(device: torch.device, dtype: torch.dtype, batch_size: int) -> float:
    """Return the best rate of a bare 3x3 convolution over a few shapes, in GFLOP/s."""
    best = 0.0
    for features, side in ((64, 32), (128, 16), (128, 32), (256, 32)):
        shape = (batch_size, features, side, side)
        x = torch.randn(shape, device=device, dtype=dtype)
        w = torch.randn((features, features, 3, 3), device=device, dtype=dtype)
        x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
        work = 2 * batch_size * features**2 * 9 * side**2 / 1e9
        F.conv2d(x, w, padding=1)
        times = [seconds(lambda x=x, w=w: F.conv2d(x, w, padding=1), device) for _ in range(5)]
        best = max(best, work / min(times))
    return best


SIZES = {
    "image-size": 64, "n-channels": 3, "channel-base": 4096, "channel-max": 128, "w-dim": 128,
    "mapping-layers": 2, "batch-size": 8, "threads": 2, "repeats": 5,
}  # fmt: skip


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--augment-p", type=float, default=0.5)
    parser.add_argument("--augmentations", default="bgc")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--same-memory",
        action="store_true",
        help="keep freed memory and huge pages for the textbook, too",
    )
    parser.add_argument("--only", choices=("ours", "textbook"), help="be the process of one form")
    return parser.parse_args()


def make_trainer(args: argparse.Namespace, device: torch.device, precision: Precision) -> Trainer:
    """Return a trainer with the sizes of the command line and images of noise."""
    settings = Settings(
        image_size=args.image_size, total_kimg=1.0, batch_size=args.batch_size,
        learning_rate=0.002, r1_gamma=0.1, r1_interval=16, path_length_weight=2.0,
        path_length_interval=4, path_length_batch_shrink=2, ema_kimg=10, ema_rampup=0.05,
        z_dim=args.w_dim, w_dim=args.w_dim, mapping_layers=args.mapping_layers,
        channel_base=args.channel_base, channel_max=args.channel_max, clamp=None,
        mbstd_group_size=4, style_mixing_probability=0.9, augmentations=args.augmentations,
        augment_p=args.augment_p, augment_target=0.6, augment_kimg=500, augment_interval=4,
        freeze_discriminator=0, precision=precision, checkpoint_kimg=1.0, tick_kimg=1.0,
        evaluate_kimg=1.0, evaluate_images=0,
        cuda_graphs="off" if args.only == "textbook" else "auto", compile="auto", seed=1,
        device=device.type, threads=args.threads,
    )  # fmt: skip
    stack, scale = noise_images(args.n_channels, args.image_size, 2 * args.batch_size)
    data = TrainingImages(stack, scale, args.image_size, 1)
    trainer = TextbookTrainer if args.only == "textbook" else Trainer
    return trainer(settings, architecture_of(settings, args.n_channels), data, device, precision)


PHASES = ("inputs", "images", "generator", "path length", "discriminator", "R1", "average")


def phases(trainer: Trainer) -> dict[str, Callable[[], object]]:
    """Return the parts of a step, each by its name."""

    def inputs() -> None:
        trainer.inputs.forget()
        trainer.fill_inputs()

    parts = (
        inputs,
        trainer.image_phase,
        trainer.generator_phase,
        trainer.path_length_phase,
        trainer.discriminator_phase,
        trainer.r1_phase,
        lambda: update_average(trainer.average, trainer.generator, 0.99),
    )
    return dict(zip(PHASES, parts, strict=True))


def warm_up(trainer: Trainer) -> None:
    """Run the first step, in which every phase is due, until every phase is recorded."""
    with trainer.recorder.stream():
        for _ in range(WARM_UP + 1):
            trainer.step = 0
            trainer.run_step()
        trainer.step = 0


def step_seconds(trainer: Trainer) -> float:
    """Return the mean seconds of the steps between two R1 phases, as a training runs them."""
    warm_up(trainer)
    n = trainer.settings.r1_interval

    def steps() -> None:
        for _ in range(n):
            trainer.run_step()

    with trainer.recorder.stream():
        return seconds(steps, trainer.device) / n


SHARES = {
    "inputs": 1 / 4,
    "path length": 1 / 4,
    "R1": 1 / 16,
}  # share of the steps with this phase; all others are in every step


def amortised(values: Mapping[str, float]) -> float:
    """Return the mean over steps of what the phases take."""
    return sum(value * SHARES.get(name, 1.0) for name, value in values.items())


def work(args: argparse.Namespace, device: torch.device, precision: Precision) -> None:
    """Answer questions about one form, in a process of its own.

    The answer to "time PHASE" is its seconds, to "gflop PHASE" its arithmetic, to "memory" the peak
    in GiB, and to "step" the seconds of a whole step.
    """
    plain = args.only == "textbook"
    with contextlib.ExitStack() as stack:
        if plain:
            stack.enter_context(textbook())
        trainer = make_trainer(args, device, "float32" if plain else precision)
        stack.enter_context(trainer.recorder.stream())
        by_name = phases(trainer)
        for phase in by_name.values():
            phase()
        print("ready", flush=True)
        for line in sys.stdin:
            what, _, name = line.strip().partition(" ")
            if what == "memory":
                print(memory_gib(device), flush=True)
            elif what == "step":
                print(step_seconds(trainer), flush=True)
            elif what == "gflop":
                with FlopCounterMode(display=False) as counter:
                    by_name[name]()
                print(counter.get_total_flops() / 1e9, flush=True)
            else:
                print(seconds(by_name[name], device), flush=True)


class Worker:
    """The process of one form."""

    def __init__(self, form: str) -> None:
        command = [sys.executable, "-m", "benchmarks.training_step", *sys.argv[1:], "--only", form]
        plain = form == "textbook" and "--same-memory" not in sys.argv
        environment = os.environ | ({"THP_MEM_ALLOC_ENABLE": "0"} if plain else {})
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        while self._line() != "ready":
            pass

    def ask(self, question: str) -> float:
        """Return the answer of the process."""
        assert self.process.stdin is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a measuring process ended early; its error stands above")
        return line.strip()


def main() -> None:
    """Measure and print."""
    args = arguments()
    if args.only == "textbook" and not args.same_memory:
        with mock.patch("rls.runtime.device.keep_freed_memory"):
            device = choose_device(args.device, args.threads)
    else:
        device = choose_device(args.device, args.threads)
    precision = choose_precision(args.precision, device, "training")
    if args.only:
        return work(args, device, precision)
    workers = {form: Worker(form) for form in ("ours", "textbook")}
    times: dict[str, dict[str, list[float]]] = {"ours": {}, "textbook": {}}
    names = list(PHASES)
    gflop = {name: workers["ours"].ask(f"gflop {name}") for name in names}
    for _ in range(args.repeats):
        for name in names:
            for form, worker in workers.items():
                times[form].setdefault(name, []).append(worker.ask(f"time {name}"))
    memory = {form: worker.ask("memory") for form, worker in workers.items()}
    if device.type == "cuda":
        whole = {form: worker.ask("step") for form, worker in workers.items()}
        print(
            f"whole steps: {1e3 * whole['ours']:.2f} ms in CUDA graphs, textbook "
            f"{1e3 * whole['textbook']:.2f} ms, {args.batch_size / whole['ours']:.1f} images/s"
        )
    peak = peak_gflops(device, networks.convolution_dtype(precision, torch.ones(1)), 16)
    report(args, times, gflop, memory, peak)
    for worker in workers.values():
        worker.process.kill()


def report(
    args: argparse.Namespace,
    times: Mapping[str, Mapping[str, list[float]]],
    gflop: Mapping[str, float],
    memory: Mapping[str, float],
    peak: float,
) -> None:
    """Print ratios, rates and memory."""
    middle = {
        form: {name: statistics.median(values) for name, values in by_phase.items()}
        for form, by_phase in times.items()
    }
    print(f"load average {os.getloadavg()[0]:.1f}, torch {torch.__version__}, n = {args.repeats}")
    for name, fast in middle["ours"].items():
        slow = middle["textbook"][name]
        spread = (max(times["ours"][name]) - min(times["ours"][name])) / fast
        print(
            f"{name:14s} {1000 * fast:7.1f} ms, textbook {1000 * slow:7.1f} ms, ratio "
            f"{slow / fast:.2f}, {gflop[name] / fast:5.0f} GFLOP/s, spread {100 * spread:.0f} %"
        )
    fast, slow = (amortised(middle[form]) for form in ("ours", "textbook"))
    best = [amortised({k: min(v) for k, v in times[f].items()}) for f in ("ours", "textbook")]
    work, n = amortised(gflop), args.batch_size
    print(f"textbook / ours: {slow / fast:.2f} of medians, {best[1] / best[0]:.2f} of the best")
    print(f"ours: {n / fast:.1f} images/s, textbook: {n / slow:.1f} images/s")
    print(
        f"{work / n:.2f} GFLOP an image: {work / fast:.0f} GFLOP/s, "
        f"{100 * work / fast / peak:.0f} % of the best convolution here ({peak:.0f} GFLOP/s)"
    )
    print(f"peak memory: {memory['ours']:.2f} GiB, textbook {memory['textbook']:.2f} GiB")


if __name__ == "__main__":
    main()
