"""Time of a search step an image: our batched form over the textbook one, in one run.

Textbook: one image at a time, every convolution weight modulated and demodulated for the sample
(StyleGAN2, Eqs. 1 and 3), contiguous float32, weights that carry gradients. Both compute the same
image, which is checked first, and the gradient of the same fidelity with respect to w+. The flow
(benchmarks/fit_flow.py) and Adam are in neither. The forms alternate; medians are compared. Beside
it: the share of the best that a bare convolution reaches here, and what convolutions alone take.

    python -m benchmarks.search_step                       # the article's network, batch 4
    python -m benchmarks.search_step --memory-batch 64     # the peak memory of 64 images instead
    python -m benchmarks.search_step --device cuda --search-batches 16 64          # 200 steps each
    python -m benchmarks.search_step --device cuda --search-batches 64 --cuda-graphs off
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.training_step import peak_gflops
from rls.runtime.checkpoint import StateFolder
from rls.runtime.device import choose_device, has_fast_bfloat16
from rls.runtime.graphs import Recorder
from rls.search import rls
from rls.search.batches import solve
from rls.search.forward import Resize, downscale
from rls.search.objective import fidelity
from rls.search.problem import BatchProgress, Problem, Reconstruction, Styles, to_unit
from rls.search.steps import Searches
from rls.stylegan2.cost import memory_gib
from rls.stylegan2.networks import (
    Architecture,
    Generator,
    Precision,
    SynthesisLayer,
    ToRGBLayer,
)
from rls.stylegan2.operators import upsample2d

SIZES = {
    "demo": (Architecture(32, 2, 128, 128, 2, 2048, 128), 8),
    "article": (Architecture(128, 3, 512, 512, 8, 16384, 512), 16),
}


def textbook_layer(layer: SynthesisLayer, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """One sample's layer with its own weight; x (1, in, y, x), w (1, w_dim)."""
    weight = layer.weight.contiguous() * layer.affine(w)[0][:, None, None]
    weight = weight * (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).rsqrt()
    if layer.up:
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        kernel = 4 * layer.resample_filter.flip(0, 1).expand(x.shape[1], 1, -1, -1)
        x = F.conv2d(F.pad(x, (1, 1, 1, 1)), kernel, groups=x.shape[1])
    else:
        x = F.conv2d(x, weight, padding=1)
    x = x + noise * layer.noise_strength + layer.bias[:, None, None]
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def textbook_rgb(layer: ToRGBLayer, x: Tensor, w: Tensor) -> Tensor:
    """One sample's image at one resolution, without demodulation."""
    weight = layer.weight * (layer.affine(w)[0] * layer.weight_gain)[:, None, None]
    return F.conv2d(x, weight, layer.bias)


def textbook_synthesis(generator: Generator, ws: Tensor, noise: list[Tensor]) -> Tensor:
    """Image (1, c, y, x) of ws (1, num_ws, w_dim)."""
    x = generator.synthesis.get_parameter("b4.const")[None].contiguous()
    image, i = None, 0
    maps = iter(noise)
    for block in generator.synthesis.blocks():
        layers = [block.conv1] if block.resolution == 4 else [block.conv0, block.conv1]
        for layer in layers:
            x = textbook_layer(layer, x, ws[:, i], next(maps))
            i += 1
        y = textbook_rgb(block.torgb, x, ws[:, i])
        image = y if image is None else upsample2d(image, block.resample_filter) + y
    return image


def seconds(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def gradient(synthesise, forward: Resize, y: Tensor, w: Tensor) -> Tensor:
    """Gradient of the fidelity with respect to w+, summed over the batch."""
    w = w.detach().requires_grad_()
    return torch.autograd.grad(fidelity(y, forward(to_unit(synthesise(w)))).sum(), w)[0]


@dataclass
class Case:
    """One network with the same weights in both forms, and the problem that both differentiate."""

    ours: Generator
    book: Generator
    noise: list[Tensor]
    w: Tensor
    y: Tensor
    forward: Resize
    factor: int

    @staticmethod
    def of(size: str, batch_size: int, device: torch.device) -> Case:
        """Random weights; refuses forms whose images differ by more than 1e-4."""
        torch.manual_seed(0)
        architecture, factor = SIZES[size]
        ours = Generator(architecture).to(device).eval().requires_grad_(False)
        book = Generator(architecture).to(device).eval()
        book.load_state_dict(ours.state_dict())
        noise = [torch.randn(shape, device=device) for shape in ours.noise_shapes]
        z = torch.randn(batch_size, architecture.z_dim, device=device)
        forward = downscale(architecture.image_size, factor, "renormalize").to(device)
        y = torch.rand(batch_size, architecture.n_channels, *forward.size_out, device=device)
        case = Case(ours, book, noise, ours.mapping(z).detach(), y, forward, factor)
        with torch.no_grad():
            image = textbook_synthesis(book, case.w[:1], noise)
            error = (image - ours.synthesis(case.w[:1], noise)).abs().max() / image.abs().max()
        if error > 1e-4:
            raise SystemExit(f"the two forms differ by {error}")
        return case

    def textbook(self) -> None:
        """One step of all images, one by one."""
        for i in range(len(self.y)):
            one = slice(i, i + 1)
            gradient(
                lambda v: textbook_synthesis(self.book, v, self.noise),
                self.forward, self.y[one], self.w[one],
            )  # fmt: skip

    def gflop(self) -> float:
        """Arithmetic of one step of all images."""
        w = self.w.detach().requires_grad_()
        with FlopCounterMode(display=False) as counter:
            image = to_unit(self.ours.synthesis(w, self.noise))
            fidelity(self.y, self.forward(image)).sum().backward()
        return float(counter.get_total_flops()) / 1e9

    def batched(self, precision: Precision) -> None:
        """One step of all images at once."""
        gradient(
            lambda v: self.ours.synthesis(v, self.noise, precision=precision),
            self.forward, self.y, self.w,
        )  # fmt: skip


def compare(
    case: Case, precisions: Sequence[Precision], repeats: int, device: torch.device
) -> None:
    """Print the ratio of medians, rates, and what the convolutions take."""
    n = len(case.y)
    forms: dict[str, Callable[[], None]] = {"textbook": case.textbook}
    forms |= {name: functools.partial(case.batched, name) for name in precisions}
    times: dict[str, list[float]] = {name: [] for name in forms}
    for repeat in range(repeats + 1):
        for name, step in forms.items():
            taken = seconds(step, device) / n
            if repeat:  # the first is for warming up
                times[name].append(taken)
    work = case.gflop() / n
    middle = {name: statistics.median(values) for name, values in times.items()}
    print(f"batch {n}, {work:.1f} GFLOP a step and image, n = {repeats}, "
          f"load average {os.getloadavg()[0]:.1f}")  # fmt: skip
    print(f"textbook: {1000 * middle['textbook']:.1f} ms a step and image")
    for name in precisions:
        kind = torch.bfloat16 if name == "bfloat16" else torch.float32
        peak, rate = peak_gflops(device, kind, 16), work / middle[name]
        spread = (max(times[name]) - min(times[name])) / middle[name]
        print(
            f"ours {name}: {1000 * middle[name]:.1f} ms (spread {100 * spread:.0f} %), textbook / "
            f"ours {middle['textbook'] / middle[name]:.2f} of medians, "
            f"{min(times['textbook']) / min(times[name]):.2f} of the best; {rate:.0f} GFLOP/s, "
            f"{100 * rate / peak:.0f} % of the best convolution here ({peak:.0f} GFLOP/s)"
        )
        print(f"  where it goes: {shares(lambda name=name: case.batched(name))}")


# What an operator's name begins with -> what it is; all others are elementwise or copies.
KINDS = {
    "convolutions": ("aten::mkldnn_convolution", "aten::_convolution", "aten::cudnn_convolution",
                     "aten::convolution", "aten::thnn_conv2d", "aten::_conv_depthwise2d"),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "sums": ("aten::sum",),
    "copies": ("aten::copy_",),
}  # fmt: skip


def shares(step: Callable[[], None]) -> str:
    """Shares of the operators' own time on the CPU; under a profiler, so only roughly."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        step()
    by_kind = dict.fromkeys([*KINDS, "elementwise and the rest"], 0.0)
    for event in seen.key_averages():
        kind = next((k for k, names in KINDS.items() if event.key in names), list(by_kind)[-1])
        by_kind[kind] += event.self_cpu_time_total
    total = sum(by_kind.values())
    return ", ".join(f"{name} {100 * value / total:.0f} %" for name, value in by_kind.items())


def whole_search(case: Case, args: argparse.Namespace, precision: Precision) -> Searched:
    """Search batches of random images as the command does, by Eq. 5 without a prior.

    The first batch warms up and is recorded; the others are timed.
    """
    device, size, n = case.y.device, len(case.y), len(case.y) * (1 + args.timed_batches)
    recorder = Recorder(device, args.cuda_graphs)
    w = case.ours.mapping(torch.randn(1000, case.ours.z_dim, device=device))[:, 0].detach()
    problem = Problem(
        y=case.y.repeat(1 + args.timed_batches, 1, 1, 1),
        image_ids=tuple(f"image {i}" for i in range(n)),
        generator=case.ours, flow=None, styles=Styles(w, w.mean(0)), factor=case.factor,
        forward=case.forward, seed=1, device=device, precision=precision, noise="shared",
        searches=Searches(recorder),
    )  # fmt: skip
    settings = rls.Settings(
        steps=args.steps, learning_rate=0.5, learning_rate_unit="absolute",
        schedule="one_cycle_drop", lambda_w=0.0, lambda_c=0.01, lambda_n=0.0,
        cross="mean_distance",
    )  # fmt: skip
    method = Timed()
    with tempfile.TemporaryDirectory() as folder, StateFolder(folder, "search", {}) as state:
        solved = solve(method, settings, problem, size, state, "search")
    loss = float(solved.columns["loss_fidelity"].mean())
    later = method.seconds[1:] or method.seconds
    return Searched(size / statistics.median(later), loss, recorder.describe("steps"))


class Searched(NamedTuple):
    """Images a second, their mean final fidelity in float32, and whether steps were recorded."""

    rate: float
    loss: float
    said: str


class Timed:
    """The method rls, with the seconds of each batch until its results were on the CPU."""

    Settings = rls.Settings

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def super_resolve(
        self, problem: Problem, settings: rls.Settings, progress: BatchProgress
    ) -> Reconstruction:
        """Search one batch."""
        started = time.perf_counter()
        found = rls.super_resolve(problem, settings, progress)
        found.images.cpu()
        self.seconds.append(time.perf_counter() - started)
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=tuple(SIZES), default="article")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-batch", type=int, help="measure the peak memory of this batch")
    parser.add_argument("--search-batches", type=int, nargs="*", default=[], help="whole searches")
    parser.add_argument("--steps", type=int, default=200, help="of the whole searches")
    parser.add_argument("--timed-batches", type=int, default=1, help="after one that warms up")
    parser.add_argument("--cuda-graphs", choices=("auto", "off"), default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    device = choose_device(args.device, args.threads)
    torch.backends.cudnn.allow_tf32 = False  # bfloat16 searches switch it on where they use it
    torch.backends.cudnn.deterministic = True  # as the command has it
    both: tuple[Precision, ...] = ("float32", "bfloat16")
    precisions = both if has_fast_bfloat16(device) else both[:1]
    if args.memory_batch:
        case = Case.of(args.size, args.memory_batch, device)
        before = memory_gib(device)
        case.batched(precisions[-1])
        print(f"batch {args.memory_batch}, {precisions[-1]}: peak memory {memory_gib(device):.2f} "
              f"GiB, {before:.2f} GiB of it before the first step")  # fmt: skip
        return
    print(f"{args.size}: {SIZES[args.size][0]}")
    compare(Case.of(args.size, args.batch_size, device), precisions, args.repeats, device)
    for batch_size in args.search_batches:
        case, losses = Case.of(args.size, batch_size, device), {}
        for precision in precisions:
            found = whole_search(case, args, precision)
            losses[precision] = found.loss
            print(
                f"search of {args.steps} steps, batch {batch_size}, {precision}, {found.said}: "
                f"{found.rate:.2f} images/s, final fidelity {found.loss:.5f}"
            )
        if len(losses) == 2:
            change = losses["bfloat16"] / losses["float32"] - 1
            print(f"  final fidelity of bfloat16 against float32: {100 * change:+.2f} %")


if __name__ == "__main__":
    main()
